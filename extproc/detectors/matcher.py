"""Which rule, if any, holds at one place of a text? A rule's shape and check decide it.

What lives here: compiled rules, the decision of one rule at one place, and of all rules there. What must not: YAML,
pieces of a stream, what takes a secret's place, how places are found (triggers), named values (keywords).

A rule reads ``literal lead body until``. The *literal* makes the place worth a look; *lead* (``user:`` of a URL) stays
in the text together with the literal; *body* is what nobody may see; *until* is what must follow, and stays. Without a
lead the literal is a part of the secret. Lead and body are runs of bounded length, walked from left to right without
going back, so a decision costs at most the rule's length: no rule that can be written is a catastrophic one.

The law of this module: a decision never changes when text is added behind it. ``Pending`` is the only answer that may
turn into another one, and a finding says how much text settled it (``decided``), so that the earliest of several rules
is the same one wherever the text was cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Protocol, TypeAlias

from extproc.detectors import bulk
from extproc.detectors.bulk import BULK_MIN, Bulk
from extproc.detectors.checks import Check
from extproc.detectors.triggers import CONTEXT, Cursor, Literals

Tail: TypeAlias = Callable[[str, int, bool], tuple[int, bool]]
"""(text, at, final) -> how far the secret that has reached ``at`` goes, and whether it ends there."""

PATIENCE: Final = 32
"""Characters by which a body may outgrow its least length before a check that keeps failing is believed."""

NAMED: Final = 1
"""The kind of a place that a name made, not a literal."""

_AGAIN: Final = (0, 4, 8, 16, PATIENCE)
"""At how many characters beyond the least the check is asked. Few, for a failing one is the price of hostile text."""
_OPENERS: Final = "`\"'=/"
"""What a secret may stand behind that begins like any number or word."""

_MORE: Final = -1
_NO: Final = -2


class Finds(Protocol):
    """What a finding knows of the rule that made it."""

    @property
    def id(self) -> str: ...

    @property
    def tail(self) -> Tail: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's first part, ``[start, end)``; its tail follows. ``decided`` is the length of text that settled it."""

    rule: Finds
    start: int
    end: int
    decided: int


@dataclass(frozen=True, slots=True)
class Pending:
    """More text will tell. What is before ``start`` is no part of it; ``begun`` says that more of it than its literal
    is there already."""

    start: int
    begun: bool


Outcome: TypeAlias = Found | Pending | None
"""What a place is. None: nothing, for ever."""


