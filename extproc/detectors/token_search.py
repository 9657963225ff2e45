"""Where the tokens of a list stand in a text: as they are, and as front ends may make them.

What lives here: one search for many tokens, and the forms of a text that a tokeniser may be given. What must not: which
tokens there are, what a policy does about them.

Some front ends take invisible characters out, some bring text into Unicode's NFKC form (``＜`` becomes ``<``), so both
are looked through. Case counts, and nothing else is undone: a tokeniser compares letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

ANY_NAME: Final = r"[\w▁.:/-]{1,48}"
"""What ``*`` stands for in a shape: a name as tokens have them, without white space."""

# Control characters but tab, line feed and carriage return, and what Unicode says may be left out when text is shown.
_INVISIBLE: Final = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN: Final = re.compile(f"[{_INVISIBLE}]")
_HIDDEN_PLAIN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # those of ASCII
# All that NFKC changes in a character alone is below these, but for ideographs that become others.
_FOLDED: Final = (range(0x80, 0x20000), range(0x2F800, 0x2FA20))

_Table: TypeAlias = Mapping[int, str]
_Trie: TypeAlias = dict[str, "_Trie"]


def _characters() -> tuple[_Table, _Table]:
    gone = {code: "" for code in (*range(0x20000), *range(0xE0000, 0xE1000)) if _HIDDEN.match(chr(code))}
    folded: dict[int, str] = {}
    for codes in _FOLDED:
        for code in codes:
            if not 0xD800 <= code <= 0xDFFF and not unicodedata.is_normalized("NFKC", chr(code)):
                folded[code] = _HIDDEN.sub("", unicodedata.normalize("NFKC", chr(code)))
    return gone, folded | gone


_GONE, _FOLDS = _characters()


class Place(NamedTuple):
    """A token in code points ``[start, end)`` of the text. ``inside`` is where its second character begins; None where
    one character of the text stands for all of it.
    """

    start: int
    inside: int | None
    end: int
    token: str


def visible(text: str) -> str:
    """The text without what is invisible."""
    return text.translate(_GONE) if _hides(text) else text


class TokenSearch:
    """Finds every place of every token and shape, those that overlap as well. Immutable."""

    __slots__ = ("_may_begin", "_search")

    def __init__(self, tokens: Iterable[str], shapes: Iterable[str] = ()) -> None:
        tokens, shapes = tuple(tokens), tuple(shapes)
        trie: _Trie = {}
        for token in tokens:
            node = trie
            for character in (*token, ""):
                node = node.setdefault(character, {})
        patterns = [_pattern(trie)] if trie else []
        self._search: Final = re.compile("|".join([*patterns, *map(shape_pattern, shapes)])).search
        first = {text[0] for text in (*tokens, *shapes)}
        first |= {chr(code) for code, folded in _FOLDS.items() if not first.isdisjoint(folded)}
        self._may_begin: Final = re.compile(f"[{''.join(map(re.escape, sorted(first)))}]").search

    def places(self, text: str) -> list[Place]:
        """All places, in order. Most texts hold nothing that a token begins with."""
        if self._may_begin(text) is None:
            return []
        hides = _hides(text)
        if not hides and text.isascii():
            return [Place(start, start + 1, start + len(token), token) for start, token in self._found(text)]
        found = self._found_in(text, _GONE if hides else {})
        found.update(self._found_in(text, _FOLDS))
        return sorted(found, key=lambda place: (place.start, place.end))

    def _found(self, text: str) -> Iterator[tuple[int, str]]:
        at = 0
        while (match := self._search(text, at)) is not None:
            at = match.start()
            yield at, match[0]
            at += 1

    def _found_in(self, text: str, table: _Table) -> dict[Place, None]:
        found = list(self._found(text.translate(table) if table else text))
        return dict.fromkeys(_places(found, _origins(text, table) if table else range(len(text)))) if found else {}


def shape_pattern(shape: str) -> str:
    """The regular expression of a shape such as ``<|*|>``."""
    return ANY_NAME.join(map(re.escape, shape.split("*")))


def _hides(text: str) -> bool:
    return (_HIDDEN_PLAIN if text.isascii() else _HIDDEN).search(text) is not None


def _pattern(trie: _Trie) -> str:
    """The longest token of a trie, as a regular expression that tries no character twice."""
    ways = [re.escape(character) + _pattern(rest) for character, rest in trie.items() if character]
    if not ways:
        return ""
    one = ways[0] if len(ways) == 1 and "" not in trie else f"(?:{'|'.join(ways)})"
    return one + "?" if "" in trie else one


def _origins(text: str, table: _Table) -> Sequence[int]:
    """For each character of the translated text, which one of the text it comes from."""
    origins: list[int] = []
    for at, character in enumerate(text):
        origins += [at] * len(table.get(ord(character), character))
    return origins


def _places(found: Sequence[tuple[int, str]], origins: Sequence[int]) -> Iterator[Place]:
    for at, token in found:
        start, last = origins[at], origins[at + len(token) - 1]
        inside: int | None = origins[at + 1]
        if inside == start:
            inside = next((place for place in origins[at + 2 : at + len(token)] if place > start), None)
        yield Place(start, inside, last + 1, token)
