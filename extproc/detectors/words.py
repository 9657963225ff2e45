"""Words and their stems: what a text is looked up by before anything is searched in it.

What lives here: what a word is, in scripts with spaces and without. What must not: phrases, rules.

A stem is how a word begins: its first four letters, or a pair of letters in a script without spaces. A text without any
stem of a phrase cannot match it, and a set of stems is made and asked far faster than a text is searched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final

_STEM: Final = 4

# Scripts that set no space between words: Thai to Khmer, Kana, Han, Hangul (whose words take endings and compound).
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\U00020000-\U0003ffff"
)
# Not \w: that leaves out the vowel signs of Indic scripts. Latin letters are all ASCII after ``normalise``.
_NO_LETTERS: Final = rf"\u060c\u061b\u061f\u0964\u0965\u2000-\u2bff\u3000-\u303f\U0001f000-\U0001faff{_UNSPACED}"
_LETTER: Final = rf"[^\x00-/:-@\[-`{{-\xbf{_NO_LETTERS}]"
_LATIN_OR_OTHER_WORD: Final = re.compile(rf"[0-9a-z]+|[^\x00-\xbf{_NO_LETTERS}]+")  # one before the other hides neither

_ASCII_WORDS: Final = {point: chr(point) if chr(point).isalnum() else " " for point in range(128)}
MARK: Final = re.compile(rf"(?:(?!{_LETTER})[^{_UNSPACED}])+")
SPACED_WORD: Final = re.compile(f"{_LETTER}+")
UNSPACED_RUN: Final = re.compile(f"[{_UNSPACED}]{{2,}}")
INSIDE_WORD: Final = re.compile(rf"(?<={_LETTER})['-](?={_LETTER})")


def words_of(normalised: str) -> list[str]:
    """Return the words of a normalised text that is written with spaces."""
    if normalised.isascii():
        return normalised.translate(_ASCII_WORDS).split()
    return _LATIN_OR_OTHER_WORD.findall(normalised)


def stems_of(normalised: str, words: Iterable[str]) -> set[str]:
    """Return every stem of a text, given its words: how words begin, and all pairs of unspaced letters."""
    stems = {word[:_STEM] for word in words}
    if not normalised.isascii():
        for run in UNSPACED_RUN.findall(normalised):
            stems.update(map("".join, itertools.pairwise(run)))
    return stems


def places_of(beginning: str, text: str, start: int, end: int) -> Iterator[int]:
    """Give the places of a text, between ``start`` and ``end``, where a phrase that begins so may stand."""
    inside_words = not (beginning.isascii() and beginning.isalpha())
    place = text.find(beginning, start, end)
    while place >= 0:
        # Letters of other alphabets are left to the phrase; most words are of this one.
        if inside_words or not place or not "a" <= text[place - 1] <= "z":
            yield place
        place = text.find(beginning, place + 1, end)


def stems_of_literal(literal: str, *, starred: bool) -> frozenset[str]:
    """Return the stems of which a text with this literal is certain to have one; none if that is not certain."""
    body = MARK.sub("", literal, count=1) if MARK.match(literal) else literal
    if pair := UNSPACED_RUN.match(body):
        return frozenset({pair[0][:2]})
    stems: set[str] = set()
    # As two words, and as the one that it is without its apostrophes and hyphens.
    for spelling in (body, INSIDE_WORD.sub("", body)):
        if word := SPACED_WORD.match(spelling):
            if starred and word.end() == len(spelling) and len(word[0]) < _STEM:
                return frozenset()
            stems.add(word[0][:_STEM])
    return frozenset(stems)
