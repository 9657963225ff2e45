"""The model file: what ``extproc.detectors.linear.read_model`` reads, written so that the same model is the same bytes.

What lives here: the mapping, its rounding and its text. What must not: fitting, what the card says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from extproc.chat import Json
from extproc.detectors.linear import FORMAT, STEM, Feature
from extproc.training.fit import Fitted

RULE_WEIGHT: Final = 3.0  # what a nat of a rule's evidence counts beside the sum of the weights
WINDOW_PENALTY: Final = 1.0
BYTES_MAX: Final = 400_000  # of the model that ships
_DIGITS: Final = 8
_HIGHEST: Final = 0.9999


def model_of(
    name: str,
    fitted: Fitted,
    concepts: Mapping[str, str],
    words: Sequence[str],
    points: Sequence[tuple[float, float]],
    threshold: float,
    card: Mapping[str, Json],
) -> dict[str, Json]:
    """The model as the detector reads it. ``concepts``: words by concept, ``threshold``: a probability."""
    by_step: dict[int, list[str]] = {}
    for feature, step in fitted.steps.items():
        by_step.setdefault(step, []).append(written_feature(feature))
    return {
        "format": FORMAT,
        "stem": STEM,
        "name": name,
        "card": dict(card),
        "scale": rounded(fitted.scale),
        "weights": {str(step): "\n".join(sorted(by_step[step])) for step in sorted(by_step)},
        "intercept": rounded(fitted.intercept),
        "rule_weight": RULE_WEIGHT,
        "window_penalty": WINDOW_PENALTY,
        "threshold": just_above(threshold),
        "calibration": {
            "evidence": [rounded(evidence) for evidence, _ in points],
            "odds": [rounded(odds) for _, odds in points],
        },
        "concepts": dict(concepts),
        "words": " ".join(words) or " ",
    }


def blank_model(concepts: Mapping[str, str], words: Sequence[str] = ()) -> dict[str, Json]:
    """A model that knows concepts and words but has learnt nothing: what texts are studied with."""
    return model_of("blank", Fitted({}, 1.0, 0.0), concepts, words, [(0.0, 0.0), (1.0, 1.0)], 0.5, {})


def written(model: Mapping[str, Json]) -> str:
    """The text of a model's file."""
    return json.dumps(model, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"


def flat_concepts(by_language: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Words by concept, from words by concept and language; each word once."""
    return {
        concept: " ".join(dict.fromkeys(word for words in languages.values() for word in words.split()))
        for concept, languages in sorted(by_language.items())
    }


def written_feature(feature: Feature) -> str:
    """A feature as it stands in the file."""
    return feature if isinstance(feature, str) else " ".join(feature)


def rounded(value: float) -> float:
    """A number of so few digits that it is the same wherever it was computed."""
    return float(f"{value:.{_DIGITS}g}")


def just_above(probability: float) -> float:
    """A threshold that texts of this probability stay below, if any text can be above it."""
    return min(math.floor(probability * 1e6 + 1) / 1e6, _HIGHEST)
