"""What the events, blocks and documents of Anthropic's Messages API say, each read for itself.

All text blocks of a message continue one text, since clients join them, and so do all thoughts. A block or delta of
another type that has such a text says it all the same: not every client looks at the type. What is whole where it
stands, such as the result of a search, is a text of its own. Everything unknown is text beside the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import CallDelta, Json, JsonPath, Malformed, TextDelta
from extproc.dialects.answers import aside, body_text, labels, spoken, unknown_members
from extproc.dialects.anthropic_blocks import ENCRYPTED, OPAQUE
from extproc.dialects.members import Members, string
from extproc.dialects.untrusted import strings
from extproc.strict_json import dump

_MESSAGE: Final = frozenset({"id", "model", "type", "role", "content", "stop_reason", "stop_sequence", "usage"})
_LABELS: Final = ("type", "role", "stop_reason", "stop_sequence")
_STOPPED: Final = frozenset({"stop_reason", "stop_sequence"})
_TYPE: Final = frozenset({"type"})
_EVENT: Final = _TYPE | {"index", "usage"}
_BLOCK: Final = {
    "text": frozenset({"type", "text", "citations"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
_CALL: Final = frozenset({"type", "id", "name", "input", "server_name"})
_DELTA: Final = {
    "text_delta": frozenset({"type", "text"}),
    "thinking_delta": frozenset({"type", "thinking"}),
    "signature_delta": frozenset({"type", "signature"}),
    "citations_delta": frozenset({"type", "citation"}),
    "input_json_delta": frozenset({"type", "partial_json"}),
}
_SPOKEN: Final = {"text": "content", "thinking": "reasoning"}
_PLAIN_KEY: Final = re.compile(r"[a-z0-9_]{0,32}")
_SHORT: Final = re.compile(r"[A-Za-z0-9_.:-]{0,16}")
# What these are called in a call, and in the declaration that a policy allowed.
_DECLARED: Final = {
    "bash_code_execution": "code_execution",
    "text_editor_code_execution": "code_execution",
}


@dataclass(slots=True)
class Speech:
    """What one event or document says."""

    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)
    not_inspected: list[str] = field(default_factory=list)
    closes: tuple[int, ...] = ()
    end: bool = False


def is_call(kind: str) -> bool:
    """Whether a block of this type calls a tool: the client's, the API's own or another server's."""
    return kind == "tool_use" or kind.endswith("_tool_use")


def read_event(speech: Speech, event: Json) -> None:
    """Read one event of a stream.

    Raises:
        Malformed: it has text that is no string, or a call that cannot be read.
    """
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(kind, str):
        speech.deltas += body_text(event, (), aside(0))
        return
    if kind not in _READERS:
        speech.deltas += labels(event, ("type",), (), 0)
        speech.deltas += unknown_members(event, _TYPE, (), 0, pieces=True)
        return
    member = _READERS[kind]
    if member is not None:
        value = event.get(member)
        if not isinstance(value, dict):
            raise Malformed(f"the answer has an event without '{member}'")
        _read_member(speech, event, member, value)
    speech.end = kind == "message_stop"
    speech.deltas += body_text(event.get("index"), ("index",), aside(0))
    speech.deltas += _counts(event.get("usage"), ("usage",))
    speech.deltas += unknown_members(event, _EVENT | {member or "type"}, (), 0, pieces=True)


_READERS: Final = {
    "message_start": "message",
    "content_block_start": "content_block",
    "content_block_delta": "delta",
    "content_block_stop": None,
    "message_delta": "delta",
    "message_stop": None,
    "ping": None,
}


def _read_member(speech: Speech, event: Members, member: str, value: dict[str, Json]) -> None:
    if member == "message":
        read_message(speech, value, ("message",))
    elif member == "content_block":
        _read_block(speech, value, event.get("index"), (member,), whole=False)
    elif event["type"] == "message_delta":
        speech.deltas += labels(value, ("stop_reason", "stop_sequence"), (member,), 0)
        speech.deltas += unknown_members(value, _STOPPED, (member,), 0)
        if value.get("stop_reason"):
            speech.closes = (0,)
    else:
        _read_delta(speech, value, event.get("index"), (member,))


def read_message(speech: Speech, message: Json, path: JsonPath) -> None:
    """Read a message: the whole answer, or what a stream begins with.

    Raises:
        Malformed: it has text that is no string, or a call that cannot be read.
    """
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, list) or message.get("type", "message") != "message":
        speech.deltas += body_text(message, path, aside(0))
        return
    for index, block in enumerate(content):
        if not isinstance(block, dict):
            raise Malformed("the answer has a block that is not an object")
        _read_block(speech, block, index, (*path, "content", index), whole=True)
    _read_names(speech, message, ("id", "model"), path)
    speech.deltas += labels(message, _LABELS, path, 0)
    speech.deltas += _counts(message.get("usage"), (*path, "usage"))
    speech.deltas += unknown_members(message, _MESSAGE, path, 0)


# ---- blocks ------------------------------------------------------------------------------------------------------


def _read_block(speech: Speech, block: Members, index: Json, path: JsonPath, *, whole: bool) -> None:
    kind = block.get("type")
    if not isinstance(kind, str):
        kind = ""
    _read_spoken(speech, block, path)
    if is_call(kind):
        _read_call(speech, block, index, path, whole=whole)
    elif kind in _BLOCK:
        if kind != "text":
            _read_opaque(speech, block, "signature" if kind == "thinking" else "data", path)
        elif block.get("citations"):
            _read_whole(speech, block["citations"], (*path, "citations"))
        speech.deltas += unknown_members(block, _BLOCK[kind] | _SPOKEN.keys(), path, 0)
    else:
        if kind == "container_upload":
            speech.not_inspected.append("file")
        _read_whole(speech, {name: value for name, value in block.items() if name not in _SPOKEN}, path)


