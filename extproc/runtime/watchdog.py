"""The watchdog: a process whose event loop stands still must not go on holding streams open.

In FULL_DUPLEX_STREAMED Envoy waits for us without any timeout. If we exit instead, Envoy refuses: fail closed.

Two guards, each for what the other cannot see. A thread counts how often the loop failed to tick. That thread needs
the interpreter's lock, which a long-running C call (a regular expression) may never give back; so the thread in turn
keeps re-arming faulthandler's timer, which is plain C and ends the process when nobody re-arms it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Final

EXIT_CODE: Final = 70
INTERVAL_S: Final = 0.25
BACKSTOP_MARGIN_S: Final = 2.0
_STDERR: Final = 2


def arm_backstop(timeout_s: float) -> None:
    """End the process, with a trace of where it stood, unless called again within ``timeout_s``."""
    faulthandler.dump_traceback_later(timeout_s, exit=True, file=sys.__stderr__ or _STDERR)


class Watchdog:
    """Ends the process when the loop has not ticked for ``stall_timeout_s``.

    It counts its own looks that found no tick, not seconds: what paused the whole process (a debugger, a machine that
    slept, a throttled container) paused the watchdog too and is no stall.
    """

    def __init__(
        self,
        stall_timeout_s: float,
        *,
        interval_s: float = INTERVAL_S,
        end_process: Callable[[int], object] = os._exit,
        backstop: Callable[[float], None] = arm_backstop,
    ) -> None:
        self._stall_timeout_s: Final = stall_timeout_s
        self._interval_s: Final = min(interval_s, stall_timeout_s / 4)
        self._end_process: Final = end_process
        self._backstop: Final = backstop
        self._ticked = True
        self._missed = 0
        self._stopped: Final = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._beat: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the running loop."""
        self._tick(loop)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; call it from the loop's thread."""
        self._stopped.set()
        if self._beat is not None:
            self._beat.cancel()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def tick(self) -> None:
        """The loop is alive."""
        self._ticked = True

    def look(self) -> None:
        """See whether the loop ticked since the last look; end the process if it failed to for too long."""
        self._missed = 0 if self._ticked else self._missed + 1
        self._ticked = False
        stalled_s = self._missed * self._interval_s
        if stalled_s >= self._stall_timeout_s:
            _say(f"sluicegate: event loop stalled for {stalled_s:.1f} s, exiting so that the gateway fails closed\n")
            self._end_process(EXIT_CODE)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tick()
        self._beat = loop.call_later(self._interval_s, self._tick, loop)

    def _watch(self) -> None:
        while True:
            self._backstop(self._stall_timeout_s + BACKSTOP_MARGIN_S)
            if self._stopped.wait(self._interval_s):
                return
            self.look()


def _say(line: str) -> None:
    """Write to stderr unless that would block: a full pipe must not keep a dying process alive."""
    _, writable, _ = select.select([], [_STDERR], [], 0)
    if writable:
        os.write(_STDERR, line.encode())
