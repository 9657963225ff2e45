"""The one JSON reader for untrusted input, and the one writer for what was edited.

Two parsers that disagree about a document are a way around the policy: we would inspect one reading and the upstream
would run the other. So whatever any known parser reads differently is refused here, before anything is looked at:
repeated keys (most keep the last), keys that differ from a known one only by case (Go's encoding/json folds them),
NaN and overflowing numbers, lone surrogates, byte order marks, invalid UTF-8, trailing data.

What lives here: bytes to plain values and back, and edits by path. What must not: anything that an LLM API defines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from extproc.chat import REMOVED, Edit, Json, Malformed

scan_string: Final[Callable[[str, int], tuple[str, int]]] = json.decoder.scanstring  # type: ignore[attr-defined]
"""The JSON reader's own scanner of strings: from behind the opening quote, the string and where its closing quote ends.

It is as strict as the reader of answers: control characters stand for themselves in no string. Raises ValueError.
"""

_BOM: Final = b"\xef\xbb\xbf"
_ANSWER_DEPTH: Final = 128
_INTEGER_CHARS: Final = 300  # beyond about 308 digits a double overflows; Python itself gives up at 4300
# An unclosed string runs to the end of the body: with a mandatory closing quote every later quote would rescan it.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
# Some clients cut JSON lines and events at these, too; inside of JSON they stand in strings only.
_LINE_ENDS: Final = (("\u0085", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How much structure a document may have. ``depth`` counts nested objects and arrays."""

    depth: int = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """The positions that an API decodes into named fields.

    An object there may not hold a key that equals one of ``members`` but for case; ``each`` describes the elements of
    an array. A value that is neither (``content`` as a string) is left to the dialect, and ``None`` in either place
    stands for a free-form value, where only exact duplicates are wrong.
    """

    members: Mapping[str, Shape | None] = field(default_factory=dict)
    each: Shape | None = None
    folded: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", frozenset(key.casefold() for key in self.members))


def read(body: bytes, shape: Shape | None, limits: JsonLimits) -> dict[str, Json]:
    """Read a request body, which must be an object.

    Raises:
        Malformed: parsers could disagree about it, or it is deeper than ``limits`` allow. Fit for the client.
    """
    document, text = _parse(body, limits.depth)
    if not isinstance(document, dict):
        raise Malformed("the JSON body is not an object")
    # Without such an escape there is nothing to find: strict UTF-8 has no surrogates of its own.
    if _SURROGATE_ESCAPE.search(text):
        _forbid_surrogates(document)
    if shape is not None:
        _forbid_variants(document, shape)
    return document


def read_answer(data: bytes) -> Json:
    """Read an upstream's document: as strict as a request, but with lone surrogates.

    Some servers split a surrogate pair over two tokens, and so over two documents.

    Raises:
        Malformed: parsers could disagree about it, or it is nested too deeply.
    """
    return _parse(data, _ANSWER_DEPTH)[0]


def apply(document: Json, edits: Sequence[Edit]) -> Json:
    """Return the document with the edits made, sharing every part that no edit touches.

    Paths speak of the document as given, so removed elements of one array do not move each other. Where an edit lies
    below another, the upper one wins. The path ``()`` replaces the whole document and cannot remove it.

    Raises:
        LookupError: a path leads nowhere; only its last step may name a new member.
    """
    root = _Change()
    for edit in edits:
        change = root
        for step in edit.path:
            change = change.below.setdefault(step, _Change())
        if edit.place == "at":
            change.value = edit.value
            change.made = True
        elif edit.place == "before":
            change.before.append(edit.value)
        else:
            change.behind += str(edit.value)
    changed: Json = _changed(document, root)
    return changed


def dump(document: Json) -> bytes:
    """Write compact UTF-8 JSON. Lone surrogates, which UTF-8 cannot say, and Unicode's line ends become escapes."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for line_end, escape in _LINE_ENDS:
        text = text.replace(line_end, escape)
    return text.encode("utf-8", "backslashreplace")


# ---- reading -----------------------------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("the JSON body has the same key twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_CHARS:
        raise Malformed("the JSON body has a number that is out of range")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise Malformed("the JSON body has a number that is out of range")
    return value


def _constant(_name: str) -> NoReturn:
    raise Malformed("the JSON body has NaN or Infinity, which JSON does not know")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _parse(body: bytes, depth: int) -> tuple[Json, str]:
    if body.startswith(_BOM):
        raise Malformed("the JSON body starts with a byte order mark")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the body is not valid UTF-8") from None
    # The parser recurses, so what is too deep must never reach it.
    if body.count(b"[") + body.count(b"{") > depth and _depth(body) > depth:
        raise Malformed("the JSON body is nested too deeply")
    try:
        return _DECODER.decode(text), text
    except json.JSONDecodeError:
        raise Malformed("the body is not valid JSON") from None


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _forbid_surrogates(document: Json) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("the JSON body has half of a surrogate pair") from None


def _forbid_variants(value: Json, shape: Shape) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            if key in shape.members:
                inner = shape.members[key]
                if inner is not None:
                    _forbid_variants(member, inner)
            elif key.casefold() in shape.folded:
                raise Malformed("the JSON body has a key that differs from a known one only by case")
    elif isinstance(value, list) and shape.each is not None:
        for element in value:
            _forbid_variants(element, shape.each)


# ---- editing -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Change:
    """All edits at and below one place of the document."""

    below: dict[str | int, _Change] = field(default_factory=dict)
    value: Any = None
    made: bool = False
    before: list[Any] = field(default_factory=list)
    behind: str = ""


def _changed(value: Json, change: _Change) -> Any:
    if change.made:
        return _with_end(change.value, change)
    if not change.below:
        return _with_end(value, change)
    if isinstance(value, dict):
        members: dict[Any, Any] = dict(value)
        for key, inner in change.below.items():
            members[key] = _changed(None if inner.made else members[key], inner)
        return {key: member for key, member in members.items() if member is not REMOVED}
    if isinstance(value, list):
        return _elements(value, change)
    raise LookupError("an edit's path leads through a value that has no members")


def _elements(value: list[Json], change: _Change) -> list[Any]:
    elements: list[list[Any]] = [[element] for element in value]
    for index, inner in change.below.items():
        if not isinstance(index, int) or not 0 <= index <= len(value) - (not inner.before):
            raise LookupError("an edit's path leads to no element")
        if index == len(value):
            elements.append(inner.before)
        else:
            elements[index] = [*inner.before, _changed(value[index], inner)]
    return [element for several in elements for element in several if element is not REMOVED]


def _with_end(value: Any, change: _Change) -> Any:
    return value + change.behind if isinstance(value, str) else value
