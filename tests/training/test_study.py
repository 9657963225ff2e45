"""From labelled rows to a model: it separates what it has not seen, and nothing decides that must not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from extproc.runtime.yaml_source import read_yaml
from extproc.training.corpus import CorpusError, Row
from extproc.training.inputs import detector_of
from extproc.training.model import written
from extproc.training.study import Study, Task, final_model, study
from extproc.training.validate import threshold_at
from tests.training import toy

FOLDS = {"quarry": 0, "letters": 0, "harbor": 1, "tickets": 1, "meadow": 2, "recipes": 2, "barred": 0}
PACK = read_yaml(toy.PACK).data
CONCEPTS = {"drop": "abandon* forsake*"}


def task(**changes: Any) -> Task:
    return dataclasses.replace(Task(toy.rows(), PACK, CONCEPTS, folds=FOLDS, false_positives=0.02), **changes)


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def studied() -> Study:
    return study(task(), silent)


@pytest.fixture(scope="module")
def model(studied: Study) -> Mapping[str, Any]:
    return final_model(task(), studied, "toy", {"about": "nothing"})


def test_a_model_of_other_sources_tells_attacks_from_the_rest(studied: Study) -> None:
    attack = studied.texts.attack
    assert studied.flagged[attack].mean() > 0.95
    assert studied.flagged[~attack].mean() < 0.1
    assert studied.probability[attack].mean() > 0.9 > 0.1 > studied.probability[~attack].mean()


def test_the_detector_loads_the_model_and_judges_new_texts_by_it(model: Mapping[str, Any]) -> None:
    detector = detector_of(PACK, model)
    flagged = {True: [], False: []}  # type: dict[bool, list[bool]]
    for row in toy.rows(texts=40, seed=7):
        flagged[row.attack].append(bool(detector.scan(row.text).matches))
    assert np.mean(flagged[True]) > 0.95
    assert np.mean(flagged[False]) < 0.1


def test_the_files_threshold_stands_where_the_rate_of_false_positives_is_as_asked(
    studied: Study, model: Mapping[str, Any]
) -> None:
    at = threshold_at(studied.scored, 0.02)
    detector = detector_of(PACK, model)
    line = detector._model  # the very line that the gateway uses
    assert line is not None
    assert line.calibration.probability(at) < model["threshold"] <= line.calibration.probability(at + 0.1)


def test_nothing_is_fitted_on_sources_for_evaluation_only(model: Mapping[str, Any]) -> None:
    """Whatever is in them: here, attacks that are labelled as harmless. Only the threshold heeds them."""
    wrong = [Row(row.text, False, "barred") for row in toy.rows(seed=3)[:120]]
    other = task(rows=[*toy.rows(), *wrong], evaluate_only=frozenset({"barred"}))
    found = study(other, silent)
    made = final_model(other, found, "toy", {"about": "nothing"})
    assert made["threshold"] > model["threshold"]
    assert written({**made, "threshold": model["threshold"]}) == written(model)
    assert found.texts.usable.sum() == 660


def test_what_is_trained_on_does_change_it(model: Mapping[str, Any]) -> None:
    more = task(rows=[*toy.rows(), *(Row(row.text, True, "barred") for row in toy.rows(seed=3)[:120])])
    assert final_model(more, study(more, silent), "toy", {})["weights"] != model["weights"]


def test_steps_are_told_as_they_are_done() -> None:
    told: list[tuple[str, int, int]] = []
    study(task(), lambda *step: told.append(step))
    assert told[-4:] == [("reading texts", 660, 660), *(("fitting folds", fold, 3) for fold in (1, 2, 3))]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([row for row in toy.rows() if not row.attack], "no attacks to train on"),
        ([row for row in toy.rows() if row.attack], "no texts that are no attacks to train on"),
        ([], "no attacks to train on"),
        ([dataclasses.replace(row, source="all") for row in toy.rows()], "all attacks are of one source, 'all'"),
        (
            [dataclasses.replace(row, source="mine") if not row.attack else row for row in toy.rows()],
            "all texts that are no attacks are of one source, 'mine'",
        ),
        (toy.rows(texts=99), "no source has 100 attacks to train on; the largest has 99"),
    ],
    ids=["no-attacks", "no-others", "nothing", "one-source", "one-source-of-others", "few"],
)
def test_a_corpus_that_cannot_be_judged_is_refused(rows: list[Row], why: str) -> None:
    with pytest.raises(CorpusError, match=why):
        study(task(rows=rows, folds={}), silent)


def test_sources_that_are_kept_from_training_do_not_make_up_for_others() -> None:
    barred = frozenset({"tickets", "recipes"})
    with pytest.raises(CorpusError, match="all texts that are no attacks are of one source, 'letters'"):
        study(task(evaluate_only=barred), silent)
    with pytest.raises(CorpusError, match="no texts of the source 'misspelt'"):
        study(task(evaluate_only=frozenset({"misspelt"})), silent)
    with pytest.raises(CorpusError, match=r"without harbor, .* \(fold 0\) no source has 100 attacks"):
        study(task(folds=dict.fromkeys(FOLDS, 0)), silent)
