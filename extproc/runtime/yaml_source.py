"""YAML for policies and packs: a strict subset, with the place of everything, so that an error can name its line.

What lives here: text to plain data and marks. What must not: files, what the data means.

A policy decides what leaves, so nothing in it may be read in two ways: no duplicate keys, no anchors, aliases or tags,
keys are text, one document. Of the plain scalars only ``null true false`` and decimal numbers are not text; ``yes``,
``on``, ``12:30``, ``017`` and dates are, which is YAML 1.2 rather than 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from extproc.chat import JsonPath

DEPTH: Final = 32

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is not in every build, and many times faster
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}\.[0-9]{0,18})(?:[eE][-+]?[0-9]{1,2})?")
_WORDS: Final[Mapping[str, Any]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

Mark = tuple[int, int]
"""Line and column, both counted from 1."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What makes a text unreadable, and where."""

    mark: Mark
    message: str


class BadYaml(ValueError):  # noqa: N818 - what it is
    """Not the YAML that we read. ``flaws`` has at least one entry."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.mark[0]}:{flaw.mark[1]}: {flaw.message}" for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Source:
    """Plain data and the mark of every node in it; a member's mark is its key's."""

    data: Any
    marks: Mapping[JsonPath, Mark]

    def mark(self, where: JsonPath) -> Mark:
        """The place of a node, or of the nearest node above it that exists."""
        while where not in self.marks and where:
            where = where[:-1]
        return self.marks.get(where, (1, 1))


def read_yaml(text: str) -> Source:
    """Read one document.

    Raises:
        BadYaml: with every flaw that can be known at once; a syntax error ends the reading.
    """
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        reader.flaws.append(Flaw(at, f"not YAML: {error.problem or error.context}"))
    except yaml.reader.ReaderError as error:
        reader.flaws.append(Flaw((1, 1), f"not YAML: {error.reason}"))
    except _Stop as stop:
        reader.flaws.append(stop.flaw)
    if not reader.flaws and reader.documents != 1:
        reader.flaws.append(Flaw((1, 1), "must hold one document"))
    if reader.flaws:
        raise BadYaml(reader.flaws)
    return Source(reader.root, reader.marks)


class _Stop(Exception):  # noqa: N818 - an outcome: there is no sense in reading on
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


@dataclass(slots=True)
class _Open:
    """A list or mapping that is still being read. ``key`` waits for its value."""

    value: list[Any] | dict[str, Any]
    path: JsonPath
    key: str | None = None


@dataclass(slots=True)
class _Reader:
    """Takes the parser's events one by one. No recursion, and nothing is built that was not in the text."""

    root: Any = None
    documents: int = 0
    marks: dict[JsonPath, Mark] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.NodeEvent):
            assert event.start_mark is not None
            self._node(event, (event.start_mark.line + 1, event.start_mark.column + 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1

    def _node(self, event: yaml.NodeEvent, mark: Mark) -> None:
        if event.anchor is not None:
            self.flaws.append(Flaw(mark, "anchors and aliases are not read"))
        if getattr(event, "tag", None) is not None:
            self.flaws.append(Flaw(mark, "tags are not read"))
        above = self.stack[-1] if self.stack else None
        if above is None:
            self.root = self._value(event, (), mark)
        elif isinstance(above.value, list):
            above.value.append(self._value(event, (*above.path, len(above.value)), mark))
        elif above.key is None:
            above.key = self._key(event, above, mark)
        else:
            key, above.key = above.key, None
            above.value[key] = self._value(event, (*above.path, key), mark)

    def _key(self, event: yaml.NodeEvent, above: _Open, mark: Mark) -> str:
        key = _scalar(event) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            raise _Stop(Flaw(mark, "a key must be text; quote it if it looks like a number"))
        if key in above.value:
            self.flaws.append(Flaw(mark, f'"{key}" is here twice'))
        self.marks.setdefault((*above.path, key), mark)
        return key

    def _value(self, event: yaml.NodeEvent, path: JsonPath, mark: Mark) -> Any:
        self.marks.setdefault(path, mark)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return None
        if len(self.stack) == DEPTH:
            raise _Stop(Flaw(mark, f"nested deeper than {DEPTH} levels"))
        value: list[Any] | dict[str, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, path))
        return value


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
