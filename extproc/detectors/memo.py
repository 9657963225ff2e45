"""What is known of words: a table that is filled as words turn up.

What lives here: the remembering and the forgetting. What must not: what is known of a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_LEARNT_MAX: Final = 8192  # words; a sender may use any number of them


class Memo(dict[str, str]):
    """A table of words. What it begins with stays; what it learns is forgotten all at once when it is too much.

    To be filled by one that knows: ``_look_up`` gives what stands for a word.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        super().__init__(named)
        self._named: Final = dict(named)

    def __missing__(self, word: str) -> str:
        found = self._look_up(word)
        if len(self) - len(self._named) > _LEARNT_MAX:  # the frequent ones are back at once
            self.clear()
            self.update(self._named)
        self[word] = found
        return found

    def _look_up(self, word: str) -> str:
        raise NotImplementedError
