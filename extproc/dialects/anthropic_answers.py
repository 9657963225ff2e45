"""Phrasing answers of Anthropic's Messages API: errors, whole messages, and the end of a running stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from extproc.chat import Denial, Json, Step
from extproc.strict_json import dump

_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_NOTHING_SPENT: Final[Mapping[str, Json]] = {"input_tokens": 0, "output_tokens": 0}
_REFUSED: Final[Mapping[str, Json]] = {"stop_reason": "refusal", "stop_sequence": None}

Head = Mapping[str, Json]
"""What identifies a message: its ``id`` and ``model``."""


def error(denial: Denial) -> bytes:
    """Phrase an error body. The SDKs go by the status; people and logs by ``type``."""
    kind = _ERRORS.get(denial.status, "api_error" if denial.status >= 500 else "invalid_request_error")
    details: Json = {"type": kind, "message": denial.message}
    return dump({"type": "error", "error": details, "request_id": denial.decision_id})


def answer_head(model: str, denial: Denial) -> Head:
    """What identifies a message that no upstream has begun, or whose beginning has not left."""
    return {"id": f"msg_{denial.decision_id}", "model": model}


def whole_answer(head: Head, text: str) -> bytes:
    """A message that says ``text`` and ends with ``refusal``. Clients fail on one without content."""
    return dump({**_message(head), "content": [{"type": "text", "text": text}], **_REFUSED})


def streamed_answer(head: Head, text: str) -> bytes:
    """The same as a stream."""
    return ended(head, text, ())


def ended(head: Head, text: str, steps: Sequence[Step]) -> bytes:
    """The events that end a stream of which the client has seen ``steps`` (see ``anthropic_events``).

    The text goes on in the open text block if there is one, else into a new block behind those seen.
    """
    begun = {step[0] for step in steps}
    events: list[bytes] = []
    if "ended" in begun:
        return b""
    if "message" not in begun:
        events.append(_event("message_start", message=_message(head)))
    if "reason" not in begun:
        events += _notice(text, steps)
        events.append(_event("message_delta", delta=dict(_REFUSED), usage={"output_tokens": 0}))
    return b"".join([*events, _event("message_stop")])


def _notice(text: str, steps: Sequence[Step]) -> list[bytes]:
    """The events that say the text and close all blocks."""
    stopped = {index for name, index, *_ in _located(steps) if name == "stop"}
    blocks = [(index, rest[0]) for name, index, *rest in _located(steps) if name == "start"]
    unstopped = [(index, kind) for index, kind in blocks if index not in stopped]
    speaking = next((index for index, kind in unstopped if kind == "text"), None)
    stops = [_event("content_block_stop", index=index) for index, _ in unstopped]
    if speaking is not None:
        return [_said(speaking, text), *stops]
    there = [step[1] for step in steps if step[0] == "message"]  # blocks that were in the message from the start
    following = max([*(int(count) for count in there), *(index + 1 for index, _ in blocks)], default=0)
    start = _event("content_block_start", index=following, content_block={"type": "text", "text": ""})
    return [*stops, start, _said(following, text), _event("content_block_stop", index=following)]


def _located(steps: Sequence[Step]) -> list[tuple[str, int, str]]:
    return [(str(name), int(rest[0]), str(rest[-1])) for name, *rest in steps if name in ("start", "stop")]


def _said(index: int, text: str) -> bytes:
    return _event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def _message(head: Head) -> dict[str, Json]:
    return {
        "id": head["id"],
        "type": "message",
        "role": "assistant",
        "model": head["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict(_NOTHING_SPENT),
    }


def _event(kind: str, **members: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + dump({"type": kind, **members}) + b"\n\n"
