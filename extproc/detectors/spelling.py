"""Misspellings of the words that attacks are made of, which a model reads as if nothing were wrong.

What lives here: which word a misspelt one stands for. What must not: any word list (it comes with the pack), stems,
rules.

Three slips are undone: vowels left out, two letters that changed places in words of five letters or more, one letter
missing in words of six. A word that is none of the key words nor near one stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHORTEST: Final = 4
_SWAPPED: Final = 5
_GAPPED: Final = 6
_GAPPED_MAX: Final = 600  # key words, the first ones, of which a letter may be missing
_SPOILT: Final = 2  # what vowels left out may leave of a word
_VOWELS: Final = dict.fromkeys(map(ord, "aeiou"))


class Spelling(dict[str, str]):
    """What each word is read as. The table has those that are right as they are, among them ``known``; the others are
    worked out when asked for."""

    def __init__(self, key_words: Iterable[str], known: Iterable[str] = ()) -> None:
        keys = [word for word in dict.fromkeys(key_words) if len(word) >= _SHORTEST and word.isascii()]
        words = [*known, *keys]
        super().__init__(zip(words, words, strict=True))
        self._by_letters: Final = {_letters(word): word for word in reversed(keys) if len(word) >= _SWAPPED}
        self._by_consonants: Final = {
            left: word for word in reversed(keys) if len(left := _consonants(word)) >= _SPOILT
        }
        gapped = [word for word in keys[:_GAPPED_MAX] if len(word) >= _GAPPED]
        self._by_gap: Final = {gap: word for word in reversed(gapped) for gap in _gaps(word)}
        self._beginnings: Final = frozenset(word[0] for word in keys)
        self._longest: Final = max(map(len, keys), default=0)

    def __missing__(self, word: str) -> str:
        return self._right(word) or word

    def _right(self, word: str) -> str | None:
        if not _SPOILT <= len(word) <= self._longest + 1:
            return None
        spoilt = self._by_consonants.get(_consonants(word))
        if spoilt is not None and len(word) < len(spoilt) and _is_within(word, spoilt):
            return spoilt
        if len(word) < _SWAPPED or word[0] not in self._beginnings or not word.isascii():
            return None
        if (same := self._by_letters.get(_letters(word))) is not None:
            return same
        return self._by_gap.get(word)


def _letters(word: str) -> str:
    return word[0] + "".join(sorted(word[1:]))


def _consonants(word: str) -> str:
    return word.translate(_VOWELS)


def _gaps(word: str) -> list[str]:
    """The word without one of its letters, in turn; the first stays."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word))]


def _is_within(part: str, word: str) -> bool:
    """Whether letters of a word, in their order, make the other."""
    rest = iter(word)
    return all(letter in rest for letter in part)
