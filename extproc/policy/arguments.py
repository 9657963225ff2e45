"""The arguments of a tool call, which are JSON text: what its strings say, and where in the text they say it.

What lives here: escapes and offsets. What must not: rules, decisions. The text is what a model wrote, so it may not be
JSON at all; then nothing here raises, there is only less to undo.

Why not parse and write it anew: the client gets the arguments as they were, byte for byte, except for what is cut out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

_UNIT: Final = re.compile(
    r"[^\\]|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.?)", re.DOTALL
)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def unescape(arguments: str) -> tuple[str, Sequence[int]]:
    """Undo the escapes of a JSON text.

    Returns the text without them, and for each of its code points where that begins in ``arguments``, and the end.
    """
    if "\\" not in arguments:
        return arguments, range(len(arguments) + 1)
    text: list[str] = []
    offsets: list[int] = []
    for unit in _UNIT.finditer(arguments):
        high, low, single, escape = unit.groups()
        if escape is not None:
            char = _ESCAPES.get(escape, escape or "\\")
        elif single is not None:
            char = chr(int(single, 16))
        elif high is not None:
            char = chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
        else:
            char = unit[0]
        text.append(char)
        offsets.append(unit.start())
    return "".join(text), (*offsets, len(arguments))


def is_json(text: str) -> bool:
    """Say whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
