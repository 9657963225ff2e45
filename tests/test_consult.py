"""An exchange that waits for second opinions: what may happen meanwhile, and what comes too late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.messages import (
    Abort,
    Closed,
    Consult,
    Consulted,
    Continue,
    ContinueTrailers,
    Direction,
    Event,
    Expired,
    Forward,
    Opinion,
    Question,
    Refuse,
    RequestBody,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.policy.decision import Action
from extproc.session import Session, State
from tests.dialects.shared import ask, surfaces
from tests.support.openai_wire import PATH, chat, completion
from tests.support.playbook import Playbook, nothing
from tests.support.second_opinions import LIKELY, SURE, UNLIKELY, unsure
from tests.support.sessions import JSON, SSE, answered, forwarded, refused, request_headers

REQUEST, RESPONSE = Direction.REQUEST, Direction.RESPONSE
QUESTION = Question("guard", "user", LIKELY)
HELD = Continue(REQUEST, (("accept-encoding", "identity"),), held=True)
CLEARED = Consulted((Opinion(0.1),))
CONFIRMED = Consulted((Opinion(0.9),))
SKIPPED = Consulted((Opinion(skipped="timeout"),))
BODY = chat(LIKELY)


def session(on_timeout: str = "tier1", **spec: Any) -> Session:
    ticks = iter(range(1_000_000))
    return Session(unsure(on_timeout=on_timeout, **spec), "d-1", lambda: float(next(ticks)))


def waiting(on_timeout: str = "tier1", **spec: Any) -> Session:
    exchange = session(on_timeout, **spec)
    (
        Playbook(exchange)
        >> request_headers()
        << HELD
        >> RequestBody(BODY, end=True)
        << Consult((QUESTION,))
        << nothing
    )  # fmt: skip
    return exchange


def record(exchange: Session) -> Any:
    (only,) = exchange.records()
    return only


def coverage(replies: Sequence[Any]) -> str:
    (said,) = [
        value
        for reply in replies
        for name, value in (reply.http.headers if isinstance(reply, Refuse) else getattr(reply, "set_headers", ()))
        if name == "x-sluicegate-coverage"
    ]
    return str(said)


class TestTheAnswerComes:
    def test_a_text_that_is_cleared_goes_on_as_it_came(self) -> None:
        exchange = waiting()
        assert exchange.gathering
        Playbook(exchange) >> CLEARED << Forward(REQUEST, BODY, end=True) << nothing
        assert not exchange.gathering
        replies = answered(exchange, JSON, completion({"content": "hi"}))
        assert coverage(replies).startswith("request=full, answer=partial;")
        assert "tier2" not in coverage(replies)
        said = record(exchange)
        assert (said.action, said.second_opinions, said.injection_score) == (Action.ALLOW, ["guard:cleared"], 0.6)

    def test_one_that_is_confirmed_is_refused_and_the_upstream_sees_nothing(self) -> None:
        exchange = waiting()
        replies = exchange.receive(CONFIRMED)
        assert refused(replies).http.status == 403
        assert len(replies) == 1
        said = record(exchange)
        assert (said.reason, [found.match for found in said.findings]) == ("injection", ["second_opinion"])

    @pytest.mark.parametrize(
        ("on_timeout", "text", "status"),
        [
            ("deny", LIKELY, 500), ("deny", UNLIKELY, 500), ("allow", LIKELY, 0), ("allow", UNLIKELY, 0),
            ("tier1", LIKELY, 403), ("tier1", UNLIKELY, 0),
        ],
    )  # fmt: skip
    def test_none_at_all_is_the_policys_word_and_coverage_says_so(
        self, on_timeout: str, text: str, status: int
    ) -> None:
        exchange = session(on_timeout)
        exchange.receive(request_headers())
        exchange.receive(RequestBody(chat(text), end=True))
        replies = exchange.receive(SKIPPED)
        if status:
            assert refused(replies).http.status == status
        else:
            assert forwarded(replies) == chat(text)
            replies = answered(exchange, JSON, completion({"content": "hi"}))
        assert 'request=partial;skipped="tier2:guard:1";note="tier2: skipped"' in coverage(replies)
        said = record(exchange)
        assert (said.not_inspected[0], said.second_opinions) == ("tier2:guard", ["guard:skipped:timeout"])

    def test_the_time_to_the_verdict_has_the_waiting_in_it(self) -> None:
        readings = iter([0.0, 1.0, 3.5, 3.5, 3.5])
        exchange = Session(unsure(), "d-1", lambda: next(readings))
        exchange.receive(request_headers())
        exchange.receive(RequestBody(BODY, end=True))
        exchange.receive(CONFIRMED)
        assert record(exchange).decide_s == 2.5


class TestMeanwhile:
    def test_trailers_wait_for_the_verdict_and_leave_behind_the_body(self) -> None:
        exchange = waiting()
        (
            Playbook(exchange)
            >> RequestTrailers()
            << nothing
            >> CLEARED
            << Forward(REQUEST, BODY)
            << ContinueTrailers(REQUEST)
            << nothing
        )

    def test_a_request_that_ends_with_trailers_is_asked_about_too(self) -> None:
        exchange = session()
        (
            Playbook(exchange)
            >> request_headers()
            << HELD
            >> RequestBody(BODY)
            << nothing
            >> RequestTrailers()
            << Consult((QUESTION,))
            >> CLEARED
            << Forward(REQUEST, BODY)
            << ContinueTrailers(REQUEST)
            << nothing
        )

    def test_a_stream_that_closes_leaves_a_record_of_what_was_not_inspected(self) -> None:
        exchange = waiting()
        assert exchange.receive(Closed("cancelled")) == []
        said = record(exchange)
        assert (said.ended, said.reason, said.not_inspected) == ("closed", "cancelled", ["tier2:guard"])

    def test_a_deadline_that_passes_refuses(self) -> None:
        exchange = waiting("allow")
        refusal = refused(exchange.receive(Expired("verdict")))
        assert refusal.http.status == 500
        assert coverage([refusal]) == "request=none"
        assert record(exchange).not_inspected == ["tier2:guard"]

    def test_the_refusal_for_a_late_verdict_changes_nothing(self) -> None:
        exchange = waiting()
        assert exchange.overdue().http.status == 500
        assert exchange.state is State.CONSULT

    def test_an_answer_before_the_verdict_is_read_and_the_request_stays_here(self) -> None:
        exchange = waiting()
        (going_on,) = exchange.receive(ResponseHeaders(((":status", "504"), ("content-type", "text/plain"))))
        assert coverage([going_on]).startswith("request=none")
        assert exchange.receive(CLEARED) == []
        assert forwarded(exchange.receive(ResponseBody(b"too slow", end=True))) == b"too slow"
        assert record(exchange).not_inspected.count("tier2:guard") == 1

    @pytest.mark.parametrize("event", [request_headers(), RequestBody(b"x"), ResponseBody(b"x"), ResponseTrailers()])
    def test_what_cannot_come_now_is_a_failure(self, event: Event) -> None:
        assert refused(waiting().receive(event)).http.status == 500


class TestTooLate:
    @pytest.mark.parametrize("end", [Closed("eof"), Expired("verdict")])
    def test_an_answer_after_the_end_is_swallowed(self, end: Event) -> None:
        exchange = waiting()
        exchange.receive(end)
        assert exchange.receive(CLEARED) == []
        assert len(exchange.records()) == 1

    def test_a_second_answer_is_swallowed(self) -> None:
        exchange = waiting()
        exchange.receive(CLEARED)
        assert exchange.receive(CONFIRMED) == []
        assert exchange.state is State.AWAIT

    def test_an_answer_that_nobody_asked_for_is_swallowed(self) -> None:
        exchange = session()
        assert exchange.receive(CLEARED) == []
        exchange.receive(request_headers())
        assert exchange.receive(CONFIRMED) == []
        assert exchange.state is State.GATHER


class TestAnswersOfTools:
    """A tool's result is read by tier 1 alone: nothing of an answer waits for others."""

    @staticmethod
    def ended(text: str) -> Any:
        exchange = session(tools={"default": "allow"})
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}).encode()
        result = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}
        assert forwarded(ask(exchange, replace(surfaces("mcp").asked(), sent=body))) == body
        answered(exchange, JSON, json.dumps(result).encode())
        return record(exchange)

    def test_where_it_would_have_been_asked_the_record_says_that_it_was_not(self) -> None:
        said = self.ended(UNLIKELY)
        assert (said.action, said.not_inspected.count("tier2:guard")) == (Action.ALLOW, 1)

    def test_tier_1s_own_verdict_holds_there(self) -> None:
        said = self.ended(LIKELY)
        assert (said.action, said.not_inspected.count("tier2:guard")) == (Action.DENY, 1)

    @pytest.mark.parametrize("text", ["hello", SURE])
    def test_where_tier_1_is_sure_there_is_nothing_to_say(self, text: str) -> None:
        assert "tier2:guard" not in self.ended(text).not_inspected


