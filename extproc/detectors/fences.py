"""Which text is code that Markdown shows and does not run? Fenced blocks, and whether ``code spans`` may be trusted.

What lives here: the beginnings of lines and what they say about the lines behind them. What must not: what is found,
what is held.

Text in code is not read, so whoever makes this module believe in code that the reader does not see gets past it. It
follows CommonMark where every renderer agrees and gives up where they may not: then nothing counts as code for the rest
of the text (``lost``). That costs false findings, never true ones. It gives up at

- a fence behind a quote or list sign, or indented by more than three columns or by a tab;
- a closing fence of both signs, or with a tab on its line;
- a line in an indented fence, or a closing fence, that is indented less than the fence, since a list may end there;
- a fence where HTML may go on, and everywhere behind comments and raw elements, which ``lose`` is for.

A code span is one only within a line, in a paragraph in which every backtick before it had its partner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEAD_MAX: Final = 160
"""Characters of a line's beginning. A longer one is not understood."""

_MARGIN: Final = 3  # columns that a fence may be indented by

_head = re.compile(
    r"(?:\r\n|\r|\n)(?P<indent>[ \t]*+)(?P<signs>(?:(?:>|[-*+](?=[ \t])|\d{1,9}+[.)](?=[ \t]))[ \t]*+)*+)"
    r"(?:(?P<fence>`{3,}+|~{3,}+)|(?P<html><[A-Za-z!?/])|(?P<blank>(?=[\r\n]))"
    r"|(?:\d{1,9}+[.)]?|[-*+]|`{1,2}|~{1,2}|<)\Z)?",
    re.ASCII,
).match
_inside = re.compile(r"(?:\r\n|\r|\n)(?P<indent>[ \t]*+)(?P<run>[`~]++)?(?P<space>[ \t]*+)(?P<end>(?=[\r\n]))?").match


@dataclass(frozen=True, slots=True)
class Head:
    """A line's beginning, up to ``end``. ``ticks``: it ends in a run of so many backticks, which may be a code span."""

    end: int
    ticks: int = 0


class Blocks:
    """Follows the lines of one text."""

    __slots__ = ("_fence", "_found", "_html", "_unpaired", "lost")

    def __init__(self, lost: bool) -> None:
        self.lost = lost
        self._fence = ""  # the opening run, with its indentation, of the block that we are in
        self._found = ""  # the same of a line that will open one, unless a backtick follows on it
        self._html = False
        self._unpaired = False

    @property
    def in_code(self) -> bool:
        """Whether the text is in a fenced block."""
        return bool(self._fence)

    @property
    def opens(self) -> bool:
        """Whether the next line is in a fenced block that this one opens."""
        return bool(self._found)

    @property
    def spans(self) -> bool:
        """Whether a run of backticks here opens a code span, if there is another one on the line."""
        return not (self.lost or self._html or self._unpaired)

    def lose(self) -> None:
        """Give up: nothing counts as code from here on."""
        self.lost = True
        self._fence = self._found = ""

    def unpaired(self) -> None:
        """A backtick has no certain partner: there is no trusting the next ones of its paragraph."""
        self._unpaired = True

    def backtick(self) -> None:
        """A backtick, behind the beginning of a line: what looked like a fence was none."""
        if self._found.endswith("`"):
            self._found = ""

    def line(self, text: str, at: int, final: bool) -> Head | None:
        """Read the beginning of a line, from the line break at ``at``; None if it takes more text to understand it.

        What is read so far is harmless, but for a ``<``, with which it may end.
        """
        if self.lost:
            return Head(at + 1)
        if self._found:
            self._fence, self._found = self._found, ""
        return self._line_inside(text, at, final) if self._fence else self._line_outside(text, at, final)

    def _line_outside(self, text: str, at: int, final: bool) -> Head | None:
        head = _head(text, at, at + HEAD_MAX)
        assert head is not None, "called at a line break"
        if head.end() == at + HEAD_MAX:
            self.lose()
            return Head(at + 1)
        if head["html"]:
            self._html = True
            return Head(head.start("html"))
        if head.end() == len(text) and not final:
            return None
        if head["blank"] is not None and not head["signs"]:
            self._html = self._unpaired = False
        run = head["fence"]
        if not run:
            return Head(max(head.end("signs"), at + 1))
        if head["signs"] or self._html or "\t" in head["indent"] or len(head["indent"]) > _MARGIN:
            self.lose()
        if not self.lost:
            self._found = head["indent"] + run
        return Head(head.end(), len(run) if run[0] == "`" else 0)

    def _line_inside(self, text: str, at: int, final: bool) -> Head | None:
        head = _inside(text, at, at + HEAD_MAX)
        assert head is not None, "called at a line break"
        if head.end() == at + HEAD_MAX:
            self.lose()
            return Head(at + 1)
        if head.end() == len(text) and not final:
            return None
        indent, run = head["indent"], head["run"] or ""
        fence = self._fence.lstrip(" ")
        margin = len(self._fence) - len(fence)
        whole = head["end"] is not None
        if whole and not run:
            return Head(head.end())
        closes = whole and run.startswith(fence)
        outside = len(indent) < margin and "\t" not in indent
        odd = run.strip(fence[0]) or "\t" in head["space"] or "\t" in indent or len(indent) > _MARGIN
        if outside or (closes and odd):
            self.lose()
            return Head(max(head.end("indent"), at + 1)) if not closes else Head(head.end())
        if closes:
            self._fence = ""
            return Head(head.end())
        return Head(head.end("indent"))
