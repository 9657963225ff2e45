"""Prompt injection: text that gives a model orders against those it has, or would make it show them (OWASP LLM01).

What lives here: evidence, and how it adds up to a score. What must not: rules (they are data, a pack of phrases) and
the undoing of disguises (``normalise``, ``views``).

A rule that occurs is evidence of ``-ln(1 - weight)``, however often it occurs. Evidence adds up, and the score is
``1 - exp(-evidence)``: rules of weights .5 and .6 make .8 together. Nothing counts against a text, or an attacker would
add it. Evidence adds up within one slice of a text only, so that a long text is not suspicious for its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from extproc.detectors.base import Match, Scan
from extproc.detectors.normalise import normalise
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.phrases import Lists, Part, Phrase, PhraseError, compile_list, compile_phrase
from extproc.detectors.views import Locate, View, Vocabulary, other_views, way_back
from extproc.detectors.words import places_of, stems_of, words_of

_SLICE: Final = 2048  # code points judged together
_OVERLAP: Final = 512  # of slices: a match is no longer, so no slice's end cuts one

_Rules: TypeAlias = Sequence[tuple["Rule", Phrase]]


@dataclass(frozen=True, slots=True, eq=False)  # a rule is itself: compared and hashed by identity, which is fast
class Rule:
    """A rule of the pack, without its phrases."""

    id: str
    weight: float

    @property
    def evidence(self) -> float:
        """What the rule says against a text that has one of its phrases, in nats."""
        return -math.log1p(-self.weight)


@dataclass(frozen=True, slots=True)
class _Hit:
    start: int
    end: int
    locate: Locate


_Hits: TypeAlias = dict[Rule, _Hit]


class InjectionDetector:
    """Scores texts by the rules of a pack."""

    name = "prompt_injection"

    def __init__(self, rules: _Rules, vocabulary: Vocabulary, threshold: float) -> None:
        self.threshold = threshold
        self._vocabulary = vocabulary
        self._by_start: dict[str, list[tuple[Rule, Phrase]]] = {}
        for rule, phrase in rules:
            for beginning in phrase.starts:
                self._by_start.setdefault(beginning, []).append((rule, phrase))
        self._marks = tuple(beginning for beginning in self._by_start if not beginning[0].isalnum())

    def scan(self, text: str) -> Scan:
        """Look at one whole text."""
        read = normalise(text)
        plain = View(read.text, frozenset(words_of(read.text)), way_back(read))
        hits = self._strongest(plain)
        for view in other_views(plain, text, self._vocabulary):
            hits = self._strongest(view) | hits
        score = -math.expm1(-_evidence(hits)) if hits else 0.0  # not -0.0
        if score < self.threshold:
            return Scan(score=score)
        matches = (Match(*hit.locate(hit.start, hit.end), rule.id, rule.weight) for rule, hit in hits.items())
        return Scan(tuple(sorted(matches, key=lambda match: (match.start, match.end, match.rule))), score)

    def _strongest(self, view: View) -> _Hits:
        """The hits of the slice with the most evidence."""
        text = view.text
        if len(text) <= _SLICE:
            return self._hits(view, 0, len(text), stems_of(text, view.words))
        best: _Hits = {}
        for start in range(0, len(text) - _OVERLAP, _SLICE - _OVERLAP):
            piece = text[start : start + _SLICE]
            hits = self._hits(view, start, start + _SLICE, stems_of(piece, words_of(piece)))
            best = max(best, hits, key=_evidence)
        return best

    def _hits(self, view: View, start: int, end: int, stems: AbstractSet[str]) -> _Hits:
        hits: _Hits = {}
        text = view.text
        marks = (mark for mark in self._marks if text.find(mark, start, end) >= 0)
        # Sorted, so that every process reports the same match of a rule.
        for beginning in sorted([*(stems & self._by_start.keys()), *marks]):
            possible = [pair for pair in self._by_start[beginning] if pair[1].possible(stems)]
            places = list(places_of(beginning, text, start, end)) if possible else []
            for rule, phrase in possible:
                if rule in hits:
                    continue
                for place in places:
                    if match := phrase.regex.match(text, place, end):
                        hits[rule] = _Hit(*match.span(), view.locate)
                        break
        return hits


def _evidence(hits: Iterable[Rule]) -> float:
    return sum(rule.evidence for rule in hits)


def build(pack: Mapping[str, Any], options: Mapping[str, Any]) -> InjectionDetector:
    """Compile a pack. The option ``threshold`` takes the place of the pack's.

    Raises:
        PackError: the pack or the options are wrong, at the place that it names.
    """
    fields = Fields(pack)
    settings = Fields(options, ("options",))
    threshold = _share(settings, "threshold", _share(fields, "threshold"))
    settings.close()
    lists = _lists(fields.mapping("lists"))
    rules: dict[str, list[tuple[Rule, Phrase]]] = {}
    for rule in fields.mappings("rules"):
        name = rule.string("id")
        if name in rules:
            raise rule.error("id", "is the id of another rule too")
        rules[name] = list(_rule(rule, lists))
    vocabulary = Vocabulary(fields.strings("vocabulary"))
    fields.close()
    return InjectionDetector([pair for pairs in rules.values() for pair in pairs], vocabulary, threshold)


def _lists(fields: Fields) -> dict[str, Part]:
    lists: dict[str, Part] = {}
    for name in fields.names():
        try:
            lists[name] = compile_list(fields.strings(name), lists)
        except PhraseError as error:
            raise fields.error(name, str(error)) from None
    return lists


def _rule(fields: Fields, lists: Lists) -> Iterator[tuple[Rule, Phrase]]:
    rule = Rule(fields.string("id"), _share(fields, "weight"))
    for name in ("family", "language"):
        fields.string(name)
    for name in ("match", "pass"):  # for the pack's tests
        fields.strings(name)
    for index, phrase in enumerate(fields.strings("phrases")):
        try:
            compiled = compile_phrase(phrase, lists)
        except PhraseError as error:
            raise PackError((*fields.where, "phrases", index), str(error)) from None
        if compiled.longest > _OVERLAP:
            raise PackError((*fields.where, "phrases", index), f"may match more than {_OVERLAP} characters")
        yield rule, compiled
    fields.close()


def _share(fields: Fields, name: str, default: float | None = None) -> float:
    value = fields.number(name, default)
    if not 0 < value < 1:
        raise fields.error(name, "must lie between 0 and 1")
    return value
