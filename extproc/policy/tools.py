"""Which tools a request may declare and an answer may call, by name.

What lives here: names and what happens to the rest. What must not: a tool's arguments, how an API spells a tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from typing import Literal

ToolDefault = Literal["strip", "deny", "allow"]


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """``default`` is for tools that no pattern names: strip the declaration, deny the request, or allow."""

    default: ToolDefault
    allowed: re.Pattern[str] | None

    def allows(self, name: str) -> bool:
        """Say whether this tool may be declared and called."""
        return self.default == "allow" or (self.allowed is not None and self.allowed.match(name) is not None)


def compile_tools(default: ToolDefault, patterns: Iterable[str]) -> ToolPolicy:
    """Read the tools that are allowed: exact names and globs, case counts."""
    union = "|".join(translate(pattern) for pattern in patterns)
    return ToolPolicy(default, re.compile(union) if union else None)
