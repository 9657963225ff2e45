"""What a request may say to the template that prints its conversation into a prompt.

llama.cpp, vLLM and SGLang let a request bring a template of its own, and arguments for the server's.
"""

from __future__ import annotations

from typing import Final

from extproc.chat import Malformed
from extproc.dialects.members import Members, object_

_ARGUMENTS: Final = "chat_template_kwargs"
# Arguments of these names take the place of what the template would print otherwise.
_OWN: Final = frozenset(
    {
        *("messages", "conversation", "tools", "functions", "custom_tools", "builtin_tools", "documents"),
        *("chat_template", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token"),
    }
)
_LONGEST_CHARS: Final = 64


def check_template_arguments(document: Members) -> None:
    """Refuse arguments that would put another conversation, or other tools, in the place of those that are judged.

    Raises:
        Malformed: there are such.
    """
    for name, value in (object_(document, _ARGUMENTS) or {}).items():
        long = isinstance(value, str) and len(value) > _LONGEST_CHARS
        if name in _OWN or long or isinstance(value, dict | list):
            raise Malformed(f"'{_ARGUMENTS}' may hold switches and short values only")