def _read_spoken(speech: Speech, members: Members, path: JsonPath) -> None:
    for name, channel in _SPOKEN.items():
        speech.deltas += spoken(0, channel, members.get(name), (*path, name))


def _read_call(speech: Speech, block: Members, index: Json, path: JsonPath, *, whole: bool) -> None:
    """A call. An empty ``input`` at the start of a block only holds the place of what the next events bring.

    If there is something in it and more is brought, both are judged as one text, which no edit can put back together.
    """
    name, value, identity = block.get("name"), block.get("input"), block.get("id")
    if not isinstance(name, str | None) or not isinstance(value, str | dict | list | None):
        raise Malformed("the answer has a tool call whose name or input cannot be read")
    if not isinstance(index, int):
        raise Malformed("the answer has an 'index' that is not one")
    declared = _declared(block, name or "")
    structured = isinstance(value, dict | list) and (whole or bool(value))
    arguments = value if isinstance(value, str) else dump(value).decode() if structured else ""
    place = (*path, "input")
    _read_names(speech, block, ("id", "server_name"), path)
    identity = identity if isinstance(identity, str) else ""
    speech.calls.append(CallDelta(0, index, declared, arguments, place, whole, structured, identity))
    if declared != name:
        speech.deltas += labels(block, ("name",), path, 0)
    speech.deltas += labels(block, ("type",), path, 0)
    speech.deltas += unknown_members(block, _CALL | _SPOKEN.keys(), path, 0)


def _declared(block: Members, name: str) -> str:
    """What a policy knows a call by. A client runs what is a plain ``tool_use``, so that has no name but its own."""
    if block["type"] == "mcp_tool_use":
        return string(block, "server_name") or name
    return _DECLARED.get(name, name) if block["type"] == "server_tool_use" else name


def _read_delta(speech: Speech, delta: Members, index: Json, path: JsonPath) -> None:
    kind = delta.get("type")
    _read_spoken(speech, delta, path)
    if kind == "signature_delta":
        _read_opaque(speech, delta, "signature", path)
    elif kind == "citations_delta":
        _read_whole(speech, delta.get("citation"), (*path, "citation"))
    elif kind == "compaction_delta":
        _read_whole(speech, {name: value for name, value in delta.items() if name not in _SPOKEN}, path)
        return
    elif kind == "input_json_delta":
        piece = delta.get("partial_json")
        if not isinstance(piece, str) or not isinstance(index, int):
            raise Malformed("the answer has arguments that are not a string")
        speech.calls.append(CallDelta(0, index, "", piece, (*path, "partial_json")))
    known = _DELTA.get(kind) if isinstance(kind, str) else None
    if known is None:
        speech.deltas += labels(delta, ("type",), path, 0)
    speech.deltas += unknown_members(delta, (known or _TYPE) | _SPOKEN.keys(), path, 0, pieces=True)


def _read_names(speech: Speech, members: Members, names: Sequence[str], path: JsonPath) -> None:
    """What is called what. Not being part of any text, each is read for itself."""
    for name in names:
        value = members.get(name)
        if value is not None and not (isinstance(value, str) and _SHORT.fullmatch(value)):
            _read_whole(speech, value, (*path, name))


# ---- texts -------------------------------------------------------------------------------------------------------


def _read_opaque(speech: Speech, members: Members, name: str, path: JsonPath) -> None:
    """A member that only the API can read."""
    value = members.get(name)
    if value:
        speech.not_inspected.append("encrypted")
    if not (isinstance(value, str) and OPAQUE.fullmatch(value)):
        speech.deltas += body_text(value, (*path, name), aside(0))


def _read_whole(speech: Speech, value: Json, path: JsonPath) -> None:
    """Texts that stand alone: every string and key of a value.

    So is what a server's tool returned: the model has read it, and the client is about to.
    """
    media = set(_media(value, path))
    for found in strings(value, path):
        opaque = not found.keys and OPAQUE.fullmatch(found.text)
        if opaque and (found.path[-1] in ENCRYPTED or found.path in media):
            speech.not_inspected.append("file" if found.path in media else "encrypted")
        elif found.text and not (found.keys and _plain_keys(found.text)):
            speech.deltas.append(TextDelta((0, "body"), found.text, found.path, alone=True))


def _media(value: Json, path: JsonPath) -> Iterator[JsonPath]:
    """Where data stands that is media in base64."""
    stack = [(path, value)]
    while stack:
        place, current = stack.pop()
        if isinstance(current, dict):
            if current.get("type") == "base64":
                yield (*place, "data")
            stack += (((*place, name), member) for name, member in current.items())
        elif isinstance(current, list):
            stack += (((*place, index), member) for index, member in enumerate(current))


def _counts(value: Json, path: JsonPath) -> Iterator[TextDelta]:
    """What was spent: numbers under plain names. All else in it is text."""
    for found in strings(value, path):
        if not (_plain_keys(found.text) if found.keys else _SHORT.fullmatch(found.text)):
            yield TextDelta((0, "body"), found.text, found.path, alone=True)


def _plain_keys(keys: str) -> bool:
    return all(map(_PLAIN_KEY.fullmatch, keys.split("\n")))
