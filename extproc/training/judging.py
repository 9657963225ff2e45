"""Judging detectors by labelled texts: what each flags, how sure it is, what it costs, and how two of them differ.

What lives here: the running of detectors and the figures of that, as plain data. What must not: NumPy, tables, plots,
any text: a row is named by its file and line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from extproc.chat import Json
from extproc.training.corpus import Row
from extproc.training.figures import Difference, Group, calibration_error, difference, macro, quantiles, shares
from extproc.training.inputs import Candidate

Tell: TypeAlias = Callable[[str, int, int], None]

_TOLD_EVERY: Final = 100
_SCORES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_COST: Final = (0.5, 0.95)


class Judged(NamedTuple):
    """What a detector said of each text, and the CPU time that it took."""

    candidate: Candidate
    scores: Sequence[float]
    flagged: Sequence[bool]
    seconds: Sequence[float]


class Compared(NamedTuple):
    """What a second detector does otherwise: ``more`` are the rows that only it flags, ``less`` those of the first."""

    recall: Difference | None
    false_positives: Difference | None
    more: Sequence[Row]
    less: Sequence[Row]


def judge(candidate: Candidate, rows: Sequence[Row], tell: Tell) -> Judged:
    """Run a detector over all texts."""
    scores, flagged, seconds = [], [], []
    for done, row in enumerate(rows, 1):
        before = time.thread_time()
        score, hit = candidate.judge(row.text)
        seconds.append(time.thread_time() - before)
        scores.append(score)
        flagged.append(hit)
        if done % _TOLD_EVERY == 0 or done == len(rows):
            tell(candidate.name, done, len(rows))
    return Judged(candidate, scores, flagged, seconds)


def figures(rows: Sequence[Row], judged: Judged) -> dict[str, Json]:
    """All figures of one detector. A macro share is null if all sources are small."""
    groups = groups_of(rows)
    found = shares(groups, judged.flagged)
    places: dict[Group, list[int]] = {group: [] for group in found}
    for at, group in enumerate(groups):
        places[group].append(at)
    sources: list[Json] = []
    for (source, attack), share in found.items():
        low, high = share.interval()
        sources.append(
            {
                "source": source,
                "label": int(attack),
                "texts": share.texts,
                "flagged": share.flagged,
                "share": share.value,
                "low": low,
                "high": high,
                **_measured(judged, places[source, attack]),
            }
        )
    recall, false_positives = macro(found, attack=True), macro(found, attack=False)
    return {
        "name": judged.candidate.name,
        "threshold": judged.candidate.threshold,
        "recall": recall,
        "false_positives": false_positives,
        "calibration_error": calibration_error(judged.scores, [row.attack for row in rows]),
        **_measured(judged, range(len(rows))),
        "sources": sources,
    }


def compare(rows: Sequence[Row], first: Judged, second: Judged) -> Compared:
    """Say what the second detector does otherwise than the first."""
    groups = groups_of(rows)
    changed = [(row, b) for row, a, b in zip(rows, first.flagged, second.flagged, strict=True) if a != b]
    return Compared(
        difference(groups, first.flagged, second.flagged, attack=True),
        difference(groups, first.flagged, second.flagged, attack=False),
        [row for row, flagged in changed if flagged],
        [row for row, flagged in changed if not flagged],
    )


def comparison(compared: Compared) -> dict[str, Json]:
    """A comparison as plain data."""
    return {
        "recall": _difference(compared.recall),
        "false_positives": _difference(compared.false_positives),
        "newly_flagged": _changed(compared.more),
        "no_longer_flagged": _changed(compared.less),
    }


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """The source and label of each text."""
    return [(row.source, row.attack) for row in rows]


def _measured(judged: Judged, places: Sequence[int]) -> dict[str, Json]:
    scores = quantiles((judged.scores[at] for at in places), _SCORES)
    median, most = quantiles((judged.seconds[at] * 1000 for at in places), _COST)
    told: dict[str, Json] = {f"p{100 * share:g}": score for share, score in zip(_SCORES, scores, strict=True)}
    return {"scores": told, "cpu_ms": {"median": median, "p95": most}}


def _difference(found: Difference | None) -> Json:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}


def _changed(rows: Sequence[Row]) -> Json:
    attacks: list[Json] = [row.place for row in rows if row.attack]
    others: list[Json] = [row.place for row in rows if not row.attack]
    return {"attacks": attacks, "others": others}
