"""Whole MCP exchanges under a policy: allowed tools, poisoned descriptions, and the server's own stream."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from extproc.chat import RequestHead
from tests.dialects.shared import INJECTION, JSON, SECRET, SENTENCE, SSE, Outcome, run, surfaces
from tests.support.leaks import leaks
from tests.support.policies import policy

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1}}}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
READ = ["user", "assistant", "response.tool_result", "response.tool_definition"]


def guarded(**spec: Any) -> str:
    rules = [
        {"id": "injection", "detector": "prompt_injection", "scope": [*READ], "action": "deny"},
        {"id": "secrets", "detector": "secrets", "scope": [*READ], "action": "redact"},
    ]
    return policy(**{"tools": {"default": "allow"}, "rules": rules, **spec})


def exchange(message: Any, answer: Any = None, kind: str = JSON, **spec: Any) -> Outcome:
    asked = surfaces("mcp").asked()
    body = json.dumps(answer).encode()
    if kind == SSE:
        body = b"data: " + body + b"\n\n"
    case = replace(asked, sent=json.dumps(message).encode(), content_type=kind)
    return run(case, guarded(**spec), [body])


def result(value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def error(reply: bytes) -> str:
    return str(json.loads(reply)["error"]["message"])


def scopes(outcome: Outcome) -> set[str]:
    return {finding.scope for finding in outcome.record.findings}


def test_a_tool_that_is_not_allowed_is_never_called() -> None:
    only = {"default": "deny", "allow": [{"name": "now"}]}
    outcome = exchange(CALL, tools=only)
    assert outcome.refusal is not None
    assert (outcome.request, outcome.record.reason) == (b"", "tools")
    assert "tool" in error(outcome.refusal.http.body)
    assert exchange({**CALL, "params": {"name": "now"}}, result({"content": []}), tools=only).passed


def test_a_method_that_nobody_knows_is_not_forwarded() -> None:
    outcome = exchange({**LIST, "method": "tools/delete"})
    assert (outcome.request, outcome.record.reason) == (b"", "parameters")


@pytest.mark.parametrize(
    ("message", "answer", "scope"),
    [
        (LIST, {"tools": [{"name": "t", "description": INJECTION, "inputSchema": {}}]}, "response.tool_definition"),
        (LIST, {"tools": [{"name": "t", "inputSchema": {"properties": {INJECTION: {}}}}]}, "response.tool_definition"),
        (CALL, {"content": [{"type": "text", "text": INJECTION}]}, "response.tool_result"),
        (CALL, {"content": [], "structuredContent": {"rows": [INJECTION]}}, "response.tool_result"),
        (CALL, {"content": [], "structuredContent": {INJECTION: 1}}, "response.tool_result"),
    ],
)
@pytest.mark.parametrize("kind", [JSON, SSE])
def test_an_injection_by_the_server_never_reaches_the_client(message: Any, answer: Any, scope: str, kind: str) -> None:
    outcome = exchange(message, result(answer), kind)
    assert scopes(outcome) == {scope}
    assert outcome.record.reason == "injection"
    left = outcome.answer if outcome.refusal is None else outcome.refusal.http.body
    assert (outcome.refusal is None, outcome.record.cut) == (kind == SSE, kind == SSE)
    assert INJECTION.encode() not in outcome.answer
    assert json.loads(left.rpartition(b"data: ")[2])["id"] == 1
    assert "injection" in error(left.rpartition(b"data: ")[2])


def test_a_secret_in_a_result_is_redacted_wherever_it_is_said() -> None:
    value = {"content": [{"type": "text", "text": SENTENCE}], "structuredContent": {"said": SENTENCE}}
    outcome = exchange(CALL, result(value))
    assert outcome.passed
    assert not leaks(outcome.answer, SECRET)
    assert outcome.answer.count(b"[REDACTED") == 2


@pytest.mark.parametrize("said", ["plain words", SENTENCE])
def test_the_servers_own_stream_is_read(said: str) -> None:
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": said}}
    body = b"data: " + json.dumps(log).encode() + b"\n\n"
    head = RequestHead("GET", "/mcp")
    case = replace(surfaces("mcp").asked(), head=head, sent=b"", content_type=SSE, body=body)
    outcome = run(case, guarded(), [body])
    assert outcome.passed
    assert (outcome.answer == body) is (said != SENTENCE)
    assert not leaks(outcome.answer, SECRET)
