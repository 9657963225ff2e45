"""Several processes for one policy: a supervisor that starts them, starts them again, and ends them together.

What lives here: when a worker is started, how long to wait before the next try, when to give up, and the link between a
worker and its supervisor. What must not: what a worker does.

Every worker has an endpoint of its own: Envoy keeps one HTTP/2 connection for each of its threads, so processes that
shared a port (SO_REUSEPORT) would mostly idle.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, Self

_log: Final = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A worker that lived this long was not a failed start."""
FAILED_STARTS_MAX: Final = 5
GAVE_UP: Final = 70
WRONG_USAGE: Final = 2


class Worker(Protocol):
    """A running worker."""

    async def greeting(self) -> Mapping[str, Any] | None:
        """Wait until it serves; what it says of itself then, or None if it ended before."""
        ...

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        ...

    def terminate(self) -> None:
        """Ask it to drain and end."""
        ...


def backoff_s(failed_starts: int) -> float:
    """How long to wait before the next try."""
    return float(min(0.1 * 2**failed_starts, 5.0))


class Supervisor:
    """Keeps ``count`` workers running until told to stop. ``on_ready`` hears each greeting, also those of restarts."""

    def __init__(
        self,
        start: Callable[[int], Awaitable[Worker]],
        count: int,
        on_ready: Callable[[int, Mapping[str, Any]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[int], float] = backoff_s,
    ) -> None:
        self._start: Final = start
        self._count: Final = count
        self._on_ready: Final = on_ready
        self._clock: Final = clock
        self._backoff: Final = backoff
        self._running: Final[dict[int, Worker]] = {}
        self._stopping: Final = asyncio.Event()

    def stop(self) -> None:
        """Ask every worker to drain and end, start no more; called again, ask them to end at once."""
        self._stopping.set()
        for worker in self._running.values():
            worker.terminate()

    async def run(self) -> int:
        """Keep the workers running; 0 once all ended well after ``stop``, else an exit code that says otherwise."""
        keepers = [asyncio.create_task(self._keep(index)) for index in range(self._count)]
        await asyncio.wait(keepers, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping.is_set():
            self.stop()
        codes = await asyncio.gather(*keepers)
        return next((code for code in codes if code), 0)

    async def _keep(self, index: int) -> int:
        """Run one worker again and again, until it cannot be kept up or need not be."""
        failed_starts = 0
        while True:
            started_at = self._clock()
            greeted, code = await self._run_once(index)
            if self._stopping.is_set():
                return _code_when_stopped(code)
            _log.error("worker %d ended with %s", index, f"signal {-code}" if code < 0 else f"exit code {code}")
            if code == WRONG_USAGE and not greeted:
                return code
            failed_starts = 0 if self._clock() - started_at >= STEADY_S else failed_starts + 1
            if failed_starts >= FAILED_STARTS_MAX:
                _log.error("worker %d does not stay up, giving up", index)
                return GAVE_UP
            if await self._stopped_within(self._backoff(failed_starts)):
                return 0

    async def _run_once(self, index: int) -> tuple[bool, int]:
        worker = self._running[index] = await self._start(index)
        if self._stopping.is_set():
            worker.terminate()
        greeting = await worker.greeting()
        if greeting is not None:
            self._on_ready(index, greeting)
        code = await worker.wait()
        del self._running[index]
        return greeting is not None, code

    async def _stopped_within(self, delay_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        except TimeoutError:
            return False
        return True


def _code_when_stopped(code: int) -> int:
    if code == -signal.SIGTERM:  # ours reached it before it was ready for it, or after it had drained
        return 0
    return GAVE_UP if code < 0 else code


class WorkerProcess:
    """A worker as a child process, linked to us by a socket that it inherits."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process: Final = process
        self._reader: Final = reader
        self._writer: Final = writer  # kept open: to the worker its end means that we are gone

    @classmethod
    async def start(cls, arguments: Callable[[int], Sequence[str]]) -> Self:
        """Run ``python -m extproc`` with what ``arguments`` gives for the link's descriptor."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "extproc",
                *arguments(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal reaches us alone: the worker must not take ours for a second one.
                start_new_session=True,
            )
        return cls(process, *await asyncio.open_connection(sock=ours))

    async def greeting(self) -> Mapping[str, Any] | None:
        """Wait until it serves; what it says of itself then, or None if it ended before."""
        line = await self._reader.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        code = await self._process.wait()
        self._writer.close()
        return code

    def terminate(self) -> None:
        """Ask it to drain and end."""
        if self._process.returncode is None:
            self._process.terminate()


class Link:
    """A worker's end of the link: greets, and notices when the supervisor is gone."""

    def __init__(self, descriptor: int) -> None:
        self._socket: Final = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)

    def greet(self, greeting: Mapping[str, Any]) -> None:
        """Tell the supervisor that this worker serves."""
        self._socket.sendall(json.dumps(greeting).encode() + b"\n")

    def on_orphaned(self, loop: asyncio.AbstractEventLoop, orphaned: Callable[[], None]) -> None:
        """Call ``orphaned`` when the supervisor ends without a word."""

        def readable() -> None:
            loop.remove_reader(self._socket)
            orphaned()

        loop.add_reader(self._socket, readable)

    def close(self) -> None:
        """Let go of the link."""
        self._socket.close()
