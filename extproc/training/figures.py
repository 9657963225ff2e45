"""Figures about flagged texts, with what chance alone may do to them.

What lives here: shares, their intervals, the comparison of two detectors. What must not: NumPy (``sluicegate eval``
runs without it), files, tables.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple, TypeAlias

from extproc.training.corpus import SMALL

Group: TypeAlias = "tuple[str, bool]"
"""A source, and whether its attacks are meant or its other texts."""

_Z: Final = 1.959964  # 95 %
_ROUNDS: Final = 1000
_BINS: Final = 10


class Share(NamedTuple):
    """How many texts were flagged of how many."""

    flagged: int
    texts: int

    @property
    def value(self) -> float:
        """The share; 0 of nothing."""
        return self.flagged / self.texts if self.texts else 0.0

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson's; everything is possible where there are no texts."""
        if not self.texts:
            return 0.0, 1.0
        middle = self.value + _Z**2 / (2 * self.texts)
        half = _Z * math.sqrt(self.value * (1 - self.value) / self.texts + (_Z / (2 * self.texts)) ** 2)
        below = 1 + _Z**2 / self.texts
        return max((middle - half) / below, 0.0), min((middle + half) / below, 1.0)


class Difference(NamedTuple):
    """What a second detector has more than a first, and the 95 % interval of that; nothing if no source is large."""

    value: float
    low: float
    high: float


def shares(groups: Sequence[Group], flagged: Sequence[bool]) -> dict[Group, Share]:
    """The share of each source's attacks and other texts, in order of their names, attacks first."""
    texts = Counter(groups)
    hits = Counter(group for group, hit in zip(groups, flagged, strict=True) if hit)
    return {group: Share(hits[group], texts[group]) for group in sorted(texts, key=lambda it: (not it[1], it[0]))}


def macro(found: Mapping[Group, Share], attack: bool) -> float | None:
    """The mean of the shares of all sources that are not small; nothing if all are."""
    values = [share.value for (_, kind), share in found.items() if kind == attack and share.texts >= SMALL]
    return fmean(values) if values else None


def difference(
    groups: Sequence[Group], before: Sequence[bool], after: Sequence[bool], attack: bool, seed: int = 0
) -> Difference | None:
    """How much more two detectors' macro shares differ than by chance: a paired bootstrap, texts drawn within sources.

    Only a text that the two flag differently counts, so it is enough to draw how many of those there are either way.
    """
    texts = Counter(group for group in groups if group[1] == attack)
    large = sorted(group for group, count in texts.items() if count >= SMALL)
    if not large:
        return None
    more = Counter(group for group, a, b in zip(groups, before, after, strict=True) if b and not a)
    less = Counter(group for group, a, b in zip(groups, before, after, strict=True) if a and not b)
    chance = random.Random(seed)  # noqa: S311 - statistics
    drawn = sorted(
        fmean(_drawn_difference(chance, texts[group], more[group], less[group]) for group in large)
        for _ in range(_ROUNDS)
    )
    value = fmean((more[group] - less[group]) / texts[group] for group in large)
    return Difference(value, drawn[int(0.025 * _ROUNDS)], drawn[int(0.975 * _ROUNDS) - 1])


def _drawn_difference(chance: random.Random, texts: int, more: int, less: int) -> float:
    up = _binomial(chance, texts, more / texts)
    left = texts - more
    down = _binomial(chance, texts - up, less / left) if left else 0
    return (up - down) / texts


def _binomial(chance: random.Random, count: int, share: float) -> int:
    """How many of so many succeed: from one success to the next, so that rare ones are drawn fast."""
    if share > 0.5:
        return count - _binomial(chance, count, 1 - share)
    if share <= 0:
        return 0
    rarity = math.log1p(-share)
    successes, at = 0, 0
    while True:
        at += 1 + int(math.log(1 - chance.random()) / rarity)
        if at > count:
            return successes
        successes += 1


def calibration_error(scores: Sequence[float], attacks: Sequence[bool]) -> float:
    """The expected calibration error over ten bins of probability."""
    gaps = [0.0] * _BINS
    for score, attack in zip(scores, attacks, strict=True):
        gaps[min(int(score * _BINS), _BINS - 1)] += score - attack
    return sum(map(abs, gaps)) / len(scores) if scores else 0.0


def quantiles(values: Iterable[float], wanted: Sequence[float]) -> list[float]:
    """For each wanted share the lowest value that so many do not exceed. There must be a value."""
    ordered = sorted(values)
    return [ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1 if share else 0] for share in wanted]
