"""Tools as OpenAI and Ollama declare them: reading the declarations, and taking some of them out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.chat import REMOVED, ChatRequest, Edit, Json, JsonPath, Malformed, ToolDefinition
from extproc.dialects.members import Members, object_, objects, required_string, string
from extproc.dialects.untrusted import Untrusted, strings


def declared_tools(document: Members, untrusted: Untrusted) -> list[ToolDefinition]:
    """Read ``tools``; every string and key in them is listed as text."""
    tools: list[ToolDefinition] = []
    for index, tool in enumerate(objects(document, "tools")):
        path = ("tools", index)
        tools.extend(_definitions(tool, path))
        untrusted.walk("tool_definition", tool, path, keys=True)
    return tools


def _definitions(tool: Members, path: JsonPath) -> Iterator[ToolDefinition]:
    """One declaration may be two tools: some upstreams go by ``type``, others by the presence of ``function``."""
    kind = string(tool, "type") or "function"
    function = object_(tool, "function")
    if function is not None:
        yield ToolDefinition(required_string(function, "name"), path)
    elif kind == "function":
        raise Malformed("a tool must have a 'function'")
    if kind != "function":
        own = tool.get(kind)
        named = string(own, "name") if isinstance(own, dict) else None
        yield ToolDefinition(named or kind, path, kind)


def removal(request: ChatRequest, names: frozenset[str], choices: Sequence[str]) -> tuple[Edit, ...]:
    """The edits that take tools out of a request.

    A list that becomes empty goes as a whole, and then so does every member of ``choices`` (``tool_choice`` ...), which
    upstreams reject without tools; a choice that names a removed tool always goes.
    """
    paths = {tool.path for tool in request.tools if tool.name in names}
    kept = {tool.path for tool in request.tools} - paths
    removed = [Edit(path, REMOVED) for path in sorted(paths, key=repr)]
    emptied = {path[0] for path in paths} - {path[0] for path in kept}
    removed += [Edit((name,), REMOVED) for name in sorted(emptied, key=repr)]
    for choice in choices:
        value: Json = request.document.get(choice)
        if paths and value is not None and (not kept or _names_any(value, names)):
            removed.append(Edit((choice,), REMOVED))
    return tuple(removed)


def _names_any(choice: Json, names: frozenset[str]) -> bool:
    return any(not found.keys and found.text in names for found in strings(choice, ()))
