"""Ollama's own API: chat and generate. Both stream unless told not to.

Ollama reads JSON with Go's decoder, which folds the case of keys: what the shapes here name is what it would fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, JsonPath, Malformed, Parameter, RequestHead, ToolDefinition
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.members import Members, fields, flag, largest, object_, objects, required_string, string
from extproc.dialects.notes import in_member, in_messages
from extproc.dialects.ollama_lines import LinesDecoder, answer_head, streamed_answer, whole_answer
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.tools import declared_tools, removal
from extproc.dialects.turns import turn_settings
from extproc.dialects.untrusted import Untrusted, is_base64
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, dump, read

_CALL: Final = fields("id", function=fields("index", "name", "arguments"))
_MESSAGE: Final = fields(
    *("role", "content", "thinking", "images", "tool_name", "tool_call_id"), tool_calls=Shape(each=_CALL)
)
_FUNCTION: Final = fields("name", "description", parameters=fields("type", "required", "properties", "items", "$defs"))
_OPTION_NAMES: Final = (
    *("num_ctx", "num_keep", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "seed", "stop"),
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty"),
    *("presence_penalty", "frequency_penalty", "draft_num_predict"),
    # of older versions
    *("tfs_z", "mirostat", "mirostat_tau", "mirostat_eta", "penalize_newline", "numa", "low_vram", "f16_kv"),
    *("vocab_only", "use_mlock", "logits_all"),
)
OPTIONS: Final = fields("num_predict", *_OPTION_NAMES)
OPTION_SETTINGS: Final[Names] = {
    "options.num_predict": "max_tokens",
    **{f"options.{name}": name for name in _OPTION_NAMES},
}
"""``options``, which all requests that run a model have: its shape, and what policies call what is in it."""

_KNOWN: Final[Names] = {
    **OPTION_SETTINGS,
    **named(
        *("stream", "keep_alive", "truncate", "shift", "logprobs", "top_logprobs", "_debug_render_only"),
        format="response_format",
        think="thinking",
    ),
}
_GENERATE_KNOWN: Final[Names] = {**_KNOWN, **named("raw", "template", "suffix", "width", "height", "steps")}
_SHARED: Final = ("model", *(name for name in _KNOWN if "." not in name))
_CHAT: Final = fields(
    *_SHARED,
    messages=Shape(each=_MESSAGE),
    tools=Shape(each=fields("type", "items", function=_FUNCTION)),
    options=OPTIONS,
)
_GENERATE: Final = fields(
    *_SHARED,
    *("prompt", "suffix", "system", "template", "context", "raw", "images", "width", "height", "steps"),
    options=OPTIONS,
)
_ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
_PROMPTS: Final = {"prompt": "user", "suffix": "parameter", "system": "system", "template": "system"}


class _Ollama:
    """What both APIs share."""

    name: str
    named_only = False
    _path: str
    _chat: bool

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this API's."""
        return method == "POST" and path == self._path

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools out of the request; there is no choice that could name them."""
        return removal(request, names, ())

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """In the system's message or member. Where there was none, it takes the place of the model's own."""
        if self._chat:
            return in_messages(request.document, note, blocks=False)
        # A raw prompt goes to the model as it is, without a system.
        return () if request.document.get("raw") else in_member(request.document, "system", note)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("application/x-ndjson", "application/json"):
            return LinesDecoder(request, limit_bytes, chat=self._chat, streams=kind != "application/json")
        return BodyDecoder(limit_bytes, error)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """Ollama's error answer."""
        return HttpReply(denial.status, error(denial))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """An answer that says the message and is done."""
        head = answer_head(request.model)
        if not request.stream:
            return HttpReply(200, whole_answer(head, denial.message, chat=self._chat))
        return HttpReply(200, streamed_answer(head, denial.message, chat=self._chat), "application/x-ndjson")

    def _request(
        self, document: Members, untrusted: Untrusted, tools: list[ToolDefinition], settings: Iterable[Parameter]
    ) -> ChatRequest:
        return ChatRequest(
            dialect=self.name,
            model=required_string(document, "model"),
            stream=flag(document, "stream", default=True),
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters=_parameters(document),
            not_inspected=tuple(untrusted.not_inspected),
            settings=tuple(settings),
        )


class OllamaChat(_Ollama):
    """``POST /api/chat``."""

    name = "ollama.chat"
    _path = "/api/chat"
    _chat = True

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly. One without messages is Ollama's way to load a model."""
        document = read(body, _CHAT, limits)
        untrusted = Untrusted()
        messages = objects(document, "messages")
        for index, message in enumerate(messages):
            _read_message(message, index, untrusted)
        tools = declared_tools(document, untrusted)
        untrusted.parameters(document, ("model", "messages", "tools"))
        settings = read_settings(document, _KNOWN, ("model", "messages", "tools"))
        return self._request(document, untrusted, tools, (*settings, *turn_settings(messages, _ROLES)))


class OllamaGenerate(_Ollama):
    """``POST /api/generate``."""

    name = "ollama.generate"
    _path = "/api/generate"
    _chat = False

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _GENERATE, limits)
        untrusted = Untrusted()
        for name, value in document.items():
            if name in _PROMPTS:
                untrusted.add(_PROMPTS[name], string(document, name) or "", (name,))
            elif name == "images":
                _read_images(document, (name,), untrusted)
            elif name == "context":
                if value:
                    untrusted.media("tokens", value, (name,))
            elif name != "model":
                untrusted.parameter(name, value)
        flag(document, "raw")
        settings = read_settings(document, _GENERATE_KNOWN, ("model", "prompt", "system", "images", "context"))
        return self._request(document, untrusted, [], settings)


def error(denial: Denial) -> bytes:
    """Phrase an error body: a string, since clients print an object as it stands."""
    return dump({"error": denial.message})


def _read_message(message: Members, index: int, untrusted: Untrusted) -> None:
    scope = untrusted.role(message, index)
    for entry in objects(message, "tool_calls"):
        string(object_(entry, "function") or {}, "name")
    for name, value in message.items():
        path = ("messages", index, name)
        if name == "content":
            untrusted.add(scope, string(message, name) or "", path, index)
        elif name == "images":
            _read_images(message, path, untrusted, index)
        elif name == "tool_calls":
            untrusted.walk("assistant", value, path, index, keys=True)
        elif name != "role":
            untrusted.walk(scope, value, path, index, keys=True)


def _read_images(members: Members, path: JsonPath, untrusted: Untrusted, message: int = -1) -> None:
    images = members["images"]
    if images is None:
        return
    if not isinstance(images, list):
        raise Malformed("'images' must be an array")
    for index, image in enumerate(images):
        # Data goes without saying; what is none could be an address, as other APIs have it.
        untrusted.media(
            "image", None if isinstance(image, str) and is_base64(image) else image, (*path, index), message
        )


def _parameters(document: Members) -> Mapping[str, int]:
    max_tokens = largest(object_(document, "options") or {}, ("num_predict",), unbounded_at=0)
    return {} if max_tokens is None else {"max_tokens": max_tokens}
