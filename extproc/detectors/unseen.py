"""Characters that nobody sees: control characters, which a terminal obeys, and invisible ones, which hide text.

What lives here: which runs of them are found. What must not: anything about markup.

A run is replaced by one visible character, never by nothing: what stood on both sides of it must not grow together into
something that was not there when the text was read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from extproc.detectors.undecided import Open

CONTROLS: Final = "\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f"
"""C0 without white space, DEL, and C1 without NEL."""

_TAGS: Final = "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
_OVERRIDES: Final = "\u202d\u202e"
_SELECTORS: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_JOINERS: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202c\u2060-\u206f\u3164\ufeff\uffa0"
)
_FLAG: Final = "\U0001f3f4"

INVISIBLE: Final = _TAGS + _OVERRIDES + _SELECTORS + _JOINERS
STARTS: Final = INVISIBLE + _FLAG
"""Where a look is worth it. The black flag is visible; with tag characters behind it, it is the flag of a nation."""

CONTROL_RUN: Final = re.compile(f"[{CONTROLS}]*+")
INVISIBLE_RUN: Final = re.compile(f"[{INVISIBLE}]*+")

_hides = re.compile(f"[{_TAGS}{_OVERRIDES}]|[{_SELECTORS}]{{2}}|[{INVISIBLE}]{{4}}").search
_NATIONS: Final = tuple(
    _FLAG + "".join(chr(0xE0000 + ord(letter)) for letter in name) + "\U000e007f"
    for name in ("gbeng", "gbsct", "gbwls")
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run found, as far as the text shows it, and the character in its place."""

    end: int
    safe: str


def control(text: str, at: int) -> Run:
    """Take the run of control characters at ``at``. In its place stands the picture of its first one."""
    code = ord(text[at])
    safe = chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
    return Run(_end(CONTROL_RUN.match(text, at)), safe)


def invisible(text: str, at: int, final: bool) -> Run | int | Open:
    """Judge the run of invisible characters at ``at``; a number is where the text goes on if it does no harm.

    Harmful are tag characters, overrides of the direction of writing, two variation selectors for one character, and
    four invisible characters together, which no script and no emoji needs.
    """
    if text[at] == _FLAG:
        return _nation(text, at, final)
    end = _end(INVISIBLE_RUN.match(text, at))
    if _hides(text, at, end):
        return Run(end, "\ufffd")
    return Open.PENDING if end == len(text) and not final else end


def _nation(text: str, at: int, final: bool) -> int | Open:
    for nation in _NATIONS:
        if text.startswith(nation, at):
            return at + len(nation)
    begun = text[at : at + len(_NATIONS[0])]
    if not final and any(nation.startswith(begun) for nation in _NATIONS):
        return Open.PENDING
    return at + 1


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "the pattern matches the empty text"
    return match.end()
