"""The items of an answer of OpenAI's responses API: what a message, a reasoning or a call says, and on which channel.

An item is the same thing in a document, in the events that begin and end it, and in the whole response that ends a
stream. What lives here: one reader for all of them. What must not: events, their order, what was said before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import CallDelta, Channel, Json, JsonPath, Malformed, TextDelta
from extproc.dialects.answers import (
    aside,
    body_text,
    call,
    copy_of,
    figures,
    identifiers,
    logprobs,
    spoken,
    unknown_members,
)
from extproc.dialects.members import Members
from extproc.dialects.untrusted import is_base64, strings

# The calls of each kind of item, by the member that says what is to be done. Those that a server runs on its own and
# that say no more than a query (a web search) are text.
_ARGUMENTS: Final = {
    "function_call": ("arguments",),
    "custom_tool_call": ("input",),
    "mcp_call": ("arguments",),
    "mcp_approval_request": ("arguments",),
    "tool_search_call": ("arguments",),
    "code_interpreter_call": ("code",),
    "program": ("code",),
    "local_shell_call": ("action",),
    "shell_call": ("action",),
    "apply_patch_call": ("operation",),
    "computer_call": ("action", "actions"),
}
_UNKNOWN_CALL: Final = ("arguments", "input")
_TOOLS: Final = {"program": "programmatic_tool_calling"}
_RESULTS: Final = frozenset({"output", "outputs", "results", "result"})
_LABELS: Final = ("id", "type", "status", "role", "call_id", "phase", "server_label", "namespace", "container_id")
_NAMES: Final = ("id", "object", "model", "status", "service_tier", "truncation", "previous_response_id")
_RESPONSE: Final = frozenset({*_NAMES, "output", "usage"})
_PART: Final = frozenset({"type", "text", "refusal", "transcript", "logprobs", "annotations", "data"})
_REASONING_PARTS: Final = frozenset({"reasoning_text", "summary_text"})
_DATA: Final = re.compile(r"data:(image|audio|video)?[^,]{0,100};base64,[A-Za-z0-9+/=_-]*+")


@dataclass(slots=True)
class Said:
    """What an item says. Its ``calls`` are whole; ``unseen`` is what no detector reads in it (see ``chat.UNSEEN``)."""

    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def tool_of(item: Members, kinds: Collection[str]) -> str:
    """What a call would run: the name it says, or its kind of tool, as the request declared it (one of ``kinds``)."""
    name = item.get("name")
    if isinstance(name, str) and name:
        return name
    kind = str(item.get("type")).removesuffix("_call")
    kind = _TOOLS.get(kind, kind)
    if kind in kinds:
        return kind
    return next((each for each in sorted(kinds) if each.startswith(kind)), kind)  # web_search_preview


def read_item(item: Json, path: JsonPath, choice: int, kinds: Collection[str] = ()) -> Said:
    """Read one item of ``output``.

    Raises:
        Malformed: it is not an item, or says something in a form that cannot be read.
    """
    if not isinstance(item, dict):
        raise Malformed("the answer has an item that is not an object")
    said = Said()
    kind = item.get("type")
    arguments = _arguments(kind)
    calls = [name for name in arguments if item.get(name) is not None] or list(arguments[:1])
    if arguments is _UNKNOWN_CALL:
        calls = [name for name in arguments if item.get(name) is not None]
    for index, name in enumerate(calls):
        members = {"name": tool_of(item, kinds), name: item.get(name)}
        said.calls.append(call(members, choice, index, path, name, whole=True)[0])
    known = {*_LABELS, *calls, *(("name",) if calls else ())}
    for name, value in item.items():
        if name in known or value is None:
            continue
        place = (*path, name)
        if name == "content":
            _read_parts(said, value, place, choice, reasoning=kind == "reasoning")
        elif name == "summary":
            _read_parts(said, value, place, choice, reasoning=True)
        elif name == "encrypted_content":
            _unread(said, "encrypted", value, place, choice)
        elif name == "result" and kind == "image_generation_call":
            _unread(said, "image", value, place, choice)
        elif name in _RESULTS:
            _read_results(said, value, place, choice)
        else:
            said.deltas += unknown_members({name: value}, frozenset(), path, choice)
    said.deltas += identifiers(item, _LABELS, path, choice)
    return said


def read_part(part: Json, path: JsonPath, choice: int) -> Said:
    """Read one part of an item's content or summary, where it comes alone."""
    said = Said()
    _read_part(said, part, path, choice, reasoning=False)
    return said


