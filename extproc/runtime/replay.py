"""Driving sessions with recorded streams: the same events, ids, clock readings and memory must give the same replies.

What lives here: the drive, and the comparison with what was recorded. What must not: files, tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.messages import Opinion
from extproc.policy.compiler import CompiledPolicy
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.wire import METADATA_NAMESPACE, BodyMode, BodyModes, Conversation, ProtocolError
from extproc.session import Session

Shape: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event led to. ``aborted``: to failing the stream."""

    replies: tuple[pb.ProcessingResponse, ...] = ()
    aborted: bool = False

    @property
    def shape(self) -> Shape:
        """The kinds and sizes of the replies, without what they say."""
        return shape(None if self.aborted else self.replies)


@dataclass(frozen=True, slots=True)
class Difference:
    """An event whose replies are not those recorded: its position, what it was, and the kinds of both replies."""

    entry: int
    event: str
    recorded: tuple[str, ...]
    replayed: tuple[str, ...]


class Readings:
    """A clock that repeats recorded readings, and stands still when they run out."""

    def __init__(self) -> None:
        self._left: deque[float] = deque()
        self._last = 0.0

    def wind(self, readings: Iterable[float]) -> None:
        """Give what the next readings say; what is left of earlier ones is skipped."""
        self._left = deque(readings)

    def __call__(self) -> float:
        if self._left:
            self._last = self._left.popleft()
        return self._last


class _Memory:
    """A memory of refusals that says what was recorded, whoever is asked about: their names are not kept."""

    cooling = False

    def __call__(self, _consumer: str) -> bool:
        return self.cooling


def drive(recording: rec.Recording, policy: CompiledPolicy) -> Iterator[Outcome]:
    """Replay a recording's events; yield what each leads to. Its recorded replies are not looked at."""
    clock = Readings()
    clock.wind(recording.clock_s)
    modes = body_modes(recording.body_modes) if recording.HasField("body_modes") else None
    memory = _Memory()
    conversation = Conversation(Session(policy, recording.decision_id, clock, memory), modes)
    for entry in recording.entries:
        clock.wind(entry.clock_s)
        memory.cooling = entry.cooling
        try:
            yield _feed(conversation, entry)
        except ProtocolError:
            yield Outcome(aborted=True)


def compare(recording: rec.Recording, policy: CompiledPolicy) -> list[Difference]:
    """Replay a recording; return every event whose replies differ by a byte from those recorded.

    Under another policy than the recording's, the policy's own name and revision in the replies do not count.
    """
    same_policy = recording.policy_revision == policy.revision
    differences: Final[list[Difference]] = []
    for number, (entry, now) in enumerate(zip(recording.entries, drive(recording, policy), strict=True)):
        then = Outcome(tuple(entry.replies), entry.aborted)
        if _bytes(then, same_policy) != _bytes(now, same_policy):
            differences.append(Difference(number, event_name(entry), _kinds(then), _kinds(now)))
    return differences


def shape(replies: Sequence[pb.ProcessingResponse] | None) -> Shape:
    """The kinds and sizes of replies, without what they say; None for failing the stream."""
    if replies is None:
        return (("aborted", 0),)
    return tuple((str(reply.WhichOneof("response")), reply.ByteSize()) for reply in replies)


def event_name(entry: rec.Entry) -> str:
    """What happened, in a word or two."""
    kind = entry.WhichOneof("event")
    if kind == "received":
        return entry.received.WhichOneof("request") or "empty message"
    return f"{kind} {entry.expired or entry.closed}".rstrip()


def body_modes(modes: rec.BodyModes) -> BodyModes:
    """The recorded body modes.

    Raises:
        ValueError: a mode that cannot be guarded.
    """
    return BodyModes(BodyMode(modes.request), BodyMode(modes.response), modes.withhold)


def modes_message(modes: BodyModes) -> rec.BodyModes:
    """The inverse of ``body_modes``."""
    return rec.BodyModes(request=modes.request.value, response=modes.response.value, withhold=modes.withhold)


def opinions_message(opinions: Sequence[Opinion]) -> rec.Opinions:
    """Second opinions, as they are recorded."""
    return rec.Opinions(opinions=[rec.Opinion(score=each.score, skipped=each.skipped) for each in opinions])


def _opinions(message: rec.Opinions) -> tuple[Opinion, ...]:
    """The inverse of ``opinions_message``."""
    return tuple(Opinion(each.score if each.HasField("score") else None, each.skipped) for each in message.opinions)


def _feed(conversation: Conversation, entry: rec.Entry) -> Outcome:
    kind = entry.WhichOneof("event")
    if kind == "received":
        return Outcome(tuple(conversation.receive(entry.received)))
    if kind == "consulted":
        return Outcome(tuple(conversation.consulted(_opinions(entry.consulted))))
    if kind == "expired":
        return Outcome(tuple(conversation.expire(entry.expired)))
    conversation.close(entry.closed)
    return Outcome()


def _bytes(outcome: Outcome, same_policy: bool) -> tuple[bool, list[bytes]]:
    replies = outcome.replies if same_policy else map(_without_policy, outcome.replies)
    return outcome.aborted, [reply.SerializeToString(deterministic=True) for reply in replies]


def _without_policy(reply: pb.ProcessingResponse) -> pb.ProcessingResponse:
    if not reply.HasField("dynamic_metadata"):
        return reply
    bare = pb.ProcessingResponse.FromString(reply.SerializeToString())
    said = bare.dynamic_metadata.fields[METADATA_NAMESPACE].struct_value.fields
    for name in ("policy", "revision"):
        said.pop(name, None)
    return bare


def _kinds(outcome: Outcome) -> tuple[str, ...]:
    return tuple(kind for kind, _ in outcome.shape)
