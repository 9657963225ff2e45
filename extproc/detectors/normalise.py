"""Text as a model reads it: invisible characters gone, disguised letters plain, spelled-out words joined, lower case.

What lives here: the rewriting of whole texts and the way back to the original's offsets. What must not: looking for
anything (that is the detectors' work) and the tables of letters (``lookalikes``).

Every step is a rewriting of a text that takes linear time. Steps do not remember what they did: most texts hold no
match, so the way back is only computed (by doing the steps again) for the few that do.
"""

from __future__ import annotations

import bisect
import html
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from extproc.detectors.lookalikes import CONTROL, LOOKALIKE_SCRIPTS, LOOKALIKES, read

_TABLE_LIMIT: Final = 20_000  # remembered code points; a sender may use all 1.1 million of them


class _Readings(dict[int, str]):
    """``read`` as a table for ``str.translate``, filled as code points turn up."""

    def __missing__(self, point: int) -> str:
        reading = read(chr(point))
        if len(self) < _TABLE_LIMIT:
            self[point] = reading
        return reading


_READINGS: Final = _Readings()
_ASCII_READINGS: Final = {point: read(chr(point)) for point in range(128)}  # one letter each
_ASCII: Final = {point: letter.lower() for point, letter in _ASCII_READINGS.items()}

_SEPARATORS: Final = " \n.-_*|/,\\~+"  # what separates the letters of a spelled-out word

# A letter, a digit, what separates letters of a spelled-out word, anything else.
_SHAPES: Final = {
    point: "a" if chr(point).isalpha() else "0" if chr(point).isdigit() else " " if chr(point) in _SEPARATORS else "!"
    for point in range(128)
}

_ENTITY: Final = re.compile(r"&(?:amp;)*+((?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});)")
_NON_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_SEPARATOR: Final = f"[{re.escape(_SEPARATORS)}]"
_GAP: Final = re.compile(f"{_SEPARATOR}+")
_JAMO: Final = r"\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff"  # parts of letters, which would compose when joined
_LONE: Final = rf"[^\W\d_{_JAMO}](?![^\W_])"
_SPELLED: Final = re.compile(rf"(?<![^\W_]){_LONE}(?:{_SEPARATOR}++{_LONE}){{2,}}+")
_SPELLED_SIGN: Final = re.compile(rf"[\W_][^\W\d_](?:{_SEPARATOR}++[^\W\d_]){{2}}(?![^\W_])")
_SPACES: Final = re.compile(r"[ \n]{2,}")
_LOOKALIKE: Final = re.compile(f"[{LOOKALIKE_SCRIPTS}]")
_MIXED_WORD: Final = re.compile(
    f"(?<![A-Za-z{LOOKALIKE_SCRIPTS}])(?:[A-Za-z]++[{LOOKALIKE_SCRIPTS}]|[{LOOKALIKE_SCRIPTS}]++[A-Za-z])"
    f"[A-Za-z{LOOKALIKE_SCRIPTS}]*+"
)
# Where some words mix alphabets, those of letters that look the same in both are disguised, too.
_TWIN_WORD: Final = re.compile("(?<![^\\W\\d_])[асеорхуіјѕԛԝһҽАВСЕНІЈКМОРЅТХУαοιυνΑΒΕΖΗΙΚΜΝΟΡΤΥΧ]+(?![^\\W\\d_])")
_NON_ASCII_LETTER: Final = re.compile(r"[^\x00-\x7f]")
_SPECIAL: Final = re.compile("[\\x00-\\x09\\x0b-\\x1f\\x7f]")
_CONTROLS: Final = re.compile(CONTROL)


class _Change(NamedTuple):
    """One replaced run: ``[start, end)`` of the new text was ``[old_start, old_end)`` of the old."""

    start: int
    end: int
    old_start: int
    old_end: int


