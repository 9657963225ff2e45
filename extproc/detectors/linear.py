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
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from operator import add, itemgetter, sub
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

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

# Features are whole numbers: stems and concepts have one each, and a pair has both in one, the first ahead.
_PAIR: Final = 30  # bits
_UNKNOWN: Final = 1 << (_PAIR - 1)  # stems that the model does not know have numbers from here on

Feature: TypeAlias = "str | tuple[str, str]"


class Word(NamedTuple):
    """What the model sees of a word: the numbers of its stem and of its concept (0: none), by themselves and as the
    first of a pair, and their weight."""

    stem: int
    stem_ahead: int
    concept: int
    concept_ahead: int
    weight: float


# By place: half the price of going by name.
_STEM: Final = itemgetter(Word._fields.index("stem"))
_STEM_AHEAD: Final = itemgetter(Word._fields.index("stem_ahead"))
_CONCEPT: Final = itemgetter(Word._fields.index("concept"))
_CONCEPT_AHEAD: Final = itemgetter(Word._fields.index("concept_ahead"))
_WEIGHT: Final = itemgetter(Word._fields.index("weight"))


def features(stems: Sequence[str], concepts: Sequence[str]) -> set[Feature]:
    """The features of a text, or of a window of one."""
    found: set[Feature] = set(stems)
    found.update(pairwise(stems))
    found.update(concepts)
    found.update(pairwise(concepts))
    return found


class Weights(dict[int, float]):
    """The weight of each feature, by its number, and the numbers of stems and concepts."""

    def __init__(self, weights: Iterable[tuple[str, str, float]] = ()) -> None:
        """Take a stem or concept, the second one of a pair or nothing, and the weight, for each feature."""
        super().__init__()
        numbers = _Numbers()
        for first, second, weight in weights:
            self[(numbers[first] << _PAIR) + numbers[second] if second else numbers[first]] = weight
        self._numbers: Final = numbers

    def number(self, name: str) -> int:
        """The number of a stem or concept."""
        # A text counts how many different stems it has, so unknown ones need numbers, too: the same in every process.
        return self._numbers.get(name) or _UNKNOWN + crc32(name.encode(errors="surrogatepass")) % _UNKNOWN


class _Numbers(dict[str, int]):
    """Numbers from 1 on, given out as names turn up."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self) + 1
        return number


class _Columns(NamedTuple):
    """The words of a text, part by part."""

    stems: Sequence[int]
    pairs: Sequence[int]
    concepts: Sequence[int]
    concepts_ahead: Sequence[int]

    def features(self, start: int, end: int) -> set[int]:
        """The features of words ``[start, end)``, as ``features`` has them."""
        found = {*self.stems[start:end], *self.pairs[start : end - 1]}
        concepts = list(filter(None, self.concepts[start:end]))
        found.update(concepts)
        found.update(map(add, filter(None, self.concepts_ahead[start:end]), concepts[1:]))
        return found


class LinearModel:
    """Weights and how to read them. Shared, and never changed.

    ``rule_weight``: what a nat of a rule's evidence counts beside the sum; ``window_penalty``: what is taken off the
    sum of a window, of which a long text has many. ``calibration`` is of both together, ``threshold`` a probability.
    ``words`` are those that attacks are made of, in full, by which disguises and misspellings are seen through.
    """

    def __init__(
        self,
        weights: Weights,
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
        self._intercept: Final = intercept
        self._window_penalty: Final = window_penalty
        self.concepts: Final = concepts
        self.rule_weight: Final = rule_weight
        self.calibration: Final = calibration
        self.threshold: Final = threshold
        self.words: Final = tuple(words)

    def word(self, word: str) -> Word:
        """What the model sees of a word."""
        stem = self._weights.number(word[:STEM])
        concept = self._weights.number(name) if (name := self.concepts[word]) else 0
        weight = self._weights.get(stem, 0.0) + self._weights.get(concept, 0.0)
        return Word(stem, stem << _PAIR, concept, concept << _PAIR, weight)

    def score(self, words: Sequence[Word]) -> tuple[float, int, int]:
        """The highest sum of a text's words, without marks, or of a window of them, and which words those are."""
        stems = list(map(_STEM, words))
        pairs = list(map(add, map(_STEM_AHEAD, words), stems[1:]))
        columns = _Columns(stems, pairs, list(map(_CONCEPT, words)), list(map(_CONCEPT_AHEAD, words)))
        best = self._sum(columns.features(0, WHOLE)), 0, len(words)
        for start in self._likely(words, pairs):
            end = start + WINDOW
            total = self._sum(columns.features(start, end)) - self._window_penalty
            best = max(best, (total, start, min(end, len(words))))
        return best

    def _likely(self, words: Sequence[Word], pairs: Sequence[int]) -> list[int]:
        """Where the windows begin that are worth a look: those whose features, each time they occur, weigh the most."""
        if len(words) <= WINDOW + STEP:
            return []
        nothing = repeat(0.0)
        paired = chain(map(self._weights.get, pairs, nothing), nothing)
        sums = list(accumulate(map(add, map(_WEIGHT, words), paired), initial=0.0))
        starts = range(0, len(words) - STEP, STEP)
        ends = chain(sums[WINDOW::STEP], repeat(sums[-1]))
        weights = list(map(sub, ends, sums[::STEP][: len(starts)]))
        heaviest = sorted(range(len(starts)), key=weights.__getitem__, reverse=True)
        return sorted(starts[at] for at in heaviest[:LIKELY])

    def _sum(self, found: set[int]) -> float:
        if not found:
            return self._intercept
        total = sum(map(self._weights.__getitem__, self._weights.keys() & found))
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
    weights = Weights(_features(fields.mapping("weights"), scale))
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


def _features(steps: Fields, scale: float) -> Iterator[tuple[str, str, float]]:
    """The features in a file, with their weights."""
    for step in steps.names():
        try:
            weight = int(step) * scale
        except ValueError:
            raise steps.error(step, "must be a whole number") from None
        for feature in steps.string(step).split("\n"):
            first, _, second = feature.partition(" ")
            yield first, second, weight
