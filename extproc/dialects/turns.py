"""What a conversation's roles set, beside what its messages say: settings that are no members of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from extproc.chat import Parameter
from extproc.dialects.members import Members


def turn_settings(messages: Sequence[Members], roles: Collection[str]) -> Iterator[Parameter]:
    """``unknown_role`` for each message whose role is none of ``roles``; ``prefill`` where the model's turn comes last.

    Most servers have the model go on with a last message of the assistant as if it had said so itself.
    """
    for index, message in enumerate(messages):
        if message.get("role") not in roles:
            yield Parameter("unknown_role", ("messages", index, "role"), None)
    if messages and messages[-1].get("role") == "assistant":
        yield Parameter("prefill", ("messages", len(messages) - 1), None)
