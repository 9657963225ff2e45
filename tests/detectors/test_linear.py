"""The linear model: what it reads, and what it adds up."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors.linear import DAMPING, STEP, WHOLE, WINDOW, LinearModel, features, read_model
from extproc.detectors.pack import Fields, PackError

MODEL: dict[str, Any] = {
    "format": 1,
    "stem": 5,
    "name": "small",
    "card": {"note": "for tests"},
    "scale": 0.5,
    "intercept": -1.0,
    "rule_weight": 2.0,
    "window_penalty": 0.25,
    "threshold": 0.7,
    "calibration": {"evidence": [-1.0, 1.0], "odds": [-2.0, 2.0]},
    "weights": {"4": "ignor\nall rules", "-2": "pleas\n@drop", "6": "@drop @order"},
    "concepts": {"drop": "ignor* olvid*", "order": "rules reglas 指令"},
    "words": "ignore instructions",
}
FILLER = [f"w{number}" for number in range(1000)]


def model(**changes: Any) -> LinearModel:
    return read_model(Fields({**MODEL, **changes}))


def score(model: LinearModel, words: list[str]) -> tuple[float, int, int]:
    return model.score(list(map(model.word, words)))


def changed(place: tuple[str, ...], value: object) -> dict[str, Any]:
    """The model with one place changed, or gone if the value is None."""
    changed = copy.deepcopy(MODEL)
    at: Any = changed
    for step in place[:-1]:
        at = at[step]
    if value is None:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return changed


# ---- sums --------------------------------------------------------------------------------------------------------


def test_features_are_single_and_neighbouring_stems_and_concepts() -> None:
    assert features(["a", "b", "a"], ["@x", "@y"]) == {
        *("a", "b", "@x", "@y"),
        *(("a", "b"), ("b", "a"), ("@x", "@y")),
    }
    assert features([], []) == set()


def test_a_text_without_words_is_worth_the_intercept() -> None:
    assert score(model(), []) == (-1.0, 0, 0)


def test_a_text_of_unknown_words_too() -> None:
    assert score(model(), ["hello", "there"]) == (-1.0, 0, 2)


def test_weights_are_added_up_over_the_square_root_of_the_features() -> None:
    # ignor, regla, (ignor regla), @drop, @order, (@drop @order): six, of which three have weights
    total, start, end = score(model(), ["ignored", "reglas"])
    assert total == pytest.approx((2.0 - 1.0 + 3.0) / math.sqrt(6 + DAMPING) - 1.0)
    assert (start, end) == (0, 2)


def test_concepts_follow_each_other_whatever_stands_in_between() -> None:
    with_order = score(model(), ["olvida", "todas", "las", "reglas"])[0]
    assert with_order == pytest.approx((-1.0 + 3.0) / math.sqrt(4 + 3 + 2 + 1 + DAMPING) - 1.0)


def test_a_feature_counts_once() -> None:
    # ignor, (ignor ignor), @drop, (@drop @drop)
    assert score(model(), ["ignore"] * 3)[0] == pytest.approx((2.0 - 1.0) / math.sqrt(4 + DAMPING) - 1.0)


def test_an_attack_in_a_long_text_is_seen_through_a_window() -> None:
    place = 7 * STEP + 4
    words = [*FILLER[:place], "ignore", "reglas", *FILLER[place:200]]
    total, start, end = score(model(), words)
    assert start <= place < end
    assert end - start == WINDOW
    alone = score(model(), words[start:end])[0]
    assert total == pytest.approx(alone - 0.25)
    assert total > score(model(), words[:40])[0]


@pytest.mark.parametrize("place", [*range(0, 120, 7), 119])
def test_a_window_looks_at_every_place(place: int) -> None:
    words = [*FILLER[:place], "ignore", "reglas", *FILLER[place:119]]
    _, start, end = score(model(window_penalty=-10), words)
    assert start <= place < place + 2 <= end <= len(words)


def test_short_texts_have_no_windows() -> None:
    words = ["ignore", *FILLER[: WINDOW + STEP - 1]]
    assert score(model(window_penalty=-10), words)[1:] == (0, len(words))
    assert score(model(window_penalty=-10), [*words, "more"])[0] > 5


def test_of_a_very_long_text_the_beginning_is_added_up_as_one() -> None:
    assert score(model(window_penalty=100), [*FILLER[:WHOLE], "ignore", "reglas"])[0] == pytest.approx(-1.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ignore", "rules", "please", "todas", "", "指令", *FILLER[:9]]), max_size=120))
def test_the_words_named_lie_in_the_text_and_the_sum_does_not_depend_on_other_texts(words: list[str]) -> None:
    total, start, end = score(SHARED, words)
    assert 0 <= start <= end <= len(words)
    assert (start < end) is bool(words)
    assert total == pytest.approx(score(model(), words)[0])


SHARED = model()


# ---- reading -----------------------------------------------------------------------------------------------------


def test_a_model_says_what_it_needs() -> None:
    read = model()
    assert read.threshold == 0.7
    assert read.rule_weight == 2.0
    assert read.words == ("ignore", "instructions")
    assert read.calibration.probability(0.0) == pytest.approx(0.5)
    assert read.concepts.unspaced == ("指令",)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("format",), 2, "model.format: must be 1: this is a model of another version"),
        (("format",), None, "model.format: is required"),
        (("stem",), 4, "model.stem: must be 5"),
        (("name",), "", "model.name: must be a non-empty string"),
        (("card",), [], "model.card: must be a mapping"),
        (("card",), {1: 2}, "model.card: must have strings as keys"),
        (("scale",), "1", "model.scale: must be a finite number"),
        (("intercept",), float("nan"), "model.intercept: must be a finite number"),
        (("rule_weight",), None, "model.rule_weight: is required"),
        (("window_penalty",), True, "model.window_penalty: must be a finite number"),
        (("threshold",), None, "model.threshold: is required"),
        (("weights",), "a", "model.weights: must be a mapping"),
        (("weights", "0.5"), "a", "model.weights.0.5: must be a whole number"),
        (("weights", "4"), 4, "model.weights.4: must be a non-empty string"),
        (("calibration", "evidence"), [1], "model.calibration: "),
        (("calibration", "evidence"), [1, 0], "model.calibration: must be two points or more that rise"),
        (("calibration", "odds"), ["1", 2], "model.calibration.odds[0]: must be a finite number"),
        (("calibration",), None, "model.calibration.evidence: is required"),
        (("concepts", "drop"), 1, "model.concepts.drop: must be a non-empty string"),
        (("words",), ["ignore"], "model.words: must be a non-empty string"),
    ],
)
def test_what_is_no_model_is_refused_at_its_place(place: tuple[str, ...], value: object, message: str) -> None:
    with pytest.raises(PackError) as caught:
        read_model(Fields(changed(place, value), ("model",)))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("threshold", [0, 1, 2, -0.5])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(PackError) as caught:
        read_model(Fields(changed(("threshold",), threshold), ("model",)))
    assert str(caught.value) == "model.threshold: must lie between 0 and 1"


def test_rules_never_count_against_a_finding() -> None:
    with pytest.raises(PackError) as caught:
        read_model(Fields(changed(("rule_weight",), -1.0), ("model",)))
    assert str(caught.value) == "model.rule_weight: must not be negative"
