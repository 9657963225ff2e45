"""Send every row both ways, to the upstream itself and through the gate, and put what happened side by side.

Both ways alternate, so that a slow moment of the machine falls on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from extproc.demo.checks import Observation
from extproc.demo.clients import Clients, Seen
from extproc.demo.gate import Gate
from extproc.demo.rows import Row
from extproc.demo.standin import Exchange, Standin


@dataclass(frozen=True, slots=True)
class Sample:
    """The median of several times, and the median distance from it."""

    median_ms: float
    spread_ms: float

    @classmethod
    def of(cls, times_s: Iterable[float]) -> Self:
        """Sum up times in seconds."""
        times_ms = [time_s * 1000 for time_s in times_s]
        middle = median(times_ms)
        return cls(middle, median(abs(time_ms - middle) for time_ms in times_ms))


@dataclass(frozen=True, slots=True)
class Latency:
    """Times to the first text or refusal, and to the end."""

    first: Sample
    total: Sample


@dataclass(frozen=True, slots=True)
class Result:
    """One row after it ran. ``observation`` is the first exchange through the gate; ``complaints`` are of all of them.

    ``request`` is the same request as the upstream got it without the gate.
    """

    row: Row
    observation: Observation
    complaints: tuple[str, ...]
    direct: Latency
    gated: Latency
    request: Exchange

    @property
    def as_expected(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.complaints


def run(rows: Sequence[Row], gate: Gate, standin: Standin, started: Callable[[Row], None]) -> list[Result]:
    """Run all rows, in order. ``started`` hears of each one."""
    with Clients(standin.url) as direct, Clients(gate.url) as gated:
        results = []
        for row in rows:
            started(row)
            results.append(_run_row(row, direct, gated, gate, standin))
        return results


def _run_row(row: Row, direct: Clients, gated: Clients, gate: Gate, standin: Standin) -> Result:
    plain: list[Seen] = []
    guarded: list[tuple[Seen, tuple[Exchange, ...]]] = []
    request = None
    for _ in range(row.repeats):
        plain.append(row.ask(direct))
        request = request or standin.exchanges[-1]
        before = len(standin.exchanges)
        seen = row.ask(gated)
        guarded.append((seen, tuple(standin.exchanges[before:])))
    assert request is not None
    observations = [Observation(seen, reached, gate.audit(seen.decision_id), standin.key) for seen, reached in guarded]
    complaints = [complaint for observation in observations for complaint in row.check(observation)]
    return Result(
        row=row,
        observation=observations[0],
        complaints=tuple(dict.fromkeys(complaints)),
        direct=_latency(plain),
        gated=_latency([seen for seen, _ in guarded]),
        request=request,
    )


def _latency(answers: Sequence[Seen]) -> Latency:
    return Latency(Sample.of(seen.first_s for seen in answers), Sample.of(seen.total_s for seen in answers))
