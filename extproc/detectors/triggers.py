"""Where in a text is a place worth a look? The table of all literals, and the way from one place to the next.

What lives here: the one regular expression that ordinary text is searched with, what stands in the table for each of
its hits, and the cursor that merges the places of literals and of named values. What must not: the deciding of a place.

The expression is a guard (anything but a letter or digit, or an escape such as ``\\n`` or ``%3D``, which ends in one)
and the trie of all literals down to ``DEPTH`` characters, in which every inner node also accepts the end of the text: a
literal begun is a hit, too. The rest of a literal is compared where there is a hit. Compiling the whole trie would cost
five times the start-up and find the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

CONTEXT: Final = 6
"""Characters before a place that say whether it is guarded: the longest guard is an escape like ``\\u003d``."""

DEPTH: Final = 4
"""Characters of a literal that are in the expression: with 3 it hits five times as often, with 5 it compiles slower."""

_ESCAPE: Final = (
    r"(?<=[\\%])(?:"  # the letters of one
    r"(?<=\\)(?:[nrtbf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|(?<=%)[0-9A-Fa-f]{2})"
)
_escape = re.compile(_ESCAPE).match
_CONTRACTED: Final = r"(?<![ac-eg-qstv-zAC-EG-QSTV-Z]['’](?<![^A-Za-z]N')(?<!\\[nrt]'))"
"""Not behind the apostrophe of a contraction ("it's"), which would make much of prose wait. The letters that may stand
before a string (``b'...'``) are no contraction's, nor are SQL's ``N'...'`` and the escaped line break before one."""

not_contracted = re.compile(_CONTRACTED).match


class Rule(Protocol):
    """What the table wants to know of a rule."""

    @property
    def led(self) -> bool:
        """Whether its literal stays in the text."""
        ...


R = TypeVar("R", bound=Rule)


@dataclass(frozen=True, slots=True)
class Node(Generic[R]):
    """What a hit of the expression may be.

    ``whole``: the rules of each literal that is complete here, with its length. ``longer``: the literals that go on
    behind it, with their rules; ``begin``: what all of those begin with; ``hides``: one of those is a part of a secret.
    ``ends``: a literal ends exactly here.
    """

    whole: tuple[tuple[R, int], ...]
    longer: tuple[tuple[str, tuple[R, ...]], ...]
    begin: str
    hides: bool
    ends: bool


class Literals(Generic[R]):
    """All literals with what they stand for, ``R``. Immutable.

    ``beginning``: a pattern of what secrets begin with that have no literal there. Like the trie it must also accept
    the end of the text wherever it cuts one; its group says that this was behind characters of no meaning yet.
    ``follows``: for a literal, a pattern without which behind it the place is not worth a look.
    """

    __slots__ = ("_by_literal", "_here", "_nodes", "_starts", "begun", "search")

    def __init__(
        self, by_literal: Mapping[str, tuple[R, ...]], beginning: str = "", follows: Mapping[str, str] | None = None
    ) -> None:
        # The guard is consumed, not looked behind at, so that the search can skip to it by character class. What an
        # escape guards is the second choice: the plain place comes first in the text.
        # A look at two characters spares most words the way through the trie's forty branches.
        likely = f"(?={_any_of(by_literal, 0)}(?:{_any_of(by_literal, 1)}|\\Z))"
        here = f"{_CONTRACTED}(?:{likely}{_trie(by_literal, DEPTH, follows or {})}|{beginning or '(?!)()'})"
        self.search = re.compile(f"[^A-Za-z0-9](?:|{_ESCAPE})({here})").search
        self._here = re.compile(here).match
        self._by_literal = dict(by_literal)
        self._starts = _starts(by_literal)
        self._nodes: dict[str, Node[R]] = {}  # each made when it is first needed, for most never are
        self.begun = frozenset(_begun(by_literal))
        """What, at the end of a text, can only be the beginning of a literal that is a part of a secret."""

    def find(self, text: str, at: int) -> int:
        """Give the first place from ``at`` on where a literal stands guarded, or one begins at the text's end; or -1.

        Looks back at ``CONTEXT`` characters from ``at``.
        """
        hit = self.search(text, guard_of(text, at))
        while hit is not None:
            place = hit.start(1)
            if place >= at:
                return place
            if place == hit.start() + 1 and (escaped := self._escaped(text, place)) >= at:
                return escaped
            hit = self.search(text, place)
        return -1

    def at(self, text: str, place: int) -> tuple[int, Node[R]] | None:
        """Give what stands at ``place``, and its end: the node of the longest hit, where there is one."""
        key = text[place : place + DEPTH]
        while key:
            node = self._nodes.get(key) or self._make(key)
            if node is not None and (node.ends or len(key) == DEPTH or place + len(key) == len(text)):
                return place + len(key), node
            key = key[:-1]
        return None

    def _make(self, key: str) -> Node[R] | None:
        if key not in self._starts:
            return None
        node = self._nodes[key] = _node(key, self._starts[key], self._by_literal)
        return node

    def _escaped(self, text: str, place: int) -> int:
        """Give the place behind the escape whose letters begin at ``place``, if a literal stands there; or -1."""
        match = _escape(text, place)
        return match.end() if match and self._here(text, match.end()) else -1


def guard_of(text: str, at: int) -> int:
    """Give where a search must begin to find what stands at ``at`` or later: at its guard."""
    before = text[max(at - CONTEXT, 0) : at]
    return max(at - CONTEXT, 0) if "\\" in before or "%" in before else at - 1


class Cursor:
    """Goes through the places of one text, of two kinds, from left to right. A place is searched for once."""

    __slots__ = ("_finders", "_next", "_text")

    def __init__(self, text: str, finders: Iterable[Callable[[str, int], int]]) -> None:
        self._text = text
        self._finders = tuple(finders)
        self._next = [-1] * len(self._finders)

    def seek(self, at: int) -> tuple[int, int]:
        """Give the first place from ``at`` on and the number of the finder whose it is; past the end without one.

        ``at`` never goes back. Of two kinds at one place the first counts.
        """
        best, kind = len(self._text) + 1, 0
        for number, finder in enumerate(self._finders):
            if self._next[number] < at:
                place = finder(self._text, at)
                self._next[number] = place if place >= 0 else len(self._text) + 1
            if self._next[number] < best:
                best, kind = self._next[number], number
        return best, kind


def _starts(literals: Iterable[str]) -> dict[str, list[str]]:
    """Map each beginning of a literal, up to ``DEPTH`` characters, to the literals that begin so."""
    starts: dict[str, list[str]] = {}
    for literal in literals:
        for size in range(1, min(len(literal), DEPTH) + 1):
            starts.setdefault(literal[:size], []).append(literal)
    return starts


def _begun(by_literal: Mapping[str, tuple[R, ...]]) -> Iterator[str]:
    """Give the mere beginnings of literals that are a part of their secret."""
    for literal, rules in by_literal.items():
        if all(rule.led for rule in rules):
            continue
        for size in range(1, min(len(literal), DEPTH + 1)):
            if literal[:size] in by_literal:
                break
            yield literal[:size]


def _node(key: str, literals: Iterable[str], by_literal: Mapping[str, tuple[R, ...]]) -> Node[R]:
    longer = tuple((literal, by_literal[literal]) for literal in literals if len(literal) > len(key))
    whole = tuple((rule, size) for size in range(1, len(key) + 1) for rule in by_literal.get(key[:size], ()))
    begin = _common([literal for literal, _ in longer])
    return Node(whole, longer, begin, not all(rule.led for _, rules in longer for rule in rules), key in by_literal)


def _common(words: list[str]) -> str:
    """Give what all of the words begin with."""
    first, last = (min(words), max(words)) if words else ("", "")
    size = next((at for at, char in enumerate(first) if last[at : at + 1] != char), len(first))
    return first[:size]


def _any_of(words: Iterable[str], at: int) -> str:
    """Write the class of the characters that the words have at one place."""
    return f"[{re.escape(''.join(sorted({word[at] for word in words})))}]"


def _trie(words: Collection[str], depth: int, follows: Mapping[str, str], begun: str = "") -> str:
    """Write a pattern for the longest of the words at a place, or for a word begun where the text ends.

    ``follows`` has patterns of what must come behind a word for it to be worth a look.
    """
    ends = f"(?={follows[begun]}|\\Z)" if "" in words and begun in follows else ""
    heads: dict[str, set[str]] = {}
    for word in words:
        if word:
            heads.setdefault(word[0], set()).add(word[1:])
    if not depth or not heads:
        return "" if heads else ends
    branches = [re.escape(head) + _trie(rest, depth - 1, follows, begun + head) for head, rest in sorted(heads.items())]
    if "" not in words:
        return f"(?:{'|'.join([*branches, chr(92) + 'Z'] if begun else branches)})"
    return f"(?:{'|'.join([*branches, ends])})" if ends else f"(?:{'|'.join(branches)})?"
