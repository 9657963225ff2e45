"""Masked values on their way back to the client, as the text of an answer runs by.

What lives here: finding this exchange's placeholders in a channel, and doing so last, over what the rules said. What
must not: how placeholders are made (``masking``), where text stands (``surroundings``), frames.

The rules read what the upstream wrote, placeholders and all, and what is put back is not read again: it is the client's
own. Where a rule takes out a part of a placeholder, the rest of it is just text.

A placeholder is put back where it stands in plain text and nothing that follows makes it a part of a name: with
``.example.com`` behind it a value would be a domain, which some clients look up unasked. Held is what may become a
placeholder, and one whose next characters are still to come. As everywhere, how the text is cut changes nothing.

An answer that begins like a JSON object gets its values escaped as in a JSON string: that is where they stand in it.
Where its escapes are undone it may say something else than it seems to, so nothing comes back behind what may be a tag
there, or behind an ASCII character that is written as its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from extproc.policy.channel import ChannelScan, Redaction
from extproc.policy.masking import PARTIAL, PLACEHOLDER, PREFIX
from extproc.policy.surroundings import Surroundings

_SCOPES: Final = frozenset({"response.content", "response.reasoning", "response.refusal"})
_FIND: Final = re.compile(rf"({PLACEHOLDER.pattern})|{PARTIAL}")
# What makes a placeholder a part of a longer name or address; and what may become that.
_GOES_ON: Final = re.compile(r"[-_]{0,3}(?:\\?\.)?(?:[A-Za-z0-9]|\\u00[0-7])|[-_]{4}|@|&[#A-Za-z]")
_MAY_GO_ON: Final = re.compile(r"(?:[-_]{0,3}(?:\\?\.)?(?:\\(?:u0{0,2})?)?|&)\Z")
# What makes plain text of a JSON document doubtful from there on, and how long that is.
_DOUBTFUL: Final = re.compile(r"<[A-Za-z/!?]|\]:|\\u00[0-7]")
_DOUBTFUL_CHARS: Final = 6


def restoring(rules: ChannelScan | None, scope: str, masks: Mapping[str, str]) -> ChannelScan | None:
    """The scan of a channel that also puts masked values back; the rules' own where there are none to put back."""
    return _Restoring(rules, masks) if masks and scope in _SCOPES else rules


class _Restorer:
    """Finds the placeholders that are to be put back, in the upstream's own text."""

    __slots__ = ("_around", "_begins", "_doubtful", "_held", "_last", "_masks", "settled")

    def __init__(self, masks: Mapping[str, str]) -> None:
        self.settled = 0
        self._begins = ""  # the first character that is not white space
        self._masks: Final = masks
        self._around: Final = Surroundings()  # always that of what is settled
        self._held = ""
        self._doubtful = False  # behind what reads otherwise once the escapes of a JSON document are undone
        self._last = ""  # the end of what is settled of such a document

    def feed(self, text: str, final: bool) -> list[Redaction]:
        if not self._begins:
            self._begins = text.lstrip()[:1]
        if not self._held and "M" not in text:
            self._pass(text)
            self.settled += len(text)
            return []
        return self._scan(self._held + text, final, final)

    def pause(self) -> list[Redaction]:
        """Decide on a whole placeholder; let the mere beginning of the word go, but not a placeholder's."""
        return self._scan(self._held, True, not self._held.startswith(PREFIX)) if self._held else []

    def _scan(self, text: str, ends: bool, lets_go: bool) -> list[Redaction]:
        """``ends``: no more text tells how a placeholder goes on. ``lets_go``: nor does a beginning become one."""
        out: list[Redaction] = []
        at = 0
        while (found := _FIND.search(text, at)) is not None:
            start, end = found.span()
            self._pass(text[at:start])
            at = start
            value = self._masks.get(found[0])
            if value is None:
                if found[1] is None and not lets_go:
                    break
                end = start + 1
            elif not ends and _MAY_GO_ON.match(text, end):
                break
            elif self._in_plain_text(text, end):
                value = json.dumps(value, ensure_ascii=False)[1:-1] if self._begins == "{" else value
                out.append(Redaction(self.settled + start, self.settled + end, value))
            self._pass(text[at:end])
            at = end
        else:
            self._pass(text[at:])
            at = len(text)
        self._held = text[at:]
        self.settled += at
        return out

    def _pass(self, text: str) -> None:
        self._around.feed(text)
        if self._begins == "{" and not self._doubtful:
            text = self._last + text
            self._doubtful = _DOUBTFUL.search(text) is not None
            self._last = text[1 - _DOUBTFUL_CHARS :]

    def _in_plain_text(self, text: str, end: int) -> bool:
        """Judge a placeholder by what stands around it. One alone in angle brackets is an address as mails have it."""
        if self._doubtful:
            return False
        if self._around.bracketed:
            return self._around.plain and text.startswith(">", end)
        return self._around.plain and _GOES_ON.match(text, end) is None


