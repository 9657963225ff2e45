"""What a request of OpenAI's responses API says: the items of ``input`` and the declarations of tools.

What lives here: whose text an item is, what in it nobody can read, and which tools are declared, in ``tools`` or in an
item. What must not: settings, answers. An item or member that is not known is inspected as the user's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.chat import Json, JsonPath, Malformed, Parameter, ToolDefinition
from extproc.dialects.members import Members, object_, objects, required_string, string
from extproc.dialects.untrusted import ROLE_SCOPES, Untrusted, is_base64

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_SCOPES: Final = {
    **dict.fromkeys(
        (
            *("function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call"),
            *("apply_patch_call", "mcp_call", "mcp_approval_request", "web_search_call", "file_search_call"),
            *("code_interpreter_call", "image_generation_call", "tool_search_call", "reasoning", "program"),
        ),
        "assistant",
    ),
    **dict.fromkeys(
        (
            *("function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output"),
            *("shell_call_output", "apply_patch_call_output", "program_output"),
        ),
        "tool_result",
    ),
    **dict.fromkeys(("mcp_list_tools", "additional_tools", "tool_search_output"), "tool_definition"),
}
_MEMBER_SCOPES: Final = {
    ("mcp_call", "output"): "tool_result",
    ("mcp_call", "error"): "tool_result",
    ("code_interpreter_call", "outputs"): "tool_result",
    ("file_search_call", "results"): "document",
    ("web_search_call", "results"): "document",
}
_LISTING: Final = "mcp_list_tools"  # says what a server of a declared tool offers, and declares nothing
_NAMED_TOOLS: Final = frozenset({"function", "custom"})

# What a part carries that nobody reads, by the part's type, and by its own name where the type is not known.
_MEDIA_PARTS: Final = {
    "input_image": "image",
    "computer_screenshot": "image",
    "image": "image",
    "input_audio": "audio",
    "output_audio": "audio",
    "input_video": "video",
    "input_file": "file",
}
_MEDIA_MEMBERS: Final = frozenset(
    {"image_url", "file_id", "file_data", "file_url", "filename", "input_audio", "data", "url", "video_url"}
)
_ENCODED: Final = {"encrypted_content": "encrypted", "result": "image"}


def read_input(document: Members, untrusted: Untrusted) -> tuple[list[ToolDefinition], list[Parameter]]:
    """List the texts of ``input``; return the tools that its items declare, and the settings that it amounts to.

    Raises:
        Malformed: it is neither a text nor an array of items.
    """
    value = document.get("input")
    if value is None or isinstance(value, str):
        untrusted.add("user", value or "", ("input",), 0)
        return [], []
    if not isinstance(value, list):
        raise Malformed("'input' must be a string or an array of items")
    tools: list[ToolDefinition] = []
    settings: list[Parameter] = []
    items = objects(document, "input")
    for index, item in enumerate(items):
        path = ("input", index)
        kind = _kind(item)
        if kind == "message":
            scope, unknown = _role(item, path, untrusted)
            settings += unknown
        else:
            scope = _SCOPES.get(kind, "user")
        if kind != _LISTING:
            tools += declared(objects(item, "tools"), (*path, "tools"))
        _read_item(item, kind, scope, path, untrusted)
    if items and (_kind(items[-1]) == "reasoning" or items[-1].get("role") == "assistant"):
        settings.append(Parameter("prefill", ("input", len(items) - 1), None))
    return tools, settings


def read_variables(prompt: Members, untrusted: Untrusted) -> None:
    """List what is put into a prompt that the server holds: the template itself is the server's, and not seen."""
    variables = object_(prompt, "variables") or {}
    untrusted.add("user", "\n".join(variables), ("prompt", "variables"))
    for name, value in variables.items():
        _read_content("user", value, ("prompt", "variables", name), -1, untrusted)


def declared(tools: list[dict[str, Json]], path: JsonPath) -> list[ToolDefinition]:
    """The tools of a list. A function has its own name, a built-in tool the API's; a name space has several tools.

    Raises:
        Malformed: a function without a name.
    """
    return [found for index, tool in enumerate(tools) for found in _definitions(tool, (*path, index))]


