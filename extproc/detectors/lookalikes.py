"""Which letters a code point is read as: the tables behind ``normalise``.

What lives here: code points and the letters that people and models take them for. What must not: anything that looks at
more than one code point at a time.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable
from typing import Final

CONTROL: Final = "\0"
"""What ``read`` makes of control characters, so that one search finds them all."""

# Marks that sit on Latin, Greek and Cyrillic letters, Arabic vowel signs and tatweel, the Devanagari nukta: words read
# the same without them, and people leave them out. Every other mark (Hindi vowels, Thai tones ...) carries the word.
_DROPPED_MARKS: Final = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x0610, 0x061A),
    (0x0640, 0x0640),
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x093C, 0x093C),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)

# Default-ignorable code points: fillers, joiners, bidi controls, variation selectors. Tags are read, see below.
_INVISIBLE: Final = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE001F),
    (0xE007F, 0xE0FFF),
)

# Alphabets in order that compatibility decomposition leaves alone: white on black circles and squares, flag halves.
_STYLED_ALPHABETS: Final = (0x1F150, 0x1F170, 0x1F1E6)
_TAGS: Final = range(0xE0020, 0xE007F)
_TAG_OFFSET: Final = 0xE0000

_READ_AS: Final[dict[str, str]] = {
    **dict(zip("ᴀʙᴄᴅᴇғɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)),
    **dict(zip("ıȷłøđħŧɨʉɡɑɩ", "ijlodhtiugai", strict=True)),
    **dict(zip("ßæœþ", ("ss", "ae", "oe", "th"), strict=True)),
    **dict.fromkeys("‘’‚‛′‵ʹʻʼʽˈ", "'"),
    **dict.fromkeys("“”„‟″«»〝〞", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃", "-"),
    **dict.fromkeys("·•‧", "."),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n"),
    **dict.fromkeys("أإآٱ", "ا"),
    "ى": "ي",
    "ی": "ي",
    "ک": "ك",
    "\t": " ",
}

_LOWER_LOOKALIKES: Final = {
    "a": "аәα",
    "b": "вьъβб",
    "c": "сϲ",
    "d": "ԁ",
    "e": "еєεэҽ",
    "f": "ғϝ",
    "g": "ԍց",
    "h": "һнհ",
    "i": "іιӏ",
    "j": "јϳ",
    "k": "кκқ",
    "l": "ⳑլ",
    "m": "мϻ",
    "n": "ոηпռи",
    "o": "оοօσө",
    "p": "рρ",
    "q": "ԛզ",
    "r": "гѓя",
    "s": "ѕꮪς",
    "t": "тτ",
    "u": "υսμц",
    "v": "νѵ",
    "w": "ԝωшա",
    "x": "хχҳ",
    "y": "уγүყ",
    "z": "зζ",
}
_UPPER_LOOKALIKES: Final = {
    "B": "ВΒ",
    "E": "Ε",
    "H": "НΗҢ",
    "M": "МΜ",
    "N": "Ν",
    "P": "РΡ",
    "U": "Ս",
    "V": "Ѵ",
    "Y": "ΥУҮ",
    "Z": "Ζ",
}

LOOKALIKE_SCRIPTS: Final = "\u0370-\u052f\u0531-\u0587\u13a0-\u13ff\u1c80-\u1c8f\u2c80-\u2cff\ua640-\ua69f\uab70-\uabbf"
"""Greek and Coptic, Cyrillic, Armenian, Cherokee: a character class of the scripts that imitate Latin."""


def _lookalikes() -> dict[int, str]:
    table: dict[int, str] = {}
    for latin, letters in _LOWER_LOOKALIKES.items():
        for letter in letters:
            table[ord(letter)] = latin
            table.setdefault(ord(letter.upper()), latin)
    # Capitals imitate other letters than their small forms do: Greek Nu is N, while nu looks like v.
    table.update((ord(letter), latin) for latin, letters in _UPPER_LOOKALIKES.items() for letter in letters)
    # Old Cyrillic variants, which lower case turns into letters above.
    old = {point: ord(chr(point).casefold()) for point in range(0x1C80, 0x1C87)}
    table.update((point, table[letter]) for point, letter in old.items() if letter in table)
    return table


LOOKALIKES: Final = _lookalikes()
"""For ``str.translate``: what a letter of those scripts stands for inside a word that has Latin letters too."""


def _within(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    return frozenset(point for first, last in ranges for point in range(first, last + 1))


_GONE: Final = _within(_DROPPED_MARKS) | _within(_INVISIBLE)


def _plain(char: str) -> str:
    point = ord(char)
    if point in _GONE:
        return ""
    if point in _TAGS:
        return chr(point - _TAG_OFFSET)
    for first in _STYLED_ALPHABETS:
        if first <= point < first + len(string.ascii_lowercase):
            return string.ascii_lowercase[point - first]
    letter = char if char.isascii() else char.lower()
    if letter in _READ_AS:
        return _READ_AS[letter]
    return CONTROL if unicodedata.category(char) == "Cc" and char != "\n" else char


def read(char: str) -> str:
    """Return what one code point is read as: no letter, one, or several. Case may stay."""
    while True:
        plain = "".join(map(_plain, unicodedata.normalize("NFKD", char)))
        composed = unicodedata.normalize("NFC", plain)
        if composed == char:
            return composed
        char = composed
