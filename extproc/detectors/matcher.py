"""Which rule, if any, holds at one place of a text? Literals find the place, a rule's shape and check decide it.

What lives here: compiled rules, the decision of one rule at one place, and the table of all literals. What must not:
YAML, pieces of a stream, what takes a secret's place.

A rule reads ``literal lead body until``. The *literal* makes the place worth a look; *lead* (``user:`` of a URL) stays
in the text together with the literal; *body* is what nobody may see; *until* is what must follow, and stays. Without a
lead the literal is a part of the secret. Lead and body are runs of bounded length, walked from left to right without
going back, so a decision costs at most the rule's length.

The law of this module: a decision never changes when text is added behind it. ``PENDING`` is the only answer that may
turn into another one, and a finding says how much text settled it (``decided``), so that the earliest of several rules
is the same one wherever the text was cut.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.detectors.checks import Check

Tail: TypeAlias = Callable[[str, int, bool], tuple[int, bool]]
"""(text, at, final) -> how far the secret that has reached ``at`` goes, and whether it ends there."""

CONTEXT: Final = 6
"""Characters before a place that say whether it is guarded: the longest guard is an escape like ``\\u003d``."""

PATIENCE: Final = 32
"""Characters by which a body may outgrow its least length before a check that keeps failing is believed."""

_Node: TypeAlias = tuple[tuple[tuple["Rule", int], ...], bool]
"""The rules whose literal is completed here, each with that literal's length, and whether a longer one may follow."""

_STRIDE: Final = 4  # the check is asked again after so many more characters
_MORE: Final = -1
_NO: Final = -2
_ESCAPE: Final = r"(?<=\\)(?:[nrtbf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|(?<=%)[0-9A-Fa-f]{2}"


class Open(enum.Enum):
    """What a place is when it is not a finding."""

    DEAD = "dead"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's first part, ``[start, end)``; its tail follows. ``decided`` is the length of text that settled it."""

    start: int
    end: int
    decided: int


@dataclass(frozen=True, slots=True)
class Step:
    """A run of at least ``least`` characters; ``run`` matches from an offset, as many as it may."""

    run: Callable[[str, int], re.Match[str] | None]
    least: int

    def end(self, text: str, at: int) -> int:
        """Give the end of the run that starts at ``at``; ``at`` itself where there is none."""
        match = self.run(text, at)
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

    def decide(self, text: str, at: int, after: int, final: bool) -> Found | Open:
        """Decide the place where a literal stands at ``[at, after)``. ``final``: no text will follow."""
        bare = _walk(self.lead, text, after, final)
        here = _walk(self.body[:-1], text, bare, final) if bare >= 0 else bare
        if here < 0:
            return Open.PENDING if here == _MORE else Open.DEAD
        start = bare if self.lead else at
        if self.until:
            return self._decide_closed(text, start, bare, here, final)
        return self._decide_open(text, start, bare, here, final)

    def _decide_open(self, text: str, start: int, bare: int, here: int, final: bool) -> Found | Open:
        """Commit at the earliest length of the last step that passes the check, or at its end."""
        last = self.body[-1]
        end = last.end(text, here)
        for stop in range(here + last.least, end + 1, _STRIDE):
            if self.check(text[bare:stop]):
                return Found(start, stop, stop)
        if end == len(text) and end - here < last.least + PATIENCE and not final:
            return Open.PENDING
        if end - here >= last.least and self.check(text[bare:end]):
            return Found(start, end, end + 1)
        return Open.DEAD

    def _decide_closed(self, text: str, start: int, bare: int, here: int, final: bool) -> Found | Open:
        """Commit where the last step ends before a text that must follow."""
        last = self.body[-1]
        end = last.end(text, here)
        follows = text[end : end + max(map(len, self.until))]
        if not final and any(word.startswith(follows) and word != follows for word in self.until):
            return Open.PENDING
        for word in self.until:
            if follows.startswith(word) and end - here >= last.least and self.check(text[bare:end]):
                return Found(start, end, end + len(word))
        return Open.DEAD


class Matcher:
    """All rules in one table. Immutable once built, shared by every stream."""

    __slots__ = ("_escaped", "_nodes", "search")

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_literal: dict[str, list[Rule]] = {}
        for rule in rules:
            for literal in rule.literals:
                by_literal.setdefault(literal, []).append(rule)
        trie = _trie(set(by_literal))
        # The guard is consumed, not looked behind at, so that the search can skip to it by character class. What an
        # escape guards is the second choice: the plain place comes first in the text.
        self.search = re.compile(f"[^A-Za-z0-9](?:|{_ESCAPE})({trie})").search
        self._escaped = re.compile(rf"[\\%](?:{_ESCAPE})({trie})").match
        self._nodes = _nodes(by_literal)

    def after(self, text: str, hit: re.Match[str]) -> re.Match[str] | None:
        """Give the next place after a dead one: the one behind the escape that guards both, or any further on."""
        guard, place = hit.start(), hit.start(1)
        behind = self._escaped(text, guard) if place == guard + 1 else None
        return behind or self.search(text, place)

    def decide(self, text: str, hit: re.Match[str], final: bool) -> tuple[Rule, Found] | Open:
        """Decide the place at ``hit``: of several rules the one that needs least text, then the pack's first."""
        at, end = hit.span(1)
        rules, grows = self._nodes[hit[1]]
        best: tuple[Rule, Found] | Open = Open.PENDING if grows and end == len(text) and not final else Open.DEAD
        for rule, width in rules:
            outcome = rule.decide(text, at, at + width, final)
            if isinstance(outcome, Found):
                if isinstance(best, Open) or outcome.decided < best[1].decided:
                    best = rule, outcome
            elif best is Open.DEAD:
                best = outcome
        return best


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


def _nodes(by_literal: Mapping[str, list[Rule]]) -> dict[str, _Node]:
    """Map each beginning of a literal to its node."""
    nodes: dict[str, _Node] = {}
    for literal in by_literal:
        for size in range(1, len(literal) + 1):
            start = literal[:size]
            whole = [start[:width] for width in range(1, size + 1) if start[:width] in by_literal]
            grows = nodes[start][1] if start in nodes else False
            rules = tuple((rule, len(word)) for word in whole for rule in by_literal[word])
            nodes[start] = (rules, grows or size < len(literal))
    return nodes


def _trie(words: Collection[str], inner: bool = False) -> str:
    """Write a pattern for the longest of the words at a place, or for a word begun where the text ends."""
    branches = [
        re.escape(head) + _trie({word[1:] for word in words if word[:1] == head}, inner=True)
        for head in sorted({word[0] for word in words if word})
    ]
    if not branches:
        return ""
    if "" in words:
        return f"(?:{'|'.join(branches)})?"
    if inner:
        branches.append(r"\Z")
    return f"(?:{'|'.join(branches)})"
