"""What is known of words: a table that is filled as words turn up.

What lives here: the remembering and the forgetting. What must not: what is known of a word.
"""

from __future__ import annotations

from typing import Final, TypeVar

_LEARNT_MAX: Final = 16_384  # words; a sender may use any number of them
_LONGEST: Final = 48  # code points; what is longer hardly comes twice

V = TypeVar("V")


class Memo(dict[str, V]):
    """A table of words. What it has learnt is forgotten all at once when it is too much.

    To be filled by one that knows: ``_look_up`` gives what stands for a word.
    """

    def __missing__(self, word: str) -> V:
        found = self._look_up(word)
        if len(word) <= _LONGEST:
            if len(self) >= _LEARNT_MAX:  # the frequent ones are back at once
                self.clear()
            self[word] = found
        return found

    def _look_up(self, word: str) -> V:
        raise NotImplementedError
