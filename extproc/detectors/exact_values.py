"""Exact values: texts that are known to be secret, wherever they stand and however they are encoded.

What lives here: the detector, what makes a value worth looking for, and what its findings are called. What must not:
where values come from (the shell reads files and the environment), how they are spelt (encodings), how a text is
searched (exact_window).

It needs no pack. Its options are ``values``, a tuple of ``Value`` that never stands in a policy, and ``min_length``.
It keeps the values, in every spelling, for as long as it is in use: comparing needs them. Nothing shows them: findings
and markers name where a value comes from, and no error or ``repr`` has its text.

**Short values** (up to ``WHOLE`` bytes) must be there from end to end. **Long ones**, a key block or a configuration
file, are found by any part that looks random, ``PART`` bytes of it; from there on they are eaten as far as the text
follows them. So neither a key's middle alone nor an answer that breaks off shows much, and the armour of a key or the
words of a configuration set nothing off. A long value without such a part is found by its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan
from extproc.detectors.checks import looks_random
from extproc.detectors.encodings import Spelling, decoded, spellings
from extproc.detectors.exact_window import WORD_MOST, ExactWindow, Sought, Table
from extproc.detectors.pack import Fields, PackError

MIN_LENGTH: Final = 8
SHORTEST: Final = 6
"""The least ``min_length`` that may be chosen: anything shorter stands in ordinary text by accident."""

WHOLE: Final = WORD_MOST
"""Bytes up to which a value is found as a whole only."""

PART: Final = 32
"""Bytes of a long value that are enough to know it by, where they look random."""

_PART_LEAST: Final = 16
_PARTS_MOST: Final = 48
_RUN: Final = re.compile(rb"[A-Za-z0-9+/_=-]{16,}+")
_NOT_ID: Final = re.compile(r"[^a-z0-9]+")
_NAME_MOST: Final = 60


@dataclass(frozen=True, slots=True, repr=False)
class Value:
    """A secret value and its source, ``env.DB_PASSWORD`` or ``file.app/token``. Its ``repr`` shows the source only."""

    source: str
    data: bytes

    def __repr__(self) -> str:
        return f"Value({self.source!r})"


class ExactValuesDetector:
    """Finds known values (``detectors.base.StreamDetector``). Immutable, shared by every exchange."""

    __slots__ = ("_markers", "_table", "name")

    def __init__(self, values: Sequence[Value]) -> None:
        self.name = "exact_values"
        self._table = Table(_sought(values))
        self._markers = {rule: self._safe_marker(rule) for rule in map(rule_id, (value.source for value in values))}

    def scan(self, text: str) -> Scan:
        """Find every value in one whole text, in order."""
        matches: list[Match] = []
        for span in self.stream().feed(text, final=True):
            start = span.start if span.opens else matches.pop().start
            matches.append(Match(start, span.end, span.rule))
        return Scan(tuple(matches), 1.0 if matches else 0.0)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> ExactWindow:  # noqa: ARG002 - the same in any exchange
        """Start the scan of one channel."""
        return ExactWindow(self._table)

    def marker(self, rule: str) -> str:
        """Give what takes a value's place."""
        return self._markers[rule]

    def _safe_marker(self, rule: str) -> str:
        """A value may be spelt like its own source; then the marker does not name it."""
        for marker in (f"[REDACTED:{rule}]", "[REDACTED]"):
            if not self.scan(marker).matches:
                return marker
        raise PackError(("options",), f"the value of {rule} is a word of our own markers")


def build(pack: Mapping[str, Any], options: Mapping[str, Any]) -> ExactValuesDetector:
    """Build the detector from ``values`` (none is allowed: it finds nothing then) and ``min_length``.

    Values that are too short are left out: see ``long_enough``.

    Raises:
        PackError: at the option that is wrong, or at a pack, which this detector has no use for.
    """
    Fields(pack).close()
    fields = Fields(options, ("options",))
    least = least_length(fields)
    given: Any = fields.value("values") if "values" in fields else ()
    values: list[Value] = [value for value in given if isinstance(value, Value)] if isinstance(given, tuple) else []
    if given != tuple(values):
        raise fields.error("values", "cannot stand in a policy; name files or env")
    fields.close()
    return ExactValuesDetector([value for value in values if long_enough(value, least)])


def least_length(fields: Fields) -> int:
    """Read ``min_length``.

    Raises:
        PackError: it is no number, or too small.
    """
    return fields.integer("min_length", MIN_LENGTH, SHORTEST)


def long_enough(value: Value, least: int) -> bool:
    """Say whether a value can be looked for: a shorter one would take ordinary text away."""
    text = decoded(value.data)
    return len(value.data if text is None else text.strip()) >= least


def rule_id(source: str) -> str:
    """Name a source in findings and markers: lower-case words joined by ``.`` and ``-``."""
    words = (_NOT_ID.sub("-", word.lower()).strip("-") for word in re.split(r"[./]", source))
    return ".".join(word for word in words if word)[:_NAME_MOST].rstrip(".-")


def _sought(values: Sequence[Value]) -> Iterator[Sought]:
    seen: set[tuple[str, int]] = set()
    for value in values:
        rule, parts = rule_id(value.source), list(_parts(value.data))
        for spelling in spellings(value.data):
            for start, end in parts:
                sought = _cut(spelling, start, end, rule)
                if (sought.text, sought.begin) not in seen:
                    seen.add((sought.text, sought.begin))
                    yield sought


def _parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Give what a value is known by, as ranges of bytes."""
    if len(data) <= WHOLE:
        yield 0, len(data)
        return
    runs = [found.span() for found in _RUN.finditer(data)]
    stride = max(_PART_LEAST, -(-sum(end - start for start, end in runs) // _PARTS_MOST))
    parts = [
        (at, min(at + PART, end))
        for start, end in runs
        for at in range(start, end - _PART_LEAST + 1, stride)
        if looks_random(data[at : min(at + PART, end)].decode())
    ]
    yield from parts or [(0, len(data))]


def _cut(spelling: Spelling, start: int, end: int, rule: str) -> Sought:
    first, last = spelling.begins[start], spelling.ends[end]
    return Sought(rule, spelling.text, first, min(last, first + WHOLE), spelling.edge, spelling.wraps)
