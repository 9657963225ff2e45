"""What models there are, as OpenAI and Ollama tell it. Served only where the policy names the endpoint.

What a list says comes from whoever made the models, and one model's details hold its template and its system prompt:
all of it is read. None of these answers is a conversation, so there is no message to show: a refusal is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from extproc.chat import ChatRequest, Denial, Malformed, RequestHead
from extproc.dialects.documents import OneDocument
from extproc.dialects.members import fields, flag, string
from extproc.dialects.ollama import OPTION_SETTINGS, OPTIONS
from extproc.dialects.ollama import error as ollama_error
from extproc.dialects.openai_chat import error as openai_error
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.untrusted import Untrusted
from extproc.strict_json import JsonLimits, read

# One word to a segment, and no dots alone: nothing that says more than a model's name can.
_MODEL: Final = re.compile(r"/v1/models(?:/[A-Za-z0-9_@+~:-][A-Za-z0-9_.@+~:-]*)*")
_SHOWN: Final = fields("model", "name", "verbose", "system", "template", options=OPTIONS)
_SHOW_KNOWN: Final[Names] = {**OPTION_SETTINGS, **named("verbose", "template")}


class Listing(OneDocument):
    """A ``GET`` of these paths, which names no model and has no body."""

    named_only = True

    def __init__(self, name: str, path: str, phrase: Callable[[Denial], bytes]) -> None:
        self.phrase = phrase
        self.name = name
        self._path: Final = re.compile(path)

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and path is this list's."""
        return method == "GET" and self._path.fullmatch(path) is not None

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Make sure that there is nothing to read."""
        if body:
            raise Malformed("a GET request may not have a body")
        return ChatRequest(self.name, "", stream=False, document={}, names_model=False)


class OllamaShow(OneDocument):
    """``POST /api/show``: all about one model, which must be one that the policy allows."""

    name = "ollama.show"
    named_only = True
    phrase = staticmethod(ollama_error)

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this API's."""
        return method == "POST" and path == "/api/show"

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly. ``name`` is an older name of ``model``."""
        document = read(body, _SHOWN, limits)
        models = {string(document, name) or "" for name in ("model", "name")} - {""}
        if len(models) != 1:
            raise Malformed("'model' is required, and 'name' may name no other")
        flag(document, "verbose")
        untrusted = Untrusted()
        for name, value in document.items():
            if name in ("system", "template"):
                untrusted.add("system", string(document, name) or "", (name,))
            elif name not in ("model", "name"):
                untrusted.parameter(name, value)
        return ChatRequest(
            dialect=self.name,
            model=models.pop(),
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            settings=read_settings(document, _SHOW_KNOWN, ("model", "name", "system")),
        )


LISTINGS: Final = (
    Listing("openai.models", _MODEL.pattern, openai_error),
    Listing("ollama.tags", "/api/tags", ollama_error),
    Listing("ollama.version", "/api/version", ollama_error),
    Listing("ollama.ps", "/api/ps", ollama_error),
    OllamaShow(),
)
