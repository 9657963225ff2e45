"""The model file: one text for one model, which the detector reads back as it was meant."""

from __future__ import annotations

import json
import math

import pytest

from extproc.detectors.linear import DAMPING, read_model
from extproc.detectors.pack import Fields
from extproc.runtime.assets import PACKAGE
from extproc.training.fit import Fitted
from extproc.training.inputs import detector_of, read_concepts, read_pack
from extproc.training.model import BYTES_MAX, blank_model, flat_concepts, just_above, model_of, written

FITTED = Fitted({"ignor": 3, ("ignor", "all"): -2, "@drop": 3, "all": 1}, 0.12345678901, -1.5)
POINTS = [(-1.0, -2.0), (1.0, 2.0)]
SHIPPED = PACKAGE.parent / "policies" / "models" / "injection.json"


def test_features_stand_under_their_weights() -> None:
    model = model_of("it", FITTED, {"drop": "ignore*"}, ["ignore"], POINTS, 0.5, {"about": "it"})
    assert model["weights"] == {"-2": "ignor all", "1": "all", "3": "@drop\nignor"}
    assert model["scale"] == 0.12345679


def test_the_detector_reads_back_what_was_written() -> None:
    text = written(model_of("it", FITTED, {"drop": "ignore*"}, ["ignore", "all"], POINTS, 0.5, {}))
    read = read_model(Fields(json.loads(text)))
    assert read.words == ("ignore", "all")
    assert read.concepts["ignored"] == "@drop"
    features = 3 + 1 - 2 + 3  # ignor, all, "ignor all", @drop
    assert read.score(list(map(read.word, ["ignore", "all"])))[0] == pytest.approx(
        features * 0.12345679 / math.sqrt(4 + DAMPING) - 1.5
    )


def test_the_text_does_not_depend_on_the_order_of_anything() -> None:
    backwards = Fitted(dict(reversed(FITTED.steps.items())), *FITTED[1:])
    one, other = (model_of("it", fitted, {"b": "x", "a": "y"}, [], POINTS, 0.5, {}) for fitted in (FITTED, backwards))
    assert written(one) == written(dict(reversed(other.items())))


def test_a_model_that_has_learnt_nothing_loads() -> None:
    assert detector_of(read_pack(), blank_model({})).scan("hello").score < 0.9


def test_a_text_at_the_threshold_stays_below_and_one_can_be_above() -> None:
    assert 0.25 < just_above(0.25) < 0.25001
    assert just_above(0.9999) == 0.9999


def test_concepts_are_one_list_of_words_each() -> None:
    assert flat_concepts({"drop": {"en": "drop\nforget", "de": "drop  vergiss"}}) == {"drop": "drop forget vergiss"}
    assert "ignore*" in flat_concepts(read_concepts())["drop"].split()


@pytest.mark.skipif(not SHIPPED.exists(), reason="no model ships yet")
def test_the_model_that_ships_is_small() -> None:
    assert SHIPPED.stat().st_size <= BYTES_MAX
