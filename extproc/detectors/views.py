"""Other readings of a text: what it says once decoded, turned round, or freed of stand-in characters.

What lives here: the disguises that a model undoes on request, and cheap signs that one is there. What must not: rules,
scores, and disguises that every reader sees through (those are ``normalise``'s).
"""

from __future__ import annotations

import base64
import binascii
import bisect
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from itertools import accumulate, chain
from operator import or_
from typing import Final, TypeAlias

from extproc.detectors.disguises import (
    FREQUENT,
    INSIDE_WORD,
    LONG,
    LONG_WORD,
    MIRRORED,
    ODD,
    ROT13,
    ROTATED,
    SPLIT,
    STAND_IN,
    Vocabulary,
)
from extproc.detectors.lexicon import SIGNS, TOKENS, Lexicon, Piece
from extproc.detectors.normalise import Alignment, Normalised, normalise, substitute
from extproc.detectors.words import LINE, spans_of

Locate: TypeAlias = Callable[[int, int], tuple[int, int]]
"""From ``[start, end)`` of a reading to the run of the original that it comes from."""
_Text: TypeAlias = tuple[str, Locate]

_FOREIGN_MAX: Final = 2000  # code points of a text that is turned round for want of a word of any language
_CASES: Final = 8  # Base64 changes case, or to digits, once in so many characters at least
_SHORT: Final = 1000  # code points of a text of which every reading is looked at from end to end
_AROUND: Final = 300  # code points on either side of what a reading changes in a longer one
_SIGNS: Final = 3  # words of a model that a guess must bring to light; of the pack's one is enough
_CHANGED: Final = 4  # a guess that changes more than one word in so many needs no sign
_READABLE: Final = 0.9  # share of printable characters that makes decoded bytes a text

_PAIR: Final = "(?:0x)?[0-9a-fA-F]{2}(?![0-9A-Za-z])"
_ENCODED: Final = re.compile(
    r"(?P<percent>(?:%[0-9a-fA-F]{2})++)"
    r"|(?P<escapes>(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{2,6}\})++)"
    # Every pair is checked for its end, not the run: a run that ends badly would be tried again from each of its pairs.
    rf"|(?<![0-9A-Za-z])(?P<hex>{_PAIR}(?:[ ,:]{{1,2}}{_PAIR}){{7,}}+"
    r"|(?:0x)?(?:[0-9a-fA-F]{2}){8,}+(?![0-9A-Za-z]))"
    r"|(?<![0-9A-Za-z+/_-])(?P<base64>[0-9A-Za-z+/_-]{16,}+)={0,2}"
)
_ESCAPE: Final = re.compile(r"\\[xu]\{?([0-9a-fA-F]+)\}?")
_HEX_GLUE: Final = re.compile(r"0x|[ ,:]")
_URL_SAFE: Final = str.maketrans("-_", "+/")

_LONG_WORD: Final = re.compile(rf"[a-z]{{{LONG_WORD},}}+")
_WORD: Final = re.compile(r"[^\W_]+")
_ESCAPE_SIGN: Final = re.compile(r"[%\\](?:[0-9a-fA-F]{2}|[xu][0-9a-fA-F{])")
_PAIRS_SIGN: Final = re.compile("[0-9][0-9][ ,:]{1,2}[0-9a-fA-F]{2}[ ,:]")
_HEX_RUN: Final = re.compile(rf"[0-9a-fA-F]{{{LONG_WORD}}}")
_MIXED_CASE: Final = re.compile("[a-z0-9+/][A-Z]|[A-Z0-9][a-z]")  # as Base64 has all along, and words once at most


class View:
    """A reading of a text, normalised: its pieces, and the way back to the original."""

    __slots__ = ("_spans", "_tokens", "locate", "pieces", "text")

    def __init__(self, text: str, pieces: Sequence[Piece], locate: Locate) -> None:
        self.text: Final = text
        self.pieces: Final = pieces
        self.locate: Final = locate
        self._tokens: list[str] | None = None
        self._spans: list[tuple[int, int]] | None = None

    @property
    def tokens(self) -> list[str]:
        """The tokens of the reading; put together when first asked for."""
        if self._tokens is None:
            self._tokens = list(chain.from_iterable(map(TOKENS, self.pieces)))
        return self._tokens

    def spans(self) -> list[tuple[int, int]]:
        """Where each token stands in the reading; computed when first asked for."""
        if self._spans is None:
            self._spans = spans_of(self.text, self.tokens)
        return self._spans


def way_back(read: Normalised) -> Locate:
    """Return the way back from a normalised text; it is computed when first used."""
    alignment = functools.cache(read.alignment)
    return lambda start, end: alignment().span(start, end)


def other_views(plain: View, original: str, vocabulary: Vocabulary, lexicon: Lexicon) -> Iterator[View]:
    """Give the readings of a text, other than the ``plain`` one, of which there is a sign."""
    for other, back in _other_texts(plain, original, vocabulary):
        yield View(other, lexicon.read(other), back)


