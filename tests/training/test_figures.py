"""Shares with intervals, and two detectors compared: against values known from elsewhere, and what must hold."""

from __future__ import annotations

import pytest

from extproc.training.figures import Share, calibration_error, difference, macro, quantiles, shares

LARGE = [("a", True)] * 200 + [("b", True)] * 100 + [("a", False)] * 150


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [
        (Share(0, 10), 0.0, 0.2775),
        (Share(5, 10), 0.2366, 0.7634),
        (Share(10, 10), 0.7225, 1.0),
        (Share(0, 0), 0.0, 1.0),
    ],
    ids=["none", "half", "all", "nothing"],
)
def test_wilson(share: Share, low: float, high: float) -> None:
    assert share.interval() == pytest.approx((low, high), abs=1e-4)


def test_every_large_source_weighs_the_same_and_small_ones_nothing() -> None:
    groups = [*LARGE, ("small", True)]
    flagged = [True] * 100 + [False] * 100 + [True] * 100 + [False] * 150 + [True]
    found = shares(groups, flagged)
    assert list(found) == [("a", True), ("b", True), ("small", True), ("a", False)]
    assert found["a", True] == Share(100, 200)
    assert macro(found, attack=True) == pytest.approx(0.75)
    assert macro(found, attack=False) == 0
    assert macro({("small", True): Share(1, 1)}, attack=True) is None


def test_a_difference_has_an_interval_of_what_a_bootstrap_of_the_texts_themselves_gives() -> None:
    before = [at % 4 == 0 for at in range(len(LARGE))]
    after = [at % 2 == 0 for at in range(len(LARGE))]  # a quarter more in each source
    found = difference(LARGE, before, after, attack=True)
    assert found is not None
    assert found.value == pytest.approx(0.25)
    deviation = (0.25 * 0.75 * (1 / 200 + 1 / 100) / 4) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert found == difference(LARGE, before, after, attack=True)
    mirrored = difference(LARGE, after, before, attack=True)
    assert mirrored is not None
    assert mirrored.value == -found.value


def test_all_that_changes_leaves_no_doubt_and_small_sources_no_answer() -> None:
    nothing, everything = [False] * len(LARGE), [True] * len(LARGE)
    assert difference(LARGE, nothing, everything, attack=True) == (1.0, 1.0, 1.0)
    assert difference(LARGE, everything, everything, attack=True) == (0.0, 0.0, 0.0)
    assert difference(LARGE, everything, nothing, attack=False) == (-1.0, -1.0, -1.0)
    assert difference([("a", True)], [True], [False], attack=True) is None


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert calibration_error([1.0, 1.0, 0.0, 0.0], [False, True, False, False]) == pytest.approx(0.25)
    assert calibration_error([], []) == 0


def test_quantiles_are_values_that_occur() -> None:
    assert quantiles([3.0, 1.0, 2.0, 4.0], (0.0, 0.5, 0.75, 0.95, 1.0)) == [1.0, 2.0, 3.0, 4.0, 4.0]
    assert quantiles([7.0], (0.05, 0.95)) == [7.0, 7.0]
