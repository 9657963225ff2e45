"""Deadlines of a stream, with a clock that the test turns."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import cast

from extproc.runtime.transports.base import Deadlines
from extproc.runtime.transports.timers import Timers


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The timers of an event loop, on a clock that stands still unless turned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Handle, Callable[[], object]]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> Handle:
        handle = Handle()
        heapq.heappush(self._timers, (self.now + delay_s, next(self._count), handle, lambda: callback(*args)))
        return handle

    def turn(self, to: float) -> None:
        while self._timers and self._timers[0][0] <= to:
            self.now, _, handle, callback = heapq.heappop(self._timers)
            if not handle.cancelled:
                callback()
        self.now = to

    @property
    def armed(self) -> int:
        return sum(not handle.cancelled for _, _, handle, _ in self._timers)


def _timers() -> tuple[Loop, Timers, list[tuple[float, str]]]:
    loop, expired = Loop(), list[tuple[float, str]]()
    deadlines = Deadlines(decide_s=5, exchange_s=100, idle_s=30)
    timers = Timers(cast("asyncio.AbstractEventLoop", loop), deadlines, lambda what: expired.append((loop.now, what)))
    return loop, timers, expired


def test_silence_is_counted_from_the_last_message() -> None:
    loop, timers, expired = _timers()
    loop.turn(20)
    timers.heard(owes_verdict=False)
    loop.turn(49)
    assert expired == []
    loop.turn(51)
    assert expired == [(50, "idle")]


def test_an_exchange_ends_however_busy_it_is() -> None:
    loop, timers, expired = _timers()
    for second in range(0, 120, 10):
        loop.turn(second)
        timers.heard(owes_verdict=False)
    assert expired == [(100, "exchange")]


def test_the_verdict_is_due_from_the_moment_it_is_owed_not_from_later_messages() -> None:
    loop, timers, expired = _timers()
    loop.turn(10)
    timers.heard(owes_verdict=True)
    loop.turn(14)
    timers.heard(owes_verdict=True)
    loop.turn(16)
    assert expired == [(15, "verdict")]


def test_a_verdict_in_time_leaves_no_deadline_behind() -> None:
    loop, timers, expired = _timers()
    timers.heard(owes_verdict=True)
    loop.turn(4)
    timers.heard(owes_verdict=False)
    loop.turn(29)
    assert expired == []


def test_nothing_is_armed_after_the_end() -> None:
    loop, timers, expired = _timers()
    timers.heard(owes_verdict=True)
    timers.stop()
    assert loop.armed == 0
    loop.turn(200)
    assert expired == []
