"""Known texts in running text: what may leave now, what must not, and what cannot be told yet.

What lives here: the table of all texts that are looked for, and the scan of one channel. What must not: encodings,
what a value is called, markers.

**A word decides, the rest is eaten.** Each text that is looked for has a *word*, its first characters, that is enough
to be sure; a short text is its own word. Where a word stands, a span opens at once. From there on everything is dropped
that continues any text which begins with that word, as far as it does. So the memory is bounded by the longest word,
whatever the length of the texts.

**Ordinary text costs one regular expression search** per piece. The pattern is the trie of the words' first characters,
in which every inner node also accepts the end of the text. There is no guard: a value may stand anywhere, inside other
words too. Only where those few characters agree are words compared, by a look into a table.

**Why the cut cannot matter.** What is found is the union of all places: from the start of each word that stands in the
text to where the text leaves the last of its continuations. Places that overlap are one finding, called after the
first. They are taken from left to right, and one that cannot be decided yet holds everything from there on. Whether a
word stands at a place, and how far a continuation goes, depends on the text from there on, never changes once known.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from extproc.detectors.base import Span

PROBE: Final = 3
"""Characters of a word that make a place worth a look. No word is shorter."""

WORD_MOST: Final = 64
"""Characters of the longest word, and so the most that wait for a decision."""

LET_GO: Final = 4
"""A beginning shorter than this is let go in a pause: it tells nobody anything."""

_PADDING: Final = 2
_STRIDE: Final = 64
_AFTER_GAP: Final = 4  # characters that must go on as expected for a line break to be one within the text
_GAP: Final = re.compile(r"[ \t\r\n]{1,16}+")


@dataclass(frozen=True, slots=True, repr=False)
class Sought:
    """A text to find from ``begin`` on. ``[begin, sure)`` of it is the word, ``rule`` the id that a finding gets.

    The word has ``PROBE`` to ``WORD_MOST`` characters. After all of the text one character of ``edge`` belongs to it,
    too, and then padding. With ``wraps`` white space in it is looked through, as in Base64 with broken lines.
    """

    rule: str
    text: str
    begin: int
    sure: int
    edge: str = ""
    wraps: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class _Word:
    """A word, the id of the first that sought it, and every text that it is a beginning of."""

    text: str
    rule: str
    goes_on: list[Sought] = field(default_factory=list)


class _Group:
    """The words with the same first characters, found by their length: thousands of keys may begin alike."""

    __slots__ = ("_in_order", "_lengths", "_words")

    def __init__(self, sought: Iterable[Sought]) -> None:
        sought = tuple(sought)
        self._words: dict[str, _Word] = {}
        for each in sought:
            text = each.text[each.begin : each.sure]
            self._words.setdefault(text, _Word(text, each.rule))
        self._lengths = sorted(set(map(len, self._words)))
        self._in_order = sorted(self._words)
        for each in sought:
            for word in self._beginnings(each.text, each.begin):
                if each.begin + len(word.text) < len(each.text) or each.edge:
                    word.goes_on.append(each)

    def shortest(self, text: str, at: int) -> _Word | None:
        """Give the shortest word that stands at a place."""
        return next(self._beginnings(text, at), None)

    def may_come(self, rest: str) -> bool:
        """Say whether some word begins with all of the text that is left."""
        index = bisect_left(self._in_order, rest)
        return index < len(self._in_order) and self._in_order[index].startswith(rest)

    def _beginnings(self, text: str, at: int) -> Iterator[_Word]:
        for length in self._lengths:
            word = self._words.get(text[at : at + length])
            if word is not None and len(word.text) == length:
                yield word


class Table:
    """All that is sought. Immutable once built, shared by every stream. It holds the texts: they are compared."""

    __slots__ = ("_groups", "search")

    def __init__(self, sought: Iterable[Sought]) -> None:
        by_probe: defaultdict[str, list[Sought]] = defaultdict(list)
        for each in sought:
            by_probe[each.text[each.begin : each.begin + PROBE]].append(each)
        self._groups: Mapping[str, _Group] = {probe: _Group(group) for probe, group in by_probe.items()}
        self.search = re.compile(_pattern(by_probe) if by_probe else r"(?!)").search

    def decide(self, text: str, at: int, final: bool) -> _Word | bool:
        """Give the shortest word at a place where the probe matched; False for none, True if more text may make one."""
        left = len(text) - at
        if left < PROBE:
            return not final
        group = self._groups[text[at : at + PROBE]]
        word = group.shortest(text, at)
        if word is not None:
            return word
        return not final and left < WORD_MOST and group.may_come(text[at:])


def _pattern(words: Iterable[str], depth: int = 0) -> str:
    """Write a pattern for any of the words, all of the same length, or for one begun where the text ends."""
    branches: defaultdict[str, set[str]] = defaultdict(set)
    for word in words:
        branches[word[0]].add(word[1:])
    by_rest: defaultdict[str, list[str]] = defaultdict(list)
    for head, rests in sorted(branches.items()):
        by_rest["" if rests == {""} else _pattern(rests, depth + 1)].append(head)
    written = [_one_of(heads) + rest for rest, heads in by_rest.items()]
    if depth:
        written.append(r"\Z")
    return written[0] if len(written) == 1 else f"(?:{'|'.join(written)})"


def _one_of(characters: list[str]) -> str:
    if len(characters) == 1:
        return re.escape(characters[0])
    return f"[{''.join(map(re.escape, characters))}]"


@dataclass(slots=True, repr=False)
class _Tail:
    """A text that is being eaten: it has come as far as ``reached``, and goes on at ``at`` of the channel, if it does.

    ``waits``: white space that may be a line break of it came last.
    """

    sought: Sought
    reached: int
    at: int
    waits: bool = False

    def grow(self, text: str, base: int, final: bool) -> bool:
        """Go on in ``text``, which begins at ``base``; say whether this may go on further with the next text."""
        sought, at = self.sought, self.at - base
        self.waits = False
        while self.reached < len(sought.text):
            same = _same(sought.text, self.reached, text, at)
            self.reached += same
            at += same
            if at == len(text) or self.reached == len(sought.text):
                break
            behind = self._behind_gap(text, at, final)
            if behind <= at:
                self.at = base + at
                return self.waits
            at = behind
        while at < len(text) and self._pads(text[at]):
            self.reached += 1
            at += 1
        self.at = base + at
        return at == len(text) and self.reached <= len(sought.text) + _PADDING and not final

    def _behind_gap(self, text: str, at: int, final: bool) -> int:
        """Where the text goes on behind a line break; ``at`` itself where it does not, or not yet."""
        gap = _GAP.match(text, at) if self.sought.wraps else None
        if gap is None:
            return at
        behind = gap.end()
        expected = self.sought.text[self.reached : self.reached + _AFTER_GAP]
        if text.startswith(expected, behind):
            return behind
        self.waits = not final and expected.startswith(text[behind : behind + _AFTER_GAP])
        self.waits = self.waits and len(text) - behind < len(expected)
        return at

    def _pads(self, character: str) -> bool:
        over = self.reached - len(self.sought.text)
        if over == 0:
            return character in self.sought.edge
        return over > 0 and over <= _PADDING and character == "="


def _same(sought: str, reached: int, text: str, at: int) -> int:
    """How many characters are equal from there on. Compared in strides, so that a difference is found where it is."""
    most = min(len(sought) - reached, len(text) - at)
    same = 0
    while same < most:
        here = sought[reached + same : reached + same + min(_STRIDE, most - same)]
        if not text.startswith(here, at + same):
            there = text[at + same : at + same + len(here)]
            return same + next(index for index, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
        same += len(here)
    return same


class ExactWindow:
    """The scan of one channel (``detectors.base.StreamScan``)."""

    __slots__ = ("_base", "_covered", "_kept", "_place", "_rule", "_table", "_tails", "settled")

    def __init__(self, table: Table) -> None:
        self.settled = 0
        self._table = table
        self._kept = ""  # the text from ``_base`` on; that and all offsets count from the channel's start
        self._base = 0
        self._place = 0  # before it every place is decided
        self._covered = 0  # where the last finding ends, as far as is known
        self._rule = ""
        self._tails: list[_Tail] = []

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        if self._kept:
            text = self._kept + text
        if self._tails:
            return self._look(text, final)
        hit = self._table.search(text, self._place - self._base)
        at = len(text) if hit is None else hit.start()
        if hit is not None and (final or len(text) - at >= PROBE):
            return self._look(text, final)
        self._kept = text[at:]  # nothing, or a mere beginning; all else of this method is in ``_look``, too
        self._place = self._base = self._base + at
        self.settled = max(self._base, self._covered)
        return []

    def pause(self) -> list[Span]:
        """Let go of a word's first characters, fewer than ``LET_GO``, and of what may be a line break in a text."""
        spans: list[Span] = []
        if any(tail.waits for tail in self._tails):
            self._tails = [tail for tail in self._tails if not tail.waits]
            spans = self._look(self._kept, final=False, grow=False)
        end = self._base + len(self._kept)
        if self.settled < end and end - self._place < LET_GO:
            self._place = end
            self._keep(self._kept, end)
        return spans

    def _look(self, text: str, final: bool, grow: bool = True) -> list[Span]:
        spans: list[Span] = []
        end = self._base + len(text)
        while True:
            if grow:
                self._eat(text, final, spans)
            grow = False
            waits = any(tail.waits for tail in self._tails)
            hit = self._table.search(text, self._place - self._base)
            if hit is None:
                self._place = end
                break
            self._place = self._base + hit.start()
            if waits and self._place >= self._covered:
                break
            outcome = self._table.decide(text, hit.start(), final)
            if outcome is True:
                break
            if isinstance(outcome, _Word):
                self._open(outcome, spans)
                grow = True
            self._place += 1
        self._keep(text, self._covered if waits else max(self._covered, self._place))
        return spans

    def _open(self, word: _Word, spans: list[Span]) -> None:
        """Take note of a word: a finding of its own, or a part of the one that it overlaps."""
        start, end = self._place, self._place + len(word.text)
        if start >= self._covered:
            spans.append(Span(start, end, word.rule))
            self._rule, self._covered = word.rule, end
        else:
            self._cover(end, spans)
        self._tails += [_Tail(sought, sought.begin + len(word.text), end) for sought in word.goes_on]

    def _eat(self, text: str, final: bool, spans: list[Span]) -> None:
        """Let every tail go on, and forget those that are over."""
        tails = self._tails
        self._tails = []
        known: set[tuple[int, int, int]] = set()
        for tail in tails:
            goes_on = tail.grow(text, self._base, final)
            self._cover(tail.at, spans)
            key = (id(tail.sought.text), tail.reached, tail.at)  # the parts of one text all lead here
            if goes_on and key not in known:
                known.add(key)
                self._tails.append(tail)

    def _cover(self, end: int, spans: list[Span]) -> None:
        if end > self._covered:
            spans.append(Span(self._covered, end, self._rule, opens=False))
            self._covered = end

    def _keep(self, text: str, settled: int) -> None:
        """Let go of what is settled, all but what an undecided place or tail begins with."""
        self.settled = settled
        base = min([self._place, settled, *(tail.at for tail in self._tails)])
        self._kept = text[base - self._base :]
        self._base = base
