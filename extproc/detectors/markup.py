"""Tags of HTML, as far as running text must be known to be in one: names, quotes, attributes that run code.

What lives here: the patterns and the small state of an open tag. What must not: links (links), code (fences), spans.

Whether text is in a tag depends on who reads it: to a browser a quoted value hides a ``>``, to Markdown a line break
may have ended the tag long ago. So the state is a set of readings, all followed at once, and text counts as in a tag
while any of them says so. A handler is then found under every reading; that more is found than one browser would run
does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from extproc.detectors.undecided import Open

NAME_MAX: Final = 16

OUTSIDE: Final = 0
BARE: Final = 1
"""In a tag, not in quotes. The readings are bits, joined."""
DOUBLE: Final = 2
SINGLE: Final = 4

DOUBLE_VALUE: Final = re.compile(r'[^"]*+')
"""What continues a value, after a quotation mark, ..."""
SINGLE_VALUE: Final = re.compile(r"[^']*+")
_BARE_VALUE: Final = re.compile(r"[^\t-\r >]*+")

_name = re.compile(r"[A-Za-z][A-Za-z0-9:_-]{0,15}").match
_after_name = frozenset(map(chr, range(0x21))) | {"/", ">"}
_equals = re.compile(r"=[\t\n\f\r ]{0,32}+").match
_handler = re.compile(r"on[a-z]{0,48}+", re.ASCII | re.IGNORECASE).match
_blank = re.compile(r"[\t\n\f\r ]{0,32}+").match
_HANDLER_MIN: Final = 5  # oncut
_HANDLER_MAX: Final = 50
_BLANKS_MAX: Final = 32
_RAW: Final = ("pre", "textarea", "xmp", "plaintext", "title", "noscript", "template", "listing", "noembed")


class Elements:
    """The names that matter. ``active`` are found, those of ``bare`` only with attributes. Immutable."""

    __slots__ = ("_known", "active", "with_attributes")

    def __init__(self, active: Iterable[str], with_attributes: Iterable[str]) -> None:
        self.with_attributes = frozenset(with_attributes)
        self.active = frozenset(active) | self.with_attributes
        self._known = (*self.active, *_RAW, "a")

    def read(self, text: str, at: int, final: bool) -> str | Open:
        """Give the lower-case name of the tag whose ``<`` stands before ``at``; a name that does not matter is empty.

        An active element that needs attributes and has none does not matter.
        """
        name = _name(text, at)
        if name is None:
            return ""
        found, end = name[0].lower(), name.end()
        if end == len(text) and not final:
            return Open.PENDING if any(known.startswith(found) for known in self._known) else ""
        after = text[end : end + 1]
        if found not in self._known or (after and after not in _after_name):
            return ""
        return "" if after == ">" and found in self.with_attributes else found


def is_raw(name: str) -> bool:
    """Say whether what follows such a tag is not read as Markdown, so that nothing in it is code."""
    return name in _RAW


def value_end(state: int) -> re.Pattern[str]:
    """What continues a value. Where readings differ, the one without quotes counts."""
    if state == DOUBLE:
        return DOUBLE_VALUE
    return SINGLE_VALUE if state == SINGLE else _BARE_VALUE


def quoted(state: int, mark: str) -> int:
    """The readings after a quotation mark that does not begin a value."""
    own = DOUBLE if mark == '"' else SINGLE
    return (state & ~own) | BARE if state & own else state


def opened(state: int, mark: str) -> int:
    """The readings after a quotation mark that begins a value, where none was open; else it may close one."""
    own = DOUBLE if mark == '"' else SINGLE
    other = state & (DOUBLE | SINGLE) & ~own
    return (own if state & BARE else 0) | (BARE if state & own else 0) | other


def value(text: str, at: int, final: bool) -> tuple[int, str] | None:
    """Give where the value behind the ``=`` at ``at`` begins, and the quotation mark before it; None if not yet known.

    After too much white space the mark is ``?``: any reading may hold.
    """
    equals = _equals(text, at)
    assert equals is not None, "called at an equals sign"
    end = equals.end()
    if end - at > 32:
        return end, "?"
    if end == len(text):
        return (end, "") if final else None
    return (end + 1, text[end]) if text[end] in "\"'" else (end, "")


def handler(text: str, at: int, final: bool) -> int | Open:
    """Give the end, behind its ``=``, of the attribute at ``at`` that runs code. Too much white space is found, too."""
    name = _handler(text, at)
    end = name.end() if name else at + 1
    if end == len(text) and not final and end - at < _HANDLER_MAX:
        return Open.PENDING
    if end - at < _HANDLER_MIN:
        return Open.DEAD
    blank = _blank(text, end)
    assert blank is not None, "the pattern matches the empty text"
    if blank.end() - end == _BLANKS_MAX:
        return blank.end()
    if blank.end() == len(text):
        return Open.DEAD if final else Open.PENDING
    return blank.end() + 1 if text[blank.end()] == "=" else Open.DEAD
