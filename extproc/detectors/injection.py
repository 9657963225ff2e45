"""Prompt injection: text that gives a model orders against those it has, or would make it show them (OWASP LLM01).

What lives here: evidence, and how it adds up to one score. What must not: rules and weights (they are data, a pack of
phrases and a model), and the undoing of disguises (``normalise``, ``spelling``, ``views``).

A rule that occurs is evidence of ``-ln(1 - weight)``, however often it occurs. Evidence adds up, within one slice of a
text only, so that a long text is not suspicious for its length. Nothing counts against a rule, or an attacker would add
it. A model, if the pack has one, adds how much the text reads like an attack, and its calibration makes the sum a
probability. Without one the score is ``1 - exp(-evidence)``: rules of weights .5 and .6 make .8 together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from extproc.detectors.base import Match, Scan
from extproc.detectors.disguises import Vocabulary
from extproc.detectors.lexicon import CODES, WORD_CODES, WORDS, Lexicon, Tokens
from extproc.detectors.linear import LinearModel, read_model
from extproc.detectors.normalise import normalise
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.phrases import Lists, Part, PhraseError, read_list, read_phrase
from extproc.detectors.rulebook import Found, Rulebook, compile_rules, words_of
from extproc.detectors.spelling import Spelling
from extproc.detectors.views import View, other_views, way_back
from extproc.detectors.words import Unspaced

COMPILER: Final = 3
"""To be raised when the same phrases compile to something else."""
MODEL: Final = "model"
"""The rule id of a match that no rule of the pack makes, but the model."""

_SLICE: Final = 768  # tokens judged together
_OVERLAP: Final = 128  # of slices: a match is no longer, so no slice's end cuts one
_AROUND: Final = 16  # tokens around a slice, for what must not stand before or behind a match


@dataclass(frozen=True, slots=True, eq=False)  # a rule is itself: compared and hashed by identity, which is fast
class Rule:
    """A rule of the pack, without its phrases."""

    id: str
    weight: float

    @property
    def evidence(self) -> float:
        """What the rule says against a text that has one of its phrases, in nats."""
        return -math.log1p(-self.weight)


class _Place(NamedTuple):
    """Tokens ``[start, end)`` of a view, or of those that ``of`` numbers. Only what is reported is looked up."""

    view: View
    start: int
    end: int
    of: _Numbering | None = None

    def span(self) -> tuple[int, int]:
        """Where that is in the original text."""
        spans = self.view.spans()
        if not spans:
            return self.view.locate(0, len(self.view.text))
        first, last = self.start, max(self.end, self.start + 1) - 1
        if self.of is not None:
            first, last = self.of[first], self.of[last]
        return self.view.locate(spans[first][0], spans[last][1])


class _Numbering:
    """The numbers that some of a view's tokens have among all of it, found when first asked for."""

    __slots__ = ("_count", "_numbers")

    def __init__(self, count: Callable[[], list[int]]) -> None:
        self._count: Final = count
        self._numbers: list[int] | None = None

    def __getitem__(self, at: int) -> int:
        if self._numbers is None:
            self._numbers = self._count()
        return self._numbers[at]


class _Reading(NamedTuple):
    """What one view of a text shows: the rules, and how much it reads like an attack and where."""

    rules: Mapping[Rule, _Place]
    sum: float
    where: _Place


class InjectionDetector:
    """Scores texts by the rules and the model of a pack."""

    name = "prompt_injection"

    def __init__(
        self,
        rulebook: Rulebook[Rule],
        vocabulary: Vocabulary,
        threshold: float,
        model: LinearModel | None = None,
    ) -> None:
        self.threshold = threshold
        self._rulebook: Final = rulebook
        self._vocabulary: Final = vocabulary
        self._model: Final = model
        known = [*rulebook.codes]
        unspaced = [*rulebook.unspaced]
        if model is not None:
            known += model.concepts
            unspaced += model.concepts.unspaced
        tokens = Tokens(Spelling(vocabulary.words, known), rulebook.codes, vocabulary, model)
        self._lexicon: Final = Lexicon(tokens, Unspaced(unspaced))

    def scan(self, text: str) -> Scan:
        """Look at one whole text."""
        readings = list(map(self._read, self._views(text)))
        rules = {rule: place for reading in reversed(readings) for rule, place in reading.rules.items()}
        likest = max(readings, key=_sum)
        score = self._score(rules, likest.sum)
        if score < self.threshold:
            return Scan(score=score)
        matches = [Match(*place.span(), rule.id, rule.weight) for rule, place in rules.items()]
        if not matches:
            matches = [Match(*likest.where.span(), MODEL, score)]
        return Scan(tuple(sorted(matches, key=lambda match: (match.start, match.end, match.rule))), score)

    def _views(self, text: str) -> list[View]:
        read = normalise(text)
        plain = View(read.text, self._lexicon.read(read.text), way_back(read))
        return [plain, *other_views(plain, text, self._vocabulary, self._lexicon)]

    def study(self, text: str) -> tuple[list[list[str]], float]:
        """What training sees of a text: the words of each of its readings, and the rules' evidence."""
        views = self._views(text)
        rules = {rule: place for view in reversed(views) for rule, place in self._strongest(view).items()}
        known = self._lexicon.tokens
        return [[known[token].spelt for token in view.tokens if token[0].isalnum()] for view in views], _evidence(rules)

    def _score(self, rules: Iterable[Rule], likeness: float) -> float:
        evidence = _evidence(rules)
        if self._model is None:
            return -math.expm1(-evidence) if evidence else 0.0  # not -0.0
        return self._model.calibration.probability(likeness + self._model.rule_weight * evidence)

    def _read(self, view: View) -> _Reading:
        rules = self._strongest(view)
        if self._model is None:
            return _Reading(rules, 0.0, _Place(view, 0, 0))
        likeness, start, end = self._model.score(list(chain.from_iterable(map(WORDS, view.pieces))))
        words = _Numbering(lambda: [at for at, token in enumerate(view.tokens) if token[0].isalnum()])
        return _Reading(rules, likeness, _Place(view, start, end, words if end else None))

    def _strongest(self, view: View) -> dict[Rule, _Place]:
        """The rules of the slice with the most evidence."""
        coded, words = "".join(map(CODES, view.pieces)), "".join(map(WORD_CODES, view.pieces))
        best: list[Found[Rule]] = []
        best_start, most = 0, -1.0
        for start in range(0, max(len(coded) - _OVERLAP, 1), _SLICE - _OVERLAP):
            first, end = max(start - _AROUND, 0), min(start + _SLICE, len(coded))
            piece = coded[first : end + _AROUND]
            near = words if len(piece) == len(coded) else words_of(piece)
            found = self._rulebook.find(piece, near, start - first, len(piece) - (end - first))
            evidence = sum(each.rule.evidence for each in found)
            if evidence > most:
                best, best_start, most = found, first, evidence
        numbering = _Numbering(lambda: self._rulebook.places_of_words(coded, best_start))
        return {
            each.rule: _Place(view, best_start + each.start, best_start + each.end)
            if each.marks
            else _Place(view, each.start, each.end, numbering)
            for each in best
        }


