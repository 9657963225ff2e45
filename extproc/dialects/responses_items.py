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
# The kinds that say which tool they call; what others call a name runs nothing.
_NAMED: Final = frozenset({"function_call", "custom_tool_call", "mcp_call", "mcp_approval_request"})
_TOOLS: Final = {"program": "programmatic_tool_calling"}
_RESULTS: Final = frozenset({"output", "outputs", "results", "result"})
_LABELS: Final = ("id", "type", "status", "role", "call_id", "phase", "server_label", "namespace", "container_id")
_NAMES: Final = ("id", "object", "model", "status", "service_tier", "truncation", "previous_response_id")
_RESPONSE: Final = frozenset({*_NAMES, "output", "usage"})
_PART: Final = frozenset({"type", "text", "refusal", "transcript", "logprobs", "annotations", "data"})
_REASONING_PARTS: Final = {"reasoning_text": "reasoning", "summary_text": "summary"}
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
    if isinstance(name, str) and name and _says_name(item):
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
    arguments = _arguments(item)
    if arguments and _says_name(item) and not isinstance(item.get("name"), str | None):
        raise Malformed("the answer has a tool call whose name cannot be read")
    calls = [name for name in arguments if item.get(name) is not None] or list(arguments[:1])
    if arguments is _UNKNOWN_CALL:
        calls = [name for name in arguments if item.get(name) is not None]
    for index, name in enumerate(calls):
        members = {"name": tool_of(item, kinds), name: item.get(name)}
        said.calls.append(call(members, choice, index, path, name, whole=True)[0])
    known = {*_LABELS, *calls, *(("name",) if calls and _says_name(item) else ())}
    for name, value in item.items():
        if name in known:
            continue
        place = (*path, name)
        if name == "content":
            _read_parts(said, value, place, choice, "reasoning" if kind == "reasoning" else "content")
        elif name == "summary":
            _read_parts(said, value, place, choice, "summary")
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
    _read_part(said, part, path, choice, "content")
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
        if not delta.drop and not delta.alone:
            count[delta.channel] = count.get(delta.channel, 0) + 1
    joined = {channel for channel, number in count.items() if number > 1}
    if not joined:
        return [delta._replace(alone=True, again=True) for delta in texts], ()
    own = fresh()
    out: list[TextDelta] = []
    for delta in texts:
        if delta.channel in joined and not delta.alone:
            out.append(delta._replace(channel=(own, delta.channel[1]), again=True))
            continue
        out.append(delta._replace(alone=True, again=True))
        if delta.drop:  # a copy of what was said before, and of what is said here
            out.append(copy_of((own, delta.channel[1]), delta.path)._replace(alone=True, again=True))
    return out, (own,)


def _arguments(item: Members) -> tuple[str, ...]:
    """The members that say what a call is to do; none where nothing is called."""
    kind = item.get("type")
    own = _ARGUMENTS.get(kind) if isinstance(kind, str) else None
    if own is None:
        return _UNKNOWN_CALL if str(kind).endswith("_call") or item.get("name") else ()
    return own


def _says_name(item: Members) -> bool:
    kind = item.get("type")
    return kind in _NAMED or kind not in _ARGUMENTS if isinstance(kind, str) else True


def _read_parts(said: Said, parts: Json, path: JsonPath, choice: int, channel: str) -> None:
    if isinstance(parts, list):
        for index, part in enumerate(parts):
            _read_part(said, part, (*path, index), choice, channel)
    else:
        _read_part(said, parts, path, choice, channel)


def _read_part(said: Said, part: Json, path: JsonPath, choice: int, channel: str) -> None:
    """Read a part; a text may stand in the place of its parts, as in requests."""
    if not isinstance(part, dict):
        said.deltas += spoken(choice, channel, part, path)
        return
    kind = part.get("type")
    if isinstance(kind, str):
        channel = _REASONING_PARTS.get(kind, channel)
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