def _definitions(tool: Members, path: JsonPath) -> Iterator[ToolDefinition]:
    kind = required_string(tool, "type")
    if kind == "namespace":
        yield from declared(objects(tool, "tools"), (*path, "tools"))
        return
    # Some upstreams read the form of chat completions, too, so a declaration may be two tools.
    inner = [tool.get(each) for each in sorted(_NAMED_TOOLS)]
    names = {string(own, "name") for own in inner if isinstance(own, dict)}
    names.add(string(tool, "name") if kind in _NAMED_TOOLS else kind)
    names.discard(None)
    if not names:
        raise Malformed("a tool must have a 'name'")
    for name in sorted(filter(None, names)):
        yield ToolDefinition(name, path, kind)


def _kind(item: Members) -> str:
    """What an item is: clients may leave out that it is a message, or a reference."""
    kind = string(item, "type")
    if kind is None:
        return "message" if "role" in item else "item_reference" if item.keys() <= {"id"} else "message"
    return kind


def _role(item: Members, path: JsonPath, untrusted: Untrusted) -> tuple[str, list[Parameter]]:
    role = required_string(item, "role")
    if role in ROLES:
        return ROLE_SCOPES[role], []
    place = (*path, "role")
    untrusted.add("user", role, place, _message(path))
    return ROLE_SCOPES.get(role, "user"), [Parameter("unknown_role", place, None)]


def _read_item(item: Members, kind: str, scope: str, path: JsonPath, untrusted: Untrusted) -> None:
    message = _message(path)
    if kind == "item_reference":
        untrusted.not_inspected.append("history")
    if kind not in _SCOPES and kind != "message":
        untrusted.add(scope, kind, (*path, "type"), message)
    for name, value in item.items():
        place = (*path, name)
        own = _MEMBER_SCOPES.get((kind, name), scope)
        if name == "type" or (name == "role" and kind == "message"):
            continue
        if name in ("content", "output", "outputs", "summary"):
            _read_content(own, value, place, message, untrusted)
        elif name in ("arguments", "input") and isinstance(value, str) and own == "assistant":
            untrusted.arguments(value, place, message)
        elif value is not None and (
            name == "encrypted_content" or (name == "result" and kind == "image_generation_call")
        ):
            untrusted.not_inspected.append(_ENCODED[name])
            if not isinstance(value, str) or not is_base64(value):
                untrusted.walk(own, value, place, message, keys=True)
        elif name in _MEDIA_MEMBERS and kind in _MEDIA_PARTS and value is not None:
            untrusted.media(_MEDIA_PARTS[kind], value, place, message, scope=own)
        else:
            untrusted.walk(own, value, place, message, keys=True)


def _read_content(scope: str, content: Json, path: JsonPath, message: int, untrusted: Untrusted) -> None:
    """Read a text, a part, or an array of those."""
    if content is None:
        return
    if isinstance(content, str):
        untrusted.add(scope, content, path, message)
    elif isinstance(content, dict):
        _read_part(scope, content, path, message, untrusted)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, str | dict):
                raise Malformed("'content' must be a string or an array of parts")
            _read_content(scope, part, (*path, index), message, untrusted)
    else:
        raise Malformed("'content' must be a string or an array of parts")


def _read_part(scope: str, part: Members, path: JsonPath, message: int, untrusted: Untrusted) -> None:
    kind = string(part, "type") or ""
    media = _MEDIA_PARTS.get(kind)
    if media is None:
        untrusted.part(scope, dict(part), path, message)
        return
    untrusted.not_inspected.append(media)
    for name, value in part.items():
        if name in _MEDIA_MEMBERS:
            beside = Untrusted()
            beside.media(media, value, (*path, name), message, scope=scope)
            untrusted.texts += beside.texts
        elif name != "type":
            untrusted.walk(scope, value, (*path, name), message, keys=True)


def _message(path: JsonPath) -> int:
    index = path[1]
    assert isinstance(index, int)
    return index
