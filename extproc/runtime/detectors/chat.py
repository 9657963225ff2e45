"""A guard model behind an OpenAI-compatible chat API (Ollama, vLLM, llama.cpp): its words become a score of 0 or 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from extproc.policy.external import PLACE, ChatDetector
from extproc.runtime.detectors.base import Unanswered, need_key
from extproc.runtime.detectors.http import Endpoint
from extproc.runtime.detectors.prompts import harmless, prompt_of

_ANSWER_TOKENS: Final = 24


def prepared(document: ChatDetector, _folder: Path, environ: Mapping[str, str]) -> ChatDetector:
    """See that there is a key, if one is named.

    Raises:
        DetectorError: there is none.
    """
    need_key(document.api_key_env, environ)
    return document


def connect(document: ChatDetector) -> ChatClient:
    """A client for it."""
    return ChatClient(document)


class ChatClient:
    """Asks a guard model about one text at a time."""

    def __init__(self, document: ChatDetector) -> None:
        self._endpoint: Final = Endpoint(document.url, document.api_key_env)
        self._model: Final = document.model
        self._system: Final = [] if document.system is None else [{"role": "system", "content": document.system}]
        self._prompt: Final = prompt_of(document)

    async def start(self) -> None:
        """Nothing to do: each question has its own connection."""

    async def ask(self, scope: str, text: str) -> float:  # noqa: ARG002 - guard models know no scopes
        """1 for what the model calls unsafe, 0 for what it calls safe; anything else it says is no answer."""
        content = self._prompt.template.replace(PLACE, harmless(text))
        document = {
            "model": self._model,
            "messages": [*self._system, {"role": "user", "content": content}],
            "stream": False,
            "temperature": 0,
            "max_tokens": _ANSWER_TOKENS,
        }
        score = self._prompt.read(_content(await self._endpoint.post(document)))
        if score is None:
            raise Unanswered("garbage")
        return score

    async def close(self) -> None:
        """Nothing to do."""


def _content(answer: Any) -> str:
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise Unanswered("garbage") from None
    if not isinstance(content, str):
        raise Unanswered("garbage")
    return content
