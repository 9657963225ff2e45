"""A process whose loop stands still ends; one that merely slept does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from typing import Final

import pytest

from extproc.runtime.watchdog import EXIT_CODE, Watchdog

INTERVAL_S: Final = 0.25


def _watchdog(stall_timeout_s: float = 1.0) -> tuple[Watchdog, list[int], list[float]]:
    ended: list[int] = []
    armed: list[float] = []
    watchdog = Watchdog(stall_timeout_s, interval_s=INTERVAL_S, end_process=ended.append, backstop=armed.append)
    return watchdog, ended, armed


def test_a_loop_that_ticks_is_left_alone() -> None:
    watchdog, ended, _ = _watchdog()
    for _ in range(100):
        watchdog.tick()
        watchdog.look()
        watchdog.look()  # a look that just missed a tick
    assert ended == []


def test_a_loop_that_has_not_ticked_for_the_timeout_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    watchdog, ended, _ = _watchdog(stall_timeout_s=1.0)
    watchdog.tick()
    watchdog.look()
    for _ in range(3):
        watchdog.look()
    assert ended == []
    watchdog.look()
    assert ended == [EXIT_CODE]
    assert capfd.readouterr().err == (
        "sluicegate: event loop stalled for 1.0 s, exiting so that the gateway fails closed\n"
    )


def test_a_tick_forgives_what_was_missed() -> None:
    watchdog, ended, _ = _watchdog(stall_timeout_s=1.0)
    for _ in range(10):
        watchdog.tick()
        for _ in range(4):
            watchdog.look()
    assert ended == []


def test_a_stopped_and_continued_process_is_not_punished_for_the_pause() -> None:
    """It looks a few times a second and counts looks: a pause, however long, is one look."""
    watchdog, ended, _ = _watchdog(stall_timeout_s=1.0)
    watchdog.tick()
    watchdog.look()
    watchdog.look()
    assert ended == []


def test_a_running_loop_is_watched_and_the_backstop_kept_armed_until_the_end() -> None:
    ended: list[int] = []
    looked = threading.Event()

    def backstop(timeout_s: float) -> None:
        armed.append(timeout_s)
        if len(armed) == 5:
            looked.set()

    armed: list[float] = []
    watchdog = Watchdog(5, interval_s=0.002, end_process=ended.append, backstop=backstop)

    async def serve() -> None:
        watchdog.start(asyncio.get_running_loop())
        await asyncio.get_running_loop().run_in_executor(None, looked.wait)
        watchdog.stop()

    asyncio.run(serve())
    assert ended == []
    assert set(armed) == {7}


def _run(stall: str) -> subprocess.CompletedProcess[str]:
    code = f"""
        import asyncio, re, time
        from extproc.runtime import watchdog
        watchdog.BACKSTOP_MARGIN_S = 0.2
        async def main():
            watchdog.Watchdog(0.2).start(asyncio.get_running_loop())
            {stall}
        asyncio.run(main())
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_real_process_that_computes_for_good_ends() -> None:
    done = _run("while True: pass")
    assert done.returncode == EXIT_CODE
    assert "event loop stalled" in done.stderr


def test_a_real_process_that_never_gives_the_interpreter_back_ends_and_says_where_it_stood() -> None:
    done = _run("re.match('(a*)*b', 'a' * 40)")
    assert done.returncode != 0
    assert "Timeout" in done.stderr
