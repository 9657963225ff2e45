"""Concepts: what a word says, in any of the languages that a model knows.

What lives here: the looking up. What must not: the words (they come with the model), features, rules.

``olvida``, ``vergiss`` and ``忘记`` are all the concept ``drop``: a model that was trained on attacks in one language
reads them in others. A concept is written with an ``@`` before, which no word has.
"""

from __future__ import annotations

from typing import Final

from extproc.detectors.pack import Fields
from extproc.detectors.words import UNSPACED_FROM, is_unspaced

_KNOWN_MAX: Final = 8192  # remembered words; a sender may use any number of them
_SHORTEST: Final = 3  # of a beginning that stands for all words with it


class Concepts(dict[str, str]):
    """The concept of each word, empty for most, filled as words turn up. ``unspaced``: words of unspaced scripts."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self._beginnings: Final[dict[str, str]] = {}
        for concept in fields.names():
            self.update(dict.fromkeys(fields.string(concept).split(), f"@{concept}"))
        for word in [word for word in self if word[-1] == "*"]:
            self._beginnings[word[:-1]] = self.pop(word)
        self.unspaced: Final = tuple(
            word for word in self if word > UNSPACED_FROM and len(word) > 1 and is_unspaced(word)
        )
        self._first: Final = frozenset(word[:_SHORTEST] for word in self._beginnings)
        self._longest: Final = max(map(len, self._beginnings), default=0)
        self._named: Final = dict(self)

    def __missing__(self, word: str) -> str:
        concept = self._look_up(word)
        if len(self) - len(self._named) > _KNOWN_MAX:  # forget them all: the frequent ones are back at once
            self.clear()
            self.update(self._named)
        self[word] = concept
        return concept

    def _look_up(self, word: str) -> str:
        if word[:_SHORTEST] not in self._first:
            return ""
        for length in range(min(len(word), self._longest), _SHORTEST - 1, -1):
            if concept := self._beginnings.get(word[:length]):
                return concept
        return ""
