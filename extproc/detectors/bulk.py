"""The places of a large text, found all at once by Hyperscan where it is installed (the extra ``fast``).

What lives here: the same table of literals and names as in ``triggers`` and ``keywords``, as one Hyperscan database.
What must not: any decision. It only says where to look, and names the same places, so what is found is the same.

Literals are looked for as they are, for so they compile in a fraction of the time, and the guard before one is checked
where it is found; but the shortest are parts of too many words and bring their guard with them. The database is made
for the first text that is large enough. Two threads may both do so, which does no harm. Scratch space belongs to one
scan at a time and is passed around.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any, Final

from extproc.detectors.triggers import CONTEXT, not_contracted

BULK_MIN: Final = 64 * 1024
"""Characters from which on a text is worth the database and the copy."""

_ESCAPES: Final = r"\\[nrtbf]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}"

_NEVER: Final = r"\x00\x80"  # in no copy, which is ASCII
_BEGINNING_MAX: Final = 64  # characters of what secrets without a literal begin with
_SHORT: Final = 4  # characters of a literal that is looked for together with its guard

_escaped = re.compile(rf"(?:{_ESCAPES})\Z").search

Find = Callable[[str, int], int]


def available() -> bool:
    """Say whether Hyperscan is installed."""
    return find_spec("hyperscan") is not None


class Bulk:
    """Finds the places of whole texts. Shared by all threads."""

    __slots__ = ("_beginning", "_beginnings", "_broken", "_connector", "_database", "_literals", "_scratches")

    def __init__(self, literals: Iterable[str], connector: str = "", beginning: str = "") -> None:
        """Take the literals, a pattern that matches up to each connector with a name before it, and one of what secrets
        without a literal begin with, from the character before them on.

        All are ASCII: in the copy that is scanned every other character is a question mark, which keeps offsets.
        """
        self._literals = tuple(literals)
        self._connector = connector
        self._beginning = beginning
        self._beginnings = re.compile(beginning).finditer
        self._database: Any = None
        self._broken = False
        self._scratches: deque[Any] = deque()

    def finders(self, text: str) -> tuple[Find, Find] | None:
        """Give, for a text that ends here, what finds the next place of a literal and the next of a connector.

        None once Hyperscan has failed, for want of memory or of a processor that it knows: search without it.
        """
        if self._broken:
            return None
        try:
            places, connectors = self._scan(text)
        except Exception:  # its own error or that of its import: nothing depends on it
            self._broken = True
            return None
        return _next_of(places), _next_of(connectors)

    def _scan(self, text: str) -> tuple[list[int], list[int]]:
        import hyperscan

        database = self._database
        if database is None:
            database = self._database = self._compile()
        literals = self._literals
        connector, beginning = len(literals), len(literals) + 1
        places: list[int] = []
        connectors: list[int] = []

        def event(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if number == connector:
                connectors.append(end - 1)
            elif number == beginning:
                near = self._beginnings(text, max(end - _BEGINNING_MAX, 0), end)
                places.extend(match.start() + 1 for match in near)
            else:
                places.append(end - len(literals[number]))

        try:
            scratch = self._scratches.pop()
        except IndexError:
            scratch = hyperscan.Scratch(database)
        try:
            database.scan(text.encode("ascii", "replace"), match_event_handler=event, scratch=scratch)
        finally:
            self._scratches.append(scratch)
        return sorted({place for place in places if _guarded(text, place)}), sorted(set(connectors))

    def _compile(self) -> Any:
        import hyperscan

        guard = f"(?:[^A-Za-z0-9]|{_ESCAPES})"
        guarded = [(guard if len(word) < _SHORT else "") + re.escape(word) for word in self._literals]
        expressions = [*guarded, self._connector or _NEVER, self._beginning or _NEVER]
        flags = [hyperscan.HS_FLAG_DOTALL] * len(expressions)
        flags[-2] |= hyperscan.HS_FLAG_CASELESS
        database = hyperscan.Database()
        database.compile(
            expressions=[expression.encode("latin-1") for expression in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=flags,
        )
        return database


def _guarded(text: str, place: int) -> bool:
    """Say whether what stands before ``place`` guards it. A place at the very beginning has no guard."""
    before = text[place - 1 : place]
    if not before or not_contracted(text, place) is None:
        return False
    bare = not (before.isascii() and before.isalnum())
    return bare or _escaped(text[max(place - CONTEXT, 0) : place]) is not None


def _next_of(places: list[int]) -> Find:
    def find(_text: str, at: int) -> int:
        index = bisect_left(places, at)
        return places[index] if index < len(places) else -1

    return find
