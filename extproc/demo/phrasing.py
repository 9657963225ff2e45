"""Phrase pieces of an answer in the shapes of the OpenAI chat API and of Ollama's, and read them back.

What lives here: wire shapes of well-behaved runtimes, as the demo's stand-in speaks them. The product's dialects are a
different thing and are not used, so that the demo does not prove the gate with the gate's own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from extproc.demo.scripts import Call, Piece, tokens

Json: TypeAlias = dict[str, Any]

_CREATED: Final = 1_767_225_600
_CREATED_AT: Final = "2026-01-01T00:00:00Z"


def openai_stream(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase pieces as chat completion chunks over server-sent events."""
    yield _event(model, {"role": "assistant", "content": ""})
    finish = "stop"
    for piece in pieces:
        if isinstance(piece, str):
            yield _event(model, {"content": piece})
            continue
        finish = "tool_calls"
        function = {"name": piece.name, "arguments": ""}
        yield _event(model, {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        for part in tokens(piece.arguments, 6):
            yield _event(model, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    yield _event(model, {}, finish)
    yield b"data: [DONE]\n\n"


def _event(model: str, delta: Json, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _dump(_completion("chat.completion.chunk", model, choice)) + b"\n\n"


def _completion(kind: str, model: str, choice: Json) -> Json:
    return {"id": "chatcmpl-standin", "object": kind, "created": _CREATED, "model": model, "choices": [choice]}


def openai_whole(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase pieces as one chat completion."""
    text, calls = _gathered(pieces)
    message: Json = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": "call_1", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    yield _dump(_completion("chat.completion", model, choice))


def ollama_chat(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase pieces as the lines of `/api/chat`."""
    for piece in pieces:
        message: Json = {"role": "assistant", "content": piece if isinstance(piece, str) else ""}
        if isinstance(piece, Call):
            message["tool_calls"] = [_ollama_call(piece)]
        yield _line(model, {"message": message})
    yield _line(model, {"message": {"role": "assistant", "content": ""}}, done=True)


def ollama_chat_whole(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase pieces as one `/api/chat` document."""
    text, calls = _gathered(pieces)
    message: Json = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [_ollama_call(call) for call in calls]
    yield _line(model, {"message": message}, done=True)


def ollama_generate(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase the text of pieces as the lines of `/api/generate`."""
    for piece in pieces:
        if isinstance(piece, str):
            yield _line(model, {"response": piece})
    yield _line(model, {"response": ""}, done=True)


def ollama_generate_whole(model: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Phrase the text of pieces as one `/api/generate` document."""
    yield _line(model, {"response": _gathered(pieces)[0]}, done=True)


def _ollama_call(call: Call) -> Json:
    return {"function": {"name": call.name, "arguments": json.loads(call.arguments)}}


def _line(model: str, what: Json, *, done: bool = False) -> bytes:
    line: Json = {"model": model, "created_at": _CREATED_AT, **what, "done": done}
    if done:
        line |= {"done_reason": "stop", "total_duration": 1, "eval_count": 1}
    return _dump(line) + b"\n"


def _gathered(pieces: Iterable[Piece]) -> tuple[str, list[Call]]:
    text, calls = "", []
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        else:
            calls.append(piece)
    return text, calls


def _dump(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# ---- reading back what a runtime said ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """The text and the names of the tools called in an answer, whatever its shape."""

    text: str = ""
    calls: tuple[str, ...] = ()


def said(answer: bytes) -> Said:
    """Read the answer bytes of either API, streamed or not."""
    parts = [_spoken(document) for document in documents(answer)]
    return Said("".join(part.text for part in parts), tuple(name for part in parts for name in part.calls))


def documents(answer: bytes) -> Iterator[Json]:
    """Give the JSON objects of server-sent events, of lines, or of one document."""
    for line in answer.splitlines():
        payload = line.removeprefix(b"data:").strip()
        if payload.startswith(b"{"):
            yield json.loads(payload)


def _spoken(document: Mapping[str, Any]) -> Said:
    choice = (document.get("choices") or [{}])[0]
    message = choice.get("delta") or choice.get("message") or document.get("message") or {}
    text = message.get("content") or document.get("response") or document.get("status") or ""
    names = [call["function"].get("name") for call in message.get("tool_calls") or ()]
    return Said(text, tuple(name for name in names if name))
