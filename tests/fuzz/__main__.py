"""``python -m tests.fuzz --minutes 10``: fuzz every request reader and every decoder for so long each.

Every case follows from the target's name and a number, so a failure is run again with ``--only NAME --seed NUMBER``.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tests.fuzz.targets import Failure, Target, targets

SLICE_S: Final = 2.0
STRIDE: Final = 1_000_000  # numbers between the slices of one target
FAILURES_MAX: Final = 5  # of one target; then it is given up


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz; 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for each target")
    parser.add_argument("--only", default="", metavar="NAME", help="targets whose name has this in it")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="where the numbers begin")
    parser.add_argument("--seed", type=int, metavar="NUMBER", help="run one case")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), metavar="FOLDER", help="failing inputs")
    args = parser.parse_args(argv)
    chosen = [target for target in targets() if args.only in target.name]
    console = Console()
    if not chosen:
        console.print(f"no target has {args.only!r} in its name", style="red")
        return 2
    if args.seed is not None:
        failures = [failure for target in chosen if (failure := target.run(args.seed)) is not None]
    else:
        failures = _fuzz(console, chosen, args.minutes * 60, args.jobs, args.first)
    for failure in failures:
        path = _keep(args.out, failure)
        console.print(f"[red]{failure.target}[/] --seed {failure.seed}: {failure.what}  ({path})", highlight=False)
    return int(bool(failures))


def _fuzz(console: Console, chosen: Sequence[Target], duration_s: float, jobs: int, first: int) -> list[Failure]:
    columns = (TextColumn("{task.description:<36}"), BarColumn(), TextColumn("{task.fields[done]} cases"))
    failures: list[Failure] = []
    progress = Progress(*columns, TimeRemainingColumn(), console=console)
    with progress, ProcessPoolExecutor(jobs) as pool:
        overall = progress.add_task("all targets", total=duration_s * len(chosen), done=0)
        for target in chosen:
            task = progress.add_task(target.name, total=duration_s, done=0)
            failures += _one(progress, (task, overall), pool, target.name, duration_s, jobs, first)
            if not console.is_terminal:
                console.print(f"{target.name}: {progress.tasks[task].fields['done']} cases")
    return failures


def _one(
    progress: Progress,
    tasks: tuple[TaskID, TaskID],
    pool: ProcessPoolExecutor,
    name: str,
    duration_s: float,
    jobs: int,
    first: int,
) -> list[Failure]:
    """Fuzz one target, a slice of time at a time."""
    began = time.monotonic()
    failures: list[Failure] = []
    running: set[Future[tuple[int, list[Failure]]]] = set()
    done = number = 0
    while running or (time.monotonic() - began < duration_s and len(failures) < FAILURES_MAX):
        spare = duration_s - (time.monotonic() - began)
        while len(running) < jobs and spare > 0 and len(failures) < FAILURES_MAX:
            running.add(pool.submit(run_slice, name, first + number * STRIDE, min(SLICE_S, spare)))
            number += 1
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            count, found = future.result()
            done += count
            failures += found
        elapsed = min(time.monotonic() - began, duration_s)
        progress.update(tasks[0], completed=elapsed, done=done)
        progress.update(tasks[1], done=len(failures))
    progress.advance(tasks[1], duration_s)
    return failures


def run_slice(name: str, first: int, duration_s: float) -> tuple[int, list[Failure]]:
    """Run cases for so long; how many, and what failed."""
    target = next(target for target in targets() if target.name == name)
    end = time.monotonic() + duration_s
    failures: list[Failure] = []
    count = 0
    while time.monotonic() < end and not failures:
        failure = target.run(first + count)
        count += 1
        if failure is not None:
            failures.append(failure)
    return count, failures


def _keep(folder: Path, failure: Failure) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub('[^a-z0-9.]+', '-', failure.target)}-{failure.seed}.bin"
    path.write_bytes(failure.data)
    return path


if __name__ == "__main__":
    sys.exit(main())
