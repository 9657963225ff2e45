"""Is a place of running text in code that is shown and not run? Fenced blocks, and code spans that are surely closed.

What lives here: the code span that may be open, and what it waits for; links that may be open. What must not: lines and
fences (fences), what is found.

A backtick alone opens nothing: without a partner what follows it is live. So where something is found behind one, the
answer waits for the partner, at most ``SPAN_MAX`` characters and never beyond the line or the cell of a table.

A backtick in the address or the title of a link opens nothing, either, and a link may be where only some readers see
one; so links are followed, too: see ``passes``.
"""

from __future__ import annotations

import re
from typing import Final

from extproc.detectors.fences import Blocks

SPAN_MAX: Final = 256

ADDRESS: Final = 1
"""A bare address, up to white space."""
DESTINATION: Final = 2
"""What stands behind ``](``, up to the parenthesis."""
_LABEL: Final = 4  # a line began with a bracket
_LABELLED: Final = 8  # and it closed
_DEFINITION: Final = 16  # and a colon followed: on this line, on the next, and on the one after that
_TITLE: Final = _DEFINITION | 32 | 64

_ticks = re.compile(r"`++").match
_plain = re.compile(r"[^`|\r\n]*+").match


class Code:
    """Follows the code of one text."""

    __slots__ = ("_blocks", "_size", "_trusted", "links")

    def __init__(self, read: bool) -> None:
        self.links = 0
        self._blocks = Blocks(lost=read)
        self._size = 0  # backticks that opened a code span, perhaps
        self._trusted = 0  # offset in the channel up to which it is known to go

    @property
    def fenced(self) -> bool:
        """Whether the text is in a fenced block."""
        return self._blocks.in_code

    @property
    def undecided(self) -> bool:
        """Whether a code span or a line that opens a fenced block has begun, so that every line break matters."""
        return bool(self._size) or self._blocks.opens

    def lose(self) -> None:
        """Give up: nothing counts as code from here on."""
        self._size = self.links = 0
        self._blocks.lose()

    def distrust(self) -> None:
        """What looked like a code span is none."""
        self._size = 0
        self._blocks.unpaired()

    def link(self, kind: int) -> None:
        """A link may begin."""
        if not self._blocks.lost:
            self.links |= kind

    def define(self) -> None:
        """A bracket and a colon: a link may be defined, if the bracket belongs to one at the beginning of the line."""
        if self.links & _LABELLED:
            self.links |= _DEFINITION

    def passes(self, text: str, at: int) -> None:
        """Follow the links that may be open past the character at ``at``. Only a plain link ends without harm.

        Some readers let a label or a title go on over lines, and over the fences on them.
        """
        mark, before = text[at], text[at - 1]
        if mark in " \t\n\r\f\v":
            self.links &= ~ADDRESS
        elif mark in "\"'(<\\":
            if self.links & DESTINATION:
                self.links &= ~DESTINATION
                self._blocks.unpaired()
            if self.links & _TITLE and mark in "\"'(" and before.isspace():
                self.lose()
        elif before == "\\":
            return
        elif mark == ")":
            self.links &= ~DESTINATION
        elif mark in "[]" and self.links & _LABEL:
            self.links += (_LABELLED if mark == "]" else 0) - _LABEL

    def _line_of_link(self, blank: bool) -> None:
        """Go on to the next line with the links that may be open."""
        if self.links & _LABEL or (self.links & _DEFINITION and self._blocks.opens):
            self.lose()
        elif blank:
            self.links = 0
        else:
            self.links = self.links & DESTINATION | (self.links & (_DEFINITION | 32)) << 1

    def cell(self) -> None:
        """A bar: the cell of a table ends, and a line that looked like a fence may be the head of one."""
        self.distrust()
        if self._blocks.opens:
            self.lose()

    def line(self, text: str, at: int, in_tag: bool, final: bool) -> int | None:
        """Read the beginning of a line, from the line break at ``at``: where to go on, or None for more text."""
        if self._size and not self._blocks.opens:
            self._blocks.unpaired()
        self._size = 0
        head = self._blocks.line(text, at, final)
        if head is None:
            return None
        if self.links:
            self._line_of_link(text[head.end : head.end + 1] in "\r\n")
        if text.startswith("[", head.end) and not self.fenced:
            self.link(_LABEL)
            return head.end + 1
        if head.ticks and in_tag:
            self._blocks.unpaired()
        if head.ticks and self._blocks.spans:
            self._size = head.ticks
        return head.end

    def backticks(self, text: str, at: int, in_tag: bool, final: bool) -> int | None:
        """Read a run of backticks: where to go on, or None for more text."""
        end = _end(_ticks(text, at, at + SPAN_MAX))
        size = end - at
        if end == len(text) and not final and size < SPAN_MAX:
            return None
        self._blocks.backtick()
        if self._size:
            self._size = 0 if size == self._size else self._size
        elif in_tag or self.links & (ADDRESS | DESTINATION) or text[at - 1] in "\\~" or size == SPAN_MAX:
            self._blocks.unpaired()
        elif self._blocks.spans:
            self._size = size
        return end

    def covers(self, text: str, at: int, base: int, final: bool) -> bool | None:
        """Say whether the place at ``at`` is in a code span; None for more text. ``base``: where the text begins."""
        if not self._size:
            return False
        if base + at < self._trusted:
            return True
        end = _closing(text, at, self._size, final)
        if end is None:
            return None
        if not end:
            self.distrust()
            return False
        self._trusted = base + end
        return True


def _closing(text: str, at: int, size: int, final: bool) -> int | None:
    """Give the end of the code span that goes on at ``at``; 0 if it is not closed, None if that is not yet known."""
    limit = at + SPAN_MAX
    while True:
        at = _end(_plain(text, at, limit))
        if at >= limit or (at < len(text) and text[at] != "`"):
            return 0
        if at == len(text):
            return 0 if final else None
        end = _end(_ticks(text, at, limit))
        if end >= limit:
            return 0
        if end == len(text) and not final:
            return None
        if end - at == size:
            return end
        at = end


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "the pattern matches here"
    return match.end()
