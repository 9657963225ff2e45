"""Thresholds, calibration and intervals: none may come from the texts that it is judged by."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from extproc.training import validate
from extproc.training.validate import Scored


def scored(sources: int = 4, texts: int = 200, seed: int = 0) -> tuple[Scored, np.ndarray]:
    """Attacks around 2 and others around -2, as many of each in every source, which is its own fold."""
    chance = np.random.default_rng(seed)
    source = np.repeat(np.arange(sources), texts)
    attack = np.tile(np.arange(texts) % 2 == 1, sources)
    return Scored(chance.normal(np.where(attack, 2.0, -2.0), 1.2), attack, source), source


def test_a_threshold_lets_no_more_through_than_asked_and_no_less_than_it_must() -> None:
    texts, _ = scored(texts=1000)
    for rate in (0.005, 0.02, 0.1):
        threshold = validate.threshold_at(texts, rate)
        assert validate.macro(texts, texts.evidence > threshold, attack=False) <= rate
        assert validate.macro(texts, texts.evidence >= threshold, attack=False) >= rate
    assert validate.recall_at(texts, 0.1) > validate.recall_at(texts, 0.005) > 0.5
    assert validate.rates(texts)[0.01] == (validate.threshold_at(texts, 0.01), validate.recall_at(texts, 0.01))


def test_no_fold_is_judged_by_a_threshold_of_its_own_texts() -> None:
    texts, folds = scored()
    before = validate.nested_flags(texts, folds, 0.01)
    loud = texts._replace(evidence=np.where((folds == 2) & ~texts.attack, 50.0, texts.evidence))
    after = validate.nested_flags(loud, folds, 0.01)
    assert (before[(folds == 2) & texts.attack] == after[(folds == 2) & texts.attack]).all()
    assert not after[folds != 2].any(), "while the others' threshold is above everything, because of that fold"
    assert validate.nested(loud, folds, 0.01)[1] == pytest.approx(0.25), (
        "and its texts are false positives, all of them"
    )


def test_texts_that_are_not_usable_move_no_calibration() -> None:
    texts, folds = scored()
    usable = folds != 2
    loud = texts._replace(evidence=np.where(usable, texts.evidence, 50.0))
    one, other = (validate.cross_calibrated(it, folds, np.ones(len(folds)), usable) for it in (texts, loud))
    assert (one[usable] == other[usable]).all()


def test_calibration_makes_probabilities_of_evidence() -> None:
    texts, folds = scored(texts=2000)
    probability = validate.cross_calibrated(texts, folds, np.ones(len(folds)))
    assert validate.calibration_error(probability, texts.attack, np.ones(len(folds))) < 0.04
    points = validate.calibrate(texts.evidence, texts.attack, np.ones(len(folds)))
    assert all(b[0] > a[0] and b[1] > a[1] for a, b in pairwise(points))


@pytest.mark.parametrize("same", [True, False], ids=["all-alike", "upside-down"])
def test_a_calibration_of_evidence_that_says_nothing_still_rises(same: bool) -> None:
    evidence = np.zeros(100) if same else np.linspace(1, 0, 100)
    points = validate.calibrate(evidence, np.arange(100) >= 50, np.ones(100))
    assert len(points) >= 2
    assert points[-1][1] > points[0][1]


def test_certain_and_wrong_is_the_largest_error() -> None:
    probability, weights = np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0, 1.0])
    assert validate.calibration_error(probability, np.array([True, False, False]), weights) == pytest.approx(0.5)


def test_an_interval_is_of_the_measure_and_repeats() -> None:
    texts, _ = scored()
    measure = lambda it: validate.recall_at(it, 0.02)  # noqa: E731 - as it is handed over
    low, high = validate.interval(texts, measure, rounds=100)
    assert low < measure(texts) < high
    assert (low, high) == validate.interval(texts, measure, rounds=100)
    assert (low, high) == validate.intervals(texts, lambda it: [0.0, measure(it)], rounds=100)[1]


def test_shares_by_source_leave_small_ones_out() -> None:
    texts, _ = scored(sources=1, texts=200)
    named = texts._replace(source=np.array(["mails"] * 200))
    flagged = named.attack.copy()
    assert validate.by_source(named, flagged, attack=True) == {"mails": (1.0, 100)}
    assert validate.by_source(named, flagged, attack=True, least=101) == {}
    assert np.isnan(validate.macro(named._replace(attack=np.zeros(200, dtype=bool)), flagged, attack=True))
