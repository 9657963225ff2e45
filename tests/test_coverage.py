"""What is said of what was inspected: in the record, and in the header."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from extproc.coverage import counted, header
from extproc.messages import Continue, Refuse, ResponseBody, ResponseHeaders
from extproc.policy.decision import DecisionRecord
from extproc.session import Session
from tests.support.openai_wire import PATH, chat, completion, said
from tests.support.policies import policy
from tests.support.sessions import JSON, SSE, answered, asked, compiled, forwarded, refused, request_headers, session

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
RULE = {"id": "secrets", "detector": "secrets", "action": "redact"}


def ask(exchange: Session, **fields: Any) -> None:
    asked(exchange, json.dumps({"model": "llama3.2:3b", **fields}).encode())


def coverage_of(reply: Continue | Refuse) -> str:
    headers = reply.set_headers if isinstance(reply, Continue) else reply.http.headers
    return dict(headers)["x-sluicegate-coverage"]


def test_entries_are_counted() -> None:
    assert counted(["image", "user", "image"]) == ["image:2", "user:1"]


def test_a_record_lists_what_was_read_and_what_was_not() -> None:
    exchange = session()
    ask(exchange, messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE, IMAGE]}])
    answered(exchange, JSON, completion({"content": "A cat.", "reasoning_content": "Whiskers."}))
    (record,) = exchange.records()
    assert record.not_inspected == ["image", "image"]
    assert record.inspected == ["user", "response.content", "response.reasoning"]


def test_the_header_speaks_for_the_request_and_for_the_plan() -> None:
    exchange = session()
    ask(exchange, messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}])
    (going_on,) = exchange.receive(ResponseHeaders(SSE))
    assert isinstance(going_on, Continue)
    assert coverage_of(going_on) == 'request=partial;skipped="image:1", answer=full'


def test_scopes_that_no_rule_reads_are_said_before_and_after() -> None:
    rules = [{**RULE, "scope": ["user", "response.content"]}]
    exchange = session(policy(rules=rules))
    asked(exchange, chat())
    (going_on,) = exchange.receive(ResponseHeaders(JSON))
    assert isinstance(going_on, Continue)
    assert "response.reasoning" in coverage_of(going_on)
    exchange.receive(ResponseBody(completion({"content": "x", "reasoning_content": "y"}), end=True))
    (record,) = exchange.records()
    assert record.inspected == ["user", "response.content"]
    assert record.not_inspected == ["response.reasoning"]


def test_a_policy_without_rules_for_answers() -> None:
    exchange = session(policy(rules=[{**RULE, "scope": ["user"]}]))
    asked(exchange, chat())
    (going_on,) = exchange.receive(ResponseHeaders(JSON))
    assert isinstance(going_on, Continue)
    assert coverage_of(going_on) == "request=full, answer=none"


def test_a_refusal_speaks_for_the_request_alone() -> None:
    refusal = refused(session().receive(request_headers("/api/pull", "POST")))
    assert coverage_of(refusal) == "request=none"


def test_what_passes_unread_is_said_to() -> None:
    record = DecisionRecord("d", "p", "r", not_inspected=["endpoint"])
    assert header(compiled(policy()), record, judged=False, answers=True)[1] == "request=none, answer=none"


def test_a_query_is_not_inspected() -> None:
    exchange = session()
    asked(exchange, chat(), f"{PATH}?beta=true&x=y")
    answered(exchange, JSON, completion({"content": "Hi"}))
    (record,) = exchange.records()
    assert record.not_inspected == ["query"]


@pytest.mark.parametrize("query", ["", "?", "?alt=sse", "?beta=true"])
def test_what_sdks_say_in_a_query_is_no_text(query: str) -> None:
    exchange = session()
    asked(exchange, chat(), PATH + query)
    answered(exchange, JSON, completion({"content": "Hi"}))
    (record,) = exchange.records()
    assert record.not_inspected == []


def test_a_compressed_answer_is_inflated_and_read() -> None:
    exchange = session()
    asked(exchange, chat(stream=True))
    wire = said("Hi", " there")
    (going_on,) = exchange.receive(ResponseHeaders((*SSE, ("content-encoding", "gzip"))))
    assert isinstance(going_on, Continue)
    assert going_on.remove_headers == ("content-encoding",)
    packed = gzip.compress(wire)
    left = b"".join(forwarded(exchange.receive(ResponseBody(packed[at : at + 7]))) for at in range(0, len(packed), 7))
    assert left + forwarded(exchange.receive(ResponseBody(b"", end=True))) == wire
