"""What redaction costs and holds back, beside what it is meant to: ``make bench-redaction``.

Times are CPU time of this process, best of several rounds, unless a row says otherwise. Compare the figures of one run
with each other; the goals are for a quiet machine. Rows that need the development corpora or Envoy say where it is
absent.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from extproc.detectors import DETECTORS, secrets
from extproc.detectors.secrets import SecretsDetector
from extproc.runtime.assets import asset
from extproc.runtime.yaml_source import read_yaml
from tests.bench import corpora, paced
from tests.bench.__main__ import PROSE, best, stream_events
from tests.support.gateway import envoy_is_here

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_BULK: Final = 16 * _KIB


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and its goal. ``most``: the goal is an upper bound, else a lower one."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    most: bool = True

    @property
    def met(self) -> bool:
        return self.goal is None or (self.value <= self.goal if self.most else self.value >= self.goal)


def pack() -> Mapping[str, Any]:
    """The secrets pack that ships."""
    data: Mapping[str, Any] = read_yaml(asset("policies/packs/secrets.yaml").read_text(encoding="utf-8")).data
    return data


def engines() -> dict[str, SecretsDetector]:
    """The detector with token rules alone, and as it ships."""
    whole = pack()
    tokens = {name: value for name, value in whole.items() if name != "keywords"}
    return {"token rules": secrets.build(tokens, {}), "with keywords": secrets.build(whole, {})}


# ---- the groups of rows ----------------------------------------------------------------------------------------------


_START_UP: Final = """
import gc, sys, time, tracemalloc
from extproc.detectors import DETECTORS
from extproc.runtime.assets import asset
from extproc.runtime.yaml_source import read_yaml
kind = DETECTORS[sys.argv[1]]
__import__("extproc.detectors." + sys.argv[1])
if sys.argv[2] == "memory":
    tracemalloc.start()
