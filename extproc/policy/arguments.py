"""The arguments of a tool call, which are JSON text: what is inside its strings, and where that stands in the text.

What lives here: string literals and offsets. What must not: rules, decisions. The text is what a model wrote, so it may
not be JSON at all; then nothing here raises, there is only less to find.

Why not parse and write it anew: the client gets the arguments as they were, byte for byte, except for what is cut out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Possessive, and an unclosed literal runs to the end: one pass over any text, however hostile.
_LITERAL: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_UNIT: Final = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)|(.)", re.DOTALL
)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Literal:
    """One string: what it says, and for each of its code points where that begins in the JSON text, and the end."""

    text: str
    offsets: range | tuple[int, ...]


def literals(arguments: str) -> Iterator[Literal]:
    """Give every string in a JSON text, keys and values alike."""
    for match in _LITERAL.finditer(arguments):
        body, start = match[1], match.start(1)
        if "\\" in body:
            yield _unescaped(body, start)
        else:
            yield Literal(body, range(start, start + len(body) + 1))


def _unescaped(body: str, start: int) -> Literal:
    text: list[str] = []
    offsets: list[int] = []
    for unit in _UNIT.finditer(body):
        high, low, single, escape, plain = unit.groups()
        offsets.append(start + unit.start())
        if plain is not None:
            text.append(plain)
        elif escape is not None:
            text.append(_ESCAPES.get(escape, escape))
        elif single is not None:
            text.append(chr(int(single, 16)))
        else:
            text.append(chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)))
    return Literal("".join(text), (*offsets, start + len(body)))


def is_json(text: str) -> bool:
    """Say whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
