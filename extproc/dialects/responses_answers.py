"""Answers of OpenAI's responses API: a document or a stream as frames, and its cut-off.

Clients rely on the order of events, so all frames are one lane: nothing overtakes a call that waits for its end.

What lives here: frames. What must not: what an event (``responses_events``) or an item (``responses_items``) says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from extproc.chat import CallDelta, ChatRequest, Denial, Frame, Json, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    Render,
    body_text,
    copies,
    event_render,
    line_render,
    plain_frame,
    token_ids,
)
from extproc.dialects.members import Members
from extproc.dialects.responses_end import Head, rest_of_stream, whole_answer
from extproc.dialects.responses_events import CHOICES_MAX, ENDS, LIFE, EventReader, label
from extproc.dialects.responses_items import beside, output_of, read_item
from extproc.framing import DocumentFramer, Framer, SseFramer
from extproc.strict_json import read_answer

_LANE: Final = frozenset({0})
_NUMBER_MAX: Final = 1 << 53
_UNNAMED: Final = frozenset({"", "message"})  # what an event is called that has no name


class ResponsesDecoder:
    """Reads one answer, as a stream or as a document, and remembers which item is which and what its cut-off needs."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, streams: bool) -> None:
        self.streams = streams
        self._model: Final = request.model
        self._kinds: Final = frozenset(tool.kind for tool in request.tools)
        self._framer: Framer = SseFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._id = ""
        self._created_at = 0
        self._number = 0  # of the next event that we would write
        self._events: Final = EventReader(self._kinds)

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        for raw in self._framer.feed(data, end):
            yield self._frame(raw)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the last events, as ``responses_end`` says; ``steps`` alone tell what the client has seen."""
        head = Head(self._id or f"resp_{denial.decision_id}", self._created_at, self._model)
        if not self.streams:
            return whole_answer(head, denial)
        return rest_of_stream(head, denial, steps, self._number)

    def _frame(self, raw: bytes) -> Frame:
        payload = self._framer.payload(raw)
        if payload is None:
            return plain_frame(raw)
        if self.streams and payload.strip() == b"[DONE]":
            return plain_frame(raw, end=True)
        answer = read_answer(payload)
        if not self.streams:
            return self._document(raw, answer)
        render = event_render(raw, answer)
        kind = _kind(raw, answer)
        if not isinstance(answer, dict) or not isinstance(kind, str):
            return _foreign(raw, render, answer)
        self._count(answer)
        if kind in LIFE and isinstance(response := answer.get("response"), dict):
            self._remember(response)
        event = self._events.read(answer, kind)
        return Frame(
            raw,
            render,
            tuple(event.deltas),
            tuple(event.calls),
            _LANE,
            tuple(event.closes),
            kind in ENDS,
            tuple(event.steps),
            tuple(event.unseen),
        )

    def _count(self, event: Members) -> None:
        number = event.get("sequence_number")
        if isinstance(number, int) and 0 <= number < _NUMBER_MAX:
            self._number = max(self._number, number)
        self._number += 1

    def _remember(self, response: Members) -> None:
        identity, created = response.get("id"), response.get("created_at")
        if not self._id and isinstance(identity, str):
            self._id = label(identity)
        if isinstance(created, int | float) and 0 <= created < _NUMBER_MAX:
            self._created_at = int(created)

    # ---- documents ----

    def _document(self, raw: bytes, answer: Json) -> Frame:
        render = line_render(raw, answer)
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            return _foreign(raw, render, answer)._replace(closes=(0,), end=True)
        self._remember(answer)
        deltas: list[TextDelta] = []
        calls: list[CallDelta] = []
        unseen: list[str] = []
        output = output_of(answer)
        if len(output) > CHOICES_MAX:
            raise Malformed("the answer has more items than allowed")
        for position, item in enumerate(output):
            said = read_item(item, ("output", position), position, self._kinds)
            deltas += said.deltas
            calls += said.calls
            unseen += said.unseen
        deltas += beside(answer, (), 0)
        deltas += copies(deltas)
        closes = tuple(range(max(len(output), 1)))
        return Frame(raw, render, tuple(deltas), tuple(calls), _LANE, closes, True, (), tuple(unseen))


def _kind(raw: bytes, answer: Json) -> Json:
    """An event's type. Some clients go by its name instead, so where there are both they are the same.

    Raises:
        Malformed: they are not.
    """
    kind = answer.get("type") if isinstance(answer, dict) else None
    for line in raw.splitlines():
        field, _, value = line.partition(b":")
        name = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"event" and name not in _UNNAMED and name != kind:
            if kind is not None:
                raise Malformed("the answer has an event whose name is not its type")
            kind = name
    return kind


def _foreign(raw: bytes, render: Render, answer: Json) -> Frame:
    """What is neither an event nor a response: an error, a ping."""
    ids = token_ids(answer, (), 0) if isinstance(answer, dict) else ()
    return Frame(raw, render, (*body_text(answer), *ids), (), _LANE)
