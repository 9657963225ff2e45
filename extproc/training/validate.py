"""Validation: scores for texts of sources that the model did not see, and what follows from them.

What lives here: folds, thresholds, calibration, and figures with their intervals. What must not: files, tables, plots.

Figures are macro averages: every source weighs the same, whatever its size, among those of at least ``SMALL`` texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from extproc.detectors.calibration import Calibration
from extproc.training.corpus import SMALL
from extproc.training.fit import Floats

RATES: Final = (0.005, 0.01, 0.02)  # of false positives
_BINS: Final = 10
_EDGE: Final = 0.002  # of a probability, on either side
_RISE: Final = 0.05  # of log odds for one of evidence, at least: where a line is flat, no threshold tells texts apart


Numbers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]


class Scored(NamedTuple):
    """Texts with their evidence; arrays of one length. A source is its name, or a number, which is compared faster."""

    evidence: Floats
    attack: Flags
    source: npt.NDArray[Any]

    def of(self, chosen: Flags | Numbers) -> Scored:
        """Some of the texts."""
        return Scored(self.evidence[chosen], self.attack[chosen], self.source[chosen])


def macro(scored: Scored, flagged: Flags, attack: bool) -> float:
    """The share of texts flagged, of attacks or of others, each source weighing the same."""
    shares = by_source(scored, flagged, attack)
    return float(np.mean([share for share, _ in shares.values()])) if shares else float("nan")


def by_source(scored: Scored, flagged: Flags, attack: bool, least: int = SMALL) -> dict[str, tuple[float, int]]:
    """For each source the share of texts flagged, and how many texts it has."""
    shares = {}
    for name in np.unique(scored.source):
        of_it = (scored.source == name) & (scored.attack == attack)
        if of_it.sum() >= least:
            shares[str(name)] = float(flagged[of_it].mean()), int(of_it.sum())
    return shares


def threshold_at(scored: Scored, rate: float) -> float:
    """The lowest evidence above which the macro share of false positives is at most ``rate``."""
    weights = np.zeros(len(scored.evidence))
    each = ((scored.source == name) & ~scored.attack for name in np.unique(scored.source))
    sources = [of_it for of_it in each if of_it.sum() >= SMALL]
    for of_it in sources:
        weights[of_it] = 1 / of_it.sum() / len(sources)
    order = np.argsort(-scored.evidence, kind="stable")
    order = order[weights[order] > 0]
    above = int(np.searchsorted(np.cumsum(weights[order]), rate))
    return float(scored.evidence[order[min(above, len(order) - 1)]])


def recall_at(scored: Scored, rate: float) -> float:
    """Macro recall at a macro share of false positives."""
    return macro(scored, scored.evidence > threshold_at(scored, rate), True)


def nested_flags(scored: Scored, folds: Numbers, rate: float) -> Flags:
    """Which texts are flagged, with the threshold of each fold taken from the other folds."""
    flagged = np.zeros(len(scored.evidence), dtype=bool)
    for fold in sorted(set(folds.tolist())):
        of_it = folds == fold
        threshold = threshold_at(scored.of(~of_it), rate)
        flagged[of_it] = scored.evidence[of_it] > threshold
    return flagged


def nested(scored: Scored, folds: Numbers, rate: float) -> tuple[float, float]:
    """Macro recall and false positives with the threshold of each fold taken from the other folds."""
    flagged = nested_flags(scored, folds, rate)
    return macro(scored, flagged, True), macro(scored, flagged, False)


def intervals(
    scored: Scored, measure: Callable[[Scored], Sequence[float]], seed: int = 0, rounds: int = 200
) -> list[tuple[float, float]]:
    """95 % bootstrap intervals of several measures: texts drawn again within each source and label."""
    generator = np.random.default_rng(seed)
    groups = [
        np.flatnonzero((scored.source == name) & (scored.attack == attack))
        for name in np.unique(scored.source)
        for attack in (False, True)
    ]
    drawn = []
    for _ in range(rounds):
        chosen = np.concatenate([generator.choice(group, len(group)) for group in groups if len(group)])
        drawn.append(measure(scored.of(chosen)))
    return [(float(low), float(high)) for low, high in np.quantile(drawn, (0.025, 0.975), axis=0).T]


def interval(
    scored: Scored, measure: Callable[[Scored], float], seed: int = 0, rounds: int = 200
) -> tuple[float, float]:
    """A 95 % bootstrap interval of one measure."""
    return intervals(scored, lambda drawn: [measure(drawn)], seed, rounds)[0]


def calibrate(evidence: Floats, attack: Flags, weights: Floats) -> list[tuple[float, float]]:
    """Fit a rising line of log odds over evidence, by isotonic regression through a few points of it."""
    smooth = LogisticRegression(C=1e6).fit(evidence.reshape(-1, 1), attack, sample_weight=weights)
    slope, offset = float(smooth.coef_[0, 0]), float(smooth.intercept_[0])
    rising = IsotonicRegression(y_min=_EDGE, y_max=1 - _EDGE).fit(evidence, attack, sample_weight=weights)
    knots = np.unique(np.quantile(evidence, (0.02, 0.1, 0.25, 0.5, 0.65, 0.8, 0.9, 0.98)).round(3))
    spread = max(float(np.std(evidence)) / 4, 1e-3)
    points: list[tuple[float, float]] = []
    for knot in knots:
        near = np.exp(-0.5 * ((evidence - knot) / spread) ** 2) * weights
        share = float(np.clip((near * rising.predict(evidence)).sum() / near.sum(), _EDGE, 1 - _EDGE))
        odds = float(np.log(share / (1 - share)))
        least = points[-1][1] + _RISE * (float(knot) - points[-1][0]) if points else odds
        points.append((float(knot), max(odds, least)))
    if len(points) < 2 or slope <= 0:
        return [(0.0, offset), (1.0, offset + max(slope, _RISE))]
    return points


def calibration_error(probability: Floats, attack: Flags, weights: Floats) -> float:
    """The expected calibration error over ten bins of probability."""
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (probability - attack), _BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def probabilities(points: Sequence[tuple[float, float]], evidence: Floats) -> Floats:
    """The probability of each text."""
    line = Calibration(list(points))
    return np.array([line.probability(float(value)) for value in evidence])


def cross_calibrated(scored: Scored, folds: Numbers, weights: Floats, usable: Flags | None = None) -> Floats:
    """The probability of each text from a calibration that saw only the ``usable`` texts of the other folds."""
    probability = np.zeros(len(scored.evidence))
    for fold in sorted(set(folds.tolist())):
        of_it = folds == fold
        others = ~of_it if usable is None else ~of_it & usable
        points = calibrate(scored.evidence[others], scored.attack[others], weights[others])
        probability[of_it] = probabilities(points, scored.evidence[of_it])
    return probability


def rates(scored: Scored, wanted: Sequence[float] = RATES) -> Mapping[float, tuple[float, float]]:
    """For each rate of false positives the threshold and the macro recall."""
    return {rate: (threshold_at(scored, rate), recall_at(scored, rate)) for rate in wanted}
