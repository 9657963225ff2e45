"""Placeholders: what stands for a masked value on its way to the upstream, and what of them clients may send.

What lives here: how a placeholder looks, which value it stands for in one exchange, and its return into the arguments
of a tool call. What must not: rules, running text (``restoring``).

A placeholder is plain word characters, ``MASKED_EMAIL_1_k3x9q2``: it survives JSON, Markdown, URL encoding and
tokenisers, and models copy it well. Its last part, the tag, is the exchange's own: nobody who wrote a part of the
request could know it, so no text can name a placeholder before the gate has made it. What looks like one all the same
is taken out of the texts that a rule masks, so that the model cannot take it for one.

The values are in one object of one exchange, which has no ``repr`` that shows them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from extproc.policy.arguments import is_json

PREFIX: Final = "MASKED_"
INERT: Final = "[MASKED]"
"""What takes the place of text that looks like a placeholder and is none."""

_KIND_CHARS: Final = 24
_NAME_CHARS: Final = _KIND_CHARS + 10  # the kind, "_" and a number that no request is large enough to outgrow
_NOT_KIND: Final = re.compile(r"[^A-Z0-9]+")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ALPHABET: Final = _LETTERS + "234567"
# A tag begins with a small letter, which nothing before it holds: so it is plain where a placeholder ends.
_TAG: Final = "[a-z][a-z2-7]{5}"

PLACEHOLDER: Final = re.compile(rf"{PREFIX}[A-Z0-9_]{{1,{_NAME_CHARS}}}_{_TAG}")
PARTIAL: Final = (
    rf"{PREFIX}[A-Z0-9_]{{0,{_NAME_CHARS + 1}}}(?:[a-z][a-z2-7]{{0,4}})?\Z|"
    + "".join(f"(?:{char}" for char in PREFIX[:-1]).replace("(?:", "", 1)
    + ")?" * (len(PREFIX) - 2)
    + r"\Z"
)
"""A pattern of text that ends as a placeholder may begin."""

_LOOKALIKE: Final = re.compile(rf"{PREFIX}[A-Z0-9_]{{1,{_NAME_CHARS}}}_[A-Za-z0-9]{{6}}")

NO_MASKS: Final[Mapping[str, str]] = MappingProxyType({})


class Masks:
    """The placeholders of one exchange: the same value has the same one, different values have different ones."""

    __slots__ = ("_counts", "_made", "_tag", "_values")

    def __init__(self, decision_id: str) -> None:
        self._tag: Final = tag_of(decision_id, "masking")
        self._made: Final[dict[str, str]] = {}
        self._counts: Final[dict[str, int]] = {}
        self._values: Final[dict[str, str]] = {}

    def placeholder(self, kind: str, value: str) -> str:
        """What stands for a value. ``kind`` is the id of what was found, such as ``pii.email``."""
        made = self._made.get(value)
        if made is None:
            name = _name(kind)
            self._counts[name] = number = self._counts.get(name, 0) + 1
            made = self._made[value] = f"{PREFIX}{name}_{number}_{self._tag}"
            self._values[made] = value
        return made

    def values(self) -> Mapping[str, str]:
        """The value of each placeholder."""
        return MappingProxyType(self._values) if self._values else NO_MASKS


def _name(kind: str) -> str:
    """A kind in capitals, without the family before its last dot."""
    return _NOT_KIND.sub("_", kind.rpartition(".")[2].upper()).strip("_")[:_KIND_CHARS].strip("_") or "VALUE"


def tag_of(decision_id: str, use: str) -> str:
    """Six characters that follow from the id and do not give it away: a replay of a recording makes the same ones.

    Tags for different uses say nothing of each other.
    """
    first, *others = blake2b(decision_id.encode(), digest_size=6, person=use.encode()).digest()
    return _LETTERS[first % len(_LETTERS)] + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in others)


def lookalikes(text: str) -> list[tuple[int, int]]:
    """Where a client's text looks like a placeholder of any exchange."""
    return [found.span() for found in _LOOKALIKE.finditer(text)] if PREFIX in text else []


def restored_arguments(arguments: str, masks: Mapping[str, str]) -> str:
    """Put the values back into a call's arguments: escaped where they are JSON, as they are in free text.

    What begins like JSON and is none is left alone: there is no telling how its reader would take a value.
    """
    if PREFIX not in arguments:
        return arguments
    escapes = is_json(arguments)
    if not escapes and arguments.lstrip()[:1] in ("{", "[", '"'):
        return arguments

    def value_of(found: re.Match[str]) -> str:
        value = masks.get(found[0])
        if value is None:
            return found[0]
        return json.dumps(value, ensure_ascii=False)[1:-1] if escapes else value

    return PLACEHOLDER.sub(value_of, arguments)
