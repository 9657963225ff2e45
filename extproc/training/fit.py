"""Fitting: from the words of labelled texts to the weights of a linear model.

What lives here: the regression, and the choice and rounding of the features that are kept. What must not: files,
validation.

Every source counts as if it had at most ``CAP`` texts of a label, so that no large synthetic one is all that the model
learns. All is seeded: the same rows give the same weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier

from extproc.detectors.concepts import Concepts
from extproc.detectors.linear import DAMPING, STEM, WHOLE, Feature, Weights, features

CAP: Final = 1500
KEPT: Final = 15_000  # features
RARE: Final = 3  # texts that a feature must be in
TYPICAL: Final = 2000  # words of attacks
TYPICAL_TEXTS: Final = 5  # texts, by weight, that such a word must be in, of so many sources
TYPICAL_SOURCES: Final = 3
SHORTEST: Final = 4  # letters of such a word
Floats: TypeAlias = npt.NDArray[np.float64]

_STEPS: Final = 127  # weights are rounded to so many on either side of 0
_ALPHA: Final = 2e-6
_ROUNDS: Final = 8


class Fitted(NamedTuple):
    """A fitted model: whole-numbered weights, what one of them is worth, and the intercept."""

    steps: Mapping[Feature, int]
    scale: float
    intercept: float

    def weights(self) -> Weights:
        """The weights as the model uses them."""
        return Weights(
            (feature, "", step * self.scale) if isinstance(feature, str) else (*feature, step * self.scale)
            for feature, step in self.steps.items()
        )


def features_of(words: Sequence[str], concepts: Concepts) -> set[Feature]:
    """The features of a whole text, as the model makes them."""
    head = words[:WHOLE]
    return features([word[:STEM] for word in head], [concept for word in head if (concept := concepts[word])])


def sample_weights(groups: Sequence[tuple[str, bool]]) -> Floats:
    """What each text counts, by its source and label."""
    counts = Counter(groups)
    return np.array([min(1.0, CAP / counts[group]) for group in groups])


def fit(found: Sequence[set[Feature]], attacks: Sequence[bool], weights: Floats, seed: int = 0) -> Fitted:
    """Fit a logistic regression over the features of texts, and keep those of its weights that matter most."""
    frequency = Counter(feature for each in found for feature in each)
    frequent = sorted((feature for feature, texts in frequency.items() if texts >= RARE), key=_name)
    index = {feature: at for at, feature in enumerate(frequent)}
    matrix = _matrix(found, index)
    model = SGDClassifier(
        loss="log_loss", alpha=_ALPHA, max_iter=_ROUNDS, tol=None, average=True, random_state=seed
    ).fit(matrix, np.array(attacks, dtype=int), sample_weight=weights)
    fitted = dict(zip(index, model.coef_[0], strict=True))
    kept = sorted(fitted, key=lambda feature: (-abs(fitted[feature]) * math.sqrt(frequency[feature]), _name(feature)))
    top = {feature: float(fitted[feature]) for feature in kept[:KEPT]}
    scale = max(map(abs, top.values())) / _STEPS
    steps = {feature: round(weight / scale) for feature, weight in top.items()}
    return Fitted({f: step for f, step in steps.items() if step}, scale, float(model.intercept_[0]))


def _matrix(found: Sequence[set[Feature]], index: Mapping[Feature, int]) -> Any:
    """One row a text; what is rare still counts in how many features there are."""
    columns = [np.array(sorted(index[each] for each in row if each in index), dtype=np.int32) for row in found]
    values = [np.full(len(known), 1 / math.sqrt(len(row) + DAMPING)) for row, known in zip(found, columns, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(known) for known in columns])]).astype(np.int32)
    return sp.csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=(len(found), len(index)))


def _name(feature: Feature) -> str:
    return feature if isinstance(feature, str) else " ".join(feature)


def words_of_attacks(texts: Sequence[Sequence[str]], groups: Sequence[tuple[str, bool]]) -> list[str]:
    """The words, of four Latin letters or more, that are most typical of attacks in several sources.

    ``groups``: the source and the label of each text.
    """
    weights: dict[str, list[float]] = {}
    homes: dict[str, set[str]] = {}
    for text, (source, attack), weight in zip(texts, groups, sample_weights(groups), strict=True):
        for word in {word for word in text[:WHOLE] if len(word) >= SHORTEST and word.isascii() and word.isalpha()}:
            weights.setdefault(word, [0.0, 0.0])[int(attack)] += float(weight)
            if attack:
                homes.setdefault(word, set()).add(source)
    typical = {
        word: math.log((1 + attacking) / (1 + other)) * math.sqrt(attacking)
        for word, (other, attacking) in weights.items()
        if attacking >= TYPICAL_TEXTS and len(homes[word]) >= TYPICAL_SOURCES
    }
    return sorted(typical, key=lambda word: (-typical[word], word))[:TYPICAL]