def beside(response: Members, path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """What a response says beside its output: an error, and what the request said (instructions, tools)."""
    yield from identifiers(response, _NAMES, path, choice)
    if response.get("usage"):
        yield from figures(response["usage"], (*path, "usage"), choice)
    yield from unknown_members(response, _RESPONSE, path, choice)


def output_of(response: Members) -> list[Json]:
    output = response.get("output")
    if output is None:
        return []
    if not isinstance(output, list):
        raise Malformed("the answer has an 'output' that is not an array")
    return output


def repeated(deltas: Iterable[TextDelta], fresh: Callable[[], int]) -> tuple[list[TextDelta], tuple[int, ...]]:
    """The texts of an item as those of one that says once more what was said before; and the choices it needed.

    A text that stands alone is judged alone. Where several continue each other, as clients join them, they get a choice
    of their own (``fresh`` numbers it), which is complete at once.
    """
    texts = list(deltas)
    count: dict[Channel, int] = {}
    for delta in texts:
        if not delta.drop:
            count[delta.channel] = count.get(delta.channel, 0) + 1
    joined = {channel for channel, number in count.items() if number > 1}
    if not joined:
        return [delta._replace(alone=True, again=True) for delta in texts], ()
    own = fresh()
    out: list[TextDelta] = []
    for delta in texts:
        if delta.channel in joined:
            out.append(delta._replace(channel=(own, delta.channel[1]), again=True))
            continue
        out.append(delta._replace(alone=True, again=True))
        if delta.drop:  # a copy of what was said before, and of what is said here
            out.append(copy_of((own, delta.channel[1]), delta.path)._replace(alone=True, again=True))
    return out, (own,)


def _arguments(kind: Json) -> tuple[str, ...]:
    if not isinstance(kind, str):
        return ()
    own = _ARGUMENTS.get(kind)
    if own is None:
        return _UNKNOWN_CALL if kind.endswith("_call") else ()
    return own


def _read_parts(said: Said, parts: Json, path: JsonPath, choice: int, *, reasoning: bool) -> None:
    if isinstance(parts, list):
        for index, part in enumerate(parts):
            _read_part(said, part, (*path, index), choice, reasoning=reasoning)
    else:
        _read_part(said, parts, path, choice, reasoning=reasoning)


def _read_part(said: Said, part: Json, path: JsonPath, choice: int, *, reasoning: bool) -> None:
    """Read a part; a text may stand in the place of its parts, as in requests."""
    channel = "reasoning" if reasoning else "content"
    if not isinstance(part, dict):
        said.deltas += spoken(choice, channel, part, path)
        return
    if part.get("type") in _REASONING_PARTS:
        channel = "reasoning"
    said.deltas += spoken(choice, channel, part.get("text"), (*path, "text"))
    said.deltas += spoken(choice, "refusal", part.get("refusal"), (*path, "refusal"))
    said.deltas += spoken(aside(choice), "content", part.get("transcript"), (*path, "transcript"))
    if part.get("logprobs"):
        said.deltas += logprobs(choice, part["logprobs"], (*path, "logprobs"))
    if part.get("annotations"):
        said.deltas += body_text(part["annotations"], (*path, "annotations"), aside(choice))
    if part.get("data") is not None:
        _unread(said, "audio", part["data"], (*path, "data"), choice)
    said.deltas += identifiers(part, ("type",), path, choice)
    said.deltas += unknown_members(part, _PART, path, choice)


def _read_results(said: Said, value: Json, path: JsonPath, choice: int) -> None:
    """Read what a tool returned: every string and key, each a line; no media that are said in base64."""
    for found in strings(value, path):
        data = None if found.keys else _DATA.fullmatch(found.text)
        if data is not None:
            said.unseen.append(data[1] or "file")
        elif found.text:
            said.deltas += [TextDelta((aside(choice), "body"), text, found.path) for text in (found.text, "\n")]


def _unread(said: Said, kind: str, value: Json, path: JsonPath, choice: int) -> None:
    """Note what nobody can read; what is not in the form of that is text."""
    if isinstance(value, str) and is_base64(value):
        if value:
            said.unseen.append(kind)
    else:
        said.deltas += body_text(value, path, aside(choice))
