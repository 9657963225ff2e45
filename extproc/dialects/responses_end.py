"""How an answer of OpenAI's responses API is ended, or made up, so that every client shows the message.

A running stream: the notice is a piece of text in the open message, or in a message of its own; what the client has
seen opened is closed; then comes ``response.incomplete`` with the reason ``content_filter``. The texts that ``done``
events repeat are not known here (they may have been edited), so those hold the notice, or nothing. A call that is open
is left open: clients run what is done.

A whole answer is a message with one part of text, ``incomplete`` for the same reason: a part ``refusal`` would be shown
empty by clients that read ``output_text``. Streamed, it is carried by ``response.completed``, because the SDK's stream
helper raises at the end of every stream without one.

What lives here: bytes that we phrase. What must not: what the upstream said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from extproc.chat import Denial, Json, Step
from extproc.strict_json import dump

# What a client knows of once a frame has left; the first word of a step.
CREATED: Final = "created"
ITEM: Final = "item"  # + output index, id, type
PART: Final = "part"  # + output index, type
PART_DONE: Final = "part_done"  # + output index
ITEM_DONE: Final = "item_done"  # + output index
ENDED: Final = "ended"

_FILTERED: Final[dict[str, Json]] = {"reason": "content_filter"}


class Head(NamedTuple):
    """What identifies an answer. There is no clock here to say when it was created."""

    id: str
    created_at: int
    model: str


@dataclass(slots=True)
class _Item:
    """An item that a client has seen. ``parts`` are their types; only the last one can be open."""

    id: str
    kind: str
    parts: list[str] = field(default_factory=list)
    open_part: bool = False
    done: bool = False


@dataclass(slots=True)
class _Events:
    """The events that we write, numbered from ``number`` on."""

    number: int
    out: list[bytes] = field(default_factory=list)

    def add(self, kind: str, **members: Json) -> None:
        event: Json = {"type": kind, "sequence_number": self.number, **members}
        self.out.append(b"event: " + kind.encode() + b"\ndata: " + dump(event) + b"\n\n")
        self.number += 1


def response(head: Head, status: str, output: Sequence[Json]) -> dict[str, Json]:
    """A response object with every member that the API's clients require."""
    return {
        "id": head.id,
        "object": "response",
        "created_at": head.created_at,
        "status": status,
        "error": None,
        "incomplete_details": _FILTERED if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": head.model,
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": _NOTHING_USED if status == "incomplete" else None,
    }


_NOTHING_USED: Final[dict[str, Json]] = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def whole_answer(head: Head, denial: Denial, kind: str = "output_text") -> bytes:
    """A document that says the message, as a part of this kind (``output_text`` or ``refusal``)."""
    said: dict[str, Json] = {**_message(_message_id(denial)), "content": [_part(kind, denial.message)]}
    return dump(response(head, "incomplete", [said]))


def streamed_answer(head: Head, denial: Denial) -> bytes:
    """The same as a stream."""
    events = _Events(0)
    _begin(events, head)
    said = _notice(events, {}, _message_id(denial), denial.message)
    events.add("response.completed", response=response(head, "incomplete", [said]))
    return b"".join(events.out)


def rest_of_stream(head: Head, denial: Denial, steps: Sequence[Step], number: int) -> bytes:
    """The last events of a running stream, of which a client has seen ``steps``; ours are numbered from ``number``."""
    if (ENDED,) in steps:
        return b""
    events = _Events(number)
    if (CREATED,) not in steps:
        _begin(events, head)
    said = _notice(events, _items(steps), _message_id(denial), f"\n\n[{denial.message}]")
    events.add("response.incomplete", response={**response(head, "incomplete", [said]), "usage": None})
    return b"".join(events.out)


def _items(steps: Sequence[Step]) -> dict[int, _Item]:
    items: dict[int, _Item] = {}
    for step in steps:
        match step:
            case (str(what), int(index), str(identity), str(kind)) if what == ITEM:
                items[index] = _Item(identity, kind)
            case (str(what), int(index), str(kind)) if what == PART and index in items:
                items[index].parts.append(kind)
                items[index].open_part = True
            case (str(what), int(index)) if what == PART_DONE and index in items:
                items[index].open_part = False
            case (str(what), int(index)) if what == ITEM_DONE and index in items:
                items[index].done = True
    return items


def _begin(events: _Events, head: Head) -> None:
    for status in ("created", "in_progress"):
        events.add(f"response.{status}", response=response(head, "in_progress", []))


def _notice(events: _Events, items: dict[int, _Item], own_id: str, text: str) -> Json:
    """Say the text in the last open message, or in one of its own; close what is open. Returns that message."""
    open_items = {index: item for index, item in items.items() if not item.done}
    messages = [index for index, item in open_items.items() if item.kind == "message"]
    place = max(messages) if messages else max(items, default=-1) + 1
    for index, other in open_items.items():
        if index != place:
            _close(events, index, other)
    item = open_items.get(place)
    if item is None:
        item = _Item(own_id, "message")
        added: Json = {**_message(own_id), "status": "in_progress"}
        events.add("response.output_item.added", output_index=place, item=added)
    if item.open_part and item.parts[-1] != "output_text":
        _close_part(events, place, item, "")
    if not item.open_part:
        item.parts.append("output_text")
        item.open_part = True
        events.add("response.content_part.added", **_at(place, item), part=_part("output_text", ""))
    events.add("response.output_text.delta", **_at(place, item), delta=text, logprobs=[])
    _close_part(events, place, item, text)
    said = _message(item.id, text)
    events.add("response.output_item.done", output_index=place, item=said)
    return said


def _close(events: _Events, index: int, item: _Item) -> None:
    """End an open item that does not carry the notice. One that is a call, or unknown, is left as it is."""
    if item.open_part:
        _close_part(events, index, item, "")
    if item.kind == "message":
        events.add("response.output_item.done", output_index=index, item=_message(item.id, ""))
    elif item.kind == "reasoning":
        ended: Json = {"id": item.id, "type": "reasoning", "summary": [], "status": "incomplete"}
        events.add("response.output_item.done", output_index=index, item=ended)


def _close_part(events: _Events, index: int, item: _Item, text: str) -> None:
    kind = item.parts[-1]
    place = _at(index, item)
    if kind == "output_text":
        events.add("response.output_text.done", **place, text=text, logprobs=[])
    elif kind == "refusal":
        events.add("response.refusal.done", **place, refusal=text)
    events.add("response.content_part.done", **place, part=_part(kind, text))
    item.open_part = False


def _at(index: int, item: _Item) -> dict[str, Json]:
    """Where the last part of an item stands."""
    return {"item_id": item.id, "output_index": index, "content_index": len(item.parts) - 1}


def _message(identity: str, text: str | None = None) -> dict[str, Json]:
    content: list[Json] = [] if text is None else [_part("output_text", text)]
    return {"id": identity, "type": "message", "role": "assistant", "status": "incomplete", "content": content}


def _part(kind: str, text: str) -> dict[str, Json]:
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "text": text}


def _message_id(denial: Denial) -> str:
    return f"msg_{denial.decision_id}"
