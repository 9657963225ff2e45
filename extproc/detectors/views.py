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
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Final, TypeAlias

from extproc.detectors.normalise import Alignment, Normalised, normalise, substitute
from extproc.detectors.words import LINE, Unspaced, latin_words, spans_of, tokens_of

Locate: TypeAlias = Callable[[int, int], tuple[int, int]]
"""From ``[start, end)`` of a reading to the run of the original that it comes from."""
_Text: TypeAlias = tuple[str, Locate]

_LONG: Final = 16  # letters: encodings, and words run together, are longer; few words are
_SIGN: Final = 5  # letters of a word that is a sign of a disguise
_FOREIGN_MAX: Final = 2000  # code points of a text that is turned round for want of a word of any language
_CASES: Final = 8  # Base64 changes case, or to digits, once in so many characters at least
_SHORT: Final = 1000  # code points of a text of which every reading is looked at from end to end
_AROUND: Final = 300  # code points on either side of what a reading changes in a longer one
_TURNED: Final = 4  # letters of a frequent word: turned round, shorter ones are words, too
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

_LONG_WORD: Final = re.compile(rf"[a-z]{{{_LONG},}}+")
_INSIDE_WORD: Final = re.compile(r"[-._*~^+|](?<=[a-z].)[-._*~^+|]*+(?=[a-z])")
_STAND_IN_WORD: Final = re.compile(r"(?<![a-z0-9@$€£])(?=[0-9@$€£]*[a-z])(?=[a-z]*[0-9@$€£])[a-z0-9@$€£]+")
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
# Signs that a reading is worth a try. Each begins with what few characters are, so that texts are skimmed fast.
_STAND_IN_SIGN: Final = re.compile(r"[0-9@$€£!|+](?<=[^\W\d_].)[0-9@$€£!|+]?(?=[^\W\d_])")
_SPLIT_SIGN: Final = re.compile(r"[-._*~^+|](?<=[a-z].)(?=[a-z])")
_ESCAPE_SIGN: Final = re.compile(r"[%\\](?:[0-9a-fA-F]{2}|[xu][0-9a-fA-F{])")
_PAIRS_SIGN: Final = re.compile("[0-9][0-9][ ,:]{1,2}[0-9a-fA-F]{2}[ ,:]")
_HEX_RUN: Final = re.compile(rf"[0-9a-fA-F]{{{_LONG}}}")
_MIXED_CASE: Final = re.compile("[a-z0-9+/][A-Z]|[A-Z0-9][a-z]")  # as Base64 has all along, and words once at most


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

    __slots__ = ("mirrored", "plainest", "rotated", "signs", "split", "words")

    def __init__(self, words: Sequence[str], more: Iterable[str] = ()) -> None:
        self.words = (*words, *more)
        self.signs = frozenset(word for word in self.words if len(word) >= _SIGN)
        self.plainest = self.signs.intersection(words)
        known = self.signs | {word for word in _FREQUENT if len(word) >= _TURNED} | {"the", "you", "all"}
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
    has_long_word = any(len(word) >= _LONG for word in words)
    if _may_be_encoded(original, has_long_word=has_long_word):
        yield from _decoded(original)
    # A text without one frequent word of any language is no text, unless it is turned round.
    foreign = len(words) > 2 and len(text) <= _FOREIGN_MAX and text.isascii() and words.isdisjoint(_FREQUENT)
    if foreign or not vocabulary.mirrored.isdisjoint(words):
        yield text[::-1], lambda start, end: locate(len(text) - end, len(text) - start)
        yield _WORD.sub(lambda word: word[0][::-1], text), locate
    if foreign or not vocabulary.rotated.isdisjoint(words):
        yield text.translate(_ROT13), locate
    # Most texts with a hyphen or a digit in a word are not disguised: what is guessed must bring words to light.
    for guess, guessed in _guesses(text, words, vocabulary):
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
    return has_long_word and any(len(word) >= _LONG and _looks_encoded(word) for word in original.split())


def _looks_encoded(word: str) -> bool:
    return _HEX_RUN.search(word) is not None or len(_MIXED_CASE.findall(word)) * _CASES >= len(word)


def _guesses(
    text: str, words: AbstractSet[str], vocabulary: Vocabulary
) -> Iterator[tuple[Callable[[Locate], _Text], AbstractSet[str]]]:
    """What the text may be a disguise of: how to get it, and the words that it would have instead of others."""
    if _STAND_IN_SIGN.search(text):
        plain = _LEET_SYMBOL.sub(lambda symbol: symbol[0].translate(_LEET_SYMBOLS), text)
        odd = " ".join(_STAND_IN_WORD.findall(plain))
        for table in (_LEET_I, _LEET_L) if "1" in odd else (_LEET_I,):  # an i or an l
            yield functools.partial(_translated, plain, table), frozenset(latin_words(odd.translate(table)))
    if _SPLIT_SIGN.search(text):
        split = " ".join(filter(_SPLIT_SIGN.search, text.split()))
        yield (
            functools.partial(_substituted, _INSIDE_WORD, _nothing, text),
            frozenset(latin_words(_INSIDE_WORD.sub("", split))),
        )
    if long_words := [word for word in words if len(word) >= _LONG]:

        def part(word: re.Match[str]) -> str:
            return " ".join(filter(None, vocabulary.split(word[0])))

        pieces = {piece for word in long_words for piece in vocabulary.split(word) if piece}
        yield functools.partial(_substituted, _LONG_WORD, part, text), frozenset(pieces)


def _translated(text: str, table: Mapping[int, int], locate: Locate) -> _Text:
    return text.translate(table), locate


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
