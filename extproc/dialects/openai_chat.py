"""OpenAI's chat completions: requests, refusals, and which decoder reads the answer.

Upstreams differ in what they make of a member they do not expect, so what is not known here is still inspected: in a
message as the message's own text, anywhere else as a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Json, JsonPath, Malformed, RequestHead, ToolDefinition
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.members import (
    Members,
    fields,
    flag,
    largest,
    object_,
    objects,
    required_string,
    string,
)
from extproc.dialects.notes import in_messages
from extproc.dialects.openai_chunks import ChatDecoder, answer_head, streamed_answer, whole_answer
from extproc.dialects.prompt_templates import check_template_arguments
from extproc.dialects.server_settings import LLAMACPP, SAMPLING, SGLANG, VLLM
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.tools import declared_tools, removal
from extproc.dialects.turns import turn_settings
from extproc.dialects.untrusted import ROLE_SCOPES, Untrusted, strings
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, dump, read

_MAX_TOKENS: Final = ("max_tokens", "max_completion_tokens", "n_predict")  # the last is llama.cpp's, and wins there
_CHOICES: Final = ("n", "n_cmpl", "best_of")
_WEB_SEARCH: Final = "web_search_options"  # its presence switches a built-in tool on
_DOCUMENTS: Final = "documents"  # vLLM prints them into the prompt
_IDS: Final = "input_ids"  # SGLang reads them in the place of the messages
_STRUCTURES: Final = (
    *("json", "regex", "choice", "grammar", "json_object", "structural_tag", "whitespace_pattern"),
    *("disable_fallback", "disable_any_whitespace", "disable_additional_properties"),
)

_CALLED: Final = fields("name", "arguments")
_CALL: Final = fields("index", "id", "type", function=_CALLED, custom=fields("name", "input"))
_PART: Final = fields(
    "type",
    "text",
    "refusal",
    image_url=fields("url", "detail"),
    input_audio=fields("data", "format"),
    file=fields("file_data", "file_id", "filename"),
)
_FUNCTION: Final = fields("name", "description", "parameters", "strict")
_TOOL: Final = fields("type", function=_FUNCTION, custom=fields("name", "description", "format"))
_MESSAGE: Final = fields(
    "role",
    "name",
    "refusal",
    "reasoning",
    "reasoning_content",
    "tool_call_id",
    content=Shape(each=_PART),
    tool_calls=Shape(each=_CALL),
    function_call=_CALLED,
    audio=fields("id"),
    tools=Shape(each=_TOOL),
)
_KNOWN: Final[Names] = {
    **SAMPLING,
    **LLAMACPP,
    **VLLM,
    **SGLANG,
    **named(
        # OpenAI's own
        *("store", "metadata", "modalities", "audio", "service_tier", "verbosity", "prediction", "top_logprobs"),
        *("reasoning_effort", "tool_choice", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention"),
        "safety_identifier",
        # what servers add for chats
        *(
            "chat_template",
            "chat_template_kwargs",
            "add_generation_prompt",
            "continue_final_message",
            "echo",
            "best_of",
        ),
        *("reasoning", "thinking", "enable_thinking", "include_reasoning", "separate_reasoning", "stream_reasoning"),
        *("media_io_kwargs", "mm_processor_kwargs", "use_audio_in_video", "max_dynamic_patch", "min_dynamic_patch"),
        *("return_prompt_text", "return_prompt_token_ids", "return_meta_info", "task"),
        *(f"structured_outputs.{name}" for name in _STRUCTURES),
        function_call="tool_choice",
    ),
}
_CONTENT: Final = frozenset({"model", "messages", "tools", "functions", _WEB_SEARCH, _DOCUMENTS, _IDS})
_SHAPES: Final[Mapping[str, Shape]] = {
    "messages": Shape(each=_MESSAGE),
    "tools": Shape(each=_TOOL),
    "functions": Shape(each=_FUNCTION),
    "tool_choice": fields(
        "type", function=fields("name"), custom=fields("name"), allowed_tools=fields("mode", "tools")
    ),
    "function_call": fields("name"),
    "response_format": fields("type", json_schema=fields("name", "description", "schema", "strict")),
    "stream_options": fields("include_usage", "include_obfuscation"),
    "prediction": Shape({"type": None, "content": Shape(each=_PART)}),
    "audio": fields("voice", "format"),
}
_REQUEST: Final = fields(
    *(name for name in (*_KNOWN, *_CONTENT) if "." not in name and name not in _SHAPES), "structured_outputs", **_SHAPES
)


class OpenAiChat:
    """``POST /v1/chat/completions``."""

    name = "openai.chat"
    named_only = False

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is chat completions."""
        return method == "POST" and path == "/v1/chat/completions"

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _REQUEST, limits)
        model = required_string(document, "model")
        untrusted = Untrusted()
        check_template_arguments(document)
        messages = read_messages(document, untrusted)
        tools = _read_tools(document, untrusted)
        untrusted.parameters(document, _CONTENT)
        if document.get(_IDS) is not None:
            untrusted.media("tokens", document[_IDS], (_IDS,))
        untrusted.walk("document", document.get(_DOCUMENTS), (_DOCUMENTS,), keys=True)
        if "audio" in _modalities(document):
            untrusted.not_inspected.append("audio")
        return ChatRequest(
            dialect=self.name,
            model=model,
            stream=flag(document, "stream"),
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters=_parameters(document),
            not_inspected=tuple(untrusted.not_inspected),
            include_usage=flag(object_(document, "stream_options") or {}, "include_usage"),
            settings=(*read_settings(document, _KNOWN, _CONTENT), *turn_settings(messages, ROLE_SCOPES)),
        )

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools, and any choice that names them, out of the request."""
        return removal(request, names, ("tool_choice", "function_call", "parallel_tool_calls"))

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """In the system's or developer's message that comes first, or before all messages as one of its own."""
        return in_messages(request.document, note)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("text/event-stream", "application/json"):
            return ChatDecoder(request, limit_bytes, streams=kind == "text/event-stream")
        return BodyDecoder(limit_bytes, error)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """OpenAI's error answer."""
        return HttpReply(denial.status, error(denial))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """An answer that says the message and ends with ``content_filter``; no token was spent on it."""
        head = answer_head(request.model, denial)
        usage: dict[str, Json] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if not request.stream:
            return HttpReply(200, whole_answer(head, denial.message, [0], usage))
        body = streamed_answer(head, denial.message, [0], usage if request.include_usage else None)
        return HttpReply(200, body, "text/event-stream")


