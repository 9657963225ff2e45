"""Answers of Ollama's chat and generate: JSON lines or one document, and phrasing the end of a running answer.

Chat says ``message``, generate says ``response``; all else is the same. The token ids of ``context``, in generate's
last line, repeat the whole conversation in a form that no detector reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import CallDelta, ChatRequest, Denial, Frame, Json, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    aside,
    body_text,
    copies,
    copy_of,
    identifiers,
    labels,
    line_render,
    listed_call,
    logprobs,
    plain_frame,
    repeatable,
    spoken,
    unknown_members,
)
from extproc.dialects.members import Members
from extproc.dialects.templates import Reading, Templates
from extproc.framing import DocumentFramer, Framer, LineFramer
from extproc.strict_json import dump, read_answer

_HEAD: Final = ("model", "created_at")
_LINE: Final = frozenset(
    {*_HEAD, "message", "response", "thinking", "tool_calls", "logprobs", "context", "done", "done_reason"}
)
_MESSAGE: Final = frozenset({"role", "content", "thinking", "tool_calls"})
_NO_TIME: Final = "1970-01-01T00:00:00Z"  # there is no clock here, and clients parse the member


class LinesDecoder:
    """Reads one answer, as lines or as a document, and remembers what its cut-off needs."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, chat: bool, streams: bool) -> None:
        self.streams = streams
        self._chat = chat
        self._framer: Framer = LineFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._templates = Templates(self._read, "created_at")
        self._head: dict[str, Json] = answer_head(request.model)
        self._calls = 0

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        for raw in self._framer.feed(data, end):
            yield self._templates.frame(raw) or self._frame(raw)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase a last visible line and the end. Never an ``error`` line: several clients swallow it."""
        if closed:  # the last line has left
            return b""
        if self.streams:
            return streamed_answer(self._last_head(), f"\n\n[{denial.message}]", chat=self._chat)
        return whole_answer(self._head, denial.message, chat=self._chat)

    def _frame(self, raw: bytes) -> Frame:
        frame, line = self._read(raw)
        self._calls += len(frame.calls)
        if isinstance(line, dict):
            self._remember(line)
            if self.streams:
                self._templates.learn(frame, line)
        return frame

    def _remember(self, line: Members) -> None:
        told = repeatable(line, _HEAD)
        if told.get("model", self._head["model"]) != self._head["model"]:
            self._templates.forget()  # so that those known are of this model
        if "created_at" in told:
            self._templates.varied = None
        self._head |= told

    def _last_head(self) -> dict[str, Json]:
        varied = self._templates.varied
        return self._head if varied is None else {**self._head, "created_at": varied}

    def _read(self, raw: bytes) -> Reading:
        """Read a frame. What it means depends on those before it in the numbers of its calls alone."""
        payload = self._framer.payload(raw)
        if payload is None:
            return plain_frame(raw), None
        line = read_answer(payload)
        if not isinstance(line, dict):
            raise Malformed("the answer is not a JSON object")
        speech = self._read_line(line)
        closes = (0,) if line.get("done") is True or not self.streams else ()
        frame = Frame(
            raw,
            line_render(raw, line),
            tuple(speech.deltas),
            tuple(speech.calls),
            frozenset({0}),
            closes,
            bool(closes),
        )
        return frame, line

    def _read_line(self, line: Members) -> _Speech:
        speech = _Speech()
        # What is not this API's own speaks on channels of its own.
        own, foreign = 0, aside(0)
        message = line.get("message")
        if not isinstance(message, dict | None):
            raise Malformed("the answer has a 'message' that is not an object")
        message = message or {}
        generated = self._read_speaker(speech, line, "response", (), foreign if self._chat else own)
        chatted = self._read_speaker(speech, message, "content", ("message",), own if self._chat else foreign)
        if generated and chatted and self.streams:
            raise Malformed("the answer has a line with both a 'response' and a 'message'")
        speech.deltas += identifiers(line, _HEAD, (), 0)
        speech.deltas += labels(line, ("done_reason", "done"), (), 0)
        speech.deltas += labels(message, ("role",), ("message",), 0)
        speech.deltas += unknown_members(line, _LINE, (), 0, pieces=self.streams)
        speech.deltas += unknown_members(message, _MESSAGE, ("message",), 0, pieces=self.streams)
        speech.deltas += logprobs(0, line.get("logprobs"), ("logprobs",))
        if "context" in line:
            speech.deltas.append(copy_of((0, "logprobs"), ("context",)))
            speech.deltas += body_text(line["context"], ("context",), foreign)
        speech.deltas += copies(speech.deltas)
        return speech

    def _read_speaker(self, speech: _Speech, members: Members, content: str, path: JsonPath, choice: int) -> bool:
        """Read what generate says at the top and chat in its message; say whether it says anything."""
        before = len(speech.deltas) + len(speech.calls)
        speech.deltas += spoken(choice, "content", members.get(content), (*path, content))
        speech.deltas += spoken(choice, "reasoning", members.get("thinking"), (*path, "thinking"))
        calls = members.get("tool_calls") or []
        if not isinstance(calls, list):
            raise Malformed("the answer has 'tool_calls' that are not an array")
        # Each comes whole, and those of different lines are different calls: they are counted through.
        first = self._calls + len(speech.calls)
        for position, entry in enumerate(calls):
            piece, texts = listed_call(entry, choice, first + position, (*path, "tool_calls", position), whole=True)
            speech.calls.append(piece)
            speech.deltas += texts
        return len(speech.deltas) + len(speech.calls) > before


@dataclass(slots=True)
class _Speech:
    """What one line or document says."""

    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)


def answer_head(model: str) -> dict[str, Json]:
    """What identifies an answer that no upstream has begun."""
    return {"model": model, "created_at": _NO_TIME}


def whole_answer(head: dict[str, Json], text: str, *, chat: bool) -> bytes:
    """A document that says ``text`` and is done."""
    return dump({**head, **_said(text, chat=chat), "done": True, "done_reason": "content_filter"})


def streamed_answer(head: dict[str, Json], text: str, *, chat: bool) -> bytes:
    """The same as the last two lines of a stream."""
    return dump({**head, **_said(text, chat=chat), "done": False}) + b"\n" + whole_answer(head, "", chat=chat) + b"\n"


def _said(text: str, *, chat: bool) -> dict[str, Json]:
    return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