class _Restoring:
    """The rules' scan of a channel with the restorer's: what a rule takes out stays out, the rest is put back.

    Both settle text at their own pace; what one of them has told beyond what the other is done with waits.
    """

    __slots__ = ("_pieces", "_restorer", "_rules", "_values", "settled")

    def __init__(self, rules: ChannelScan | None, masks: Mapping[str, str]) -> None:
        self.settled = 0
        self._rules: Final = rules
        self._restorer: Final = _Restorer(masks)
        self._pieces: list[Redaction] = []  # the rules'
        self._values: list[Redaction] = []  # the restorer's

    def feed(self, text: str, final: bool) -> list[Redaction]:
        if self._rules is not None and (pieces := self._rules.feed(text, final)):
            self._pieces += pieces
        if values := self._restorer.feed(text, final):
            self._values += values
        return self._ready()

    def pause(self) -> list[Redaction]:
        if self._rules is not None:
            self._pieces += self._rules.pause()
        self._values += self._restorer.pause()
        return self._ready()

    def _ready(self) -> list[Redaction]:
        """Take what both are done with."""
        settled = self._restorer.settled
        if self._rules is not None and self._rules.settled < settled:
            settled = self._rules.settled
        if not (self._pieces or self._values):
            self.settled = settled
            return []
        for value in self._values:  # the rules may stand in the middle of a placeholder
            if value.start < settled < value.end:
                settled = value.start
        self.settled = settled
        values = [value for value in self._values if value.end <= settled]
        self._values = self._values[len(values) :]
        return _merged(self._take(settled), values)

    def _take(self, settled: int) -> list[Redaction]:
        """Take the rules' pieces before ``settled``; one that goes on behind it is told in two."""
        taken: list[Redaction] = []
        left: list[Redaction] = []
        for piece in self._pieces:
            if piece.end <= settled:
                taken.append(piece)
            elif piece.start < settled:
                taken.append(replace(piece, end=settled))
                left.append(Redaction(settled, piece.end, ""))
            else:
                left.append(piece)
        self._pieces = left
        return taken


def _merged(pieces: list[Redaction], values: list[Redaction]) -> list[Redaction]:
    """All in order. A value goes where no piece takes a part of it away; a note inside of it stands before it."""
    if not values:
        return pieces
    out: list[Redaction] = []
    at = 0
    for value in values:
        start, end = value.start, value.end
        while at < len(pieces) and pieces[at].start < start and pieces[at].end <= start:
            out.append(pieces[at])
            at += 1
        until = at
        while until < len(pieces) and pieces[until].start < end:
            until += 1
        inside = pieces[at:until]
        if any(piece.replacement is not None for piece in inside):
            continue  # left in ``pieces``: the next value, or the end, takes them in their place
        out += [replace(note, start=start, end=start) for note in inside]
        out.append(value)
        at = until
    return out + pieces[at:]
