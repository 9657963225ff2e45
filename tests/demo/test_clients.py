from __future__ import annotations

from collections.abc import Iterator

import pytest

from extproc.demo.clients import DECISION_HEADER, Clients, Seen
from tests.support.upstream import Answer, Hangup, Upstream, json_answer, ndjson, sse

ID = ((DECISION_HEADER, "decision-1"),)
CHAT = "POST /v1/chat/completions"


def delta(finish: str | None = None, **parts: object) -> dict[str, object]:
    choice = {"index": 0, "delta": parts, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@pytest.fixture
def up() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def clients(up: Upstream) -> Iterator[Clients]:
    with Clients(up.url) as opened:
        yield opened


def outcome(seen: Seen) -> tuple[object, ...]:
    return (seen.error, seen.status, seen.text, seen.code, seen.decision_id)


def test_a_streamed_openai_answer_is_gathered(up: Upstream, clients: Clients) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": "{}"}}
    events = [delta(role="assistant"), delta(content="a"), delta(tool_calls=[call]), delta(tool_calls=[more])]
    up.routes[CHAT] = sse(*events, delta("tool_calls"), {**delta(), "choices": []}, headers=ID)
    seen = clients.openai_chat("hi", "m", [{"type": "function", "function": {"name": "f"}}])
    assert (seen.text, seen.calls, seen.finish, seen.refused) == ("a", ("f",), "tool_calls", False)
    assert seen.decision_id == "decision-1"
    assert 0 < seen.first_s <= seen.total_s
    asked = up.requests[0].json()
    assert isinstance(asked, dict)
    assert (asked["stream"], asked["tools"][0]["function"]["name"]) == (True, "f")


def test_a_streamed_ollama_answer_is_gathered(up: Upstream, clients: Clients) -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    up.routes["POST /api/chat"] = ndjson(
        {"message": {"role": "assistant", "content": "a", "tool_calls": [call]}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
        headers=ID,
    )
    seen = clients.ollama_chat("hi", "m")
    assert (seen.text, seen.calls, seen.finish, seen.decision_id) == ("a", ("f",), "stop", "decision-1")


def test_an_openai_refusal_is_the_sdks_own_exception_and_is_not_retried(up: Upstream, clients: Clients) -> None:
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": "content_policy_violation"}
    up.routes[CHAT] = json_answer({"error": error}, 403, ID)
    seen = clients.openai_chat("hi", "m")
    assert outcome(seen) == ("PermissionDeniedError", 403, "no", "content_policy_violation", "decision-1")
    up.routes[CHAT] = json_answer({"error": error}, 500)
    assert outcome(clients.openai_chat("hi", "m"))[:2] == ("InternalServerError", 500)
    assert len(up.requests) == 2
    up.routes[CHAT] = Answer(502, pieces=(b"bad gateway",))
    assert clients.openai_chat("hi", "m").text == "Error code: 502"


def test_an_ollama_refusal_is_the_sdks_own_exception(up: Upstream, clients: Clients) -> None:
    refusal = json_answer({"error": "no"}, 403, ID)
    up.routes |= {"POST /api/pull": refusal, "POST /api/chat": refusal}
    expected = ("ResponseError", 403, "no", "", "decision-1")
    assert outcome(clients.ollama_pull("m")) == expected
    assert outcome(clients.ollama_chat("hi", "m")) == expected


def test_a_pull_that_is_let_through_says_its_status(up: Upstream, clients: Clients) -> None:
    up.routes["POST /api/pull"] = json_answer({"status": "success"})
    assert clients.ollama_pull("m").text == "success"


def test_a_raw_path_is_sent_as_written(up: Upstream, clients: Clients) -> None:
    up.routes["POST /v1/%63hat"] = json_answer({"ok": 1}, headers=ID)
    assert outcome(clients.post("/v1/%63hat", {})) == ("", 200, '{"ok":1}', "", "decision-1")
    assert outcome(clients.post("/other", {})) == ("HTTPStatusError", 404, '{"error":"not scripted"}', "", "")


def test_an_answer_that_breaks_off_keeps_what_came_before(up: Upstream, clients: Clients) -> None:
    first = sse(delta(content="before "), done=False)
    up.routes[CHAT] = Answer(headers=first.headers, pieces=(*first.pieces, Hangup()))
    seen = clients.openai_chat("hi", "m")
    assert seen.refused
    assert seen.text.startswith("before ")
    assert seen.status == 0


def test_an_error_inside_a_stream_is_an_error(up: Upstream, clients: Clients) -> None:
    up.routes[CHAT] = sse(delta(content="a"), {"error": {"message": "stopped", "code": "x"}})
    seen = clients.openai_chat("hi", "m")
    assert (seen.error, seen.status) == ("APIError", 0)
    assert seen.text.endswith("stopped")
