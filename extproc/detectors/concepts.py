"""Concepts: what a word says, in any of the languages that a model knows.

What lives here: the looking up. What must not: the words (they come with the model), features, rules.

``olvida``, ``vergiss`` and ``忘记`` are all the concept ``drop``: a model that was trained on attacks in one language
reads them in others. A concept is written with an ``@`` before, which no word has.
"""

from __future__ import annotations

from typing import Final

from extproc.detectors.pack import Fields
from extproc.detectors.words import UNSPACED_FROM, is_unspaced

_SHORTEST: Final = 3  # of a beginning that stands for all words with it


class Concepts(dict[str, str]):
    """The concept of each word, empty for most. The table has whole words; beginnings are looked for when asked.

    ``unspaced``: those words that are of unspaced scripts.
    """

    def __init__(self, fields: Fields) -> None:
        named: dict[str, str] = {}
        for concept in fields.names():
            named.update(dict.fromkeys(fields.string(concept).split(), f"@{concept}"))
        self._beginnings: Final = {word[:-1]: named.pop(word) for word in list(named) if word[-1] == "*"}
        super().__init__(named)
        self.unspaced: Final = tuple(
            word for word in named if word > UNSPACED_FROM and len(word) > 1 and is_unspaced(word)
        )
        self._first: Final = frozenset(word[:_SHORTEST] for word in self._beginnings)
        self._longest: Final = max(map(len, self._beginnings), default=0)

    def __missing__(self, word: str) -> str:
        if word[:_SHORTEST] not in self._first:
            return ""
        for length in range(min(len(word), self._longest), _SHORTEST - 1, -1):
            if concept := self._beginnings.get(word[:length]):
                return concept
        return ""
