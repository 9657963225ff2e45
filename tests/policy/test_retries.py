"""Retries: who asks, which refusals count, how long they are remembered, and what that does to a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.messages import Consult, Consulted, Opinion, RequestBody, RequestHeaders
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import UNHEARD, Action, DecisionRecord, Finding
from extproc.policy.document import PolicyDocument
from extproc.policy.problems import inspect, place, warnings
from extproc.policy.retries import OWASP, Retries, never_cooling
from extproc.session import Session
from tests.policy.fakes import rule
from tests.support.openai_wire import PATH
from tests.support.retries import CONSUMER, RETRIES, retries_policy
from tests.support.sessions import refused
from tests.support.streams import chat

BAND = {"from": "guard", "band": [0.2, 0.95]}
GUARD = {"guard": {"kind": "chat", "url": "http://guard:1/v1/chat/completions", "model": "m"}}
INJECTION = {"id": "injection", "detector": "prompt_injection", "scope": ["user"], "action": "deny"}


def retries(**changes: Any) -> Retries:
    compiled = retries_policy(changes).retries
    assert compiled is not None
    return compiled


def ask(
    policy: CompiledPolicy, text: str, cooling: Callable[[str], bool], *headers: tuple[str, str], **attributes: str
) -> tuple[Session, list[Any]]:
    exchange = Session(policy, "d-1", lambda: 0.0, cooling)
    fields = ((":method", "POST"), (":path", PATH), *headers)
    exchange.receive(RequestHeaders(fields, attributes={name.replace("_", "."): v for name, v in attributes.items()}))
    return exchange, exchange.receive(RequestBody(chat(text), end=True))


def record(exchange: Session) -> DecisionRecord:
    (only,) = exchange.records()
    return only


def yes(_consumer: str) -> bool:
    return True


# ---- the document ----


def problems(**said: Any) -> dict[str, str]:
    data = {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "t"}, "spec": {"retries": said}}
    return {place(problem.where): problem.message for problem in inspect(data)[1]}


def test_it_is_off_unless_it_is_there() -> None:
    document = PolicyDocument.model_validate(
        {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "t"}, "spec": {}}
    )
    assert document.spec.retries is None


def test_only_the_consumer_must_be_said() -> None:
    assert problems(consumer="header:x-id") == {}
    assert problems() == {"spec.retries.consumer": "is missing"}


@pytest.mark.parametrize(
    "consumer",
    ["", "x-id", "header:", "header:X-Id", "header::path", "header:a b", "cookie:id", "attribute:", "attribute:a b"],
)
def test_a_consumer_is_a_header_or_an_attribute(consumer: str) -> None:
    assert problems(consumer=consumer) == {
        "spec.retries.consumer": '"header:NAME" in lower case, or "attribute:NAME", such as "attribute:source.address"'
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("refusals", 0),
        ("refusals", 51),
        ("refusals", 1.5),
        ("window_s", 0),
        ("window_s", 86401),
        ("window_s", "5m"),
        ("cooldown_s", -1),
        ("cooldown_s", float("nan")),
        ("score", 0),
        ("score", 1.1),
        ("scores", 0.3),
    ],
)
def test_what_is_no_number_in_its_range_is_a_problem(field: str, value: object) -> None:
    assert list(problems(**{"consumer": "header:x-id", field: value})) == [f"spec.retries.{field}"]


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        (INJECTION, False),
        ({**INJECTION, "action": "flag"}, True),
        ({**INJECTION, "scope": ["response.tool_result"]}, True),
        (rule("secrets"), True),
    ],
    ids=["refuses", "flags", "answers", "another"],
)
def test_where_nothing_can_be_counted_is_a_warning(said: dict[str, Any], warned: bool) -> None:
    spec = {"models": {"allow": ["a:1"]}, "rules": [{"owasp": ["LLM01:2025"], **said}], "retries": RETRIES}
    data = {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "t"}, "spec": spec}
    found = warnings(PolicyDocument.model_validate(data))
    assert [place(problem.where) for problem in found] == ["spec.retries"] * warned


# ---- who asks ----


@pytest.mark.parametrize(
    ("headers", "consumer"),
    [
        ((), ""),
        (((CONSUMER, ""),), ""),
        (((CONSUMER, "alice"),), "alice"),
        (((CONSUMER, "mallory"), (CONSUMER, "alice")), "alice"),
        ((("x-other", "alice"),), ""),
    ],
    ids=["none", "empty", "one", "last", "other"],
)
def test_the_last_field_of_a_header_says_who_asks(headers: tuple[tuple[str, str], ...], consumer: str) -> None:
    assert retries().consumer(headers, {CONSUMER: "no header"}) == consumer


@pytest.mark.parametrize(
    ("name", "value", "consumer"),
    [
        ("source.address", "10.0.0.1:50123", "10.0.0.1"),
        ("source.address", "[::1]:50123", "[::1]"),
        ("source.address", "@internal", "@internal"),
        ("source.address", "/run/a.sock", "/run/a.sock"),
        ("source.address", "10.0.0.1", "10.0.0.1"),
        ("connection.id", "a:1", "a:1"),
    ],
)
def test_an_attribute_says_who_asks_an_address_without_its_port(name: str, value: str, consumer: str) -> None:
    assert retries(consumer=f"attribute:{name}").consumer(((name, "no attribute"),), {name: value}) == consumer
    assert retries(consumer=f"attribute:{name}").consumer(((name, "no attribute"),), {}) == ""


# ---- what counts, and for how long ----


@pytest.mark.parametrize(
    ("changes", "counts", "monitored_policy"),
    [
        ({}, True, True),
        ({"scope": "tool_result"}, True, True),
        ({"scope": "response.tool_result"}, False, False),
        ({"rule": "secrets"}, False, False),
        ({"rule": "retries"}, False, False),
        ({"action": Action.FLAG}, False, False),
        ({"match": UNHEARD}, False, False),
        ({"monitored": True}, False, True),
    ],
    ids=["refused", "tool", "answer", "another", "itself", "flagged", "unheard", "monitored"],
)
def test_refusals_by_injection_rules_count(changes: dict[str, Any], counts: bool, monitored_policy: bool) -> None:
    fields = {"rule": "injection", "match": "attack", "scope": "user", "action": Action.DENY, **changes}
    assert retries().counts([Finding(**fields)]) is counts
    monitoring = retries_policy(mode="monitor").retries
    assert monitoring is not None
    assert monitoring.counts([Finding(**fields)]) is monitored_policy
    assert not retries().counts([])


@pytest.mark.parametrize(
    ("times", "now", "cooling"),
    [
        ((), 0, False),
        ((10,), 11, False),
        ((10, 20), 20, True),
        ((10, 20), 69.9, True),
        ((10, 20), 70, False),
        ((10, 110), 111, True),  # just within the window
        ((10, 110.1), 111, False),
        ((0, 10, 500, 510), 511, True),  # the last ones count
        ((0, 10, 20, 500), 501, False),
        ((10, 90, 160), 161, True),  # an earlier cooldown is over, the window is not
    ],
)
def test_the_cooldown_runs_from_the_last_of_enough_refusals_within_the_window(
    times: tuple[float, ...], now: float, cooling: bool
) -> None:
    assert retries().cooling(times, now) is cooling


@given(st.lists(st.floats(0, 1000), max_size=8).map(sorted), st.floats(0, 2000))
def test_it_never_cools_down_after_less_than_enough_refusals_nor_for_longer(times: list[float], now: float) -> None:
    if retries().cooling(times, now):
        assert len(times) >= 2
        assert now - times[-1] < 50


# ---- requests ----


@pytest.mark.parametrize("text", ["nearly", "attack"])
def test_in_the_cooldown_what_comes_close_is_refused_like_what_is_found(text: str) -> None:
    exchange, replies = ask(retries_policy(), text, yes, (CONSUMER, "alice"))
    said = refused(replies).http
    assert said.status == 403
    assert json.loads(said.body)["error"]["code"] == "too_many_refusals"
    seen = record(exchange)
    assert (seen.action, seen.reason, seen.ended) == (Action.DENY, "retries", "refused")
    ours = [found for found in seen.findings if found.rule == "retries"]
    assert ours == [Finding("retries", "too_many_refusals", "user", Action.DENY, OWASP)]
    assert (seen.injection_score, "attack" in {found.match for found in seen.findings}) == (
        (0.3, False) if text == "nearly" else (0.9, True)
    )


def test_the_refusal_does_not_say_which_variant_a_rule_finds() -> None:
    said = [refused(ask(retries_policy(), text, yes)[1]).http for text in ("nearly", "attack")]
    assert said[0] == said[1]


def test_in_the_cooldown_what_is_harmless_passes() -> None:
    exchange, _ = ask(retries_policy(), "hello", yes, (CONSUMER, "alice"))
    assert not exchange.gathering
    assert exchange.records() == []


def test_outside_of_it_what_comes_close_passes_and_what_is_found_is_the_rules() -> None:
    close, _ = ask(retries_policy(), "nearly", never_cooling, (CONSUMER, "alice"))
    assert close.records() == []
    found, _ = ask(retries_policy(), "attack", never_cooling, (CONSUMER, "alice"))
    assert record(found).reason == "injection"


def test_the_memory_is_asked_once_about_who_the_gateway_says_it_is() -> None:
    heard: list[str] = []
    ask(retries_policy(), "nearly", lambda who: heard.append(who) is not None, (CONSUMER, "alice"))
    ask(retries_policy(), "nearly", lambda who: heard.append(who) is not None)
    address = retries_policy({"consumer": "attribute:source.address"})
    ask(address, "nearly", lambda who: heard.append(who) is not None, source_address="10.0.0.1:99")
    assert heard == ["alice", "", "10.0.0.1"]


def test_without_the_section_nobody_is_asked_about() -> None:
    heard: list[str] = []
    off = replace(retries_policy(), retries=None)
    exchange, _ = ask(off, "nearly", lambda who: heard.append(who) is None, (CONSUMER, "alice"))
    assert heard == []
    assert exchange.records() == []


def test_a_monitored_policy_records_and_lets_pass() -> None:
    exchange, replies = ask(retries_policy(mode="monitor"), "nearly", yes, (CONSUMER, "alice"))
    assert len(replies) == 1
    assert exchange.records() == []
    exchange.receive(RequestBody(b""))  # unexpected here: it ends the exchange
    (found,) = [each for each in record(exchange).findings if each.rule == "retries"]
    assert found.monitored


def test_in_the_cooldown_nobody_else_is_asked_about_what_is_refused_anyway() -> None:
    policy = retries_policy(detectors=GUARD, rules=[{**INJECTION, "second_opinion": BAND}])
    exchange, replies = ask(policy, "nearly", yes)
    assert not any(isinstance(reply, Consult) for reply in replies)
    assert record(exchange).reason == "retries"


def test_under_the_score_others_are_asked_and_have_the_last_word() -> None:
    policy = retries_policy(detectors=GUARD, rules=[{**INJECTION, "second_opinion": BAND}])
    exchange, replies = ask(policy, "hello", yes)
    assert any(isinstance(reply, Consult) for reply in replies)
    refused(exchange.receive(Consulted((Opinion(0.9),))))
    assert record(exchange).reason == "injection"


def test_what_was_monitored_is_still_so_once_others_have_answered() -> None:
    policy = retries_policy(
        mode="monitor", detectors=GUARD, rules=[{**INJECTION, "mode": "enforce", "second_opinion": BAND}]
    )
    exchange, _ = ask(policy, "nearly", yes)
    refused(exchange.receive(Consulted((Opinion(0.9),))))
    assert [found.rule for found in record(exchange).findings] == ["retries", "injection"]