_Trail: TypeAlias = list[list[_Change]]  # one list of changes for each step, in order
_Rewrite: TypeAlias = Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The way back from a rewritten text."""

    steps: tuple[tuple[_Change, ...], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the ``[start, end)`` of the original that became these code points; ``end > start``."""
        first, last = start, end - 1
        for changes in reversed(self.steps):
            first, last = _back(changes, first)[0], _back(changes, last)[1] - 1
        return first, last + 1


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text as it is read, and the original that it comes from."""

    text: str
    original: str

    def alignment(self) -> Alignment:
        """Compute the way back to the original. Costs as much as normalising did."""
        trail: _Trail = []
        _rewrite(self.original, trail)
        return Alignment(tuple(map(tuple, trail)))


def normalise(text: str) -> Normalised:
    """Rewrite a text as it is read. Linear in its length; its own output comes back unchanged."""
    return Normalised(_rewrite(text, None), text)


def substitute(pattern: re.Pattern[str], rewrite: _Rewrite, text: str) -> tuple[str, Alignment]:
    """Replace every match of ``pattern``, which matches no empty string, and keep the way back."""
    trail: _Trail = []
    rewritten = _replace(pattern, rewrite, text, trail)
    return rewritten, Alignment(tuple(map(tuple, trail)))


def _rewrite(text: str, trail: _Trail | None) -> str:
    if "&" in text:
        text = _replace(_ENTITY, _decode_entity, text, trail)
    if text.isascii():
        text = text.translate(_ASCII)
        latin_only = True
    else:
        text = _read_all(text, trail)
        latin_only = text.isascii()
    if CONTROL in text:
        text = _replace(_CONTROLS, _nothing, text, trail)
    if not unicodedata.is_normalized("NFC", text):
        text = _replace(_NON_ASCII, _compose, text, trail)
    if (not latin_only or _looks_spelled(text)) and _SPELLED_SIGN.search(" " + text):
        text = _replace(_SPELLED, _join, text, trail)
    text = _single_spaces(text) if trail is None else _replace(_SPACES, _one_space, text, trail)
    if not latin_only and _LOOKALIKE.search(text) and _MIXED_WORD.search(text):
        text = _MIXED_WORD.sub(lambda word: word[0].translate(LOOKALIKES), text)
        text = _TWIN_WORD.sub(lambda word: word[0].translate(LOOKALIKES), text)
    text = text.casefold()
    # What still reads as an entity came out of disguise after entities were read; disarmed, it stays what it is.
    return _ENTITY.sub(lambda entity: entity[0][:-1] + ":", text) if "&" in text else text


def _replace(pattern: re.Pattern[str], rewrite: _Rewrite, text: str, trail: _Trail | None) -> str:
    if trail is None:
        return pattern.sub(rewrite, text)
    pieces: list[str] = []
    changes: list[_Change] = []
    done = length = 0
    for match in pattern.finditer(text):
        piece = rewrite(match)
        start = length + match.start() - done
        pieces += text[done : match.start()], piece
        length, done = start + len(piece), match.end()
        if not len(piece) == match.end() - match.start() == 1:
            changes.append(_Change(start, length, match.start(), done))
    trail.append(changes)
    return "".join(pieces) + text[done:]


def _back(changes: tuple[_Change, ...], index: int) -> tuple[int, int]:
    """The run of the old text that one code point of the new text comes from."""
    at = bisect.bisect_right(changes, index, key=_starts) - 1
    if at < 0:
        return index, index + 1
    change = changes[at]
    if index < change.end:
        return change.old_start, change.old_end
    old = index - change.end + change.old_end
    return old, old + 1


def _starts(change: _Change) -> int:
    return change.start


def _read_all(text: str, trail: _Trail | None) -> str:
    if trail is None:
        text = _NON_ASCII.sub(lambda run: run[0].translate(_READINGS), text)
    else:
        text = _replace(_NON_ASCII_LETTER, lambda letter: _READINGS[ord(letter[0])], text, trail)
    # What follows puts one character in the place of one. `translate` is slow where a text is not all ASCII.
    if text.isascii():
        return text.translate(_ASCII_READINGS)
    return _SPECIAL.sub(lambda char: _ASCII_READINGS[ord(char[0])], text)


def _decode_entity(match: re.Match[str]) -> str:
    return html.unescape("&" + match[1])


def _nothing(_: re.Match[str]) -> str:
    return ""


def _compose(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", match[0])


def _one_space(match: re.Match[str]) -> str:
    return "\n" if "\n" in match[0] else " "


def _single_spaces(text: str) -> str:
    """What ``_SPACES`` and ``_one_space`` do, for less: a run is one blank, or one end of line if it has any."""
    while "  " in text:
        text = text.replace("  ", " ")
    if "\n" in text:
        text = text.replace(" \n", "\n").replace("\n ", "\n")
        while "\n\n" in text:
            text = text.replace("\n\n", "\n")
    return text


def _looks_spelled(text: str) -> bool:
    """Whether three single letters may stand in a row: what ``_SPELLED`` finds, at a tenth of its price."""
    shape = text.translate(_SHAPES)
    if " a" not in shape:
        return False
    while "  " in shape:
        shape = shape.replace("  ", " ")
    return " a a " in shape or " a a!" in shape or shape.endswith(" a a")


def _join(match: re.Match[str]) -> str:
    """``i g n o r e   i t`` -> ``ignore it``: the usual gap stands inside a word, any other between words."""
    gaps = _GAP.findall(match[0])
    inside = Counter(gaps).most_common(1)[0][0]
    letters = _GAP.sub("", match[0])
    words = [letters[0]]
    for gap, letter in zip(gaps, letters[1:], strict=True):
        if gap == inside:
            words[-1] += letter
        else:
            words.append(letter)
    joined = words[:1]
    for before, word in itertools.pairwise(words):
        # Single letters in a row would be joined by the next reading of this output; so they are now.
        if len(word) == len(before) == 1:
            joined[-1] += word
        else:
            joined.append(word)
    return " ".join(joined)
