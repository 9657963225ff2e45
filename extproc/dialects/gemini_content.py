"""What a Gemini request says: its contents and parts, its tools, its settings, and what of it no detector can read.

What is not known here is still inspected: in a part as the part's own text, anywhere else as a parameter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Final

from extproc.chat import REMOVED, ChatRequest, Edit, Json, JsonPath, Malformed, ToolDefinition
from extproc.dialects.gemini_names import camel, each, member, spelled
from extproc.dialects.members import Members, flag, largest, object_, required_string, string
from extproc.dialects.notes import in_text
from extproc.dialects.untrusted import Untrusted, is_base64, strings
from extproc.strict_json import read_answer

_SCOPES: Final = {"user": "user", "model": "assistant", "function": "tool_result"}
_PART_SCOPES: Final = {
    "functionCall": "assistant",
    "toolCall": "assistant",
    "functionResponse": "tool_result",
    "codeExecutionResult": "tool_result",
    "toolResponse": "tool_result",
}
_MEDIA: Final = ("image", "audio", "video")
_PLAIN_PARAMETERS: Final = frozenset({"", "charset=utf-8", "charset=us-ascii"})
_SAMPLES: Final = frozenset({"voiceSampleAudio", "consentAudio"})  # audio data among the settings of a voice
_MODALITIES: Final = frozenset({*_MEDIA, "text", "modality_unspecified"})
_DECLARED: Final = "functionDeclarations"


# ---- contents ----------------------------------------------------------------------------------------------------


def read_content(untrusted: Untrusted, content: Members, path: JsonPath, message: int, scope: str = "") -> None:
    """List one content; ``scope`` is for one whose place says who speaks. A role that is not the API's is text, too."""
    name = spelled(content, "role")
    role = string(content, name) or "user"
    if role not in _SCOPES and not (scope and role == scope):
        untrusted.add(scope or "user", role, (*path, name), message)
    scope = scope or _SCOPES.get(role, "user")
    for place, part in each(content, "parts", path):
        _read_part(untrusted, part, place, message, scope)
    for name, value in content.items():
        if name not in ("role", "parts"):
            untrusted.walk(scope, value, (*path, name), message, keys=True)


def unknown_roles(document: Members, path: JsonPath) -> Iterator[JsonPath]:
    """Where contents name a role that the API does not define."""
    for place, content in each(document, "contents", path):
        if content.get("role") not in (None, "", *_SCOPES):
            yield (*place, "role")


def last_of_model(document: Members, path: JsonPath) -> JsonPath | None:
    """Where the last content stands, if it is the model's: a beginning of the answer that the client puts there."""
    last = None
    for place, content in each(document, "contents", path):
        last = place if content.get("role") == "model" else None
    return last


def _read_part(untrusted: Untrusted, part: Members, path: JsonPath, message: int, scope: str) -> None:
    for name, value in part.items():
        field, place = camel(name), (*path, name)
        if field == "text":
            untrusted.add(scope, string(part, name) or "", place, message)
        elif field == "thought":
            flag(part, name)
        elif field == "thoughtSignature":
            untrusted.not_inspected += ["encrypted"] if string(part, name) else []
        elif field == "inlineData":
            _read_blob(untrusted, object_(part, name) or {}, place, message)
        elif field == "fileData":
            _read_file(untrusted, object_(part, name), place, message)
        elif field == "functionResponse":
            _read_response(untrusted, object_(part, name) or {}, place, message)
        else:
            untrusted.walk(_PART_SCOPES.get(field, scope), value, place, message, keys=True)


def _read_response(untrusted: Untrusted, response: Members, path: JsonPath, message: int) -> None:
    for place, part in each(response, "parts", path):
        _read_part(untrusted, part, place, message, "tool_result")
    for name, value in response.items():
        if name != "parts":
            untrusted.walk("tool_result", value, (*path, name), message, keys=True)


def _read_file(untrusted: Untrusted, file: Members | None, path: JsonPath, message: int) -> None:
    if file is not None:
        untrusted.not_inspected.append(media_kind(string(file, spelled(file, "mimeType")) or ""))
        untrusted.walk("document", dict(file), path, message, keys=True)


def _read_blob(untrusted: Untrusted, blob: Members, path: JsonPath, message: int) -> None:
    kind = string(blob, spelled(blob, "mimeType")) or ""
    for name, value in blob.items():
        if name != "data":
            untrusted.walk("document", value, (*path, name), message, keys=True)
    data = string(blob, "data")
    said = plain_text(kind, data or "")
    if said is None:
        untrusted.not_inspected.append(media_kind(kind))
        said = [] if is_base64(data or "") else [data or ""]
    for text in said:
        # The path leads to other text than this, so that it is refused where it would have to be edited.
        untrusted.add("document", text, (*path, "data"), message)


def media_kind(mime_type: str) -> str:
    """What a MIME type says is there, as one of ``UNSEEN``."""
    kind = mime_type.strip().lower().partition("/")[0]
    return kind if kind in _MEDIA else "file"


def plain_text(mime_type: str, data: str) -> list[str] | None:
    """What base64 data of a textual type says: its text, and each string of it if it is JSON.

    None where it is not text, or says to be but cannot be read.
    """
    essence, _, parameters = mime_type.strip().lower().partition(";")
    textual = essence.startswith("text/") and essence != "text/rtf"
    if not (textual or essence == "application/json") or parameters.strip() not in _PLAIN_PARAMETERS:
        return None
    try:
        padded = data.rstrip("=") + "=" * (-len(data.rstrip("=")) % 4)
        text = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    if "\0" in text:  # UTF-16, or not text at all
        return None
    try:
        escaped = strings(read_answer(text.encode()), ()) if "\\" in text else ()
    except Malformed:
        return [text]
    return [text, *(found.text for found in escaped)]


