"""A text that remembers which bytes it was read from, through decoding, unescaping and joining.

What lives here: the mapping and its inverse, overwriting. What must not: what to look for, or where documents are.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final, Self

FILL: Final = b"x"
_KEPT: Final = frozenset(b'"\r\n')  # what holds a document together
_ESCAPE: Final = re.compile(
    r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r'|u(?P<code>[0-9a-fA-F]{4})|(?P<char>["\\/bfnrt]))'
)
_PLAIN: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class TextView:
    """``text``; its character ``i`` stands for ``[starts[i], ends[i])`` of the body's bytes or of the parent's text."""

    __slots__ = ("_ends", "_parent", "_starts", "text")

    def __init__(self, text: str, starts: array[int], ends: array[int], parent: TextView | None = None) -> None:
        self.text = text
        self._starts = starts
        self._ends = ends
        self._parent = parent

    @classmethod
    def of(cls, data: bytes, offset: int = 0) -> Self:
        """The text of bytes that stand at ``offset`` of the body.

        Raises:
            UnicodeDecodeError: they are not UTF-8.
        """
        text = data.decode()
        bounds = array("Q", range(offset, offset + len(data) + 1))
        if not text.isascii():
            bounds = array("Q", accumulate((len(char.encode()) for char in text), initial=offset))
        return cls(text, bounds[:-1], bounds[1:])

    @classmethod
    def joined(cls, views: Iterable[TextView]) -> Self:
        """What several views spell together."""
        texts: list[str] = []
        starts, ends = array("Q"), array("Q")
        for view in views:
            first, last = view._on_bytes()
            texts.append(view.text)
            starts += first
            ends += last
        return cls("".join(texts), starts, ends)

    def unescaped(self) -> TextView | None:
        """The same text with JSON's escapes undone; None where it has none. What is not an escape stays as it is."""
        texts: list[str] = []
        starts, ends, at = array("Q"), array("Q"), 0
        for escape in _ESCAPE.finditer(self.text):
            texts.append(self.text[at : escape.start()] + _meaning(escape))
            starts.extend(range(at, escape.start() + 1))
            ends.extend(range(at + 1, escape.start() + 1))
            at = escape.end()
            ends.append(at)
        if at == 0:
            return None
        texts.append(self.text[at:])
        starts.extend(range(at, len(self.text)))
        ends.extend(range(at + 1, len(self.text) + 1))
        return TextView("".join(texts), starts, ends, self)

    def readings(self, depth: int) -> Iterator[TextView]:
        """This view and the ones with its escapes undone once, twice ... ``depth`` times."""
        view: TextView | None = self
        for _ in range(depth + 1):
            if view is None:
                return
            yield view
            view = view.unescaped()

    def overwrite(self, start: int, end: int, body: bytearray) -> bool:
        """Fill the bytes behind characters ``[start, end)``; unescaped quotes and line ends are kept.

        Returns whether that changed any.
        """
        if start >= end:
            return False
        if self._parent is not None:
            return self._parent.overwrite(self._starts[start], self._ends[end - 1], body)
        changed = False
        for first, last in zip(self._starts[start:end], self._ends[start:end], strict=True):
            fill = FILL * (last - first)
            if body[first:last] != fill and (last - first > 1 or body[first] not in _KEPT):
                body[first:last] = fill
                changed = True
        return changed

    def _on_bytes(self) -> tuple[array[int], array[int]]:
        if self._parent is None:
            return self._starts, self._ends
        starts, ends = self._parent._on_bytes()
        return array("Q", (starts[at] for at in self._starts)), array("Q", (ends[at - 1] for at in self._ends))


def _meaning(escape: re.Match[str]) -> str:
    if escape["high"] is not None:
        return chr(0x10000 + ((int(escape["high"], 16) - 0xD800) << 10) + int(escape["low"], 16) - 0xDC00)
    if escape["code"] is not None:
        return chr(int(escape["code"], 16))
    return _PLAIN.get(escape["char"], escape["char"])