BODIES = st.sampled_from([BODY, chat(UNLIKELY), chat(SURE), chat(), b"{}", b"data: "])
OPINIONS = st.builds(
    Opinion,
    st.none() | st.floats(allow_nan=True),
    st.sampled_from(["", "timeout", "garbage", "no such word"]),
)
EVENTS = st.one_of(
    st.builds(request_headers, st.sampled_from([PATH, "/api/tags", "//x"]), end=st.booleans()),
    st.builds(RequestBody, BODIES, st.booleans()),
    st.just(RequestTrailers()),
    st.builds(ResponseHeaders, st.sampled_from([SSE, JSON]), st.booleans()),
    st.builds(ResponseBody, BODIES, st.booleans()),
    st.just(ResponseTrailers()),
    st.just(Expired("verdict")),
    st.just(Closed("eof")),
    st.builds(Consulted, st.lists(OPINIONS, max_size=3).map(tuple)),
)


@given(st.booleans(), st.sampled_from(["deny", "allow", "tier1"]), st.lists(EVENTS, max_size=10))
@settings(max_examples=300, deadline=None)
def test_any_order_of_events_never_raises_nor_forwards_after_a_refusal(
    begun: bool, on_timeout: str, events: list[Event]
) -> None:
    exchange = waiting(on_timeout) if begun else session(on_timeout)
    over, records = False, 0
    for event in events:
        replies = exchange.receive(event)
        assert not (over and replies)
        over = over or any(isinstance(reply, Refuse | Abort) for reply in replies)
        if exchange.state is State.CONSULT:
            assert not any(isinstance(reply, Forward) for reply in replies)
        records += len(exchange.records())
    exchange.receive(Closed("end"))
    assert records + len(exchange.records()) == 1
    assert exchange.failure is None
