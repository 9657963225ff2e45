"""A note of ours in a request, where its system speaks: behind what the system prompt says, or as a prompt of its own.

What lives here: the shapes that several APIs share. What must not: what the note says. Where a request has no such
place there are no edits, and the note does not leave: it must never speak as the user.
"""

from __future__ import annotations

from typing import Final

from extproc.chat import Edit, Json, JsonPath
from extproc.dialects.members import Members

_SYSTEM: Final = ("system", "developer")


def in_member(members: Members, name: str, note: str) -> tuple[Edit, ...]:
    """Behind a member that is a text, or as that member where it is not there."""
    value = members.get(name)
    if value is None or value == "":
        return (Edit((name,), note),)
    return in_text(value, (name,), note)


def in_text(value: Json, path: JsonPath, note: str) -> tuple[Edit, ...]:
    """Behind a text."""
    return (Edit(path, f"\n\n{note}", "behind"),) if isinstance(value, str) and value else ()


def in_blocks(value: Json, path: JsonPath, note: str) -> tuple[Edit, ...]:
    """As the last text block of an array, or behind a text."""
    if not isinstance(value, list):
        return in_text(value, path, note)
    return (Edit((*path, len(value)), {"type": "text", "text": note}, "before"),)


def in_messages(members: Members, note: str, *, blocks: bool = True) -> tuple[Edit, ...]:
    """In the message that a conversation begins with, or before it as a message of its own."""
    messages = members.get("messages")
    if not isinstance(messages, list):
        return ()
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") in _SYSTEM:
        path: JsonPath = ("messages", 0, "content")
        said = first.get("content")
        edits = in_blocks(said, path, note) if blocks else in_text(said, path, note)
        if edits:
            return edits
    return (Edit(("messages", 0), {"role": "system", "content": note}, "before"),)
