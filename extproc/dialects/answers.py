"""What the answers of several dialects share: pieces of text in a document, edited frames, and bodies in no dialect.

Whatever a dialect does not know in an answer is text of a ``body`` channel: an error, a citation, a copy that some
server adds. Strings there that do not continue each other are separated by a line feed of their own, so that a detector
sees where words begin and end. Keys are text, too; their path is their object's, so an edit cannot leave them standing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

from extproc.chat import CallDelta, Denial, Edit, Frame, Json, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.members import Members
from extproc.dialects.tokens import copy_of, logprobs, token_ids
from extproc.dialects.untrusted import NAME, Found, is_base64, strings
from extproc.framing import BodyFramer, replace_event_data, replace_line
from extproc.strict_json import apply, dump, read_answer

__all__ = [
    "BodyDecoder",
    "Render",
    "aside",
    "body_text",
    "call",
    "copies",
    "copy_of",
    "event_render",
    "figures",
    "identifiers",
    "labels",
    "line_render",
    "listed_call",
    "logprobs",
    "media_type",
    "plain_frame",
    "repeatable",
    "says_nothing",
    "spoken",
    "token_ids",
    "unknown_members",
    "unreadable",
]

_CALL: Final = frozenset({"index", "id", "type", "function", "custom"})
_CALLED: Final = frozenset({"index", "name"})

Render = Callable[[Sequence[Edit]], bytes]

# Lines that some client could read as JSON, where escapes say what the bytes do not.
_LIKE_JSON: Final = re.compile(rb'(?:\A(?:\xef\xbb\xbf)?|[\r\n])(?:data:)?[ \t]*+["\[{]')

# What a name, an id or a reason looks like, and too short for a secret. Whatever does not is read as text.
_LABEL: Final = re.compile(r"[A-Za-z0-9_.:-]{0,16}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_LABEL_CHARS: Final = 16
_TOKEN_CHARS: Final = 256
_KINDS: Final = frozenset({"chat.completion.chunk"})  # what is longer than a label, and stands in every frame
_MADE_UP: Final = re.compile(r"(?:chatcmpl|cmpl|gen)-[A-Za-z0-9-]{0,64}")  # an id that some server made
_FIGURE: Final = re.compile(r"[a-z0-9_]{0,48}")


def media_type(content_type: str) -> str:
    """The type and subtype of a content-type header, in lower case."""
    return content_type.partition(";")[0].strip().lower()


# ---- frames ------------------------------------------------------------------------------------------------------


def plain_frame(raw: bytes, *, end: bool = False) -> Frame:
    """A frame without text: a comment, white space, an end marker."""
    return Frame(raw, partial(_unedited, raw), end=end)


def _unedited(raw: bytes, edits: Sequence[Edit]) -> bytes:
    if edits:
        raise LookupError("a frame without text has nothing to edit")
    return raw


def event_render(raw: bytes, document: Json) -> Render:
    """How a server-sent event leaves when its document is edited."""
    return partial(_edited, raw, document, replace_event_data)


def line_render(raw: bytes, document: Json) -> Render:
    """How a JSON line, or a body that is one document, leaves when it is edited."""
    return partial(_edited, raw, document, replace_line)


def _edited(raw: bytes, document: Json, put: Callable[[bytes, bytes], bytes], edits: Sequence[Edit]) -> bytes:
    return put(raw, dump(apply(document, edits))) if edits else raw


def _edited_text(raw: bytes, edits: Sequence[Edit]) -> bytes:
    text = apply(raw.decode(), edits)
    assert isinstance(text, str)
    return text.encode()


# ---- text in a document ------------------------------------------------------------------------------------------


def spoken(choice: int, name: str, value: Json, path: JsonPath) -> Iterator[TextDelta]:
    """The text of a member that clients show: a string, or parts, whose texts continue each other.

    Raises:
        Malformed: it is a number or a boolean, which a client could show but no detector reads.
    """
    if isinstance(value, str):
        if value:
            yield TextDelta((choice, name), value, path)
    elif isinstance(value, list | dict):
        for found in strings(value, path):
            if not found.keys and found.path[-1] != "type":
                yield TextDelta((choice, name), found.text, found.path)
            elif not all(map(_LABEL.fullmatch, found.text.split("\n"))):
                yield from _line(aside(choice), found)
    elif value is not None:
        raise Malformed("the answer has a text that is not a string")


def body_text(value: Json, path: JsonPath = (), choice: int = 0) -> Iterator[TextDelta]:
    """Every string and key of a value, each followed by a line feed that belongs to it."""
    for found in strings(value, path):
        if found.text:
            yield from _line(choice, found)


def _line(choice: int, found: Found) -> Iterator[TextDelta]:
    yield TextDelta((choice, "body"), found.text, found.path)
    yield TextDelta((choice, "body"), "\n", found.path)


def aside(choice: int) -> int:
    """Where a choice says what is not part of its text: on channels of ``~choice``, which end with the answer.

    Servers go on with such texts after the choice has ended; and they may not stand between two pieces of its text.
    """
    return min(choice, ~choice)


def labels(members: Members, names: Sequence[str], path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """The members that hold a name, an id or a reason, as text if they do not look like one."""
    for name in names:
        value = members.get(name)
        if value is not None and not (isinstance(value, str) and _LABEL.fullmatch(value)):
            yield from body_text(value, (*path, name), aside(choice))


def identifiers(members: Members, names: Sequence[str], path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """The members that identify an answer or its model, each as a text of its own unless it is too short for a secret.

    They stand in every frame, so what a server makes of them may not keep its frames waiting. A filter judges the same
    text once.
    """
    for name in names:
        value = members.get(name)
        if isinstance(value, str):
            if not says_nothing(value):
                yield TextDelta((aside(choice), "body"), value, (*path, name), alone=True)
        elif isinstance(value, list | dict):
            yield from body_text(value, (*path, name), aside(choice))


def says_nothing(value: str) -> bool:
    """Whether an identifier is a label or a time stamp, which nobody reads."""
    return _LABEL.fullmatch(value) is not None or value in _KINDS or _TIME.fullmatch(value) is not None


def unreadable(value: str) -> bool:
    """Whether a string is base64 data, and too long or too short for a key or a token, which can be base64, too."""
    return (len(value) <= _LABEL_CHARS or len(value) > _TOKEN_CHARS) and is_base64(value)


def repeatable(members: Members, names: Sequence[str]) -> dict[str, Json]:
    """The members that the end of an answer, phrased here, may say once more.

    A rule may have edited them, or ended the answer for them, so these are numbers and what cannot hold a secret.
    """
    found = {name: members.get(name) for name in names}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float)
        or (isinstance(value, str) and (says_nothing(value) or _MADE_UP.fullmatch(value)))
    }


def figures(value: Json, path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """What a member that counts (usage, timings) says in words: keys and strings that do not look like its own."""
    for found in strings(value, path):
        shape = _FIGURE if found.keys else _LABEL
        if not all(map(shape.fullmatch, found.text.split("\n"))):
            yield TextDelta((aside(choice), "body"), found.text, found.path, alone=True)


def unknown_members(
    members: Members, known: frozenset[str], path: JsonPath, choice: int, *, pieces: bool = False
) -> Iterator[TextDelta]:
    """The text of all members that are not known; with ``pieces`` a string that stands alone continues the last one."""
    if members.keys() <= known:
        return
    unknown = {name: value for name, value in members.items() if name not in known}
    names = [name for name in unknown if not NAME.fullmatch(name)]
    if names:
        yield from _line(aside(choice), Found(path, "\n".join(names), keys=True))
    alone = pieces and sum(isinstance(value, str) for value in unknown.values()) == 1
    for name, value in unknown.items():
        if alone and isinstance(value, str):
            yield from spoken(aside(choice), "body", value, (*path, name))
        else:
            yield from body_text(value, (*path, name), aside(choice))
    yield from token_ids(unknown, path, choice)


def copies(deltas: Sequence[TextDelta]) -> list[TextDelta]:
    """The nodes among unknown members that repeat a text which the same frame says where it is known."""
    if all(delta.channel[0] >= 0 for delta in deltas):
        return []
    said = {delta.text: delta.channel[0] for delta in deltas if delta.channel[0] >= 0}
    return [
        copy_of((said[delta.text], "body"), delta.path)
        for delta in deltas
        if delta.channel[0] < 0 and delta.text in said
    ]


def listed_call(
    entry: Json, choice: int, index: int, path: JsonPath, *, whole: bool
) -> tuple[CallDelta, Iterator[TextDelta]]:
    """One element of ``tool_calls``: the call, and the text of what else it holds.

    Raises:
        Malformed: it is not a call, or two of them.
    """
    if not isinstance(entry, dict) or (entry.get("custom") is not None and entry.get("function") is not None):
        raise Malformed("the answer has a tool call that cannot be read")
    kind, arguments = ("function", "arguments") if entry.get("custom") is None else ("custom", "input")
    function = entry.get(kind)
    if function is None:  # a later piece of a call may bring nothing but an id
        function = {}
    piece, texts = call(function, choice, index, (*path, kind), arguments, whole=whole)
    identity = entry.get("id")
    if isinstance(identity, str) and identity:
        piece = replace(piece, id=identity)
    beside = labels(entry, ("id", "type", "index"), path, choice)
    return piece, chain(texts, beside, unknown_members(entry, _CALL, path, choice))


def call(
    function: Json, choice: int, index: int, path: JsonPath, arguments: str = "arguments", *, whole: bool
) -> tuple[CallDelta, Iterator[TextDelta]]:
    """A call's name and arguments, whether those are JSON text or an object, and the text of what else it holds.

    ``arguments`` is the member's name.

    Raises:
        Malformed: one of them is something else.
    """
    if not isinstance(function, dict):
        raise Malformed("the answer has a tool call that cannot be read")
    name, value = function.get("name"), function.get(arguments)
    structured = isinstance(value, dict | list)
    if structured:
        value = dump(value).decode()
    if not isinstance(name, str | None) or not isinstance(value, str | None):
        raise Malformed("the answer has a tool call whose name or arguments cannot be read")
    piece = CallDelta(choice, index, name or "", value or "", (*path, arguments), whole, structured)
    beside = labels(function, ("index",), path, choice)
    return piece, chain(beside, unknown_members(function, _CALLED | {arguments}, path, choice))


# ---- bodies in no dialect ----------------------------------------------------------------------------------------


class BodyDecoder:
    """Reads an answer that is not in its dialect's form, such as an error page, as one text, decided whole.

    In JSON, escapes can hide text from a detector, so every string is decoded; what only looks like JSON and has a
    backslash is malformed, and so is what is not UTF-8 text.
    """

    streams = False

    def __init__(self, limit_bytes: int, phrase: Callable[[Denial], bytes]) -> None:
        self._framer = BodyFramer(limit_bytes)
        self._phrase = phrase

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes; give the body's one frame with ``end``."""
        return map(_body_frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the dialect's own error."""
        return self._phrase(denial)


def _body_frame(raw: bytes) -> Frame:
    try:
        document = read_answer(raw)
    except Malformed:
        text = _plain_text(raw)
        deltas = (TextDelta((0, "body"), text, ()),)
        return Frame(raw, partial(_edited_text, raw), deltas, closes=(0,), end=True)
    return Frame(raw, line_render(raw, document), tuple(body_text(document)), closes=(0,), end=True)


def _plain_text(raw: bytes) -> str:
    if b"\0" in raw or (b"\\" in raw and _LIKE_JSON.search(raw)):
        raise Malformed("the answer is neither JSON nor plain text")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("the answer is not valid UTF-8") from None
