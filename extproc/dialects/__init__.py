"""The LLM APIs that we speak. To add one: a module here and one line in ``DIALECTS``."""

from __future__ import annotations

from typing import Final

from extproc.chat import Denial
from extproc.dialects.base import Dialect
from extproc.dialects.ollama import OllamaChat, OllamaGenerate
from extproc.dialects.openai_chat import OpenAiChat
from extproc.messages import HttpReply

_OPENAI: Final = OpenAiChat()
_OLLAMA: Final = OllamaChat()

DIALECTS: Final[tuple[Dialect, ...]] = (_OPENAI, _OLLAMA, OllamaGenerate())


def dialect_for(method: str, path: str) -> Dialect | None:
    """The dialect that claims this method and exact path, or None."""
    return next((dialect for dialect in DIALECTS if dialect.claims(method, path)), None)


def refusal_for(path: str, denial: Denial) -> HttpReply:
    """Phrase a refusal for a path that no dialect claims, in the shape its clients most likely read."""
    return (_OLLAMA if path.startswith("/api/") else _OPENAI).refusal(denial)
