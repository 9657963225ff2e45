"""The deadlines of one stream, as loop timers: Envoy has none of its own in FULL_DUPLEX_STREAMED.

Per message this costs one clock reading: the timers are not re-armed by traffic, they look at it when they fire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from extproc.runtime.transports.base import Deadlines


class Timers:
    """Calls ``expired`` with ``verdict``, ``idle`` or ``exchange`` when that deadline passes."""

    __slots__ = ("_deadlines", "_exchange", "_expired", "_heard_at", "_idle", "_loop", "_verdict")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, expired: Callable[[str], None]) -> None:
        self._loop: Final = loop
        self._deadlines: Final = deadlines
        self._expired: Final = expired
        self._heard_at = loop.time()
        self._exchange = loop.call_later(deadlines.exchange_s, expired, "exchange")
        self._idle = loop.call_later(deadlines.idle_s, self._look_for_silence)
        self._verdict: asyncio.TimerHandle | None = None

    def heard(self, owes_verdict: bool) -> None:
        """A message came and was handled; a verdict is owed now, or not."""
        self._heard_at = self._loop.time()
        if not owes_verdict:
            if self._verdict is not None:
                self._verdict.cancel()
                self._verdict = None
        elif self._verdict is None:
            self._verdict = self._loop.call_later(self._deadlines.decide_s, self._expired, "verdict")

    def stop(self) -> None:
        """Forget all deadlines."""
        for timer in (self._exchange, self._idle, self._verdict):
            if timer is not None:
                timer.cancel()

    def _look_for_silence(self) -> None:
        left_s = self._heard_at + self._deadlines.idle_s - self._loop.time()
        if left_s > 0:
            self._idle = self._loop.call_later(left_s, self._look_for_silence)
        else:
            self._expired("idle")
