"""The study of a corpus: what a model makes of texts whose sources it has not seen, and the model that follows.

What lives here: the steps from labelled rows to a model file's content. What must not: files, tables, plots, arguments.

Sources are divided into folds. For each fold, a model is fitted on the others and scores that fold's texts; the words
by which disguises are seen through come from the others, too. The calibration is fitted on these scores, and the
threshold is where the share of false positives among them is as wanted. Sources that are for evaluation only are judged
like all others, so they move the threshold, but no weight, word or calibration is fitted on them.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from extproc.chat import Json
from extproc.detectors.calibration import Calibration
from extproc.detectors.concepts import Concepts
from extproc.detectors.linear import Feature, LinearModel
from extproc.detectors.normalise import normalise
from extproc.detectors.pack import Fields
from extproc.detectors.words import Unspaced, tokens_of
from extproc.training.corpus import SMALL, CorpusError, Row, folds_of
from extproc.training.fit import Fitted, Floats, features_of, fit, sample_weights, words_of_attacks
from extproc.training.inputs import detector_of
from extproc.training.model import RULE_WEIGHT, WINDOW_PENALTY, blank_model, model_of
from extproc.training.validate import Flags, Numbers, Scored, calibrate, cross_calibrated, nested_flags, threshold_at

Tell: TypeAlias = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much."""

_DIGITS: Final = 6  # of evidence: sums of floats differ in the last ones, depending on their order
_TOLD_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class Task:
    """What to train on and how. ``concepts``: words by concept; ``folds``: of the sources that are to be in one."""

    rows: Sequence[Row]
    pack: Mapping[str, Any]
    concepts: Mapping[str, str]
    evaluate_only: AbstractSet[str] = frozenset()
    folds: Mapping[str, int] = field(default_factory=dict)
    false_positives: float = 0.005
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Texts:
    """A corpus as arrays of one length. ``source`` is an index into ``sources``; ``usable``: may be fitted on."""

    sources: Sequence[str]
    source: Numbers
    attack: Flags
    fold: Numbers
    usable: Flags
    weight: Floats


@dataclass(frozen=True, slots=True)
class Study:
    """What came out. All arrays are of texts as a model saw them that did not see their source.

    ``rules``: evidence of the rules alone; ``flagged``: at the wanted share of false positives, with a threshold that
    is not of the text's fold. ``found`` has the features of each text, ``words`` those that the final model knows.
    """

    texts: Texts
    scored: Scored
    rules: Floats
    probability: Floats
    flagged: Flags
    found: Sequence[set[Feature]]
    words: Sequence[str]


def study(task: Task, tell: Tell) -> Study:
    """Score every text by a model that did not see its source.

    Raises:
        CorpusError: there are too few texts or sources to train and to judge.
        PackError: the pack of rules is wrong.
    """
    texts = arranged(task)
    concepts = Concepts(Fields(task.concepts))
    plain = [_plain_words(row.text) for row in task.rows]
    count = len(task.rows)
    found: list[set[Feature]] = [set()] * count
    readings: list[list[list[str]]] = [[]] * count
    rules = np.zeros(count)
    folds = sorted(set(texts.fold.tolist()))
    done = 0
    for fold in folds:
        words = _words(plain, texts, texts.usable & (texts.fold != fold))
        detector = detector_of(task.pack, blank_model(task.concepts, words))
        for at in np.flatnonzero(texts.fold == fold).tolist():
            read, rules[at] = detector.study(task.rows[at].text)
            readings[at] = [list(map(sys.intern, words)) for words in read]
            found[at] = features_of(readings[at][0], concepts)
            done += 1
            if done % _TOLD_EVERY == 0 or done == count:
                tell("reading texts", done, count)
    sums = np.zeros(count)
    for number, fold in enumerate(folds, 1):
        model = _linear(_fitted(found, texts, texts.usable & (texts.fold != fold), task.seed), concepts)
        word = functools.cache(model.word)
        for at in np.flatnonzero(texts.fold == fold).tolist():
            sums[at] = max(model.score(list(map(word, words)))[0] for words in readings[at])
        tell("fitting folds", number, len(folds))
    scored = Scored((sums + RULE_WEIGHT * rules).round(_DIGITS), texts.attack, texts.source)
    return Study(
        texts,
        scored,
        rules.round(_DIGITS),
        cross_calibrated(scored, texts.fold, texts.weight, texts.usable),
        nested_flags(scored, texts.fold, task.false_positives),
        found,
        _words(plain, texts, texts.usable),
    )