def _sum(reading: _Reading) -> float:
    return reading.sum


def _evidence(rules: Iterable[Rule]) -> float:
    return sum(rule.evidence for rule in rules)


def build(pack: Mapping[str, Any], options: Mapping[str, Any]) -> InjectionDetector:
    """Compile a pack. The options ``threshold`` and ``model`` take the place of the pack's.

    A model is parsed JSON. Where only its name stands (the shell puts the model in its place), there is none.

    Raises:
        PackError: the pack or the options are wrong, at the place that it names.
    """
    fields = Fields(pack)
    settings = Fields(options, ("options",))
    model = _model(settings)
    if model is None:
        model = _model(fields)
    elif "model" in fields:
        fields.value("model")  # the option goes before it
    default = _share(fields, "threshold") if model is None else model.threshold
    threshold = _share(settings, "threshold", default)
    settings.close()
    compiled = _compiled(fields, pack)
    lists = _lists(fields.mapping("lists")) if compiled is None else {}
    rules: dict[str, Rule] = {}
    phrases: list[tuple[int, Part]] = []
    for index, rule in enumerate(fields.mappings("rules")):
        name = rule.string("id")
        if name in rules:
            raise rule.error("id", "is the id of another rule too")
        rules[name] = _rule(rule)
        if compiled is None:
            phrases += ((index, part) for part in _phrases(rule, lists))
        rule.close()
    vocabulary = Vocabulary(fields.strings("vocabulary"), () if model is None else model.words)
    fields.value("threshold")
    if compiled is not None:
        fields.value("lists")
    fields.close()
    rulebook = Rulebook(compiled or compile_rules(phrases), list(rules.values()))
    return InjectionDetector(rulebook, vocabulary, threshold, model)


def compile_pack(pack: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the rules of a pack ahead of time. ``build`` takes this as the pack's ``compiled``, as long as it fits.

    Raises:
        PackError: the pack is wrong, at the place that it names.
    """
    fields = Fields(pack)
    lists = _lists(fields.mapping("lists"))
    rules = enumerate(fields.mappings("rules"))
    phrases = [(index, part) for index, rule in rules for part in _phrases(rule, lists)]
    return {"of": _digest(pack), **compile_rules(phrases)}


def _compiled(fields: Fields, pack: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the pack's rules were compiled to, unless they have changed since."""
    if "compiled" not in fields:
        return None
    compiled = fields.value("compiled")
    return compiled if isinstance(compiled, Mapping) and compiled.get("of") == _digest(pack) else None


def _digest(pack: Mapping[str, Any]) -> str:
    """Name the phrases of a pack, and the code that compiles them."""
    rules = [[rule.get("id"), rule.get("phrases")] for rule in pack.get("rules", ()) if isinstance(rule, Mapping)]
    content = json.dumps([COMPILER, pack.get("lists"), rules], ensure_ascii=False)
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


def _model(fields: Fields) -> LinearModel | None:
    if "model" not in fields or isinstance(fields.value("model"), str):
        return None
    return read_model(fields.mapping("model"))


def _lists(fields: Fields) -> dict[str, Part]:
    lists: dict[str, Part] = {}
    for name in fields.names():
        try:
            lists[name] = read_list(fields.strings(name), lists)
        except PhraseError as error:
            raise fields.error(name, str(error)) from None
    return lists


def _rule(fields: Fields) -> Rule:
    for name in ("family", "language"):
        fields.string(name)
    for name in ("match", "pass", "phrases"):  # examples are for the pack's tests
        fields.strings(name)
    return Rule(fields.string("id"), _share(fields, "weight"))


def _phrases(fields: Fields, lists: Lists) -> Iterator[Part]:
    for index, phrase in enumerate(fields.strings("phrases")):
        try:
            part = read_phrase(phrase, lists)
        except PhraseError as error:
            raise PackError((*fields.where, "phrases", index), str(error)) from None
        if part.longest > _OVERLAP:
            raise PackError((*fields.where, "phrases", index), f"may match more than {_OVERLAP} words and marks")
        yield part


def _share(fields: Fields, name: str, default: float | None = None) -> float:
    value = fields.number(name, default)
    if not 0 < value < 1:
        raise fields.error(name, "must lie between 0 and 1")
    return value
