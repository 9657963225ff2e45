"""From evidence to a probability: how often texts that looked so were attacks, in the data that it was fitted on.

What lives here: that mapping. What must not: evidence, thresholds, fitting.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_HIGHEST: Final = 0.9999  # nothing is certain


class Calibration:
    """A line through points (evidence, log odds), straight between and beyond them. It never falls."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        if len(points) < 2 or any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(points)):
            raise ValueError("must be two points or more that rise")
        self._points: Final = tuple(points)
        self._evidence: Final = [evidence for evidence, _ in points]

    def probability(self, evidence: float) -> float:
        """How probably a text with this evidence is an attack."""
        at = min(max(bisect.bisect_right(self._evidence, evidence), 1), len(self._points) - 1)
        (x0, y0), (x1, y1) = self._points[at - 1], self._points[at]
        odds = y0 + (evidence - x0) * (y1 - y0) / (x1 - x0)
        return min(1 / (1 + math.exp(-min(max(odds, -30.0), 30.0))), _HIGHEST)
