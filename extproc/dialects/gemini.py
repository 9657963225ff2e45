"""Gemini's own API: generating content, counting tokens, embedding. The model is in the path.

What lives here: the endpoints, their requests and refusals. What must not: parts and tools (``gemini_content``), names
and spellings (``gemini_names``), answers (``gemini_answers``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Json, JsonPath, Malformed, Parameter, RequestHead, ToolDefinition
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.gemini_answers import GeminiDecoder, ValuesDecoder, error, message_answer
from extproc.dialects.gemini_content import (
    generation_limits,
    last_of_model,
    media_asked_for,
    note_edits,
    read_content,
    read_parameter,
    read_tools,
    removal,
    requests_in,
    unknown_roles,
)
from extproc.dialects.gemini_names import (
    BATCH,
    COUNT,
    EMBED,
    EMBED_SETTINGS,
    GENERATE,
    NOT_SETTINGS,
    SETTINGS,
    camel,
    each,
    forbid_twins,
    spelled,
)
from extproc.dialects.members import Members, object_, string
from extproc.dialects.settings import Names, read_settings
from extproc.dialects.untrusted import Untrusted
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, read

_PATH: Final = re.compile(r"/v1(?:alpha|beta)?/(models|tunedModels)/([A-Za-z0-9_.@:-]+):([A-Za-z]+)")
_SSE: Final = frozenset({"alt=sse", "$alt=sse"})
_HISTORY: Final = frozenset({"cachedContent", "continuationToken"})
_CONTENT: Final = frozenset({"model", "contents", "systemInstruction", "tools", "generateContentRequest"})


@dataclass(frozen=True, slots=True)
class GeminiRequest(ChatRequest):
    """A request to generate. ``sse``: a stream was asked for as server-sent events, not as one JSON array."""

    sse: bool = False


class _Gemini:
    """What the endpoints share."""

    name: str
    named_only = False
    _verbs: tuple[str, ...]
    _unseen: tuple[str, ...] = ()  # of what an answer holds that is no conversation

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this API's."""
        match = _PATH.fullmatch(path)
        return method == "POST" and match is not None and match[3] in self._verbs

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools, and any choice that names them, out of the request."""
        return removal(request, names)

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: no model answers here."""
        return ()

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:  # noqa: ARG002
        """A decoder that reads the whole answer as one text."""
        if status < 400 and media_type(content_type) == "application/json":
            return ValuesDecoder(limit_bytes, *self._unseen)
        return BodyDecoder(limit_bytes, error)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """Google's error answer."""
        return HttpReply(denial.status, error(denial))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """The error: an answer of numbers has no place for a message."""
        return self.refusal(denial, request)


class GeminiGenerate(_Gemini):
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``, also under other versions."""

    name = "gemini.generate"
    _verbs = ("generateContent", "streamGenerateContent")

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> GeminiRequest:
        """Read a request body strictly."""
        document = _read(body, GENERATE, limits)
        untrusted = Untrusted()
        tools, settings = _read_generation(untrusted, document, (), _model(head))
        return GeminiRequest(
            dialect=self.name,
            model=_model(head),
            stream=head.path.endswith(":streamGenerateContent"),
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters=generation_limits(document),
            not_inspected=tuple(untrusted.not_inspected),
            settings=tuple(settings),
            sse=not _SSE.isdisjoint(head.query.split("&")),
        )

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """In the system instruction; what is cached has its own, and takes no other."""
        return note_edits(request.document, note)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer. JSON is one array where a stream was asked for, and one object elsewhere."""
        kind = media_type(content_type)
        if status < 400 and kind == "text/event-stream":
            return GeminiDecoder(limit_bytes, "events")
        if status < 400 and kind == "application/json":
            return GeminiDecoder(limit_bytes, "array" if request.stream else "document")
        return BodyDecoder(limit_bytes, error)

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """An answer whose one candidate says the message and ends with ``SAFETY``; no token was spent on it.

        There is no ``promptFeedback``: clients that look at it first would not show the candidate.
        """
        form = "document"
        if request.stream:
            form = "events" if isinstance(request, GeminiRequest) and request.sse else "array"
        kind = "text/event-stream" if form == "events" else "application/json"
        return HttpReply(200, message_answer(denial, request.model, form), kind)


