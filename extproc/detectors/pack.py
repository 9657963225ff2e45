"""Reading pack data: parsed YAML that a detector is built from, checked field by field.

What lives here: the error that names a place in a pack, typed readers, and the fields that rules of several packs have.
What must not: files, YAML, the meaning of any other field. A reader knows that a field is a string; only the detector
knows what the string is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from extproc.chat import Json

Place: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the pack's root, e.g. ``("rules", 3, "body")``."""


SEVERITIES: Final = ("low", "medium", "high", "critical")

_ID: Final = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_OWASP: Final = re.compile(r"LLM\d\d:20\d\d")


class PackError(ValueError):
    """A pack is wrong at ``where``: keys and indexes from its root. ``message`` says what was expected there."""

    def __init__(self, where: Place, message: str) -> None:
        super().__init__(where, message)
        self.where = where
        self.message = message

    def __str__(self) -> str:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.where).lstrip(".")
        return f"{place or 'pack'}: {self.message}"


class Fields:
    """The members of one mapping, each read at most by name; ``close`` refuses the ones nobody asked for.

    A field without a default is required. Every method raises ``PackError`` at the field's own place.
    """

    __slots__ = ("_unread", "_values", "where")

    def __init__(self, value: object, where: Place = ()) -> None:
        if not isinstance(value, Mapping):
            raise PackError(where, "must be a mapping")
        self._values: Mapping[str, Json] = value
        self._unread = set(value)
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def error(self, name: str, message: str) -> PackError:
        """Say what is wrong with the field ``name``."""
        return PackError((*self.where, name), message)

    def value(self, name: str) -> Json:
        """Give a required field as it is."""
        self._unread.discard(name)
        if name not in self._values:
            raise self.error(name, "is required")
        return self._values[name]

    def string(self, name: str, default: str | None = None) -> str:
        """Give a string that is not empty."""
        if default is not None and name not in self._values:
            return default
        value = self.value(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, "must be a non-empty string")
        return value

    def choice(self, name: str, allowed: Mapping[str, object] | tuple[str, ...], default: str | None = None) -> str:
        """Give one of the ``allowed`` words."""
        value = self.string(name, default)
        if value not in allowed:
            raise self.error(name, f"must be one of {', '.join(sorted(allowed))}")
        return value

    def integer(self, name: str, default: int | None = None, minimum: int = 0) -> int:
        """Give a whole number of at least ``minimum``."""
        if default is not None and name not in self._values:
            return default
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.error(name, f"must be a whole number of at least {minimum}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Give a finite number."""
        if default is not None and name not in self._values:
            return default
        value = self.value(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < float("inf"):
            raise self.error(name, "must be a finite number")
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Give a list of finite numbers."""
        items = self._items(name)
        for index, item in enumerate(items):
            if not isinstance(item, int | float) or isinstance(item, bool) or not abs(item) < float("inf"):
                raise PackError((*self.where, name, index), "must be a finite number")
        return tuple(float(item) for item in items if isinstance(item, int | float))

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Give ``true`` or ``false``."""
        if default is not None and name not in self._values:
            return default
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def strings(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Give a list of strings, none of them empty."""
        if default is not None and name not in self._values:
            return default
        items = self._items(name)
        for index, item in enumerate(items):
            if not isinstance(item, str) or not item:
                raise PackError((*self.where, name, index), "must be a non-empty string")
        return tuple(item for item in items if isinstance(item, str))

    def mappings(self, name: str) -> list[Fields]:
        """Give a list of mappings, each to be read and closed in turn."""
        return [Fields(item, (*self.where, name, index)) for index, item in enumerate(self._items(name))]

    def mapping(self, name: str) -> Fields:
        """Give a mapping to be read and closed in turn; an absent one is empty."""
        return Fields(self.value(name) if name in self._values else {}, (*self.where, name))

    def names(self) -> tuple[str, ...]:
        """Give the names of all members, for a mapping whose keys are free."""
        for name in self._values:
            if not isinstance(name, str):
                raise PackError(self.where, "must have strings as keys")
        return tuple(self._values)

    def close(self) -> None:
        """Refuse a field that was never read."""
        for name in self._values:
            if name in self._unread:
                raise self.error(str(name), "is not a known field")

    def _items(self, name: str) -> list[Json]:
        value = self.value(name)
        if not isinstance(value, list):
            raise self.error(name, "must be a list")
        return value


def rule_id(fields: Fields) -> str:
    """Read a rule's ``id``."""
    name = fields.string("id")
    if not _ID.fullmatch(name):
        raise fields.error("id", "must be lower-case words joined by '-' or '.'")
    return name


def pack_owasp(fields: Fields) -> tuple[str, ...]:
    """Read what all rules of a pack map to unless they say otherwise; it may be absent."""
    return _owasp(fields, ())


def rule_owasp(fields: Fields, default: tuple[str, ...]) -> tuple[str, ...]:
    """Read what a rule maps to: ``default``, the pack's, unless it says otherwise. Something it must."""
    values = _owasp(fields, default)
    if not values:
        raise fields.error("owasp", "must be given here or for the whole pack")
    return values


def _owasp(fields: Fields, default: tuple[str, ...]) -> tuple[str, ...]:
    values = fields.strings("owasp", default)
    for value in values:
        if not _OWASP.fullmatch(value):
            raise fields.error("owasp", "must list entries such as LLM02:2025")
    return values
