"""Taking this exchange's marks out of the text of an answer, as it runs by.

What lives here: finding marks in a channel, and having the rules read what is left. What must not: how marks are made
(``marks``), masked values (``restoring``), frames.

A model that quotes marked text quotes the marks. They are ours, so none may reach the client; and the rules read the
text without them, as the client will. So this is the outermost scan of a channel: offsets are those of the text as it
came on this side, and those of the text without marks on the side of the rules.

Held is a character that marks until the next one tells what stood there, and what may become a tag.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, NamedTuple

from extproc.policy.channel import ChannelScan, Redaction
from extproc.policy.marks import Marks


def unmarking(rules: ChannelScan | None, marks: Marks | None) -> ChannelScan | None:
    """The scan of a channel that also takes marks out; the rules' own where there are none."""
    return _Unmarking(rules, marks) if marks is not None and marks.marker else rules


class _Piece(NamedTuple):
    """A piece of text as it came, and what becomes of it."""

    raw: str
    clean: str


class _Characters:
    """Finds the characters of ``datamark``."""

    __slots__ = ("_before", "_held", "_marks")

    def __init__(self, marks: Marks) -> None:
        self._marks: Final = marks
        self._before = ""  # the last character that is left
        self._held = ""  # a mark whose next character is still to come

    def feed(self, text: str, ends: bool, pauses: bool = False) -> list[_Piece]:
        marker = self._marks.marker
        text, self._held = self._held + text, ""
        out: list[_Piece] = []
        at = 0
        while (start := text.find(marker, at)) >= 0:
            self._plain(text[at:start], out)
            at = start + 1
            after = text[at : at + 1]
            if not after and not ends:
                if not pauses:
                    self._held = marker
                    break
                after = "."  # something other may follow later, which this must not be joined to
            instead = self._marks.instead(self._before, after)
            self._before = instead or self._before
            out.append(_Piece(marker, instead))
        else:
            self._plain(text[at:], out)
        return out

    def _plain(self, text: str, out: list[_Piece]) -> None:
        if text:
            self._before = text[-1]
            out.append(_Piece(text, text))


class _Tags:
    """Finds the tags of ``delimit``, whole or without their brackets."""

    __slots__ = ("_find", "_gone", "_held", "_known")

    def __init__(self, marks: Marks) -> None:
        name = marks.marker
        self._known: Final = name[: name.index("_") + 2]  # with this much it is no other word
        begun = "".join(f"(?:{char}" for char in name) + ")?" * len(name)
        self._find: Final = re.compile(rf"((?:</?)?{name}(?:>|(?=[^>])))|(?:</?)?{begun}\Z")
        self._gone = ""  # the mere beginning of a tag that a pause let go
        self._held = ""  # what may go on to be one, behind that

    def feed(self, text: str, ends: bool, pauses: bool = False) -> list[_Piece]:
        gone = len(self._gone)
        text, self._gone, self._held = self._gone + self._held + text, "", ""
        out: list[_Piece] = []
        at = 0
        while (found := self._find.search(text, at)) is not None and found[0]:
            start, end = found.span()
            self._plain(text[max(at, gone) : start], out)
            piece, at = text[max(start, gone) : end], end
            if found[1] is not None or (ends and self._known in found[0]):
                out.append(_Piece(piece, ""))
            elif ends:
                self._plain(piece, out)
            elif pauses and self._known not in found[0]:
                self._plain(piece, out)
                self._gone = found[0]
            else:
                self._gone, self._held = text[start : max(start, gone)], piece
        self._plain(text[max(at, gone) :], out)
        return out

    @staticmethod
    def _plain(text: str, out: list[_Piece]) -> None:
        if text:
            out.append(_Piece(text, text))


class _Mark(NamedTuple):
    """A mark that was found: where it came, ``[start, end)``, and where what is left of it stands in the clean text."""

    start: int
    end: int
    clean_start: int
    clean: str

    @property
    def clean_end(self) -> int:
        return self.clean_start + len(self.clean)

    @property
    def shift(self) -> int:
        return self.end - self.start - len(self.clean)


class _Unmarking:
    """Gives the rules the text without marks, and tells what they say in offsets of the text as it came."""

    __slots__ = ("_clean", "_finder", "_marks", "_raw", "_rules", "_shift", "settled")

    def __init__(self, rules: ChannelScan | None, marks: Marks) -> None:
        self.settled = 0
        self._rules: Final = rules
        self._finder: Final = _Characters(marks) if marks.method == "datamark" else _Tags(marks)
        self._raw = self._clean = 0  # as much is read, on either side
        self._shift = 0  # how far the sides are apart behind the marks that were told
        self._marks: list[_Mark] = []  # that were not told yet

    def feed(self, text: str, final: bool) -> list[Redaction]:
        clean = self._take(self._finder.feed(text, final))
        if self._rules is None:
            return self._ready([], self._clean)
        return self._ready(self._rules.feed(clean, final), self._rules.settled)

    def pause(self) -> list[Redaction]:
        clean = self._take(self._finder.feed("", False, True))
        if self._rules is None:
            return self._ready([], self._clean)
        pieces = self._rules.feed(clean, False) if clean else []
        return self._ready([*pieces, *self._rules.pause()], self._rules.settled)

    def _take(self, pieces: list[_Piece]) -> str:
        for raw, clean in pieces:
            end = self._raw + len(raw)
            if raw is not clean:
                self._marks.append(_Mark(self._raw, end, self._clean, clean))
            self._raw = end
            self._clean += len(clean)
        return "".join(piece.clean for piece in pieces)

    def _ready(self, pieces: list[Redaction], settled: int) -> list[Redaction]:
        """What the rules and the marks come to, before ``settled`` of the clean text."""
        if not self._marks:
            self.settled = settled + self._shift
            return [self._moved(piece) for piece in pieces] if pieces and self._shift else pieces
        told = [mark for mark in self._marks if mark.clean_end <= settled]
        if not told and not pieces:
            self.settled = settled + self._shift
            return []
        out = [self._moved(piece) for piece in pieces]
        taken = [piece for piece in out if piece.replacement is not None]
        out += [Redaction(mark.start, mark.end, mark.clean) for mark in told if not _inside(mark, taken)]
        out.sort(key=lambda piece: (piece.start, piece.end))
        self.settled = self._behind(settled)
        self._shift += sum(mark.shift for mark in told)
        self._marks = self._marks[len(told) :]
        return out

    def _moved(self, piece: Redaction) -> Redaction:
        start = self._behind(piece.start)
        return replace(piece, start=start, end=max(start, self._before(piece.end)))

    def _behind(self, clean: int) -> int:
        """Where a place of the clean text was, behind marks of which nothing is left there."""
        return clean + self._shift + sum(mark.shift for mark in self._marks if mark.clean_end <= clean)

    def _before(self, clean: int) -> int:
        """The same, before such marks."""
        shifts = (mark.shift for mark in self._marks if mark.clean_end <= clean and mark.clean_start < clean)
        return clean + self._shift + sum(shifts)


def _inside(mark: _Mark, taken: list[Redaction]) -> bool:
    return any(piece.start <= mark.start and mark.end <= piece.end for piece in taken)