class Step:
    """A run of ``least`` to ``most`` pieces of a pattern, compiled when it is first used."""

    __slots__ = ("_run", "least", "most", "unit")

    def __init__(self, unit: str, least: int, most: int) -> None:
        self.unit = unit
        self.least = least
        self.most = most
        self._run: Callable[[str, int], re.Match[str] | None] | None = None

    def end(self, text: str, at: int) -> int:
        """Give the end of the run that starts at ``at``; ``at`` itself where there is none."""
        run = self._run
        if run is None:  # two threads may both compile it, which does no harm
            run = self._run = re.compile(f"(?:{self.unit}){{0,{self.most}}}").match
        match = run(text, at)
        return match.end() if match else at


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of secret, decided at its literal. ``body`` ends in a step of at least one character."""

    id: str
    literals: tuple[str, ...]
    lead: tuple[Step, ...]
    body: tuple[Step, ...]
    until: tuple[str, ...]
    check: Check
    tail: Tail

    @property
    def led(self) -> bool:
        """Whether the literal stays in the text."""
        return bool(self.lead)

    def decide_begun(self, text: str, place: int, final: bool) -> Outcome:
        """Decide a place of a rule without literals. A run alone, a number perhaps, shows nothing of a secret yet."""
        outcome = self.decide(text, place, place, final)
        if isinstance(outcome, Pending):
            return Pending(place, self.body[0].end(text, place) < len(text))
        return outcome

    def decide(self, text: str, at: int, after: int, final: bool) -> Outcome:
        """Decide the place where a literal stands at ``[at, after)``. ``final``: no text will follow."""
        bare = _walk(self.lead, text, after, final) if self.lead else after
        if bare < 0:
            return Pending(len(text), False) if bare == _MORE else None
        start = bare if self.lead else at
        here = _walk(self.body[:-1], text, bare, final) if len(self.body) > 1 else bare
        if here < 0:
            return Pending(start, bare < len(text)) if here == _MORE else None
        if self.until:
            return self._decide_closed(text, start, bare, here, final)
        return self._decide_open(text, start, bare, here, final)

    def _decide_open(self, text: str, start: int, bare: int, here: int, final: bool) -> Outcome:
        """Commit at the earliest length of the last step that passes the check, or at its end."""
        last = self.body[-1]
        end = last.end(text, here)
        beyond = end - here - last.least
        for more in _AGAIN:
            if more > beyond:
                break
            stop = here + last.least + more
            if self.check(text[bare:stop]):
                return Found(self, start, stop, stop)
        if end == len(text) and beyond < PATIENCE and not final:
            return Pending(start, bare < len(text))
        if beyond >= 0 and beyond not in _AGAIN and self.check(text[bare:end]):
            return Found(self, start, end, end + 1)
        return None

    def _decide_closed(self, text: str, start: int, bare: int, here: int, final: bool) -> Outcome:
        """Commit where the last step ends before a text that must follow."""
        last = self.body[-1]
        end = last.end(text, here)
        follows = text[end : end + max(map(len, self.until))]
        if not final and any(word.startswith(follows) and word != follows for word in self.until):
            return Pending(start, bare < len(text))
        for word in self.until:
            if follows.startswith(word) and end - here >= last.least and self.check(text[bare:end]):
                return Found(self, start, end, end + len(word))
        return None


class Keyed(Protocol):
    """A rule that is decided where one of its literals stands."""

    @property
    def literals(self) -> tuple[str, ...]: ...

    @property
    def led(self) -> bool: ...

    def decide(self, text: str, at: int, after: int, final: bool) -> Outcome: ...


class Named(Protocol):
    """Values that are secret because of the name before them (``keywords``)."""

    keyed: tuple[Keyed, ...]
    lookback: int
    pattern: str

    def find(self, text: str, at: int) -> int: ...

    def search(self, text: str, at: int) -> object: ...

    def decide(self, text: str, place: int, final: bool) -> Outcome: ...


class Matcher:
    """All rules in one table. Immutable once built, shared by every stream."""

    __slots__ = (
        "_at_beginning",
        "_bulk",
        "_literals",
        "_named",
        "_without",
        "begun",
        "lookback",
        "search",
        "search_named",
    )

    def __init__(self, rules: Collection[Rule], named: Named | None = None) -> None:
        by_literal: dict[str, tuple[Keyed, ...]] = {}
        for rule in (*rules, *(named.keyed if named else ())):
            for literal in rule.literals:
                by_literal[literal] = (*by_literal.get(literal, ()), rule)
        self._without = tuple(rule for rule in rules if not rule.literals)
        whole, beginning = _beginnings(self._without)
        self._at_beginning = re.compile(beginning).match if beginning else None
        follows = {literal: there for literal, keyed in by_literal.items() if (there := _follows(keyed))}
        self._literals = Literals(by_literal, beginning, follows)
        self._named = named
        self._bulk: Bulk | None = None
        if bulk.available() and _plain(by_literal):
            self._bulk = Bulk(by_literal, named.pattern if named else "", whole)
        self.search = self._literals.search
        self.begun = self._literals.begun
        self.search_named = named.search if named else None
        self.lookback = max(CONTEXT, named.lookback) if named else CONTEXT

    def places(self, text: str, final: bool = False) -> Cursor:
        """Give a cursor over the places of a text; the number that comes with a place is for ``decide``."""
        if final and self._bulk is not None and len(text) >= BULK_MIN:
            finders = self._bulk.finders(text)
            if finders is not None:
                return Cursor(text, finders)
        return Cursor(text, (self._literals.find, self._named.find) if self._named else (self._literals.find,))

    def decide(self, text: str, place: int, kind: int, final: bool) -> Outcome:
        """Decide a place: of several rules the one that needs least text, then the pack's first."""
        if kind == NAMED and self._named is not None:
            return self._named.decide(text, place, final)
        best = self._decide_beginning(text, place, final) if text[place - 1] in _OPENERS else None
        there = self._literals.at(text, place)
        if there is None:
            return best
        end, node = there
        for rule, width in node.whole:
            best = _better(best, rule.decide(text, place, place + width, final))
        if end == len(text):
            if node.longer and not final:
                best = _better(best, Pending(place if node.hides else end, False))
            return best
        if not node.begin.startswith(text[place : place + len(node.begin)]):
            return best
        for literal, rules in node.longer:
            if text.startswith(literal, place):
                for rule in rules:
                    best = _better(best, rule.decide(text, place, place + len(literal), final))
            elif not final and len(text) - place < len(literal) and literal.startswith(text[place:]):
                led = all(rule.led for rule in rules)
                best = _better(best, Pending(len(text) if led else place, False))
        return best

    def _decide_beginning(self, text: str, place: int, final: bool) -> Outcome:
        """Decide a place for the rules without literals."""
        best: Outcome = None
        if self._at_beginning is not None and self._at_beginning(text, place):
            for rule in self._without:
                best = _better(best, rule.decide_begun(text, place, final))
        return best


