"""Typed reading of the members that an API decodes into named fields.

A member that is missing or null is absent; one of another type than the API's is malformed, because upstreams disagree
about those: one refuses, the next converts, a third takes its default. Messages name the member, never its value.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Final, TypeAlias

from extproc.chat import Json, Malformed
from extproc.strict_json import Shape

Members: TypeAlias = Mapping[str, Json]

UNBOUNDED: Final = sys.maxsize
"""What a token limit of zero or less asks for: Ollama and llama.cpp read it as "until the context is full"."""


def fields(*names: str, **nested: Shape) -> Shape:
    """The shape of an object with these named members, some of them objects or arrays in turn."""
    return Shape({**dict.fromkeys(names), **nested})


def string(members: Members, name: str) -> str | None:
    """A string, or None where it is absent."""
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"'{name}' must be a string")


def required_string(members: Members, name: str) -> str:
    """A string that must be there."""
    value = string(members, name)
    if value is None:
        raise Malformed(f"'{name}' is required")
    return value


def flag(members: Members, name: str, *, default: bool = False) -> bool:
    """A boolean, or ``default`` where it is absent."""
    value = members.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    raise Malformed(f"'{name}' must be true or false")


def whole_number(members: Members, name: str) -> int | None:
    """A number, rounded up: some upstreams decode limits through a float."""
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"'{name}' must be a number")
    return math.ceil(value)


def largest(members: Members, names: tuple[str, ...], *, unbounded_at: int | None = None) -> int | None:
    """The largest of several spellings of one limit; a value up to ``unbounded_at`` means no limit at all."""
    asked = [value for name in names if (value := whole_number(members, name)) is not None]
    if unbounded_at is not None:
        asked = [UNBOUNDED if value <= unbounded_at else value for value in asked]
    return max(asked, default=None)


def object_(members: Members, name: str) -> dict[str, Json] | None:
    """An object, or None where it is absent."""
    value = members.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise Malformed(f"'{name}' must be an object")


def objects(members: Members, name: str) -> list[dict[str, Json]]:
    """An array of objects, empty where it is absent."""
    value = members.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"'{name}' must be an array")
    elements = [element for element in value if isinstance(element, dict)]
    if len(elements) != len(value):
        raise Malformed(f"'{name}' must hold objects only")
    return elements
