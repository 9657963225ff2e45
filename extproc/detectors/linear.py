"""A linear model over stems and concepts: how much a text reads like the attacks that the model was trained on.

What lives here: what a text's features are, their weights, and the sum of them. What must not: rules, thresholds,
training (that is the shell's).

A feature is a stem, the first letters of a word, or two neighbouring ones; a concept, what a word of any language that
the model knows stands for, or two concepts that follow each other whatever words stand in between. A text has it or has
it not, and the sum of the weights is divided by the square root of how many features there are and a few more, so that
a word alone says little. Long texts are also looked at through a window, since an attack in the middle of a
document is but a small part of its features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, chain, pairwise, repeat
from operator import add, sub
from typing import Final, TypeAlias

from extproc.detectors.calibration import Calibration
from extproc.detectors.concepts import Concepts
from extproc.detectors.pack import Fields

FORMAT: Final = 1
STEM: Final = 5
WINDOW: Final = 32  # words looked at together
STEP: Final = 8
LIKELY: Final = 4  # windows of a text that are looked at closely
DAMPING: Final = 8  # features as if there were so many more that say nothing: one word alone is little evidence
WHOLE: Final = 400  # words at most whose features are added up as one text

Feature: TypeAlias = "str | tuple[str, str]"


def features(stems: Sequence[str], concepts: Sequence[str]) -> set[Feature]:
    """The features of a text, or of a window of one."""
    found: set[Feature] = set(stems)
    found.update(pairwise(stems))
    found.update(concepts)
    found.update(pairwise(concepts))
    return found


class LinearModel:
    """Weights and how to read them. Shared; grows only in what it remembers of words.

    ``rule_weight``: what a nat of a rule's evidence counts beside the sum; ``window_penalty``: what is taken off the
    sum of a window, of which a long text has many. ``calibration`` is of both together, ``threshold`` a probability.
    ``words`` are those that attacks are made of, in full, by which disguises and misspellings are seen through.
    """

    def __init__(
        self,
        weights: Mapping[Feature, float],
        intercept: float,
        concepts: Concepts,
        *,
        rule_weight: float,
        window_penalty: float,
        calibration: Calibration,
        threshold: float,
        words: Sequence[str] = (),
    ) -> None:
        self._weights: Final = weights
        self._known: Final[AbstractSet[Feature]] = weights.keys()
        self._intercept: Final = intercept
        self._window_penalty: Final = window_penalty
        self.concepts: Final = concepts
        self.rule_weight: Final = rule_weight
        self.calibration: Final = calibration
        self.threshold: Final = threshold
        self.words: Final = tuple(words)

    def score(self, words: Sequence[str]) -> tuple[float, int, int]:
        """The highest sum of a text's words, without marks, or of a window of them, and which words those are."""
        stems = [word[:STEM] for word in words]
        concepts = list(map(self.concepts.__getitem__, words))
        best = self._sum(stems[:WHOLE], concepts[:WHOLE]), 0, len(words)
        for start in self._likely(stems, concepts):
            end = start + WINDOW
            total = self._sum(stems[start:end], concepts[start:end]) - self._window_penalty
            best = max(best, (total, start, min(end, len(words))))
        return best

    def _likely(self, stems: Sequence[str], concepts: Sequence[str]) -> list[int]:
        """Where the windows begin that are worth a look: those whose features, each time they occur, weigh the most."""
        if len(stems) <= WINDOW + STEP:
            return []
        weight, nothing = self._weights.get, repeat(0.0)
        alone = map(add, map(weight, stems, nothing), map(weight, concepts, nothing))
        sums = list(accumulate(map(add, alone, chain(map(weight, pairwise(stems), nothing), nothing)), initial=0.0))
        starts = range(0, len(stems) - STEP, STEP)
        ends = chain(sums[WINDOW::STEP], repeat(sums[-1]))
        weights = list(map(sub, ends, sums[::STEP][: len(starts)]))
        return sorted(sorted(starts, key=lambda start: weights[start // STEP], reverse=True)[:LIKELY])

    def _sum(self, stems: Sequence[str], concepts: Sequence[str]) -> float:
        found = features(stems, list(filter(None, concepts)))
        if not found:
            return self._intercept
        total = sum(map(self._weights.__getitem__, self._known & found))
        return total / math.sqrt(len(found) + DAMPING) + self._intercept


def read_model(fields: Fields) -> LinearModel:
    """Read a model: ``docs/injection.md`` has the format.

    Raises:
        PackError: it is not one, at the place that it names.
    """
    if fields.integer("format") != FORMAT:
        raise fields.error("format", f"must be {FORMAT}: this is a model of another version")
    if fields.integer("stem") != STEM:
        raise fields.error("stem", f"must be {STEM}")
    fields.string("name")
    fields.mapping("card").names()
    scale = fields.number("scale")
    weights: dict[Feature, float] = {}
    steps = fields.mapping("weights")
    for step in steps.names():
        try:
            weight = int(step) * scale
        except ValueError:
            raise steps.error(step, "must be a whole number") from None
        weights.update(zip(map(_feature, steps.string(step).split("\n")), repeat(weight)))
    calibration = fields.mapping("calibration")
    evidence, odds = calibration.numbers("evidence"), calibration.numbers("odds")
    try:
        line = Calibration(list(zip(evidence, odds, strict=True)))
    except ValueError as error:
        raise fields.error("calibration", str(error)) from None
    threshold, rule_weight = fields.number("threshold"), fields.number("rule_weight")
    if not 0 < threshold < 1:
        raise fields.error("threshold", "must lie between 0 and 1")
    if rule_weight < 0:
        raise fields.error("rule_weight", "must not be negative")
    return LinearModel(
        weights,
        fields.number("intercept"),
        Concepts(fields.mapping("concepts")),
        rule_weight=rule_weight,
        window_penalty=fields.number("window_penalty"),
        calibration=line,
        threshold=threshold,
        words=fields.string("words").split(),
    )


def _feature(text: str) -> Feature:
    first, blank, second = text.partition(" ")
    return (first, second) if blank else text
