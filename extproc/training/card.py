"""The card of a model: what it was trained on, and how well it did on texts of sources that it did not see.

What lives here: figures of a study, and their intervals. What must not: fitting, tables, files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from extproc.chat import Json
from extproc.training.corpus import Row
from extproc.training.figures import Group, Share, shares
from extproc.training.study import Study, Task
from extproc.training.validate import RATES, Flags, Numbers, Scored, calibration_error, intervals, nested, recall_at

_NOTE: Final = (
    "The texts are not in this file: weights of stems and words that occur in several of them are. Figures are of "
    "texts whose sources the model did not see; every source of 100 texts or more weighs the same."
)
_ROUNDS: Final = 200


def card_of(
    task: Task, studied: Study, date: str, licences: Mapping[str, str], hard: Sequence[str] = ()
) -> dict[str, Json]:
    """What a model file says of itself. ``licences``: by source; ``hard``: sources that look like attacks."""
    return {
        "date": date,
        "sources": sources_of(task, licences),
        "metrics": metrics_of(task, studied, hard),
        "false_positives": task.false_positives,
        "seed": task.seed,
        "versions": {name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
        "note": _NOTE,
    }


def sources_of(task: Task, licences: Mapping[str, str]) -> dict[str, Json]:
    """For each source its texts by label, what it was used for, and its licence as far as it is known."""
    counts = Counter((row.source, row.attack) for row in task.rows)
    said = {row.source: row.licence for row in task.rows if row.licence} | dict(licences)
    return {
        name: {
            "attacks": counts[name, True],
            "others": counts[name, False],
            "used": "evaluation" if name in task.evaluate_only else "training",
            **({"licence": said[name]} if name in said else {}),
        }
        for name in sorted({row.source for row in task.rows})
    }


def metrics_of(task: Task, studied: Study, hard: Sequence[str]) -> dict[str, Json]:
    """Recall at shares of false positives, with intervals; the calibration's error; false positives on hard texts.

    ``recall`` takes each threshold from the texts that it is measured on, ``nested`` from other folds.
    """
    texts = studied.texts
    folds = _by_source(texts.source, texts.fold)

    def measure(scored: Scored) -> list[float]:
        pairs = [nested(scored, folds[scored.source], rate) for rate in RATES]
        return [*(recall_at(scored, rate) for rate in RATES), *(figure for pair in pairs for figure in pair)]

    values = measure(studied.scored)
    bounds = intervals(studied.scored, measure, task.seed, _ROUNDS)
    told: list[Json] = [_figure(value, *bound) for value, bound in zip(values, bounds, strict=True)]
    count = len(RATES)
    metrics: dict[str, Json] = {
        "recall": {_percent(rate): told[at] for at, rate in enumerate(RATES)},
        "nested": {
            _percent(rate): {"recall": told[count + 2 * at], "false_positives": told[count + 2 * at + 1]}
            for at, rate in enumerate(RATES)
        },
        "calibration_error": round(calibration_error(studied.probability, texts.attack, texts.weight), 4),
    }
    if hard:
        share = hard_share(task.rows, studied.flagged, hard)
        metrics["hard_others"] = {"texts": share.texts, **_figure(share.value, *share.interval())}
    return metrics


def hard_share(rows: Sequence[Row], flagged: Flags, hard: Sequence[str]) -> Share:
    """How many texts of these sources were flagged that are no attacks."""
    found = [hit for row, hit in zip(rows, flagged.tolist(), strict=True) if not row.attack and row.source in hard]
    return Share(sum(found), len(found))


def share_by_source(rows: Sequence[Row], flagged: Flags) -> Mapping[Group, Share]:
    """How many texts of each source and label were flagged."""
    return shares([(row.source, row.attack) for row in rows], flagged.tolist())


def _by_source(source: Numbers, values: npt.NDArray[Any]) -> Numbers:
    """One value for each source, of values that all its texts share."""
    each = np.zeros(int(source.max()) + 1, dtype=np.int64)
    each[source] = values
    return each


def _figure(value: float, low: float, high: float) -> dict[str, Json]:
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def _percent(rate: float) -> str:
    return f"{100 * rate:g}%"