def final_model(task: Task, studied: Study, name: str, card: Mapping[str, Json]) -> dict[str, Json]:
    """The model that is fitted on all texts that may be: what a model file holds."""
    texts = studied.texts
    fitted = _fitted(studied.found, texts, texts.usable, task.seed)
    usable = studied.scored.of(texts.usable)
    points = calibrate(usable.evidence, usable.attack, texts.weight[texts.usable])
    points = [(round(evidence, 4), round(odds, 4)) for evidence, odds in points]
    threshold = Calibration(points).probability(threshold_at(studied.scored, task.false_positives))
    return model_of(name, fitted, task.concepts, studied.words, points, threshold, card)


def arranged(task: Task) -> Texts:
    """Divide a corpus into folds.

    Raises:
        CorpusError: a name is of no source, or there are too few texts or sources.
    """
    counts = Counter((row.source, row.attack) for row in task.rows)
    sources = sorted({row.source for row in task.rows})
    if unknown := sorted(task.evaluate_only - set(sources)):
        raise CorpusError(f"no texts of the source {unknown[0]!r}, which is to be evaluated on; there are: {sources}")
    folds = folds_of(task.rows, {name: fold for name, fold in task.folds.items() if name in sources})
    _check({group: count for group, count in counts.items() if group[0] not in task.evaluate_only}, folds)
    numbers = {name: at for at, name in enumerate(sources)}
    return Texts(
        sources,
        np.array([numbers[row.source] for row in task.rows], dtype=np.int64),
        np.array([row.attack for row in task.rows], dtype=np.bool_),
        np.array([folds[row.source] for row in task.rows], dtype=np.int64),
        np.array([row.source not in task.evaluate_only for row in task.rows], dtype=np.bool_),
        sample_weights([(row.source, row.attack) for row in task.rows]),
    )


def _check(counts: Mapping[tuple[str, bool], int], folds: Mapping[str, int]) -> None:
    """See that each fold can be judged by what is not in it."""
    for attack, what in ((True, "attacks"), (False, "texts that are no attacks")):
        names = [name for name, kind in counts if kind == attack]
        if not names:
            raise CorpusError(f"no {what} to train on")
        if len(names) == 1:
            raise CorpusError(
                f"all {what} are of one source, {names[0]!r}: a model is judged by sources that it did not see, so say "
                f'where each text is from ("source"), two sources or more'
            )
        for fold in sorted(set(folds.values())):
            most = max((counts[name, attack] for name in names if folds[name] != fold), default=0)
            if most < SMALL:
                inside = ", ".join(sorted(name for name in folds if folds[name] == fold))
                raise CorpusError(
                    f"too few texts: without {inside} (fold {fold}) no source has {SMALL} {what} to train on; "
                    f"the largest has {most}"
                )


def _plain_words(text: str) -> list[str]:
    return [sys.intern(token) for token in tokens_of(normalise(text).text, Unspaced(())) if token[0].isalnum()]


def _words(plain: Sequence[Sequence[str]], texts: Texts, chosen: Flags) -> list[str]:
    places = np.flatnonzero(chosen).tolist()
    groups = [(texts.sources[texts.source[at]], bool(texts.attack[at])) for at in places]
    return words_of_attacks([plain[at] for at in places], groups)


def _fitted(found: Sequence[set[Feature]], texts: Texts, chosen: Flags, seed: int) -> Fitted:
    places = np.flatnonzero(chosen).tolist()
    return fit([found[at] for at in places], texts.attack[chosen].tolist(), texts.weight[chosen], seed)


def _linear(fitted: Fitted, concepts: Concepts) -> LinearModel:
    return LinearModel(
        fitted.weights(),
        fitted.intercept,
        concepts,
        rule_weight=RULE_WEIGHT,
        window_penalty=WINDOW_PENALTY,
        calibration=Calibration([(0.0, 0.0), (1.0, 1.0)]),
        threshold=0.5,
    )