def _other_texts(plain: View, original: str, vocabulary: Vocabulary) -> Iterator[_Text]:
    text, locate = plain.text, plain.locate
    signs = reduce(or_, set(map(SIGNS, plain.pieces)), 0)
    if _may_be_encoded(original, has_long_word=bool(signs & LONG)):
        yield from _decoded(original)
    # A text without one frequent word of any language is no text, unless it is turned round.
    foreign = not signs & FREQUENT and len(text) <= _FOREIGN_MAX and text.isascii() and len({*plain.tokens}) > 2
    if foreign or signs & MIRRORED:
        yield text[::-1], lambda start, end: locate(len(text) - end, len(text) - start)
        yield _WORD.sub(lambda word: word[0][::-1], text), locate
    if foreign or signs & ROTATED:
        yield text.translate(ROT13), locate
    if not signs & (STAND_IN | SPLIT | LONG):
        return
    words = {*plain.tokens}
    # Most texts with a hyphen or a digit in a word are not disguised: what is guessed must bring words to light.
    for guess, guessed in _guesses(plain, signs, words, vocabulary):
        changed = guessed - words
        brought = changed & vocabulary.signs
        if len(changed) > 1 and len(changed) * _CHANGED > len(words):
            yield guess(locate)
        elif not brought.isdisjoint(vocabulary.plainest) or len(brought) >= _SIGNS:
            whole = guess(locate)
            yield _near(whole, [place for word in brought for place in _all_places(whole[0], word)])


def _may_be_encoded(original: str, *, has_long_word: bool) -> bool:
    if ("%" in original or "\\" in original) and _ESCAPE_SIGN.search(original):
        return True
    if "0x" in original or _PAIRS_SIGN.search(original):
        return True
    return has_long_word and any(_looks_encoded(word) for word in original.split() if len(word) >= LONG_WORD)


def _looks_encoded(word: str) -> bool:
    return _HEX_RUN.search(word) is not None or len(_MIXED_CASE.findall(word)) * _CASES >= len(word)


def _guesses(
    plain: View, signs: int, words: AbstractSet[str], vocabulary: Vocabulary
) -> Iterator[tuple[Callable[[Locate], _Text], AbstractSet[str]]]:
    """What the text may be a disguise of: how to get it, and the words that it would have instead of others."""
    text = plain.text
    if signs & STAND_IN:
        lettered = [piece.guesses.lettered for piece in plain.pieces if piece.signs & ODD]
        yield lambda locate: (vocabulary.letters_for_digits(text), locate), set(chain.from_iterable(lettered))
    if signs & SPLIT:
        joined = [piece.guesses.joined for piece in plain.pieces if piece.signs & SPLIT]
        yield functools.partial(_substituted, INSIDE_WORD, _nothing, text), set(chain.from_iterable(joined))
    if signs & LONG:

        def part(word: re.Match[str]) -> str:
            return " ".join(filter(None, vocabulary.split(word[0])))

        long_words = [word for word in words if len(word) >= LONG_WORD]
        pieces = {piece for word in long_words for piece in vocabulary.split(word) if piece}
        yield functools.partial(_substituted, _LONG_WORD, part, text), pieces


def _substituted(pattern: re.Pattern[str], rewrite: Callable[[re.Match[str]], str], text: str, locate: Locate) -> _Text:
    changed, alignment = substitute(pattern, rewrite, text)
    return changed, _through(alignment, locate)


def _nothing(_: re.Match[str]) -> str:
    return ""


def _near(whole: _Text, places: Iterable[int]) -> _Text:
    """The parts of a text around some places of it; all of a short one. The rest has been read as it stands."""
    text, locate = whole
    if len(text) <= _SHORT:
        return whole
    parts: list[tuple[int, int]] = []
    for place in sorted(places):
        start, end = max(place - _AROUND, 0), min(place + _AROUND, len(text))
        if parts and start <= parts[-1][1]:
            start, _ = parts.pop()
        parts.append((start, end))
    begins = list(accumulate((end - start + 1 for start, end in parts), initial=0))

    def back(start: int, end: int) -> tuple[int, int]:
        at = bisect.bisect_right(begins, start, hi=len(parts)) - 1
        shift = parts[at][0] - begins[at]
        return locate(start + shift, min(end + shift, parts[at][1]))

    return LINE.join(text[start:end] for start, end in parts), back


def _all_places(text: str, word: str) -> Iterator[int]:
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)


def _through(alignment: Alignment, locate: Locate) -> Locate:
    return lambda start, end: locate(*alignment.span(start, end))


def _decoded(original: str) -> Iterator[_Text]:
    """The text with every encoded run in place of which something readable stands decoded, one layer of it."""
    decoded, alignment = substitute(_ENCODED, _decode, original)
    if decoded != original:
        part, locate = _near((decoded, alignment.span), [change.start for change in alignment.steps[0]])
        read = normalise(part)
        back = way_back(read)
        yield read.text, lambda start, end: locate(*back(start, end))


def _decode(match: re.Match[str]) -> str:
    """Decode one run, or give it back as it is."""
    run = match[0]
    try:
        if match.lastgroup == "percent":
            raw = bytes.fromhex(run.replace("%", ""))
        elif match.lastgroup == "hex":
            raw = bytes.fromhex(_HEX_GLUE.sub("", run))
        elif match.lastgroup == "escapes":
            return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), run)
        else:
            digits = match["base64"].translate(_URL_SAFE)
            digits = digits[:-1] if len(digits) % 4 == 1 else digits
            raw = base64.b64decode(digits + "=" * (-len(digits) % 4))
        text = raw.decode()
    except (ValueError, OverflowError, binascii.Error):
        return run
    return text if sum(map(str.isprintable, text)) >= _READABLE * len(text) else run
