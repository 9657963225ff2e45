"""The events of a streamed answer of OpenAI's responses API, read one by one.

A stream says everything more than once: piece by piece, then whole as parts, items and the response at the end. What
comes in pieces speaks on the channels of its item (its choice, numbered by its place in ``output``); what is whole is
judged once more where it stands, so that it leaves edited in the same way. All parts of an item share a channel, as
clients join them; so do the texts, and the parts, that are done. A call is decided when its arguments are done, or its
item. Clients tell items by their place or by their id, and join parts by their number, so those may not disagree.

What is not known here is text of a ``body`` channel. What lives here: what an event says, and which item says it. What
must not: frames, the end of a cut answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from extproc.chat import CallDelta, Channel, Json, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    aside,
    body_text,
    copies,
    identifiers,
    logprobs,
    says_nothing,
    spoken,
    unknown_members,
)
from extproc.dialects.members import Members
from extproc.dialects.responses_end import (
    CREATED,
    ENDED,
    ITEM,
    ITEM_DONE,
    PART,
    PART_DONE,
)
from extproc.dialects.responses_items import Said, beside, output_of, read_item, read_part, repeated
from extproc.dialects.untrusted import NAME, is_base64

_PIECES: Final = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning.delta": "reasoning",
    "response.reasoning_summary.delta": "summary",
}
_WHOLES: Final = {
    "response.output_text.done": ("text", "content"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.reasoning_text.done": ("text", "reasoning"),
    "response.reasoning_summary_text.done": ("text", "summary"),
    "response.reasoning.done": ("text", "reasoning"),
    "response.reasoning_summary.done": ("text", "summary"),
}
_CALL_PIECES: Final = {
    "response.function_call_arguments.delta": "delta",
    "response.custom_tool_call_input.delta": "delta",
    "response.mcp_call_arguments.delta": "delta",
    "response.code_interpreter_call_code.delta": "delta",
    "response.shell_call_command.added": "command",
    "response.shell_call_command.delta": "delta",
}
_CALL_WHOLES: Final = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
    "response.mcp_call_arguments.done": "arguments",
    "response.code_interpreter_call_code.done": "code",
    "response.shell_call_command.done": "command",
}
_PARTS_ADDED: Final = frozenset(
    {"response.content_part.added", "response.reasoning_summary_part.added", "response.reasoning_part.added"}
)
_PARTS_DONE: Final = frozenset(
    {"response.content_part.done", "response.reasoning_summary_part.done", "response.reasoning_part.done"}
)
_ADDED: Final = "response.output_item.added"
_DONE: Final = "response.output_item.done"
_BEGINNINGS: Final = frozenset({"response.created", "response.queued"})
ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
LIFE: Final = frozenset({*_BEGINNINGS, *ENDS, "response.in_progress"})
_MEDIA: Final = {
    "response.image_generation_call.partial_image": ("partial_image_b64", "image"),
    "response.audio.delta": ("delta", "audio"),
}
_TRANSCRIPT: Final = "response.audio.transcript.delta"
_PARTS: Final = frozenset({"response.content_part.added", "response.content_part.done"})
_OF_ITEMS: Final = frozenset({*_PIECES, *_CALL_PIECES, *_CALL_WHOLES})
_IDENTIFIERS: Final = ("item_id", "obfuscation")
_ID: Final = re.compile(r"(?:resp|msg|rs|fc|item)_[A-Za-z0-9-]{0,64}")
CHOICES_MAX: Final = 1024  # of one answer: each costs memory until its end, and no API gives as many
_REPEATS: Final = 1 << 16  # where the numbers of choices begin that exist only to judge a repeated text
_REPEATS_MAX: Final = 8192
_STEPS_MAX: Final = 8192


@dataclass(slots=True)
class Event:
    """One event and what it says. ``known``: the members that were read; what they do not name is ``body`` text."""

    members: Members
    kind: str
    choice: int
    known: set[str]
    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class EventReader:
    """Reads the events of one stream, and remembers which item is which. ``kinds`` of tools the request declared."""

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds: Final = kinds
        self._choices = 0  # as many are known
        self._last = 0  # the choice that spoke last
        self._ids: dict[str, int] = {}  # items by id
        self._names: dict[int, str] = {}  # what the call of a choice would run
        self._open: set[int] = set()  # choices with a call that is not decided
        self._done: set[int] = set()
        self._parts: dict[Channel, int] = {}  # the part that speaks
        self._unseen: dict[int, Counter[str]] = {}  # what nobody can read, by choice
        self._repeats = 0
        self._steps = 0

    def read(self, members: Members, kind: str) -> Event:
        """Read one event of this type.

        Raises:
            Malformed: it says something in a form that cannot be read, or there are too many of them.
        """
        event = Event(members, kind, self._choice_of(members, kind), {"type", *_IDENTIFIERS})
        self._read(event)
        self._read_rest(event)
        self._steps += len(event.steps)
        if self._steps > _STEPS_MAX:
            raise Malformed("the answer has more items than allowed")
        return event

    def _read(self, event: Event) -> None:
        kind = event.kind
        if kind in _PIECES:
            self._read_piece(event, _PIECES[kind])
        elif kind in _WHOLES:
            member, channel = _WHOLES[kind]
            event.known.add(member)
            self._go_on(event, list(_with_logprobs(event, member, channel)), "text")
        elif kind in _CALL_PIECES:
            self._read_call_piece(event, _CALL_PIECES[kind])
        elif kind in _CALL_WHOLES:
            self._read_call_whole(event, _CALL_WHOLES[kind])
        elif kind in (_ADDED, _DONE):
            self._read_item(event)
        elif kind in _PARTS_ADDED or kind in _PARTS_DONE:
            self._read_part(event)
        elif kind in LIFE:
            self._read_life(event)
        elif kind in _MEDIA:
            self._read_media(event)
        elif kind == _TRANSCRIPT:
            event.known.add("delta")
            event.deltas += spoken(aside(event.choice), "content", event.members.get("delta"), ("delta",))
        else:
            self._read_unknown(event)

    def _read_unknown(self, event: Event) -> None:
        """Read an event of another type. What it calls an item or a response may be taken for one."""
        event.known.add("delta")
        event.deltas.append(TextDelta((aside(event.choice), "body"), event.kind, ("type",), alone=True))
        event.deltas += spoken(aside(event.choice), "body", event.members.get("delta"), ("delta",))
        item, response = event.members.get("item"), event.members.get("response")
        if isinstance(item, dict):
            event.known.add("item")
            self._add_repeated(event, read_item(item, ("item",), event.choice, self._kinds), event.choice)
        if isinstance(response, dict):
            self._read_life(event)

    def _read_piece(self, event: Event, channel: str) -> None:
        event.known.add("delta")
        number = event.members.get("summary_index" if channel == "summary" else "content_index")
        if number is not None:
            if type(number) is not int or number < self._parts.get((event.choice, channel), number):
                raise Malformed("the answer goes on with a part that it had left")
            self._parts[event.choice, channel] = number
        event.deltas += _with_logprobs(event, "delta", channel)

    def _read_call_piece(self, event: Event, member: str) -> None:
        event.known.add(member)
        text = event.members.get(member)
        if not isinstance(text, str):
            raise Malformed("the answer has a tool call whose name or arguments cannot be read")
        name = "" if event.choice in self._open else self._names.get(event.choice, "")
        self._open.add(event.choice)
        event.calls.append(CallDelta(event.choice, 0, name, text, (member,)))

    def _read_call_whole(self, event: Event, member: str) -> None:
        event.known |= {member, "name"}
        text, name = event.members.get(member), event.members.get("name")
        if not isinstance(text, str) or not isinstance(name, str | None):
            raise Malformed("the answer has a tool call whose name or arguments cannot be read")
        if event.choice in self._open:
            self._open.remove(event.choice)
            event.calls.append(CallDelta(event.choice, 0, "", "", (member,), whole=True))
        names = {each for each in (name, self._names.get(event.choice)) if each} or {""}
        for index, each in enumerate(sorted(names), start=1):
            event.calls.append(CallDelta(event.choice, index, each, text, (member,), whole=True, again=True))

    def _read_item(self, event: Event) -> None:
        event.known.add("item")
        item = event.members.get("item")
        if item is None:  # some servers announce an item that does not come
            return
        said = read_item(item, ("item",), event.choice, self._kinds)
        assert isinstance(item, dict)
        identity, kind = item.get("id"), str(item.get("type"))
        if event.kind == _DONE:
            self._add_repeated(event, said, event.choice)
            self._open.discard(event.choice)  # which is decided because its choice closes
            self._done.add(event.choice)
            event.closes.append(event.choice)
            event.steps.append((ITEM_DONE, event.choice))
            return
        event.deltas += said.deltas
        self._see(event, said, event.choice)
        if said.calls:
            self._names[event.choice] = said.calls[0].name
        for index, piece in enumerate(said.calls):
            if piece.structured:  # it stands here whole, and once more in the end
                event.calls.append(replace(piece, index=index + 1, again=True))
            else:
                self._open.add(event.choice)
                event.calls.append(replace(piece, whole=False, id=str(item.get("call_id") or identity or "")))
        event.steps.append((ITEM, event.choice, label(identity) or f"item_{event.choice}", kind))

    def _read_part(self, event: Event) -> None:
        event.known.add("part")
        part = event.members.get("part")
        said = read_part(part, ("part",), event.choice)
        if event.kind in _PARTS_DONE:
            self._go_on(event, said.deltas, "part")
            self._see(event, said, event.choice)
            if event.kind in _PARTS:
                event.steps.append((PART_DONE, event.choice))
            return
        event.deltas += said.deltas
        self._see(event, said, event.choice)
        if event.kind in _PARTS:
            kind = part.get("type") if isinstance(part, dict) else None
            event.steps.append((PART, event.choice, label(kind)))

    def _read_life(self, event: Event) -> None:
        """Read an event that carries the whole response. What a created one says is gone on with by what follows."""
        event.known.add("response")
        if event.kind in _BEGINNINGS:
            event.steps.append((CREATED,))
        if event.kind in ENDS:
            event.steps.append((ENDED,))
        response = event.members.get("response")
        if not isinstance(response, dict):
            self._repeat(event, list(body_text(response, ("response",), aside(event.choice))))
            return
        for position, item in enumerate(output_of(response)):
            identity = item.get("id") if isinstance(item, dict) else None
            choice = self._ids.get(identity, position) if isinstance(identity, str) else position
            said = read_item(item, ("response", "output", position), self._known(choice), self._kinds)
            if event.kind in _BEGINNINGS:
                event.deltas += said.deltas
                event.calls += said.calls
                self._see(event, said, choice)
            else:
                self._add_repeated(event, said, choice)
        self._repeat(event, list(beside(response, ("response",), event.choice)))

    def _read_media(self, event: Event) -> None:
        member, kind = _MEDIA[event.kind]
        data = event.members.get(member)
        if isinstance(data, str) and is_base64(data):
            event.known.add(member)
            event.unseen.append(kind)

    def _read_rest(self, event: Event) -> None:
        """Read the members that no reader knew. Beside a piece of text they stand alone, and do not part it."""
        event.deltas += identifiers(event.members, _IDENTIFIERS, (), event.choice)
        rest = {
            name: value
            for name, value in event.members.items()
            if name not in event.known and (isinstance(value, str | list | dict) or not NAME.fullmatch(name))
        }
        if not rest:
            return
        pieces = "delta" in event.members
        for delta in unknown_members(rest, frozenset(), (), event.choice, pieces=not pieces):
            if not pieces or delta.drop:
                event.deltas.append(delta)
            elif delta.text != "\n":
                event.deltas.append(delta._replace(alone=True))
        event.deltas += copies(event.deltas)

    # ---- what is said again ----

    def _add_repeated(self, event: Event, said: Said, choice: int) -> None:
        self._repeat(event, said.deltas)
        event.calls += [replace(piece, index=at, again=True) for at, piece in enumerate(said.calls, start=1)]
        self._see(event, said, choice)

    def _see(self, event: Event, said: Said, choice: int) -> None:
        """Note what nobody can read, unless it was noted before."""
        seen, now = self._unseen.get(choice, Counter()), Counter(said.unseen)
        event.unseen += (now - seen).elements()
        self._unseen[choice] = seen | now

    def _go_on(self, event: Event, deltas: list[TextDelta], form: str) -> None:
        """Repeat a text, or a part, that goes on with those before it as long as its item is not done."""
        rest = []
        for delta in deltas:
            choice, name = delta.channel
            if delta.drop or choice < 0 or choice in self._done:
                rest.append(delta)
            else:
                event.deltas.append(delta._replace(channel=(choice, f"{name}.{form}"), again=True))
        self._repeat(event, rest)

    def _repeat(self, event: Event, deltas: list[TextDelta]) -> None:
        texts, own = repeated(deltas, self._fresh)
        event.deltas += texts
        event.closes += own

    def _fresh(self) -> int:
        self._repeats += 1
        if self._repeats > _REPEATS_MAX:
            raise Malformed("the answer says too much more than once")
        return _REPEATS + self._repeats

    # ---- which item is which ----

    def _choice_of(self, event: Members, kind: str) -> int:
        """The item that an event speaks of: by its place in the output, else by its id, else the last one."""
        index = event.get("output_index")
        item = event.get("item")
        identity = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if index is not None:
            if type(index) is not int or index < 0:
                raise Malformed("the answer has an 'output_index' that is not one")
            choice = index
            if kind in _OF_ITEMS and self._ids.get(str(identity), choice) != choice:
                raise Malformed("the answer has an 'item_id' that is another item's")
        elif isinstance(identity, str) and identity in self._ids:
            choice = self._ids[identity]
        else:
            choice = self._choices if kind == _ADDED else self._last
        if kind == _ADDED and isinstance(identity, str) and identity:
            self._ids[identity] = choice
        if kind == _ADDED or choice != self._last:
            self._last = self._known(choice)
        return choice

    def _known(self, choice: int) -> int:
        self._choices = max(self._choices, choice + 1)
        if self._choices > CHOICES_MAX or len(self._ids) > CHOICES_MAX:
            raise Malformed("the answer has more items than allowed")
        return choice


def _with_logprobs(event: Event, member: str, channel: str) -> Iterator[TextDelta]:
    """The text of an event and its copy in tokens."""
    event.known |= {member, "logprobs"}
    yield from spoken(event.choice, channel, event.members.get(member), (member,))
    if event.members.get("logprobs"):
        yield from logprobs(event.choice, event.members["logprobs"], ("logprobs",))


def label(value: Json) -> str:
    """A kind or an id that the end of an answer may say once more: a rule may have edited it, so no other one."""
    return value if isinstance(value, str) and (says_nothing(value) or _ID.fullmatch(value)) else ""
