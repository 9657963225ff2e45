"""Signs that a text is disguised, as single words and pieces of it show them, and the words of attacks.

What lives here: cheap tests of one token, and of one piece (what stands between two blanks), and what a piece may be a
disguise of. What must not: whole texts, and the undoing of disguises in them (``views``).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from extproc.detectors.words import latin_words

LONG_WORD: Final = 16  # letters: encodings, and words run together, are longer; few words are
_SIGN: Final = 5  # letters of a word that is a sign of a disguise
_TURNED: Final = 4  # letters of a frequent word: turned round, shorter ones are words, too

# What one token shows, or one piece of a text: bits.
FREQUENT: Final = 1
LONG: Final = 2
MIRRORED: Final = 4
ROTATED: Final = 8
STAND_IN: Final = 16  # a digit or symbol in the midst of letters
ODD: Final = 32  # a word with a digit or symbol anywhere
SPLIT: Final = 64  # a mark in the midst of letters

_FREQUENT_WORDS: Final = """
    the you your this that with from what have will and are for not was all can how any his her has but its our they who
    que los las una por para con como mas del sus der die und das ist nicht ein eine mit von den dem auf les des est une
    pour dans qui pas sur vous nous che per non sono della nel con um uma nao dos das het van een niet zijn voor
"""
_FREQUENT: Final = frozenset(_FREQUENT_WORDS.split())

INSIDE_WORD: Final = re.compile(r"[-._*~^+|](?<=[a-z].)[-._*~^+|]*+(?=[a-z])")
_LEET_SYMBOL: Final = re.compile(r"[!|+](?=[a-z0-9@$])")
_LEET_SYMBOLS: Final = str.maketrans("!|+", "11t")
_LEET_I: Final = str.maketrans("0123456789@$€£", "oizeasgtbgasel")
_LEET_L: Final = str.maketrans("0123456789@$€£", "olzeasgtbgasel")
ROT13: Final = str.maketrans(string.ascii_lowercase, string.ascii_lowercase[13:] + string.ascii_lowercase[:13])
_SIGN_CHARACTER: Final = re.compile("[0-9@$€£!|+._*~^-]")
_STAND_IN_WORD: Final = re.compile(r"(?<![a-z0-9@$€£])(?=[0-9@$€£]*[a-z])(?=[a-z]*[0-9@$€£])[a-z0-9@$€£]+")
_ANY_WORD: Final = re.compile(r"[a-z0-9@$€£]+")
_STAND_IN_SIGN: Final = re.compile(r"[0-9@$€£!|+](?<=[^\W\d_].)[0-9@$€£!|+]?(?=[^\W\d_])")
_SPLIT_SIGN: Final = re.compile(r"[-._*~^+|](?<=[a-z].)(?=[a-z])")


class Guesses(NamedTuple):
    """The words that a piece would have instead of its own: with letters for digits, and with marks gone."""

    lettered: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


NO_GUESSES: Final = Guesses()


class Vocabulary:
    """The words of attacks. The long ones, which other texts seldom hold, are the signs of a disguise; so is what
    frequent words become when they are turned round, since that is no word. ``more`` are those of a model."""

    __slots__ = ("_known", "mirrored", "plainest", "rotated", "signs", "split", "words")

    def __init__(self, words: Sequence[str], more: Iterable[str] = ()) -> None:
        self.words = (*words, *more)
        self.signs: Final[AbstractSet[str]] = frozenset(word for word in self.words if len(word) >= _SIGN)
        self._known: Final = _FREQUENT.union(self.words)
        self.plainest: Final = self.signs.intersection(words)
        known = self.signs | {word for word in _FREQUENT if len(word) >= _TURNED} | {"the", "you", "all"}
        self.mirrored: Final = frozenset(word[::-1] for word in known) - known
        self.rotated: Final = frozenset(word.translate(ROT13) for word in known) - known
        self.split: Final[Callable[[str], list[str]]] = re.compile(
            f"({'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})"
        ).split

    def signs_of(self, token: str) -> int:
        """What a token shows."""
        return (
            (FREQUENT if token in _FREQUENT else 0)
            | (LONG if len(token) >= LONG_WORD else 0)
            | (MIRRORED if token in self.mirrored else 0)
            | (ROTATED if token in self.rotated else 0)
        )

    def letters_for_digits(self, text: str) -> str:
        """Read digits and symbols in words as the letters that they stand for. As many characters as before."""
        return _ANY_WORD.sub(self._lettered, without_symbols(text))

    def _lettered(self, word: re.Match[str]) -> str:
        with_i = word[0].translate(_LEET_I)  # a 1 may be an i or an l
        if with_i in self._known or "1" not in word[0]:
            return with_i
        with_l = word[0].translate(_LEET_L)
        return with_l if with_l in self._known else with_i

    def guesses_of(self, piece: str, signs: int) -> Guesses:
        """What a piece with these signs may be a disguise of."""
        if not signs & (ODD | SPLIT):
            return NO_GUESSES
        return Guesses(
            tuple(latin_words(_STAND_IN_WORD.sub(self._lettered, without_symbols(piece)))) if signs & ODD else (),
            tuple(latin_words(INSIDE_WORD.sub("", piece))) if signs & SPLIT else (),
        )


def piece_signs(piece: str) -> int:
    """What a piece shows that its tokens do not."""
    if not _SIGN_CHARACTER.search(piece):
        return 0
    plain = without_symbols(piece)
    return (
        (STAND_IN if _STAND_IN_SIGN.search(piece) else 0)
        | (ODD if _STAND_IN_WORD.search(plain) else 0)
        | (SPLIT if _SPLIT_SIGN.search(piece) else 0)
    )


def without_symbols(text: str) -> str:
    """A text with digits in place of the symbols that stand for letters."""
    return _LEET_SYMBOL.sub(lambda symbol: symbol[0].translate(_LEET_SYMBOLS), text)