def _plain(literals: Iterable[str]) -> bool:
    """Say whether all literals can be told from a copy in which other characters are question marks."""
    return all(literal.isascii() and "?" not in literal for literal in literals)


def _follows(rules: Iterable[Keyed]) -> str:
    """Write the pattern of the character that one of the rules must find behind its literal; empty where none must."""
    units: set[str] = set()
    for rule in rules:
        first = (*rule.lead, *rule.body)[0] if isinstance(rule, Rule) else None
        if first is None or not first.least:
            return ""
        units.add(first.unit)
    return "|".join(sorted(units))


def _beginnings(rules: Collection[Rule]) -> tuple[str, str]:
    """Write what rules without literals begin with: a run, then one of their texts. First as it is, then cut anywhere.

    It is loose, one run for all of them; deciding is exact. What stands before it is narrow, or every number in a text
    would wait for what follows it.
    """
    if not rules:
        return "", ""
    chars = "".join(sorted({char for rule in rules for char in rule.body[0].unit[1:-1]}))
    run = f"[{chars}]{{1,{max(rule.body[0].most for rule in rules)}}}"
    texts = [[step.unit for step in takewhile(_is_text, rule.body[1:])] for rule in rules]
    whole, cut = ("|".join(sorted({write(units) for units in texts})) for write in ("".join, _cut))
    return f"[{_OPENERS}]{run}(?:{whole})", f"(?<=[{_OPENERS}]){run}+(?:{cut}|(\\Z))"


def _cut(units: list[str]) -> str:
    """Write the pattern of a text that the end of the text may cut behind its first character."""
    rest = units[1:]
    return units[0] + (f"(?:{_cut(rest)}|\\Z)" if rest else "")


def _is_text(step: Step) -> bool:
    return step.least == step.most == 1 and step.unit[0] != "["


def _better(one: Outcome, other: Outcome) -> Outcome:
    if one is None or other is None:
        return one or other
    if isinstance(one, Found):
        return other if isinstance(other, Found) and other.decided < one.decided else one
    if isinstance(other, Found):
        return other
    return Pending(min(one.start, other.start), one.begun or other.begun)


def _walk(steps: tuple[Step, ...], text: str, at: int, final: bool) -> int:
    """Give the end of the steps from ``at``; ``_MORE`` where the text ends too soon to tell, ``_NO`` if they fail."""
    for step in steps:
        end = step.end(text, at)
        if end == len(text) and not final:
            return _MORE
        if end - at < step.least:
            return _NO
        at = end
    return at
