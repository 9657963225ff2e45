"""Answers of MCP servers: one JSON-RPC message, or a stream of them; and how an answer is refused or ended.

What a tool returns, and what a server says it offers, is what a model will read: so every text of an answer is judged
as a tool result or a tool definition, each as a whole. What the request did not ask for is a tool result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from extproc.chat import ChatRequest, Denial, Frame, Json, Malformed, Step, TextDelta
from extproc.dialects.answers import BodyDecoder, Render, event_render, line_render, plain_frame
from extproc.dialects.mcp_headers import MISMATCH
from extproc.dialects.mcp_messages import DEFINITIONS, Said, said
from extproc.dialects.members import Members
from extproc.framing import DocumentFramer, Framer, SseFramer
from extproc.strict_json import dump, read_answer

_DENIED: Final = -32001
_INVALID_REQUEST: Final = -32600
_HEADER_MISMATCH: Final = -32020
_REQUEST: Final = 0  # the one choice: a response to the request closes it
_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})


class McpDecoder:
    """Reads one answer, as a stream of messages or as one message."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, streams: bool) -> None:
        self.streams = streams
        self._framer: Framer = SseFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._id = answer_id(request)
        self._defines = request.document.get("method") in DEFINITIONS

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        return map(self._frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the last event: an error for the request, unless it is answered; a log message where none waits."""
        if not self.streams:
            return error(denial, self._id)
        if _REQUEST in closed:
            return b""
        last = dump(_log_message(denial)) if self._id is None else error(denial, self._id)
        return b"event: message\ndata: " + last + b"\n\n"

    def _frame(self, raw: bytes) -> Frame:
        payload = self._framer.payload(raw)
        if payload is None or not payload.strip():  # an event without data gives the client an id to resume from
            return plain_frame(raw)
        message = read_answer(payload)
        if not isinstance(message, dict):
            raise Malformed("the answer is not one JSON-RPC message")
        answers = self._answers(message)
        render = (event_render if self.streams else line_render)(raw, message)
        frame = _frame(raw, render, message, self._id, defines=answers and self._defines)
        whole = not self.streams
        return frame._replace(closes=(_REQUEST,) if answers or whole else (), end=whole)

    def _answers(self, message: Members) -> bool:
        """Whether a message is the response to the request.

        Raises:
            Malformed: readers could disagree about that.
        """
        if any(name not in _MEMBERS and name.casefold() in _MEMBERS for name in message):
            raise Malformed("the answer has a member that differs from a known one only by case")
        outcomes = [name for name in ("result", "error") if name in message]
        if len(outcomes) + ("method" in message) > 1:
            raise Malformed("the answer has a message that is of two kinds")
        if not outcomes or self._id is None:
            return False
        identity = message.get("id")
        # Some clients take any response in a request's stream for its own; an error may not know what it answers.
        if str(identity) != str(self._id) and (identity is not None or outcomes == ["result"]):
            raise Malformed("the answer has a response to another request")
        return True


class ErrorDecoder(BodyDecoder):
    """Reads the body of an HTTP error: a JSON-RPC message, of which a model may be told, or any page as one text."""

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes; give the body's one frame with ``end``."""
        return map(_error_frame, super().feed(data, end))


def _error_frame(frame: Frame) -> Frame:
    try:
        message = read_answer(frame.raw)
    except Malformed:
        return frame
    if not isinstance(message, dict) or "jsonrpc" not in message:
        return frame
    return _frame(frame.raw, frame.render, message, None, defines=False)._replace(closes=(_REQUEST,), end=True)


def _frame(raw: bytes, render: Render, message: Members, own_id: Json, *, defines: bool) -> Frame:
    """The frame of one message. ``defines``: its result tells what the server offers."""
    members = {name: member for name, member in message.items() if name != "id" or str(member) != str(own_id)}
    defined = said(members.pop("result"), ("result",)) if defines and "result" in members else Said()
    other = said(members, ())
    deltas = (*_deltas("tool_definition", defined), *_deltas("tool_result", other))
    unseen = (*defined.not_inspected, *other.not_inspected)
    return Frame(raw, render, deltas, not_inspected=unseen)


def _deltas(channel: str, found: Said) -> Iterator[TextDelta]:
    return (TextDelta((_REQUEST, channel), text.text, text.path, alone=True) for text in found.texts)


# ---- phrasing ----------------------------------------------------------------------------------------------------


def answer_id(request: ChatRequest | None) -> Json:
    """The id that a response to this request carries; None where nobody waits for one."""
    if request is None or "method" not in request.document:
        return None
    return request.document.get("id")


def error(denial: Denial, identity: Json = None) -> bytes:
    """Phrase a JSON-RPC error."""
    code = _DENIED
    if denial.code == "invalid_request":
        code = _HEADER_MISMATCH if denial.message.startswith(MISMATCH) else _INVALID_REQUEST
    details: Json = {"code": code, "message": denial.message, "data": {"decision_id": denial.decision_id}}
    return dump({"jsonrpc": "2.0", "id": identity, "error": details})


def tool_error(denial: Denial, identity: Json) -> bytes:
    """Phrase the result of a tool that failed: its text is what the model is told."""
    content: Json = [{"type": "text", "text": denial.message}]
    result: Json = {"resultType": "complete", "content": content, "isError": True}
    return dump({"jsonrpc": "2.0", "id": identity, "result": result})


def _log_message(denial: Denial) -> Json:
    params: Json = {"level": "error", "logger": "sluicegate", "data": f"[{denial.message}]"}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
