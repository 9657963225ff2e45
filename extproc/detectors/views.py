"""Other readings of a text: what it says once decoded, turned round, or freed of stand-in characters.

What lives here: the disguises that a model undoes on request, and cheap signs that one is there. What must not: rules,
scores, and disguises that every reader sees through (those are ``normalise``'s).
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from extproc.detectors.normalise import Alignment, Normalised, normalise, substitute
from extproc.detectors.words import Unspaced, latin_words, spans_of, tokens_of

Locate: TypeAlias = Callable[[int, int], tuple[int, int]]
"""From ``[start, end)`` of a reading to the run of the original that it comes from."""
_Text: TypeAlias = tuple[str, Locate]

_LONG: Final = 16  # letters: encodings, and words run together, are longer; few words are
_SIGN: Final = 5  # letters of a word that is a sign of a disguise
_FOREIGN_MAX: Final = 2000  # code points of a text that is turned round for want of a word of any language
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

_LONG_WORD: Final = re.compile(rf"[a-z]{{{_LONG},}}+")
_INSIDE_WORD: Final = re.compile(r"(?<=[a-z])[-._*~^+|]++(?=[a-z])")
_FREQUENT_WORDS: Final = """
    the you your this that with from what have will and are for not was all can how any his her has but its our they who
    que los las una por para con como mas del sus der die und das ist nicht ein eine mit von den dem auf les des est une
    pour dans qui pas sur vous nous che per non sono della nel con um uma nao dos das het van een niet zijn voor
"""
_FREQUENT: Final = frozenset(_FREQUENT_WORDS.split())
_WORD: Final = re.compile(r"[^\W_]+")
_LEET_SYMBOL: Final = re.compile(r"[!|+](?=[a-z0-9@$])")
_LEET_SYMBOLS: Final = str.maketrans("!|+", "11t")
_LEET_I: Final = str.maketrans("0123456789@$€£", "oizeasgtbgasel")
_LEET_L: Final = str.maketrans("0123456789@$€£", "olzeasgtbgasel")
_ROT13: Final = str.maketrans(string.ascii_lowercase, string.ascii_lowercase[13:] + string.ascii_lowercase[:13])
# Letters, what stands in for letters, what is put inside words.
_SHAPES: Final = {
    point: "a" if chr(point).isalpha() else "0" if chr(point) in "0123456789@$€£!|+" else chr(point)
    for point in (*range(128), ord("€"), ord("£"))
} | dict.fromkeys(map(ord, "-._*~^"), "-")


class View:
    """A reading of a text, normalised: its tokens, and the way back to the original."""

    __slots__ = ("_spans", "locate", "text", "tokens")

    def __init__(self, text: str, tokens: Sequence[str], locate: Locate) -> None:
        self.text: Final = text
        self.tokens: Final = tokens
        self.locate: Final = locate
        self._spans: list[tuple[int, int]] | None = None

    def spans(self) -> list[tuple[int, int]]:
        """Where each token stands in the reading; computed when first asked for."""
        if self._spans is None:
            self._spans = spans_of(self.text, self.tokens)
        return self._spans


class Vocabulary:
    """The words of attacks. The long ones, which other texts seldom hold, are the signs of a disguise; so is what
    frequent words become when they are turned round, since that is no word. ``more`` are those of a model."""

    __slots__ = ("mirrored", "rotated", "signs", "split", "words")

    def __init__(self, words: Sequence[str], more: Iterable[str] = ()) -> None:
        self.words = (*words, *more)
        self.signs = frozenset(word for word in self.words if len(word) >= _SIGN)
        known = self.signs | _FREQUENT
        self.mirrored = frozenset(word[::-1] for word in known) - known
        self.rotated = frozenset(word.translate(_ROT13) for word in known) - known
        self.split = re.compile(f"({'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})").split


def way_back(read: Normalised) -> Locate:
    """Return the way back from a normalised text; it is computed when first used."""
    alignment = functools.cache(read.alignment)
    return lambda start, end: alignment().span(start, end)


def other_views(plain: View, original: str, vocabulary: Vocabulary, unspaced: Unspaced) -> Iterator[View]:
    """Give the readings of a text, other than the ``plain`` one, of which there is a sign."""
    words = frozenset(plain.tokens)
    for other, back in _other_texts(plain.text, words, plain.locate, original, vocabulary):
        yield View(other, tokens_of(other, unspaced), back)


def _other_texts(
    text: str, words: AbstractSet[str], locate: Locate, original: str, vocabulary: Vocabulary
) -> Iterator[_Text]:
    shape = text.translate(_SHAPES)
    has_long_word = any(len(word) >= _LONG for word in words)
    if has_long_word or "00 00" in shape or any(mark in original for mark in ("%", "\\", "0x")):
        yield from _decoded(original)
    # A text without one frequent word of any language is no text, unless it is turned round.
    foreign = len(words) > 2 and len(text) <= _FOREIGN_MAX and text.isascii() and words.isdisjoint(_FREQUENT)
    if foreign or not vocabulary.mirrored.isdisjoint(words):
        yield text[::-1], lambda start, end: locate(len(text) - end, len(text) - start)
        yield _WORD.sub(lambda word: word[0][::-1], text), locate
    if foreign or not vocabulary.rotated.isdisjoint(words):
        yield text.translate(_ROT13), locate
    guesses: list[_Text] = []
    if "a0a" in shape or "a00a" in shape:
        guesses += _without_stand_ins(text, locate)
    if "a-a" in shape:
        joined, alignment = substitute(_INSIDE_WORD, lambda _: "", text)
        guesses.append((joined, _through(alignment, locate)))
    if has_long_word:
        guesses.append(_respaced(text, vocabulary, locate))
    # Most texts with a hyphen or a digit in a word are not disguised: what was guessed must bring a word to light.
    for guess in guesses:
        guessed = frozenset(latin_words(guess[0]))
        if not vocabulary.signs & guessed <= words or len(guessed - words) * _CHANGED > len(words):
            yield guess


def _through(alignment: Alignment, locate: Locate) -> Locate:
    return lambda start, end: locate(*alignment.span(start, end))


def _decoded(original: str) -> Iterator[_Text]:
    """The text with every encoded run in place of which something readable stands decoded, one layer of it."""
    decoded, alignment = substitute(_ENCODED, _decode, original)
    if decoded != original:
        read = normalise(decoded)
        back = way_back(read)
        yield read.text, lambda start, end: alignment.span(*back(start, end))


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


def _without_stand_ins(text: str, locate: Locate) -> Iterator[_Text]:
    text = _LEET_SYMBOL.sub(lambda symbol: symbol[0].translate(_LEET_SYMBOLS), text)
    yield text.translate(_LEET_I), locate
    if "1" in text:  # an i or an l
        yield text.translate(_LEET_L), locate


def _respaced(text: str, vocabulary: Vocabulary, locate: Locate) -> _Text:
    """``ignoreallrules`` -> ``ignore all rules``."""
    respaced, alignment = substitute(_LONG_WORD, lambda word: " ".join(filter(None, vocabulary.split(word[0]))), text)
    return respaced, _through(alignment, locate)