began = time.process_time()
kept = kind.build(read_yaml(asset(f"policies/packs/{kind.pack}.yaml").read_text(encoding="utf-8")).data, {})
spent = time.process_time() - began
gc.collect()
print(tracemalloc.get_traced_memory()[0] / 2**20 if sys.argv[2] == "memory" else spent)
"""


def start_up() -> Iterator[Row]:
    """Packs of the streaming detectors: read, checked and compiled in a fresh process that has imported its modules."""
    for name, kind in DETECTORS.items():
        if kind.streams and kind.pack:
            shipped = name == "secrets"
            spent = min(_in_fresh_process(name, "time") for _ in range(3))
            yield Row(f"start-up of the pack {kind.pack}", spent, "s", 0.1 if shipped else None)
            yield Row(
                f"memory of the pack {kind.pack}", _in_fresh_process(name, "memory"), "MiB", 5 if shipped else None
            )


def _in_fresh_process(detector: str, what: str) -> float:
    argv = [sys.executable, "-c", _START_UP, detector, what]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def held(detectors: Mapping[str, SecretsDetector]) -> Iterator[Row]:
    """Characters held back after each token of real prose."""
    texts = corpora.prose(characters=400_000)
    for name, detector in detectors.items():
        waits: list[int] = []
        for text in texts:
            scan, fed = detector.stream(), 0
            for token in corpora.tokens(text):
                scan.feed(token, False)
                fed += len(token)
                waits.append(fed - scan.settled)
        waits.sort()
        yield Row(f"held after a token, {name}: average", sum(waits) / len(waits), "characters", 0.08)
        yield Row(f"held after a token, {name}: p99", waits[int(len(waits) * 0.99)], "characters", 2)
        free = 100 * sum(not wait for wait in waits) / len(waits)
        yield Row(f"tokens that hold nothing, {name}", free, "%", 94, most=False)


def feeds(detectors: Mapping[str, SecretsDetector], text: str) -> Iterator[Row]:
    """CPU for one 4-byte piece of running text."""
    pieces = [text[at : at + 4] for at in range(0, 80_000, 4)]
    for name, detector in detectors.items():

        def run(detector: SecretsDetector = detector) -> None:
            feed = detector.stream().feed
            for piece in pieces:
                feed(piece, False)

        yield Row(f"feed of 4 bytes, {name}", best(run, len(pieces)), "µs", 2 if name == "token rules" else 3.5)


def bulk(detectors: Mapping[str, SecretsDetector], text: str) -> Iterator[Row]:
    """Whole texts, as requests are read."""
    chunk = _filled(text, _BULK)
    goals = {"token rules": 15.0, "with keywords": 6.0}
    for name, detector in detectors.items():
        rate = _rate(detector, chunk)
        yield Row(f"16 KiB at once, {name}", rate, "MB/s", goals[name], most=False)
    large = _filled(text, _MIB)
    yield Row(
        "1 MiB at once, with the extra fast", _rate(detectors["with keywords"], large, 3), "MB/s", 200, most=False
    )


def adversarial(detectors: Mapping[str, SecretsDetector], text: str) -> Iterator[Row]:
    """A megabyte of near misses: those of the slowest rule repeated, and all in a row, beside prose."""
    detector = detectors["with keywords"]
    goal = _rate(detector, _filled(text, _BULK)) / 4
    found = [(_rate(detector, _filled(near, 4 * _KIB), 1, tries=1), name, near) for name, near in near_misses()]
    for _, name, near in sorted(found)[:3]:
        rate = _rate(detector, _filled(near, _MIB), 1, tries=3)
        yield Row(f"1 MiB of one near miss, repeated: {name}", rate, "MB/s", goal, most=False)
    every = "".join(near for _, near in near_misses())
    yield Row("1 MiB of all near misses", _rate(detector, _filled(every, _MIB), 1, tries=3), "MB/s", goal, most=False)


def near_misses() -> Iterator[tuple[str, str]]:
    """For each rule: its literals, its ``pass`` examples, and its examples one character into the body."""
    for rule in pack()["rules"]:
        for literal in rule.get("literals", ()):
            yield rule["id"], literal + " "
        for text in rule["pass"]:
            yield rule["id"], text + " "
        for backwards in rule["match"]:
            text = backwards[::-1]
            for literal in rule.get("literals", ()):
                at = text.find(literal)
                if at >= 0:
                    yield rule["id"], text[at : at + len(literal) + 7] + " "


def events() -> Iterator[Row]:
    """One event of a stream through the core, nothing found."""
    yield Row("SSE event end to end in the core", stream_events(None), "µs", 12)


def through_envoy(requests: int) -> Iterator[Row]:
    """Wall time, at the client, of 50 tokens a second."""
    figures = paced.measure(requests)
    yield Row("first token, rule off, median (wall)", figures.first_plain, "ms")
    yield Row("first token added by redaction, median (wall)", figures.added_first, "ms", 1)
    yield Row("a token's way to the client, p50 (wall)", figures.delay_p50, "ms")
    yield Row("a token's way to the client, p99 (wall)", figures.delay_p99, "ms", 3000 / paced.TOKENS_PER_SECOND)
    yield Row("tokens whose text left after the third one came", 100 * figures.late / figures.tokens, "%", 1)


# ---- measuring -------------------------------------------------------------------------------------------------------


def _rate(detector: SecretsDetector, text: str, rounds: int = 20, tries: int = 7) -> float:
    size = len(text.encode())

    def run() -> None:
        for _ in range(rounds):
            detector.scan(text)

    return size / best(run, rounds, tries)


def _filled(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def _groups(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Iterator[Row]]]]:
    detectors = engines()
    here = corpora.directory() is not None
    text = "".join(corpora.prose(characters=200_000)) if here else PROSE * 2000
    yield "start-up", start_up
    if here:
        yield "held text", lambda: held(detectors)
    yield "running text", lambda: feeds(detectors, text)
    yield "whole texts", lambda: bulk(detectors, text)
    yield "near misses", lambda: adversarial(detectors, text)
    yield "events", events
    if envoy_is_here() and not arguments.no_envoy:
        yield "through Envoy", lambda: through_envoy(arguments.requests)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print; exit 1 where a goal was missed and ``--strict`` given."""
    parser = argparse.ArgumentParser(prog="bench-redaction", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print rows as JSON lines")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a goal was missed")
    parser.add_argument("--no-envoy", action="store_true", help="leave out what needs Envoy")
    parser.add_argument("--requests", type=int, default=20, help="whole streams through Envoy")
    arguments = parser.parse_args(argv)
    rows: list[Row] = []
    groups = list(_groups(arguments))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(groups))
        for name, group in groups:
            progress.update(task, description=name)
            rows += group()
            progress.advance(task)
    if corpora.directory() is None:
        sys.stderr.write("no development corpora here: held text not measured, prose is one sentence repeated\n")
    _print(rows, as_json=arguments.json)
    return int(arguments.strict and not all(row.met for row in rows))


def _print(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps({"what": row.what, "value": row.value, "unit": row.unit, "goal": row.goal}))
        return
    table = Table(title="Redaction", title_justify="left")
    for title in ("what", "measured", "goal", ""):
        table.add_column(title, justify="right" if title in ("measured", "goal") else "left")
    for row in rows:
        goal = "" if row.goal is None else f"{'≤' if row.most else '≥'} {row.goal:,.3g}"
        verdict = "" if row.goal is None else "✓" if row.met else "✗"
        table.add_row(row.what, f"{row.value:,.3f} {row.unit}", goal, verdict)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
