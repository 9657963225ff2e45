"""Tokens: what a normalised text is cut into before anything is looked for in it.

What lives here: words of scripts with spaces and without, marks, ends of sentences and of lines, and the way back from
tokens to characters. What must not: phrases, rules, weights.

A token is a run of Latin letters and digits, a run of letters of another script, or one other character; blanks are
none. A run in a script without spaces (Thai to Khmer, Kana, Han, Hangul) is cut further: into the words of a dictionary
where there are some, else into single letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from operator import add
from typing import Final

BREAKS: Final = frozenset(".!?;。！？；।؟…")
"""What ends a sentence: phrases do not go past it."""
LINE: Final = "\n"

# Not \w: that leaves out the vowel signs of Indic scripts. Latin letters are all ASCII after ``normalise``.
_PUNCTUATION: Final = (
    "\u060c\u061b\u061f\u0964\u0965\u2000-\u2bff\u3000-\u3004\u3008-\u303f\uff00-\uff0f\uff1a-\uff20"
    "\U0001f000-\U0001faff"
)
_TOKEN: Final = re.compile(rf"[0-9a-z]+|[^\x00-\xbf{_PUNCTUATION}]+|[^ ]")
_ASCII_TOKEN: Final = re.compile(r"[0-9a-z]+|[^ ]")  # the same for most texts, and faster
_LATIN_WORD: Final = re.compile("[0-9a-z]+")
UNSPACED_FROM: Final = "\u0e00"  # all such scripts lie above; so do some others, which are told apart below
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\U00020000-\U0003ffff"
)


def tokens_of(normalised: str, unspaced: Unspaced) -> list[str]:
    """Cut a normalised text into tokens. Linear in its length."""
    if normalised.isascii():
        return _ASCII_TOKEN.findall(normalised)
    tokens: list[str] = _TOKEN.findall(normalised)
    if max(normalised) < UNSPACED_FROM:
        return tokens
    return [piece for token in tokens for piece in (unspaced.cut(token) if token >= UNSPACED_FROM else (token,))]


def latin_words(normalised: str) -> list[str]:
    """The words of Latin letters and digits in a normalised text."""
    return _LATIN_WORD.findall(normalised)


def spans_of(normalised: str, tokens: Iterable[str]) -> list[tuple[int, int]]:
    """Where each token of a text stands in it, as ``[start, end)``."""
    spans: list[tuple[int, int]] = []
    end = 0
    for token in tokens:
        start = normalised.index(token, end)
        end = start + len(token)
        spans.append((start, end))
    return spans


@cache
def _unspaced_runs() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")  # large: compiled when such a text first comes


@cache
def _unspaced_letter() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def is_unspaced(text: str) -> bool:
    """Whether a text begins with a letter of a script without spaces."""
    return text[:1] >= UNSPACED_FROM and _unspaced_letter().match(text) is not None


class Unspaced:
    """The words, of two letters or more, that runs in scripts without spaces are cut into; the longest goes first."""

    __slots__ = ("_by_pair", "_words")

    def __init__(self, words: Iterable[str]) -> None:
        self._words: Final = frozenset(words)
        by_pair: dict[str, set[int]] = {}
        for word in self._words:
            by_pair.setdefault(word[:2], set()).add(len(word))
        self._by_pair: Final[Mapping[str, list[int]]] = {
            pair: sorted(lengths, reverse=True) for pair, lengths in by_pair.items()
        }

    def cut(self, run: str) -> list[str]:
        """Cut a run of letters, of which some may be of a script with spaces."""
        pieces: list[str] = []
        for part in _unspaced_runs().findall(run):
            pieces += self._cut(part) if is_unspaced(part) else (part,)
        return pieces

    def _cut(self, run: str) -> list[str]:
        known = self._by_pair.keys() & set(map(add, run, run[1:]))
        if not known:
            return list(run)
        places: set[int] = set()
        for pair in known:
            place = run.find(pair)
            while place >= 0:
                places.add(place)
                place = run.find(pair, place + 1)
        pieces: list[str] = []
        done = 0
        for place in sorted(places):
            if place < done:
                continue
            for length in self._by_pair[run[place : place + 2]]:
                if run[place : place + length] in self._words:
                    pieces += run[done:place]
                    pieces.append(run[place : place + length])
                    done = place + length
                    break
        return [*pieces, *run[done:]]
