"""Workers are started, started again, given up on and ended together."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from extproc.runtime.workers import FAILED_STARTS_MAX, GAVE_UP, STEADY_S, Link, Supervisor, WorkerProcess, backoff_s


class FakeWorker:
    """A worker that serves and ends when the test says so."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.terminated = False
        self._greeted: asyncio.Future[Mapping[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def greeting(self) -> Mapping[str, Any] | None:
        return await self._greeted

    async def wait(self) -> int:
        return await self._ended

    def terminate(self) -> None:
        self.terminated = True
        self.end(0)

    def greet(self) -> None:
        self._greeted.set_result({"worker": self.index})

    def end(self, code: int) -> None:
        if not self._greeted.done():
            self._greeted.set_result(None)
        if not self._ended.done():
            self._ended.set_result(code)


class Crew:
    """A supervisor and every worker it ever started."""

    def __init__(self, count: int, lives_s: float = 0.0, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self.started: asyncio.Queue[FakeWorker] = asyncio.Queue()
        self.ready: list[int] = []
        self.delays: list[int] = []
        ticks = itertools.count(step=lives_s) if lives_s else itertools.repeat(0.0)
        self.supervisor = Supervisor(
            self._start, count, lambda index, _greeting: self.ready.append(index), clock=lambda: next(ticks),
            backoff=self._backoff,
        )  # fmt: skip
        self.run = asyncio.create_task(self.supervisor.run())

    async def _start(self, index: int) -> FakeWorker:
        worker = FakeWorker(index)
        self.started.put_nowait(worker)
        return worker

    def _backoff(self, failed_starts: int) -> float:
        self.delays.append(failed_starts)
        return self._delay_s


async def _until(reached: Callable[[], object]) -> None:
    while not reached():  # noqa: ASYNC110 - it only lets the other tasks take their turns
        await asyncio.sleep(0)


def _run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_every_worker_is_started_and_told_to_end() -> None:
    async def test() -> None:
        crew = Crew(3)
        workers = [await crew.started.get() for _ in range(3)]
        for worker in workers:
            worker.greet()
        await _until(lambda: len(crew.ready) == 3)
        crew.supervisor.stop()
        assert await crew.run == 0
        assert sorted(crew.ready) == [0, 1, 2]
        assert [worker.terminated for worker in workers] == [True, True, True]
        assert crew.started.empty()

    _run(test())


@pytest.mark.parametrize("code", [1, 70, -9])
def test_a_worker_that_crashes_is_started_again(code: int, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        crew = Crew(2)
        first, second = await crew.started.get(), await crew.started.get()
        first.greet()
        second.greet()
        second.end(code)
        again = await crew.started.get()
        assert again.index == second.index
        again.greet()
        await _until(lambda: len(crew.ready) == 3)
        crew.supervisor.stop()
        assert await crew.run == 0
        assert sorted(crew.ready) == [0, 1, 1]

    _run(test())
    assert caplog.messages == [f"worker 1 ended with {'signal 9' if code < 0 else f'exit code {code}'}"]


def test_a_worker_that_keeps_dying_ends_all_with_an_error() -> None:
    async def test() -> None:
        crew = Crew(2)
        steady = await crew.started.get()
        for _ in range(FAILED_STARTS_MAX):
            (await crew.started.get()).end(1)
        assert await crew.run == GAVE_UP
        assert steady.terminated
        assert crew.delays == list(range(1, FAILED_STARTS_MAX))

    _run(test())


def test_a_worker_that_lived_long_is_always_started_again() -> None:
    async def test() -> None:
        crew = Crew(1, lives_s=STEADY_S)
        for _ in range(3 * FAILED_STARTS_MAX):
            worker = await crew.started.get()
            worker.greet()
            worker.end(1)
        await crew.started.get()
        crew.supervisor.stop()
        assert await crew.run == 0
        assert set(crew.delays) == {0}

    _run(test())


def test_wrong_usage_is_not_tried_again() -> None:
    async def test() -> None:
        crew = Crew(1)
        (await crew.started.get()).end(2)
        assert await crew.run == 2
        assert crew.started.empty()

    _run(test())


def test_a_worker_that_does_not_end_well_is_told_by_the_exit_code() -> None:
    async def test() -> None:
        crew = Crew(2)
        first, second = await crew.started.get(), await crew.started.get()
        first.terminate = lambda: first.end(-9)  # type: ignore[method-assign]
        crew.supervisor.stop()
        assert await crew.run == GAVE_UP
        assert second.terminated

    _run(test())


def test_a_worker_that_our_signal_met_unprepared_has_ended_well() -> None:
    async def test() -> None:
        crew = Crew(1)
        worker = await crew.started.get()
        worker.terminate = lambda: worker.end(-signal.SIGTERM)  # type: ignore[method-assign]
        crew.supervisor.stop()
        assert await crew.run == 0

    _run(test())


def test_a_stop_while_a_worker_is_being_started_ends_it() -> None:
    async def test() -> None:
        started: list[FakeWorker] = []

        async def start(index: int) -> FakeWorker:
            supervisor.stop()
            started.append(FakeWorker(index))
            return started[0]

        supervisor = Supervisor(start, 1, lambda _index, _greeting: None)
        assert await supervisor.run() == 0
        assert started[0].terminated

    _run(test())


def test_a_stop_while_a_worker_waits_for_its_next_try_starts_none() -> None:
    async def test() -> None:
        crew = Crew(1, delay_s=3600.0)
        (await crew.started.get()).end(1)
        await _until(lambda: crew.delays)
        crew.supervisor.stop()
        assert await crew.run == 0
        assert crew.started.empty()

    _run(test())


def test_the_wait_between_tries_grows_to_a_limit() -> None:
    assert [backoff_s(failed) for failed in (0, 1, 2, 3, 20)] == [0.1, 0.2, 0.4, 0.8, 5.0]


def test_a_process_that_does_not_know_its_arguments_never_greets() -> None:
    async def test() -> None:
        worker = await WorkerProcess.start(lambda link: ["no-such-verb", str(link)])
        assert await worker.greeting() is None
        assert await worker.wait() == 2
        worker.terminate()  # it is gone, and that is fine

    _run(test())


def test_a_link_carries_the_greeting_and_tells_when_the_supervisor_is_gone() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        link, orphaned = Link(os.dup(theirs.fileno())), asyncio.Event()
        theirs.close()
        link.greet({"listen": "127.0.0.1:1"})
        link.on_orphaned(asyncio.get_running_loop(), orphaned.set)
        assert ours.recv(100) == b'{"listen": "127.0.0.1:1"}\n'
        assert not orphaned.is_set()
        ours.close()
        await orphaned.wait()
        link.close()

    _run(test())
