"""What is known of each piece of a text: everything that is looked up in it, found once and remembered.

What lives here: the cutting of a normalised text into pieces, and the table of them. What must not: what a word means
to rules, to a model or to other readings of a text (each is asked once for a word).

A piece is what stands between two blanks. Texts repeat themselves: most pieces of a new one have been seen before, and
one look into a table takes the place of cutting, of correcting the spelling, and of looking into four other tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import chain
from operator import itemgetter, or_
from typing import Final, NamedTuple

from extproc.detectors.disguises import NO_GUESSES, Guesses, Vocabulary, piece_signs
from extproc.detectors.linear import LinearModel, Word
from extproc.detectors.memo import Memo
from extproc.detectors.rulebook import words_of
from extproc.detectors.words import Unspaced, tokens_of


class Token(NamedTuple):
    """What is known of a token. ``words``: itself as the model sees it, none if it is a mark."""

    spelt: str
    code: str
    words: tuple[Word, ...]
    signs: int


class Piece(NamedTuple):
    """What is known of a piece: the codes of its tokens, those of words and breaks only, its words, its signs."""

    codes: str
    word_codes: str
    words: tuple[Word, ...]
    signs: int
    guesses: Guesses
    tokens: tuple[str, ...]


# By place: half the price of going by name, and every piece of every text pays it.
CODES: Final = itemgetter(Piece._fields.index("codes"))
WORD_CODES: Final = itemgetter(Piece._fields.index("word_codes"))
WORDS: Final = itemgetter(Piece._fields.index("words"))
SIGNS: Final = itemgetter(Piece._fields.index("signs"))
TOKENS: Final = itemgetter(Piece._fields.index("tokens"))
_CODE_OF_TOKEN: Final = itemgetter(Token._fields.index("code"))
_WORDS_OF_TOKEN: Final = itemgetter(Token._fields.index("words"))
_SIGNS_OF_TOKEN: Final = itemgetter(Token._fields.index("signs"))


class Tokens(Memo[Token]):
    """The table of tokens."""

    def __init__(
        self,
        spelling: Mapping[str, str],
        codes: Mapping[str, str],
        vocabulary: Vocabulary,
        model: LinearModel | None,
    ) -> None:
        super().__init__()
        self._spelling: Final = spelling
        self._codes: Final = codes
        self.vocabulary: Final = vocabulary
        self._model: Final = model

    def _look_up(self, word: str) -> Token:
        spelt = self._spelling[word]
        known = (self._model.word(spelt),) if self._model is not None and word[0].isalnum() else ()
        return Token(spelt, self._codes[spelt], known, self.vocabulary.signs_of(word))


class Lexicon(Memo[Piece]):
    """The table of pieces. Shared; grows only in what it remembers of them."""

    def __init__(self, tokens: Tokens, unspaced: Unspaced) -> None:
        super().__init__()
        self.tokens: Final = tokens
        self._unspaced: Final = unspaced

    def read(self, normalised: str) -> list[Piece]:
        """Look up the pieces of a text."""
        # Marks that often stand behind words go by themselves, or every word were two pieces.
        text = normalised.replace(". ", " . ").replace(", ", " , ")
        if "\n" in text:
            text = text.replace("\n", " \n ")
        return list(map(self.__getitem__, text.split(" ")))

    def _look_up(self, word: str) -> Piece:
        if not word:
            return Piece("", "", (), 0, NO_GUESSES, ())
        tokens = tuple(tokens_of(word, self._unspaced))
        known = list(map(self.tokens.__getitem__, tokens))
        codes = "".join(map(_CODE_OF_TOKEN, known))
        signs = reduce(or_, set(map(_SIGNS_OF_TOKEN, known)), piece_signs(word))
        words = tuple(chain.from_iterable(map(_WORDS_OF_TOKEN, known)))
        return Piece(codes, words_of(codes), words, signs, self.tokens.vocabulary.guesses_of(word, signs), tokens)