def error(denial: Denial) -> bytes:
    """Phrase an error body. The SDKs read ``type`` and ``code``; none of them retries these."""
    details: Json = {
        "message": denial.message,
        "type": "invalid_request_error",
        "param": None,
        "code": denial.code,
    }
    return dump({"error": details})


def read_messages(document: Members, untrusted: Untrusted) -> list[dict[str, Json]]:
    """List all that the messages of a conversation say, each under its speaker, and return them."""
    if document.get("messages") is None:
        raise Malformed("'messages' is required")
    messages = objects(document, "messages")
    for index, message in enumerate(messages):
        _read_message(message, index, untrusted)
    return messages


def _read_message(message: Members, index: int, untrusted: Untrusted) -> None:
    scope = untrusted.role(message, index)
    _check_calls(message)
    if message.get("tools"):  # SGLang declares what stands there
        raise Malformed("'tools' may not stand in a message")
    for name, value in message.items():
        path = ("messages", index, name)
        if name == "content":
            untrusted.content(scope, value, path, index)
        elif name in ("tool_calls", "function_call"):
            _read_calls(value, path, index, untrusted)
        elif name == "name":
            untrusted.add("user", string(message, name) or "", path, index)
        elif name == "audio" and value is not None:  # an earlier answer, by its id
            untrusted.media("audio", value, path, index, scope=scope)
        elif name != "role":
            untrusted.walk(scope, value, path, index, keys=True)


def _read_calls(calls: Json, path: JsonPath, message: int, untrusted: Untrusted) -> None:
    for found in strings(calls, path):
        if found.path[-1] == "arguments" and not found.keys:
            untrusted.arguments(found.text, found.path, message)
        else:
            untrusted.add("assistant", found.text, found.path, message)


def _check_calls(message: Members) -> None:
    string(message, "refusal")
    calls = [object_(entry, "function") for entry in objects(message, "tool_calls")]
    for function in [*calls, object_(message, "function_call")]:
        if function is not None:
            string(function, "name")
            string(function, "arguments")


def _read_tools(document: Members, untrusted: Untrusted) -> list[ToolDefinition]:
    tools = declared_tools(document, untrusted)
    for index, function in enumerate(objects(document, "functions")):
        path = ("functions", index)
        tools.append(ToolDefinition(required_string(function, "name"), path))
        untrusted.walk("tool_definition", function, path, keys=True)
    if document.get(_WEB_SEARCH) is not None:
        tools.append(ToolDefinition("web_search", (_WEB_SEARCH,), "web_search"))
        untrusted.walk("tool_definition", document[_WEB_SEARCH], (_WEB_SEARCH,), keys=True)
    return tools


def _parameters(document: Members) -> Mapping[str, int]:
    asked = {
        "max_tokens": largest(document, _MAX_TOKENS, unbounded_at=0),
        "choices": largest(document, _CHOICES),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _modalities(document: Members) -> list[Json]:
    modalities = document.get("modalities")
    if modalities is not None and not isinstance(modalities, list):
        raise Malformed("'modalities' must be an array")
    return modalities or []
