"""JSONL of texts through a policy's detectors: in the order of the input, in bounded memory, on all cores.

What lives here: lines, batches and processes. What must not: arguments, what a judgement means.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import queue
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Final

from extproc.policy.compiler import CompiledPolicy
from extproc.policy.engine import TextJudgement, judge_text
from extproc.runtime.store import load_policy

READ_BYTES: Final = 1 << 16
LINE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Work:
    """What a process needs to know to scan."""

    policy: Path
    scope: str


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole lines. ``first`` is the number of the first one; ``full``: the input had more than one read could take."""

    first: int
    lines: list[bytes]
    full: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What a batch gave: lines of output, and how many of them are errors."""

    output: str
    bad_lines: int


def scan_lines(work: Work, policy: CompiledPolicy, source: FileIO, jobs: int) -> Generator[Done, None, None]:
    """Scan while the input comes in drops, in several processes once it is more than one can drink.

    ``source`` has no buffer: what is there can be taken at once, and no lock is held while there is nothing.
    """
    batches = _batches(source)
    for batch in batches:
        if batch.full and jobs > 1:
            with contextlib.closing(_parallel(work, _chain(batch, batches), jobs)) as results:
                yield from results
            return
        yield _scan_batch(policy, work.scope, batch)


def _chain(first: _Batch, rest: Iterator[_Batch]) -> Iterator[_Batch]:
    yield first
    yield from rest


def _parallel(work: Work, batches: Iterable[_Batch], jobs: int) -> Generator[Done, None, None]:
    """Scan in processes. A thread reads ahead by a few batches, so that a result never waits for the next input."""
    futures: queue.SimpleQueue[Future[Done] | BaseException | None] = queue.SimpleQueue()
    slots = threading.Semaphore(jobs * 4)
    stopped = threading.Event()
    context = multiprocessing.get_context("spawn")  # safe with threads, and the same on every system
    pool = ProcessPoolExecutor(jobs, context, _start_process, (work,))

    def read_ahead() -> None:
        try:
            for batch in batches:
                slots.acquire()
                if stopped.is_set():
                    return
                futures.put(pool.submit(_scan_in_process, batch))
            futures.put(None)
        except BaseException as error:
            futures.put(error)

    threading.Thread(target=read_ahead, name="scan-input", daemon=True).start()
    try:
        while (future := futures.get()) is not None:
            if isinstance(future, BaseException):
                raise future
            yield future.result()
            slots.release()
    finally:
        stopped.set()
        slots.release()
        pool.shutdown(cancel_futures=True)


_process: tuple[CompiledPolicy, str] | None = None


def _start_process(work: Work) -> None:
    global _process  # noqa: PLW0603 - a process of the pool has no other place for what it loads once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    _process = (load_policy(work.policy), work.scope)


def _scan_in_process(batch: _Batch) -> Done:
    assert _process is not None
    return _scan_batch(*_process, batch)


def _scan_batch(policy: CompiledPolicy, scope: str, batch: _Batch) -> Done:
    out: list[str] = []
    bad_lines = 0
    for number, line in enumerate(batch.lines, batch.first):
        if not line.strip():
            continue
        name, text, error = _read_line(line)
        if error is None:
            entry = report(name, judge_text(policy, scope, text))
        else:
            entry = {"id": name, "line": number, "error": error}
            bad_lines += 1
        out.append(json.dumps(entry) + "\n")
    return Done("".join(out), bad_lines)


def _read_line(line: bytes) -> tuple[Any, str, str | None]:
    """Give a line's id, its text, and what is wrong with it."""
    if len(line) > LINE_BYTES:
        return None, "", f"longer than {LINE_BYTES} bytes"
    try:
        entry = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None, "", "not JSON"
    if not isinstance(entry, dict):
        return None, "", "not an object"
    if not isinstance(entry.get("text"), str):
        return entry.get("id"), "", 'no "text"'
    return entry.get("id"), entry["text"], None


def _finite(number: str) -> float:
    """Read a number that JSON can write again: not NaN, which Python would read, nor one that is too large."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError
    return value


def report(name: Any, judged: TextJudgement) -> dict[str, Any]:
    """Write a judgement as it goes out: offsets are code points; no ``output`` means that nothing would leave."""
    findings = [
        {"rule": found.rule, "match": found.match, "start": found.start, "end": found.end, "score": found.score}
        for found in judged.findings
    ]
    return {
        "id": name,
        "action": judged.action.name.lower(),
        "score": judged.score,
        "findings": findings,
        "output": judged.output,
    }


def _batches(source: FileIO) -> Iterator[_Batch]:
    """Cut the input into lines as it comes. A line that is too long is cut short and found out later."""
    first, rest = 1, b""
    while data := source.read(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[: LINE_BYTES + 1]
        if lines:
            yield _Batch(first, lines, full=len(data) == READ_BYTES)
            first += len(lines)
    if rest:
        yield _Batch(first, [rest], full=False)
