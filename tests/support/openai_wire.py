"""Bodies of the OpenAI chat API for tests: what a client sends and what a runtime answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.support.policies import MODEL

PATH = "/v1/chat/completions"


def chat(text: str = "hello", **fields: Any) -> bytes:
    """A request body."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    """One chunk of a streamed answer."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    kind = "chat.completion.chunk"
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": MODEL, "choices": [choice], **fields}


def events(*chunks: dict[str, Any]) -> bytes:
    """Chunks as server-sent events, with the end that the API owes."""
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks) + b"data: [DONE]\n\n"


def said(*words: str) -> bytes:
    """A whole streamed answer that says these words, one event each."""
    begin = chunk({"role": "assistant", "content": ""})
    return events(begin, *(chunk({"content": word}) for word in words), chunk({}, "stop"))


def call_chunks(name: str, arguments: Iterable[str], index: int = 0) -> list[dict[str, Any]]:
    """A streamed tool call, one event for each piece of its arguments."""
    function = {"name": name, "arguments": ""}
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
    pieces = [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in arguments]
    return [chunk({"tool_calls": [first]}), *(chunk(piece) for piece in pieces)]


def completion(message: dict[str, Any], finish: str = "stop") -> bytes:
    """A whole answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    kind = "chat.completion"
    return json.dumps({"id": "chatcmpl-1", "object": kind, "created": 1, "model": MODEL, "choices": [choice]}).encode()


def text_of(stream: bytes, index: int = 0) -> str:
    """The content that a client assembles from a streamed answer."""
    out: list[str] = []
    for event in stream.split(b"\n\n"):
        data = event.removeprefix(b"data: ").strip()
        choices = json.loads(data).get("choices", []) if data not in (b"", b"[DONE]") else []
        out += [choice["delta"].get("content") or "" for choice in choices if choice["index"] == index]
    return "".join(out)
