"""Ollama's embeddings, the newer API of many inputs and the older one of one prompt."""

from __future__ import annotations

from typing import Final

from extproc.chat import ChatRequest, Malformed, RequestHead
from extproc.dialects.documents import OneDocument
from extproc.dialects.members import Members, fields, required_string, string
from extproc.dialects.ollama import OPTION_SETTINGS, OPTIONS, error
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.untrusted import Untrusted
from extproc.strict_json import JsonLimits, read

_KNOWN: Final[Names] = {**OPTION_SETTINGS, **named("truncate", "dimensions", "keep_alive")}
_NAMES: Final = ("model", "truncate", "dimensions", "keep_alive")


class _Embeds(OneDocument):
    """What both APIs share."""

    name: str
    named_only = False
    phrase = staticmethod(error)
    _path: str
    _text: str

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this API's."""
        return method == "POST" and path == self._path

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly. One without a text is Ollama's way to load a model."""
        document = read(body, fields(*_NAMES, self._text, options=OPTIONS), limits)
        untrusted = Untrusted()
        self._read_text(document, untrusted)
        untrusted.parameters(document, ("model", self._text))
        return ChatRequest(
            dialect=self.name,
            model=required_string(document, "model"),
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            settings=read_settings(document, _KNOWN, ("model", self._text)),
        )

    def _read_text(self, document: Members, untrusted: Untrusted) -> None:
        untrusted.add("user", string(document, self._text) or "", (self._text,))


class OllamaEmbed(_Embeds):
    """``POST /api/embed``."""

    name = "ollama.embed"
    _path = "/api/embed"
    _text = "input"

    def _read_text(self, document: Members, untrusted: Untrusted) -> None:
        value = document.get("input")
        if not isinstance(value, list):
            super()._read_text(document, untrusted)
            return
        for index, text in enumerate(value):
            if not isinstance(text, str):
                raise Malformed("'input' must be a string or an array of strings")
            untrusted.add("user", text, ("input", index))


class OllamaEmbeddings(_Embeds):
    """``POST /api/embeddings``."""

    name = "ollama.embeddings"
    _path = "/api/embeddings"
    _text = "prompt"