class GeminiCountTokens(_Gemini):
    """``POST /v1beta/models/{model}:countTokens``: contents, or a whole request to generate."""

    name = "gemini.count_tokens"
    _verbs = ("countTokens",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read a request body strictly."""
        document = _read(body, COUNT, limits)
        untrusted = Untrusted()
        tools: list[ToolDefinition] = []
        settings: list[Parameter] = []
        asked: dict[str, int] = {}
        object_(document, spelled(document, "generateContentRequest"))
        for path, members in requests_in(document):
            declared, settled = _read_generation(untrusted, members, path, _model(head))
            tools += declared
            settings += settled
            for name, value in generation_limits(members).items():
                asked[name] = max(value, asked.get(name, value))
        return ChatRequest(
            dialect=self.name,
            model=_model(head),
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters=asked,
            not_inspected=tuple(untrusted.not_inspected),
            settings=tuple(settings),
        )


class GeminiEmbed(_Gemini):
    """``POST /v1beta/models/{model}:embedContent`` and ``:batchEmbedContents``."""

    name = "gemini.embed"
    _verbs = ("embedContent", "batchEmbedContents")
    _unseen = ("embedding",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read a request body strictly."""
        batch = head.path.endswith(":batchEmbedContents")
        document = _read(body, BATCH if batch else EMBED, limits)
        untrusted = Untrusted()
        settings: list[Parameter] = []
        if batch:
            for index, (path, request) in enumerate(each(document, "requests", ())):
                settings += _read_embedding(untrusted, request, path, index, _model(head))
            for name, value in document.items():
                if name != "requests":
                    read_parameter(untrusted, value, (name,))
            settings += read_settings(document, {}, ("requests",))
        else:
            settings += _read_embedding(untrusted, document, (), 0, _model(head))
        return ChatRequest(
            dialect=self.name,
            model=_model(head),
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            not_inspected=tuple(untrusted.not_inspected),
            settings=tuple(settings),
        )


def _read(body: bytes, shape: Shape, limits: JsonLimits) -> dict[str, Json]:
    document = read(body, shape, limits)
    forbid_twins(document, shape)
    return document


def _model(head: RequestHead) -> str:
    """The model that the path names: the bare name of a model, and that of a tuned one as it stands."""
    match = _PATH.fullmatch(head.path)
    if match is None:
        raise Malformed("the path names no model")
    return match[2] if match[1] == "models" else f"{match[1]}/{match[2]}"


def _check_model(members: Members, model: str) -> None:
    named = string(members, "model")
    if named is not None and named.removeprefix("models/") != model:
        raise Malformed("'model' is not the model that the path names")


def _read_generation(
    untrusted: Untrusted, document: Members, path: JsonPath, model: str
) -> tuple[list[ToolDefinition], list[Parameter]]:
    """Read what a request to generate says, wherever it stands."""
    _check_model(document, model)
    tools: list[ToolDefinition] = []
    for name, value in document.items():
        field, place = camel(name), (*path, name)
        if field == "contents":
            for index, (at, content) in enumerate(each(document, name, path)):
                read_content(untrusted, content, at, index)
        elif field == "systemInstruction" and isinstance(value, str):
            untrusted.add("system", value, place)
        elif field == "systemInstruction":
            read_content(untrusted, object_(document, name) or {}, place, -1, "system")
        elif field == "tools":
            tools = read_tools(untrusted, document, path)
        elif field in _HISTORY and value:
            untrusted.not_inspected.append("history")
            read_parameter(untrusted, value, place)
        elif field not in _CONTENT:
            read_parameter(untrusted, value, place)
    untrusted.not_inspected += media_asked_for(document)
    object_(document, spelled(document, "toolConfig"))
    return tools, _generation_settings(document, path)


def _generation_settings(document: Members, path: JsonPath) -> list[Parameter]:
    settings = _settings(document, path, SETTINGS)
    settings += [Parameter("unknown_role", place, None) for place in unknown_roles(document, path)]
    prefill = last_of_model(document, path)
    return [*settings, Parameter("prefill", prefill, None)] if prefill is not None else settings


def _read_embedding(untrusted: Untrusted, request: Members, path: JsonPath, index: int, model: str) -> list[Parameter]:
    _check_model(request, model)
    for name, value in request.items():
        if name == "content":
            read_content(untrusted, object_(request, name) or {}, (*path, name), index)
        elif camel(name) == "title":
            untrusted.add("document", string(request, name) or "", (*path, name), index)
        elif name != "model":
            read_parameter(untrusted, value, (*path, name))
    return _settings(request, path, EMBED_SETTINGS)


def _settings(members: Members, path: JsonPath, known: Names) -> list[Parameter]:
    return [each._replace(path=(*path, *each.path)) for each in read_settings(members, known, NOT_SETTINGS)]
