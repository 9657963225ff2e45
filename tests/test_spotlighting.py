"""Marks through a whole exchange: on untrusted text for the upstream, and never before the client."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors.any_text import AnyText
from extproc.messages import Headers
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.session import Session
from tests.policy.fakes import WordDetector, policy, rule
from tests.support.openai_wire import PATH, call_chunks, chunk, completion, events, said, text_of
from tests.support.policies import MODEL
from tests.support.sessions import JSON, NDJSON, SSE, answered, asked, forwarded

M = "\u02c6"
RESULT = "Ann Lee lives at\nthe harbour."
METHODS = ("datamark", "delimit")
each_method = pytest.mark.parametrize("method", METHODS)


def spotlighting(method: str = "datamark", *rules: dict[str, Any], **spec: Any) -> CompiledPolicy:
    marks = rule("marks", "any_text", scope=["tool_result"], action="spotlight")
    detectors: Any = {"marks": AnyText(), **{each["id"]: WordDetector("Ann Lee", kind="name") for each in rules}}
    spec = {"models": {"allow": [MODEL]}, "tools": {"default": "allow"}, **spec}
    return policy(detectors, rules=[marks, *rules], spotlighting={"method": method}, **spec)


def session(compiled: CompiledPolicy) -> Session:
    return Session(compiled, "d-1", lambda: 0.0)


def request(**fields: Any) -> bytes:
    result = {"role": "tool", "tool_call_id": "c1", "content": RESULT}
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where?"}, result]
    return json.dumps({"model": MODEL, "messages": messages, **fields}).encode()


def ask(exchange: Session, path: str = PATH, **fields: Any) -> str:
    """Ask; return the marked result as the upstream got it."""
    sent = json.loads(forwarded(asked(exchange, request(**fields), path)))
    assert sent["messages"][0]["content"].startswith("Be kind.\n\nSome text here")
    assert sent["messages"][1]["content"] == "Where?"
    return str(sent["messages"][2]["content"])


def marker_of(sent: str) -> str:
    return M if M in sent else sent[1 : sent.index(">")]


# An answer may end in the beginning of a tag, before what is the exchange's own in it.
_END = re.compile("</?(?:D(?:A(?:T(?:A_?)?)?)?)?$")

# ---- the text comes back ----


@each_method
def test_every_split_of_a_quotation_over_two_deltas_comes_back(method: str) -> None:
    compiled = spotlighting(method)
    for place in range(60):
        exchange = session(compiled)
        sent = ask(exchange)
        assert sent != RESULT
        out = forwarded(answered(exchange, SSE, said("It says: ", sent[:place], sent[place:], " So.")))
        assert text_of(out) == f"It says: {RESULT} So."


@each_method
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 60))
def test_no_mark_is_left_wherever_an_answer_is_cut_or_ends(method: str, places: list[int], ends: int) -> None:
    exchange = session(spotlighting(method))
    sent = ask(exchange)
    wire = said(*f"{sent} and {sent}"[:ends])
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    out = forwarded(answered(exchange, SSE, *(wire[a:b] for a, b in pairwise(edges))))

    marker = marker_of(sent)
    assert marker not in text_of(out)
    assert marker[:7] not in text_of(out)
    assert f"{RESULT} and {RESULT}".startswith(_END.sub("", text_of(out)))


@each_method
def test_documents_and_ollamas_lines_come_back(method: str) -> None:
    exchange = session(spotlighting(method))
    out = forwarded(answered(exchange, JSON, completion({"content": f"It says {ask(exchange)}"})))
    assert json.loads(out)["choices"][0]["message"]["content"] == f"It says {RESULT}"

    exchange = session(spotlighting(method))
    sent = ask(exchange, "/api/chat")
    words = [sent[:9], sent[9:20], sent[20:]]
    lines: list[dict[str, Any]] = [
        {"model": MODEL, "message": {"role": "assistant", "content": word}} for word in words
    ]
    lines.append({"model": MODEL, "message": {"role": "assistant", "content": ""}, "done": True})
    out = forwarded(answered(exchange, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in lines)))
    assert "".join(json.loads(line)["message"]["content"] for line in out.splitlines()) == RESULT


@each_method
@pytest.mark.parametrize("field", ["reasoning_content", "refusal"])
def test_reasoning_and_refusals_come_back(method: str, field: str) -> None:
    exchange = session(spotlighting(method))
    sent = ask(exchange)
    wire = events(chunk({field: sent[:8]}), chunk({field: sent[8:]}), chunk({}, "stop"))
    out = forwarded(answered(exchange, SSE, wire))

    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in out.split(b"\n\n")[:2]]
    assert "".join(delta[field] for delta in deltas) == RESULT


@each_method
def test_the_arguments_of_calls_come_back(method: str) -> None:
    exchange = session(spotlighting(method))
    arguments = json.dumps({"text": ask(exchange), "n": 1.50})
    pieces = [arguments[at : at + 7] for at in range(0, len(arguments), 7)]
    out = forwarded(answered(exchange, SSE, events(*call_chunks("send", pieces), chunk({}, "tool_calls"))))

    assert json.loads(arguments_of(out)) == {"text": RESULT, "n": 1.5}


def arguments_of(out: bytes) -> str:
    chunks = [json.loads(part[6:]) for part in out.split(b"\n\n") if part.startswith(b"data: {")]
    calls = [call for one in chunks for call in one["choices"][0]["delta"].get("tool_calls", ())]
    return "".join(call["function"]["arguments"] for call in calls)


@each_method
def test_what_the_upstream_says_in_an_error_comes_back(method: str) -> None:
    exchange = session(spotlighting(method))
    error = json.dumps({"error": f"cannot read {ask(exchange)}"}).encode()
    headers: Headers = ((":status", "400"), ("content-type", "application/json"))
    out = forwarded(answered(exchange, headers, error))

    assert json.loads(out) == {"error": f"cannot read {RESULT}"}


def test_copies_of_a_text_with_marks_are_dropped() -> None:
    exchange = session(spotlighting())
    ask(exchange)
    tokens = {"content": [{"token": f"a{M}", "logprob": -0.1, "top_logprobs": []}]}
    answer = chunk({"content": f"a{M}b"})
    answer["choices"][0]["logprobs"] = tokens
    out = forwarded(answered(exchange, SSE, events(answer, chunk({}, "stop"))))

    assert text_of(out) == "a b"
    assert json.loads(out.split(b"\n\n")[0][6:])["choices"][0]["logprobs"] is None


@each_method
def test_an_answer_without_marks_leaves_as_it_came(method: str) -> None:
    exchange = session(spotlighting(method))
    ask(exchange)
    wire = said("Hello", ", ", "<b>D", "ATA", " <DATA> here", " <")

    assert forwarded(answered(exchange, SSE, wire)) == wire


def test_base64_that_is_quoted_stays() -> None:
    exchange = session(spotlighting("encode"))
    sent = ask(exchange)

    assert text_of(forwarded(answered(exchange, SSE, said(sent)))) == sent


@pytest.mark.xfail(strict=True, reason="known gap: running text is not read as JSON")
def test_a_mark_that_is_escaped_in_a_json_answer_comes_back() -> None:
    exchange = session(spotlighting())
    ask(exchange)

    assert text_of(forwarded(answered(exchange, SSE, said(json.dumps({"a": f"b{M}c"}))))) == '{"a": "b c"}'


# ---- with other rules ----


@each_method
@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_rules_for_answers_read_them_without_marks(method: str, pieces: int) -> None:
    exchange = session(spotlighting(method, rule("out", scope=["response.content"], action="redact")))
    sent = ask(exchange)
    out = forwarded(answered(exchange, SSE, said(*(sent[at : at + pieces] for at in range(0, len(sent), pieces)))))

    assert text_of(out) == RESULT.replace("Ann Lee", "[NAME]")


def test_rules_for_arguments_read_them_without_marks() -> None:
    exchange = session(spotlighting("datamark", rule("out", scope=["response.tool_arguments"], action="redact")))
    arguments = json.dumps({"text": ask(exchange)})
    out = forwarded(answered(exchange, SSE, events(*call_chunks("send", [arguments]), chunk({}, "tool_calls"))))

    assert json.loads(arguments_of(out)) == {"text": RESULT.replace("Ann Lee", "[NAME]")}


@each_method
def test_masked_values_come_back_from_within_marks(method: str) -> None:
    exchange = session(spotlighting(method, rule("hide", scope=["tool_result"], action="mask")))
    sent = ask(exchange)
    assert "Ann" not in sent
    assert text_of(forwarded(answered(exchange, SSE, said(*f"{sent} Yes.")))) == f"{RESULT} Yes."


# ---- the record ----


@pytest.mark.parametrize("read", [False, True])
def test_the_record_says_what_was_marked_and_that_no_rule_has_read_it(read: bool) -> None:
    more: Sequence[dict[str, Any]] = [rule("out", scope=["response.content"], action="flag")] if read else []
    exchange = session(spotlighting("datamark", *more))
    answered(exchange, SSE, said(ask(exchange)))
    (record,) = exchange.records()

    marked = [(found.rule, found.match, found.scope, found.path) for found in record.findings if found.rule == "marks"]
    assert marked == [("marks", "any", "tool_result", ("messages", 2, "content"))]
    assert record.action is Action.SPOTLIGHT
    assert "tool_result" in record.not_inspected
    assert ("response.content" in record.inspected) == read
    assert ("response.content" in record.not_inspected) != read


def test_in_monitor_mode_bytes_pass_as_they_came() -> None:
    exchange = session(spotlighting("datamark", mode="monitor"))
    assert forwarded(asked(exchange, request())) == request()
    wire = said(f"a{M}b")
    assert forwarded(answered(exchange, SSE, wire)) == wire


@each_method
def test_the_same_exchange_gives_the_same_bytes_again(method: str) -> None:
    compiled = spotlighting(method)
    assert ask(session(compiled)) == ask(session(compiled))
