from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from extproc.demo import checks, phrasing, scripts
from extproc.demo.checks import Observation
from extproc.demo.clients import Seen
from extproc.demo.gate import Audit
from extproc.demo.scripts import ALLOWED_TOOL, FORBIDDEN_TOOL, Call, Piece
from extproc.demo.standin import Exchange

KEY = "0123456789abcdef"
LEAK = scripts.BEFORE_KEY + KEY + scripts.AFTER_KEY
MARKED = scripts.BEFORE_KEY + "[REDACTED:key]" + scripts.AFTER_KEY


def exchange(*pieces: Piece, tools: Iterable[str] = ()) -> Exchange:
    body = {"tools": [{"function": {"name": name}} for name in tools]}
    answer = b"".join(phrasing.openai_stream("m", pieces))
    return Exchange("POST", "/", json.dumps(body).encode(), bytearray(answer))


def audit(action: str, *rules: str, reason: str = "") -> Audit:
    return {"action": action, "reason": reason, "findings": [{"rule": rule} for rule in rules]}


def observed(seen: Seen, *reached: Exchange, line: Mapping[str, Any] | None) -> Observation:
    return Observation(seen, reached, dict(line) if line is not None else None, KEY)


def test_an_observation_names_each_rule_once_and_the_reason() -> None:
    line = audit("deny", "injection", "injection", reason="endpoints")
    assert observed(Seen(), line=line).rules == ("injection", "endpoints")
    assert observed(Seen(), line=None).rules == ()


def test_a_chat_that_arrives_word_for_word_is_as_expected() -> None:
    assert not list(checks.unchanged(observed(Seen("Hi"), exchange("H", "i"), line=audit("allow"))))


@pytest.mark.parametrize(
    ("observation", "complaint"),
    [
        (observed(Seen("Hi!"), exchange("Hi"), line=audit("allow")), "not the upstream's"),
        (observed(Seen(""), exchange(), line=audit("allow")), "not the upstream's"),
        (observed(Seen("Hi"), exchange("Hi"), line=audit("redact")), "says redact, not allow"),
        (observed(Seen("Hi"), exchange("Hi"), line=None), "no line"),
        (observed(Seen("Hi"), line=audit("allow")), "saw no request"),
        (observed(Seen("Hi"), Exchange("", "", b"{}", failure="model died"), line=audit("allow")), "model died"),
        (observed(Seen("no", error="E", status=500), line=audit("allow")), "the client got E 500: no"),
    ],
)
def test_a_chat_that_does_not_is_not(observation: Observation, complaint: str) -> None:
    assert any(complaint in said for said in checks.unchanged(observation))


REFUSED = checks.refused("models", "Denied", code="c")
NO = Seen("no", error="Denied", status=403, code="c")


def test_a_refusal_that_the_upstream_never_saw_is_as_expected() -> None:
    assert not list(REFUSED(observed(NO, line=audit("deny", "models"))))
    assert not list(REFUSED(observed(NO, line=audit("deny", reason="models"))))


@pytest.mark.parametrize(
    ("observation", "complaint"),
    [
        (observed(NO, exchange(), line=audit("deny", "models")), "upstream saw the request"),
        (observed(Seen("text"), line=audit("deny", "models")), "an answer 200, not Denied 403"),
        (observed(Seen("no", error="Denied", status=403), line=audit("deny", "models")), "code is missing"),
        (observed(Seen("", error="Denied", status=403, code="c"), line=audit("deny", "models")), "says nothing"),
        (observed(NO, line=audit("deny", "other")), "does not name models"),
    ],
)
def test_a_refusal_that_is_not_ours_is_not(observation: Observation, complaint: str) -> None:
    assert any(complaint in said for said in REFUSED(observation))


REDACTED = checks.redacted("secrets-out")


def test_a_key_replaced_by_a_marker_is_as_expected() -> None:
    assert not list(REDACTED(observed(Seen(MARKED), exchange(LEAK), line=audit("redact", "secrets-out"))))


@pytest.mark.parametrize(
    ("client", "upstream", "complaint"),
    [
        (LEAK, LEAK, "a piece of the key"),
        (MARKED.replace(",", KEY[-6:] + ","), LEAK, "a piece of the key"),
        (MARKED[:-1], LEAK, "not intact"),
        (MARKED, "no leak", "did not leak"),
    ],
)
def test_a_key_that_leaves_in_any_part_is_not(client: str, upstream: str, complaint: str) -> None:
    observation = observed(Seen(client), exchange(upstream), line=audit("redact", "secrets-out"))
    assert any(complaint in said for said in REDACTED(observation))


STRIPPED = checks.stripped("tools")
WEATHER = Call(ALLOWED_TOOL, "{}")


def test_a_tool_that_the_upstream_never_saw_is_as_expected() -> None:
    seen = Seen(calls=(ALLOWED_TOOL,))
    assert not list(STRIPPED(observed(seen, exchange(WEATHER, tools=[ALLOWED_TOOL]), line=audit("redact", "tools"))))


@pytest.mark.parametrize(
    ("calls", "tools", "complaint"),
    [
        ((ALLOWED_TOOL,), (ALLOWED_TOOL, FORBIDDEN_TOOL), f"saw the tools {ALLOWED_TOOL}, {FORBIDDEN_TOOL}"),
        ((ALLOWED_TOOL,), (), "saw the tools"),
        ((), (ALLOWED_TOOL,), "did not arrive"),
    ],
)
def test_a_tool_that_it_saw_is_not(calls: tuple[str, ...], tools: tuple[str, ...], complaint: str) -> None:
    observation = observed(Seen(calls=calls), exchange(WEATHER, tools=tools), line=audit("redact", "tools"))
    assert any(complaint in said for said in STRIPPED(observation))


CUT = checks.cut_off("tools")
SHELL = Call(FORBIDDEN_TOOL, "{}")


def test_a_call_that_ends_in_a_notice_is_as_expected() -> None:
    seen = Seen("I will. [stopped]", finish="content_filter")
    assert not list(CUT(observed(seen, exchange("I will. ", SHELL), line=audit("deny", "tools"))))


@pytest.mark.parametrize(
    ("seen", "pieces", "complaint"),
    [
        (Seen("I will. [x]", (FORBIDDEN_TOOL,), "content_filter"), ("I will. ", SHELL), "the client got a call"),
        (Seen("I will. ", finish="content_filter"), ("I will. ", SHELL), "no notice"),
        (Seen("[x]", finish="content_filter"), ("I will. ", SHELL), "no notice"),
        (Seen("I will. [x]", finish="stop"), ("I will. ", SHELL), "ended with stop"),
        (Seen("I will. [x]"), ("I will. ", SHELL), "ended with nothing"),
        (Seen("I will. [x]", finish="content_filter"), ("I will. ",), "did not call"),
    ],
)
def test_a_call_that_leaves_or_ends_badly_is_not(seen: Seen, pieces: tuple[Piece, ...], complaint: str) -> None:
    assert any(complaint in said for said in CUT(observed(seen, exchange(*pieces), line=audit("deny", "tools"))))
