"""From evidence to a probability."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.detectors.calibration import Calibration

LINE = Calibration([(-2.0, -4.0), (0.0, 0.0), (1.0, 0.0), (3.0, 4.0)])


@pytest.mark.parametrize(
    ("evidence", "probability"),
    [
        (-3.0, 0.00247),  # as steep as the first part
        (-2.0, 0.01799),
        (-1.0, 0.11920),
        (0.0, 0.5),
        (0.5, 0.5),
        (1.0, 0.5),
        (2.0, 0.88080),
        (3.0, 0.98201),
        (4.0, 0.99753),
        (50.0, 0.9999),
        (float("inf"), 0.9999),
    ],
)
def test_it_is_straight_between_the_points_and_beyond_them(evidence: float, probability: float) -> None:
    assert LINE.probability(evidence) == pytest.approx(probability, abs=1e-5)


@pytest.mark.parametrize(
    "points", [[], [(0.0, 0.0)], [(0.0, 0.0), (0.0, 1.0)], [(1.0, 0.0), (0.0, 1.0)], [(0.0, 1.0), (1.0, 0.0)]]
)
def test_points_that_do_not_rise_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two points or more that rise"):
        Calibration(points)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_more_evidence_is_never_less_probable_and_nothing_is_certain(one: float, other: float) -> None:
    low, high = (LINE.probability(evidence) for evidence in sorted((one, other)))
    assert 0 < low <= high < 1
