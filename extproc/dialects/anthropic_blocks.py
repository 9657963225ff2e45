"""The texts of a Messages request: its system prompt, messages and blocks, and the tools that it declares.

A block's members are read by name, whatever its type says, so that one in the wrong type is still read. What is opaque
by its nature (media, what only its maker can decrypt) is counted instead, if it looks it: anything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from extproc.chat import Json, JsonPath, Malformed, Parameter, ToolDefinition
from extproc.dialects.members import Members, object_, objects, required_string, string
from extproc.dialects.untrusted import Untrusted, strings

OPAQUE: Final = re.compile(r"[A-Za-z0-9+/]*+=*+")
"""What base64 looks like. No sentence does, which has spaces, nor most keys, which have dashes."""

ENCRYPTED: Final = frozenset({"encrypted_content", "encrypted_index", "encrypted_stdout"})
"""Members that only the API can read. It takes them back as they were."""

# A signature holds all of the thinking, of which the text beside it may be a summary.
_OPAQUE_MEMBERS: Final = frozenset({("redacted_thinking", "data"), ("thinking", "signature")})
_SPOKEN: Final = ("text", "thinking")
_ROLES: Final = ("user", "assistant", "system")
_MEDIA: Final = {
    "image": "image",
    "image_url": "image",  # this and the next are no Messages types, but servers of several APIs share their readers
    "input_image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "file",
    "container_upload": "file",
}
_READ_SOURCES: Final = frozenset({"text", "content"})
_SCOPES: Final = {
    "tool_use": "assistant",
    "server_tool_use": "assistant",
    "mcp_tool_use": "assistant",
    "document": "document",
    "search_result": "document",
    "web_search_tool_result": "document",
    "web_fetch_tool_result": "document",
    "tool_addition": "tool_definition",
    "tool_removal": "tool_definition",
    "mcp_tool_listing": "tool_definition",
}
_TYPES: Final = frozenset({*_SCOPES, *_MEDIA, *_READ_SOURCES, "thinking", "redacted_thinking", "base64", "url"})


def result_scope(kind: str) -> str | None:
    """The scope of a block that is the result of a tool: what was retrieved is a document; None for other blocks."""
    if kind.endswith("tool_result"):
        return _SCOPES.get(kind, "tool_result")
    return None


@dataclass(slots=True)
class Reader:
    """Lists the texts of one request, and the tools that its messages declare."""

    untrusted: Untrusted
    tools: list[ToolDefinition]

    def system(self, document: Members) -> None:
        """List the system prompt: a string or blocks."""
        self._content("system", document.get("system"), ("system",), -1)

    def messages(self, document: Members) -> Iterator[Parameter]:
        """List all messages; give the pseudo settings among them.

        Raises:
            Malformed: there are none, or one is not a message.
        """
        if document.get("messages") is None:
            raise Malformed("'messages' is required")
        role = ""
        messages = objects(document, "messages")
        for index, message in enumerate(messages):
            scope, role = self.untrusted.role(message, index), required_string(message, "role")
            if role not in _ROLES:
                yield Parameter("unknown_role", ("messages", index, "role"), None)
            for name, value in message.items():
                path = ("messages", index, name)
                if name == "content":
                    self._content(scope, value, path, index)
                elif name != "role":
                    self._unknown(scope, value, path, index)
        if role == "assistant":
            yield Parameter("prefill", ("messages", len(messages) - 1), None)

    def declarations(self, document: Members) -> None:
        """List the declared tools, and the servers that are to be asked for theirs."""
        for index, tool in enumerate(objects(document, "tools")):
            self._declared(tool, ("tools", index))
            self.untrusted.walk("tool_definition", tool, ("tools", index), keys=True)
        for index, server in enumerate(objects(document, "mcp_servers")):
            path = ("mcp_servers", index)
            self.tools.append(ToolDefinition(required_string(server, "name"), path, "mcp"))
            self.untrusted.walk("tool_definition", server, path, keys=True)

    # ---- tools ----

    def _declared(self, tool: Members, path: JsonPath) -> None:
        """One declaration: a function, a tool of the API's own, or all tools of a server."""
        kind = string(tool, "type") or "custom"
        if kind == "mcp_toolset":
            self.tools.append(ToolDefinition(required_string(tool, "mcp_server_name"), path, "mcp"))
        elif kind == "custom":
            self.tools.append(ToolDefinition(required_string(tool, "name"), path))
        else:
            self.tools.append(ToolDefinition(string(tool, "name") or kind, path, kind))

    # ---- blocks ----

    def _content(self, scope: str, content: Json, path: JsonPath, message: int) -> None:
        if content is None or isinstance(content, str):
            self.untrusted.add(scope, content or "", path, message)
        elif isinstance(content, list):
            for index, block in enumerate(content):
                self._block(scope, block, (*path, index), message)
        else:
            raise Malformed("'content' must be a string or an array of blocks")

    def _block(self, scope: str, block: Json, path: JsonPath, message: int) -> None:
        if isinstance(block, str):
            self.untrusted.add(scope, block, path, message)
            return
        if not isinstance(block, dict):
            raise Malformed("'content' must be a string or an array of blocks")
        kind = string(block, "type") or ""
        if scope != "tool_result":  # all that stands in a tool's result is what the tool said
            scope = result_scope(kind) or _SCOPES.get(kind, scope)
        if kind in _MEDIA:
            self.untrusted.not_inspected.append(_MEDIA[kind])
        if kind == "tool_addition":
            self._addition(block, path)
        for name, value in block.items():
            self._member(kind, scope, name, value, (*path, name), message)

    def _member(self, kind: str, scope: str, name: str, value: Json, path: JsonPath, message: int) -> None:
        if name == "type":
            if kind not in _TYPES and not result_scope(kind):
                self.untrusted.add(scope, kind, path, message)
        elif name == "content" and isinstance(value, list):
            self._content(scope, value, path, message)
        elif name == "content" and isinstance(value, dict):  # of a server's tools: one block, not a list of them
            self._block(scope, value, path, message)
        elif name == "source" and isinstance(value, dict):
            self._source(kind, scope, value, path, message)
        elif name == "input" and isinstance(value, str):
            self.untrusted.arguments(value, path, message)
        elif name == "input":
            self.untrusted.walk(scope, value, path, message, keys=True)
        elif name in _SPOKEN and isinstance(value, bool | int | float):
            raise Malformed(f"'{name}' must be a string")
        elif (kind, name) in _OPAQUE_MEMBERS:
            self._encrypted(scope, value, path, message)
        elif name == "citations" and scope != "tool_result":
            self._unknown("document", value, path, message)
        else:
            self._unknown(scope, value, path, message)

    def _source(self, kind: str, scope: str, source: Members, path: JsonPath, message: int) -> None:
        """Where media or a document come from. Nothing reads them unless they are there as text."""
        form = string(source, "type") or ""
        if kind == "document" and form not in _READ_SOURCES:
            self.untrusted.not_inspected.append("file")
        for name, value in source.items():
            place = (*path, name)
            media = name == "data" and form == "base64" and kind in ("image", "document")
            if media and isinstance(value, str) and OPAQUE.fullmatch(value):
                continue
            self._member(form, scope, name, value, place, message)

    def _addition(self, block: Members, path: JsonPath) -> None:
        """A tool that comes in in the middle of the conversation, if it is not one that was declared before."""
        definition = object_(object_(block, "tool") or {}, "definition")
        if definition is not None:
            self._declared(definition, path)

    # ---- anything else ----

    def _unknown(self, scope: str, value: Json, path: JsonPath, message: int) -> None:
        """List all strings and keys. Servers with readers of their own take ``tool_calls`` from any message."""
        self.untrusted.name(scope, path, message)
        for found in strings(value, path):
            if found.keys:
                self.untrusted.add(scope, found.text, found.path, message)
            elif found.path[-1] in ENCRYPTED:
                self._encrypted(scope, found.text, found.path, message)
            elif found.path[-1] == "arguments":
                self.untrusted.arguments(found.text, found.path, message)
            else:
                self.untrusted.add(scope, found.text, found.path, message)

    def _encrypted(self, scope: str, value: Json, path: JsonPath, message: int) -> None:
        if value:
            self.untrusted.not_inspected.append("encrypted")
        if not (isinstance(value, str) and OPAQUE.fullmatch(value)):
            self.untrusted.walk(scope, value, path, message, keys=True)
