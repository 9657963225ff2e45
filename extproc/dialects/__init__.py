"""The LLM APIs that we speak. To add one: a module here and one line in ``DIALECTS``."""

from __future__ import annotations

import re
from typing import Final

from extproc.chat import Denial
from extproc.dialects.anthropic import AnthropicCountTokens, AnthropicMessages
from extproc.dialects.base import Dialect
from extproc.dialects.gemini import GeminiCountTokens, GeminiEmbed, GeminiGenerate
from extproc.dialects.listings import LISTINGS
from extproc.dialects.llamacpp import (
    LlamaCppApplyTemplate,
    LlamaCppCompletion,
    LlamaCppDetokenize,
    LlamaCppInfill,
    LlamaCppTokenize,
)
from extproc.dialects.mcp import MCP_PATH, Mcp
from extproc.dialects.ollama import OllamaChat, OllamaGenerate
from extproc.dialects.ollama_embed import OllamaEmbed, OllamaEmbeddings
from extproc.dialects.openai_chat import OpenAiChat
from extproc.dialects.openai_completions import OpenAiCompletions
from extproc.dialects.openai_embeddings import OpenAiEmbeddings
from extproc.dialects.openai_responses import OpenAiResponses
from extproc.messages import HttpReply

_OPENAI: Final = OpenAiChat()
_OLLAMA: Final = OllamaChat()
_ANTHROPIC: Final = AnthropicMessages()
_MCP: Final = Mcp()
_GEMINI: Final = GeminiGenerate()

# What Google's clients ask for, also under `/v1/` and for Vertex's names of models.
_GEMINI_VERB: Final = re.compile(r":(?:streamG|g)enerateContent\Z|:(?:embed|batchEmbed)Contents?\Z|:countTokens\Z")

DIALECTS: Final[tuple[Dialect, ...]] = (
    _OPENAI,
    _OLLAMA,
    OllamaGenerate(),
    _ANTHROPIC,
    AnthropicCountTokens(),
    _MCP,
    OpenAiCompletions(),
    LlamaCppCompletion(),
    LlamaCppInfill(),
    LlamaCppTokenize(),
    LlamaCppDetokenize(),
    LlamaCppApplyTemplate(),
    _GEMINI,
    GeminiCountTokens(),
    GeminiEmbed(),
    OpenAiEmbeddings(),
    OllamaEmbed(),
    OllamaEmbeddings(),
    *LISTINGS,
    OpenAiResponses(),
)


def dialect_for(method: str, path: str) -> Dialect | None:
    """The dialect that claims this method and exact path, or None."""
    return next((dialect for dialect in DIALECTS if dialect.claims(method, path)), None)


def refusal_for(path: str, denial: Denial) -> HttpReply:
    """Phrase a refusal for a path that no dialect claims, in the shape its clients most likely read."""
    if path == MCP_PATH:
        return _MCP.refusal(denial)
    if path.startswith("/v1/messages"):
        return _ANTHROPIC.refusal(denial)
    if path.startswith(("/v1beta/", "/v1alpha/")) or _GEMINI_VERB.search(path):
        return _GEMINI.refusal(denial)
    return (_OLLAMA if path.startswith("/api/") else _OPENAI).refusal(denial)
