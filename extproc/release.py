"""The order in which the frames of an answer leave.

What lives here: two stages of waiting and nothing else. What must not: why a frame waits, what is edited in it, bytes.

First stage, the line: a frame with undecided text holds up everything behind it, so an answer in which nothing is found
leaves in the order in which it came. Undecided text is short and soon decided.

Second stage, the lanes: a frame that carries a piece of an undecided tool call holds up its own choices only, since a
call can take long; other choices flow. A frame that names no choice (a comment, a usage frame, the end) is a barrier:
it waits for all frames before it, and all frames after it wait for it.

Every frame is looked at a bounded number of times, however long it waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import Edit, Frame

FRAME_OVERHEAD_BYTES: Final = 128  # what a held frame costs beside its bytes, for the limit on what may be held


@dataclass(slots=True, eq=False)
class Held:
    """A frame on its way out. ``texts`` and ``calls`` count what it waits for: unsettled deltas, undecided calls."""

    frame: Frame
    number: int
    texts: int = 0
    calls: int = 0
    pieces: dict[int, list[tuple[int, int, str]]] = field(default_factory=dict)  # delta index -> (start, end, text)
    edits: list[Edit] = field(default_factory=list)


@dataclass(slots=True)
class _Segment:
    """The frames between two barriers that wait for calls, by choice, and the barrier that ends them once it came."""

    lanes: dict[int, deque[Held]] = field(default_factory=dict)
    waiting: int = 0
    barrier: Held | None = None


class ReleaseQueue:
    """Frames in, in order; frames out, when they may leave."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.waiting = 0  # frames that are held now
        self._added = 0
        self._line: deque[Held] = deque()
        self._segments: deque[_Segment] = deque([_Segment()])
        self._decided = False

    @property
    def cost_bytes(self) -> int:
        """What is held now, with its overhead."""
        return self.held_bytes + self.waiting * FRAME_OVERHEAD_BYTES

    def add(self, frame: Frame, texts: int = 0) -> Held:
        """Let a frame in; it goes to the end of the line."""
        self._added += 1
        held = Held(frame, self._added, texts)
        self._line.append(held)
        self.waiting += 1
        self.held_bytes += len(frame.raw)
        return held

    def decided(self, held: Held) -> None:
        """A call that this frame carries a piece of was allowed."""
        held.calls -= 1
        self._decided = True

    def release(self) -> list[Held]:
        """Take every frame that may leave now, in the order in which they leave."""
        out: list[Held] = []
        if self._decided:
            self._decided = False
            self._drain(out)
        while self._line and not self._line[0].texts:
            self._enter_lanes(self._line.popleft(), out)
        for held in out:
            self.waiting -= 1
            self.held_bytes -= len(held.frame.raw)
        return out

    def _enter_lanes(self, held: Held, out: list[Held]) -> None:
        segment = self._segments[-1]
        choices = held.frame.choices
        free = len(self._segments) == 1
        if choices is None:
            if free and not segment.waiting:
                out.append(held)
            else:
                segment.barrier = held
                self._segments.append(_Segment())
        elif free and not held.calls and not any(segment.lanes.get(choice) for choice in choices):
            out.append(held)
        else:
            segment.waiting += 1
            for choice in choices:
                segment.lanes.setdefault(choice, deque()).append(held)

    def _drain(self, out: list[Held]) -> None:
        """Let go what decided calls held up: of the first segment, and of the next ones as far as barriers fall."""
        while True:
            segment = self._segments[0]
            out += _ready(segment)
            if segment.waiting or segment.barrier is None:
                return
            out.append(segment.barrier)
            self._segments.popleft()


def _ready(segment: _Segment) -> list[Held]:
    """Take the frames at the head of all their lanes that wait for nothing, in the order in which they came."""
    ready: list[Held] = []
    heads = [lane[0] for lane in segment.lanes.values() if lane]
    while heads:
        held = heads.pop()
        lanes = [segment.lanes[choice] for choice in held.frame.choices or ()]
        if held.calls or any(not lane or lane[0] is not held for lane in lanes):
            continue
        ready.append(held)
        segment.waiting -= 1
        for lane in lanes:
            lane.popleft()
            if lane:
                heads.append(lane[0])
    return sorted(ready, key=lambda held: held.number)
