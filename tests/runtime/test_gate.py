"""The gate: one record for every stream, whatever becomes of it, and no word of the traffic in a log."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest

from extproc.policy.decision import Action, DecisionRecord
from extproc.runtime import gate as gate_module
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.gate import Gate, new_decision_id
from extproc.runtime.metrics import Metrics
from extproc.runtime.transports.base import Broken
from extproc.runtime.wire import BodyModes, ProtocolError
from tests.support.streams import (
    DONE,
    chat,
    chunk,
    request_body,
    request_headers,
    response_body,
    response_headers,
    secrets_policy,
)

PROMPT: Final = "tell nobody"


def _gate(**options: Any) -> tuple[Gate, list[DecisionRecord]]:
    records: list[DecisionRecord] = []
    ticks, numbers = itertools.count(), itertools.count()
    options = {"policy": secrets_policy(), "new_id": lambda: f"d-{next(numbers)}", **options}
    gate = Gate(metrics=Metrics(), audit=records.append, clock=lambda: float(next(ticks)), **options)
    return gate, records


def _count(gate: Gate, sample: str) -> bool:
    return f"sluicegate_{sample}\n".encode() in gate.metrics.render()


def test_a_whole_exchange_is_reported_once_as_soon_as_it_is_over() -> None:
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers())
    assert exchange.receive(request_body(chat(PROMPT)))
    exchange.receive(response_headers())
    exchange.receive(response_body(chunk("hello") + DONE))
    assert records == []
    exchange.receive(response_body(b"", end=True))
    assert [(record.decision_id, record.ended) for record in records] == [("d-0", "complete")]
    exchange.close("eof")
    assert len(records) == 1
    assert _count(gate, 'exchanges_total{action="allow",dialect="openai.chat"} 1.0')


def test_an_exchange_that_the_client_leaves_is_reported_when_it_closes() -> None:
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers())
    exchange.close("cancelled")
    assert [(record.ended, record.reason) for record in records] == [("closed", "cancelled")]


def test_a_stream_on_which_nothing_was_said_is_reported_too() -> None:
    gate, records = _gate()
    gate.open(()).close("eof")
    assert [record.ended for record in records] == ["closed"]


def test_open_streams_are_counted() -> None:
    gate, _ = _gate()
    first, second = gate.open(()), gate.open(())
    first.close("eof")
    assert gate.metrics.streams == 1
    second.close("eof")
    assert gate.metrics.streams == 0


def test_a_passed_deadline_is_answered_and_reported() -> None:
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers())
    (reply,) = exchange.expire("exchange")
    assert reply.HasField("immediate_response")
    assert [record.action for record in records] == [Action.DENY]


def test_a_verdict_replaced_at_its_deadline_is_reported_as_a_refusal() -> None:
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers())
    (reply,) = exchange.overdue()
    assert reply.immediate_response.status.code == 500
    exchange.receive(request_body(chat("hello")))
    exchange.close("eof")
    (record,) = records
    assert (record.action, record.reason) == (Action.DENY, "deadline")


def test_a_deadline_after_the_end_changes_nothing() -> None:
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers("/api/pull", end=True))
    assert exchange.expire("idle") == []
    exchange.close("eof")
    assert len(records) == 1


def test_the_deadlines_are_the_policys() -> None:
    policy = secrets_policy(limits={"decide_s": 1, "exchange_s": 20, "idle_s": 3})
    gate, _ = _gate(policy=policy)
    deadlines = gate.open(()).deadlines
    assert (deadlines.decide_s, deadlines.exchange_s, deadlines.idle_s) == (1, 20, 3)


def test_an_open_exchange_keeps_its_policy_when_another_takes_over() -> None:
    gate, records = _gate()
    earlier = gate.open(())
    gate.policy = secrets_policy(mode="monitor")
    gate.open(()).close("eof")
    earlier.close("eof")
    assert records[0].revision == gate.policy.revision != records[1].revision


def test_decision_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_decision_id() for _ in range(100)]
    assert [name[:12] for name in ids] == sorted(name[:12] for name in ids)
    assert len(set(ids)) == 100
    assert {len(name) for name in ids} == {28}


# ---- misconfiguration ----------------------------------------------------------------------------------------------


def test_a_gateway_that_does_not_announce_its_modes_is_refused_loudly(caplog: pytest.LogCaptureFixture) -> None:
    gate, records = _gate()
    for _ in range(2):
        exchange = gate.open(())
        (reply,) = exchange.receive(request_headers(config=None))
        assert reply.immediate_response.status.code >= 500
        exchange.close("eof")
    assert [record.action for record in records] == [Action.DENY, Action.DENY]
    assert len(caplog.messages) == 1
    assert "--body-modes" in caplog.messages[0]
    assert b"sluicegate_misconfigured_total{" in gate.metrics.render()


def test_a_gateway_that_skips_header_messages_is_refused_loudly(caplog: pytest.LogCaptureFixture) -> None:
    gate, _ = _gate(modes=BodyModes.parse("buffered,buffered"))
    gate.open(()).receive(request_body(chat(PROMPT)))
    assert "a header message was skipped" in caplog.messages[0]
    assert _count(gate, 'misconfigured_total{why="a header message was skipped"} 1.0')


# ---- failures ------------------------------------------------------------------------------------------------------


class Failing:
    """A conversation in which everything goes wrong that ``error`` names."""

    record = None
    failure = None
    misconfigured = ""
    owes_verdict = False

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def __call__(self, _session: object, _modes: object) -> Failing:
        return self

    def _fail(self, *_: object) -> list[pb.ProcessingResponse]:
        if self._errors:
            raise self._errors.pop(0)
        return []

    receive = expire = close = _fail


@pytest.mark.parametrize("event", ["receive", "expire"])
@pytest.mark.parametrize(
    ("error", "why", "details"),
    [
        (ProtocolError("text is left over"), "protocol", "text is left over"),
        (KeyError(PROMPT), "internal", "processor error"),
    ],
)
def test_what_goes_wrong_fails_the_stream_and_is_reported_as_a_refusal(
    monkeypatch: pytest.MonkeyPatch, event: str, error: Exception, why: str, details: str
) -> None:
    monkeypatch.setattr(gate_module, "Conversation", Failing(error))
    gate, records = _gate()
    exchange = gate.open(())
    with pytest.raises(Broken, match=details) as broken:
        getattr(exchange, event)(request_headers())
    exchange.close("error")
    assert broken.value.why == why
    assert [(record.action, record.ended) for record in records] == [(Action.DENY, "error")]


def test_a_bug_is_counted_and_placed_but_its_text_stays_unsaid(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, _ = _gate()
    for _ in range(3):
        monkeypatch.setattr(gate_module, "Conversation", Failing(KeyError(PROMPT)))
        with pytest.raises(Broken) as broken:
            gate.open(()).receive(request_headers())
        gate.stream_failed(broken.value)
    assert len(caplog.messages) == 1
    assert "KeyError at test_gate.py:" in caplog.messages[0]
    assert PROMPT not in caplog.text
    assert _count(gate, "internal_errors_total 3.0")
    assert _count(gate, 'streams_failed_total{why="internal"} 3.0')


def test_closing_never_raises_and_still_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "Conversation", Failing(RuntimeError(PROMPT)))
    gate, records = _gate()
    gate.open(()).close("eof")
    assert [(record.decision_id, record.action, record.ended) for record in records] == [("d-0", Action.DENY, "error")]
    assert _count(gate, "internal_errors_total 1.0")


def test_a_bug_that_the_session_turned_into_a_refusal_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_request(*_: object) -> None:
        raise ZeroDivisionError(PROMPT)

    monkeypatch.setattr("extproc.policy.engine.judge_request", judge_request)
    gate, records = _gate()
    exchange = gate.open(())
    exchange.receive(request_headers())
    (reply,) = exchange.receive(request_body(chat(PROMPT)))
    assert reply.HasField("immediate_response")
    assert [record.action for record in records] == [Action.DENY]
    assert _count(gate, "internal_errors_total 1.0")


def test_what_a_client_can_cause_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    gate, _ = _gate()
    for number in range(1000):
        gate.say_once(f"line {number}")
    assert len(caplog.messages) == 256
