"""The shapes that a pack writes: alphabets, runs of them, and what continues a secret.

What lives here: the small language of a rule's ``lead``, ``body`` and ``tail``, compiled into the matcher's steps. What
must not: literals, checks, the deciding itself.

A shape is a list of runs, ``NAME{n}`` or ``NAME{least,most}``, and of quoted texts, with blanks between, as in
``user{0,64} ':'``. ``NAME`` is an alphabet of the pack, or ``gap``: white space, quoting and escaped line breaks. The
last run of a body has no upper bound unless something must follow it: whatever continues a token is a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from extproc.detectors.matcher import PATIENCE, Step, Tail
from extproc.detectors.pack import Fields
from extproc.detectors.pem import GAP_UNIT, block_tail

COMMIT: Final = 20
"""Characters of a token that decide it unless its rule says otherwise: few enough to hold, enough to look random."""

_RUN_MAX: Final = 512
_CONTINUES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_PART: Final = re.compile(r"(?P<name>[a-z0-9-]+)\{(?P<least>\d{1,4})(?:,(?P<most>\d{1,4}))?\}|'(?P<text>[^']+)'")
_RANGE: Final = re.compile(r"(?P<first>.)-(?P<last>.)|(?P<single>.)", re.DOTALL)
_delimiter = re.compile(r"[\s\"'\\]").search
_GAP: Final = "gap"
_PEM: Final = "pem"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was written: ``unit`` is the pattern of one piece of it, ``chars`` all that it may consist of."""

    unit: str
    chars: str
    least: int
    most: int

    def step(self) -> Step:
        """Compile it."""
        return Step(self.unit, self.least, self.most)


class Shapes:
    """Reads shapes with the alphabets of one pack. Every method raises ``PackError`` at the field it reads."""

    def __init__(self, alphabets: Fields) -> None:
        self._alphabets = {name: _alphabet(alphabets, name) for name in alphabets.names()}
        for name in (_GAP, _PEM):
            if name in self._alphabets:
                raise alphabets.error(name, "is a name with a meaning of its own")

    def lead(self, item: Fields) -> tuple[Step, ...]:
        """Read what stands between a literal and its secret and stays in the text; nothing without a ``lead``."""
        return tuple(run.step() for run in self._shape(item, "lead")) if "lead" in item else ()

    def body(self, item: Fields, closed: bool) -> tuple[tuple[Step, ...], Tail]:
        """Read what nobody may see and what may continue it. ``closed``: something must follow, so nothing does."""
        runs = self._shape(item, "body")
        if not all(replaceable(run.chars) for run in runs):
            raise item.error("body", "must not use white space, quotes or backslashes")
        if not closed:
            runs[-1] = _open_ended(item, runs[-1])
        elif runs[-1].least < 1:
            raise item.error("body", "must not end in a run that may be empty")
        return tuple(run.step() for run in runs), self._tail(item, runs[-1], closed)

    def _shape(self, item: Fields, field: str) -> list[Run]:
        runs: list[Run] = []
        for word in item.string(field).split():
            part = _PART.fullmatch(word)
            if part is None:
                raise item.error(field, "must consist of runs NAME{n} or NAME{least,most} and 'quoted texts'")
            if part["text"]:
                runs += [Run(re.escape(char), char, 1, 1) for char in part["text"]]
            else:
                runs.append(self._run(item, field, part))
        return runs

    def _run(self, item: Fields, field: str, part: re.Match[str]) -> Run:
        least = int(part["least"])
        most = int(part["most"] or least)
        if not least <= most <= _RUN_MAX or most == 0:
            raise item.error(field, f"must have runs of 1 to {_RUN_MAX} characters, the lower number first")
        if part["name"] == _GAP:
            return Run(GAP_UNIT, "", least, most)
        chars = self._named(item, field, part["name"])
        return Run(_any_of(chars), chars, least, most)

    def _named(self, item: Fields, field: str, name: str) -> str:
        if name not in self._alphabets:
            raise item.error(field, f"names an unknown alphabet: {name}")
        return self._alphabets[name]

    def _tail(self, item: Fields, last: Run, closed: bool) -> Tail:
        name = item.string("tail", "")
        if name == _PEM:
            return block_tail
        if closed:
            if name:
                raise item.error("tail", "must not be given with 'until'")
            return no_tail
        more = self._named(item, "tail", name) if name else ""
        if not replaceable(more):
            raise item.error("tail", "must not use white space, quotes or backslashes")
        return run_tail(last.chars + more)


def replaceable(text: str) -> bool:
    """Say whether text may be replaced within a JSON string or a line without breaking what stands around it."""
    return _delimiter(text) is None


def _alphabet(fields: Fields, name: str) -> str:
    chars: list[str] = []
    for part in _RANGE.finditer(fields.string(name)):
        first, last = part["first"] or part["single"], part["last"] or part["single"]
        if first > last:
            raise fields.error(name, f"has a range that runs backwards: {first}-{last}")
        chars += map(chr, range(ord(first), ord(last) + 1))
    if not all(" " <= char <= "~" for char in chars):
        raise fields.error(name, "must consist of printable ASCII")
    if len(set(chars)) != len(chars):
        raise fields.error(name, "must not name a character twice")
    return "".join(sorted(chars))


def _open_ended(item: Fields, last: Run) -> Run:
    """Let the last run decide early, and go on for as long as the check may change its mind."""
    if last.unit == GAP_UNIT or last.least != last.most:
        raise item.error("body", "must end in a run NAME{n} unless 'until' closes it")
    commit = item.integer("commit", min(COMMIT, last.least), minimum=1)
    if commit > last.least:
        raise item.error("commit", "must not exceed the length of the last run")
    return replace(last, least=commit, most=commit + PATIENCE)


def _any_of(chars: str) -> str:
    return f"[{re.escape(chars)}]"


class _RunTail:
    """What continues a token: a run of characters. Compiled when it is first used."""

    __slots__ = ("_chars", "_run")

    def __init__(self, chars: str) -> None:
        self._chars = chars
        self._run: Callable[[str, int], re.Match[str] | None] | None = None

    def __call__(self, text: str, at: int, final: bool) -> tuple[int, bool]:
        run = self._run
        if run is None:  # two threads may both compile it, which does no harm
            run = self._run = re.compile(f"{_any_of(self._chars)}*").match
        match = run(text, at)
        end = match.end() if match else at
        return end, final or end < len(text)


@cache
def _shared_tail(chars: str) -> Tail:
    return _RunTail(chars)


def run_tail(chars: str) -> Tail:
    """Give the tail of what consists of ``chars``, which words continue, too."""
    return _shared_tail("".join(sorted({*_CONTINUES, *chars})))


def no_tail(_text: str, at: int, _final: bool) -> tuple[int, bool]:
    """Be the tail of what nothing continues."""
    return at, True