# ---- settings ----------------------------------------------------------------------------------------------------


def read_parameter(untrusted: Untrusted, value: Json, path: JsonPath) -> None:
    """List what a setting says."""
    for found in strings(value, path):
        names = [camel(step) for step in found.path if isinstance(step, str)]
        if not found.keys and names[-2:] == ["generationConfig", "stopSequences"]:
            untrusted.add("steering", found.text, found.path)  # what generation stops at reaches no prompt
        elif not found.keys and names[-1] in _SAMPLES:
            untrusted.not_inspected.append("audio")
        else:
            untrusted.add("parameter", found.text, found.path)


def generation_limits(document: Members) -> dict[str, int]:
    """What limits speak of."""
    config = object_(document, spelled(document, "generationConfig")) or {}
    asked = {
        "max_tokens": largest(config, (spelled(config, "maxOutputTokens"),), unbounded_at=0),
        "choices": largest(config, (spelled(config, "candidateCount"),)),
    }
    return {name: value for name, value in asked.items() if value is not None}


def media_asked_for(document: Members) -> Iterator[str]:
    """The media that the answer is to have, as ``UNSEEN`` names them.

    Raises:
        Malformed: it is not said by name.
    """
    config = object_(document, spelled(document, "generationConfig")) or {}
    asked = member(config, "responseModalities")
    for modality in asked if isinstance(asked, list) else [asked]:
        if modality is None:
            continue
        if not isinstance(modality, str) or modality.lower() not in _MODALITIES:
            raise Malformed("'responseModalities' must hold names of modalities")
        if modality.lower() in _MEDIA:
            yield modality.lower()
    for _, form in each(config, "responseFormat", ()):
        yield from (name for name, value in form.items() if name in _MEDIA and value is not None)


# ---- tools -------------------------------------------------------------------------------------------------------


def read_tools(untrusted: Untrusted, document: Members, path: JsonPath) -> list[ToolDefinition]:
    """List the tools: each declared function, and each other member as a tool of the API's own.

    Raises:
        Malformed: one cannot be read, or a choice asks for calls in pieces, which nobody here puts together.
    """
    tools: list[ToolDefinition] = []
    for place, tool in each(document, "tools", path):
        for at, function in each(tool, _DECLARED, place):
            tools.append(ToolDefinition(required_string(function, "name"), at))
        for name, value in tool.items():
            if camel(name) != _DECLARED and value is not None:
                tools.append(ToolDefinition(camel(name), (*place, name), camel(name)))
        untrusted.walk("tool_definition", tool, place, keys=True)
    calling = _calling(document)
    if flag(calling, spelled(calling, "streamFunctionCallArguments")):
        raise Malformed("'streamFunctionCallArguments' is not accepted")
    return tools


def removal(request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
    """The edits that take tools out of a request, and whatever would be left empty.

    The ``toolConfig`` goes with the last tool, and where it allows calls of one that was removed.
    """
    removed = {tool.path for tool in request.tools if tool.name in names}
    edits: list[Edit] = []
    for prefix, members in requests_in(request.document):
        gone = {path for path in removed if path[: len(prefix)] == prefix and camel(str(path[len(prefix)])) == "tools"}
        if not gone:
            continue
        name = spelled(members, "tools")
        below = _removals(members[name], (*prefix, name), gone)
        edits += below
        choice = spelled(members, "toolConfig")
        emptied = below == [Edit((*prefix, name), REMOVED)]
        if members.get(choice) is not None and (emptied or _allowed(members) & names):
            edits.append(Edit((*prefix, choice), REMOVED))
    return tuple(edits)


def note_edits(document: Members, note: str) -> tuple[Edit, ...]:
    """The edits that put a note into the system instruction; none beside a cache, which brings its own."""
    if member(document, "cachedContent") is not None:
        return ()
    name = spelled(document, "systemInstruction")
    said = document.get(name)
    if not isinstance(said, dict):
        return (Edit((name,), {"parts": [{"text": note}]}),) if not said else in_text(said, (name,), note)
    field = spelled(said, "parts")
    parts = said.get(field)
    part: dict[str, Json] = {"text": note}
    if isinstance(parts, list):
        return (Edit((name, field, len(parts)), part, "before"),)
    if isinstance(parts, dict):
        return in_text(parts.get("text"), (name, field, "text"), note)
    return (Edit((name, field), [part]),)


def requests_in(document: Members) -> Iterator[tuple[JsonPath, Members]]:
    """Where a document speaks of generating: at its top, and in ``generateContentRequest`` (which counts tokens)."""
    yield (), document
    name = spelled(document, "generateContentRequest")
    inner = document.get(name)
    if isinstance(inner, dict):
        yield (name,), inner


def _removals(value: Json, path: JsonPath, gone: Iterable[JsonPath]) -> list[Edit]:
    """The edits below a place; one for the place itself where nothing would be left there."""
    if path in gone:
        return [Edit(path, REMOVED)]
    if not any(each[: len(path)] == path for each in gone):
        return []
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [(step, _removals(inner, (*path, step), gone)) for step, inner in held if inner is not None]
    if all(edits == [Edit((*path, step), REMOVED)] for step, edits in below):
        return [Edit(path, REMOVED)]
    return [edit for _, edits in below for edit in edits]


def _calling(document: Members) -> Members:
    config = object_(document, spelled(document, "toolConfig")) or {}
    return object_(config, spelled(config, "functionCallingConfig")) or {}


def _allowed(document: Members) -> set[str]:
    return {found.text for found in strings(member(_calling(document), "allowedFunctionNames"), ()) if not found.keys}
