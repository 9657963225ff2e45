"""OpenAI's responses API: requests, refusals, and which decoder reads the answer.

Only ``POST /v1/responses`` is claimed. Stored responses (``GET`` and ``DELETE /v1/responses/*``) are not: an answer
that was cut could be read there as a whole. For the same reason ``background`` is a setting that policies decide on.

What lives here: the members of a request and their names. What must not: items (``responses_input``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from extproc.chat import REMOVED, ChatRequest, Denial, Edit, RequestHead
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.members import Members, fields, flag, largest, object_, objects, required_string, string
from extproc.dialects.notes import in_member
from extproc.dialects.openai_chat import error
from extproc.dialects.prompt_templates import check_template_arguments
from extproc.dialects.responses_answers import ResponsesDecoder
from extproc.dialects.responses_end import Head, streamed_answer, whole_answer
from extproc.dialects.responses_input import declared, read_input, read_variables
from extproc.dialects.server_settings import LLAMACPP, SAMPLING, SGLANG, VLLM
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.tools import removal
from extproc.dialects.untrusted import Untrusted
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, read

_MAX_TOKENS: Final = ("max_output_tokens", "max_tokens", "max_completion_tokens", "n_predict")
_CHOICES: Final = ("n", "n_cmpl")  # llama.cpp turns a request into one of chat completions, with all its members
_HISTORY: Final = ("previous_response_id", "conversation", "prompt")

_PART: Final = fields(
    *("type", "text", "refusal", "detail", "file_id", "file_data", "file_url", "filename", "annotations", "logprobs"),
    image_url=fields("url", "detail"),
    input_audio=fields("data", "format"),
)
_FUNCTION: Final = fields("type", "name", "description", "parameters", "strict", "format")
_TOOL: Final = fields(
    *("type", "name", "description", "parameters", "strict", "format", "server_label", "server_url", "connector_id"),
    *("authorization", "headers", "allowed_tools", "require_approval", "server_description", "container"),
    *("vector_store_ids", "filters", "user_location", "environment"),
    function=_FUNCTION,
    custom=_FUNCTION,
    tools=Shape(each=_FUNCTION),
)
_ITEM: Final = fields(
    *(
        "type",
        "id",
        "role",
        "status",
        "phase",
        "name",
        "namespace",
        "arguments",
        "call_id",
        "input",
        "encrypted_content",
    ),
    *("action", "actions", "operation", "code", "result", "error", "server_label", "queries", "approve", "reason"),
    *("approval_request_id",),
    content=Shape(each=_PART),
    summary=Shape(each=_PART),
    output=Shape(_PART.members, each=_PART),
    outputs=Shape(each=fields("type", "logs", "url")),
    results=Shape(each=fields("file_id", "filename", "score", "text")),
    tools=Shape(each=_TOOL),
)
# What is read in a place of its own: text, tools, and what the server remembers, on which policies decide as `history`.
_CONTENT: Final = frozenset({"model", "input", "instructions", "tools", *_HISTORY})
_KNOWN: Final[Names] = {
    **SAMPLING,
    **LLAMACPP,
    **VLLM,
    **SGLANG,
    **named(
        *("access_programs", "background", "background_options", "context_management", "image", "include"),
        *("max_tool_calls", "metadata", "moderation", "parallel_tool_calls", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store"),
        *("text", "tool_choice", "top_logprobs", "truncation"),
        # what servers add for responses and chats
        *(
            "enable_response_messages",
            "media_io_kwargs",
            "mm_processor_kwargs",
            "include_reasoning",
            "reasoning_effort",
        ),
        *("chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"),
    ),
    **dict.fromkeys(_MAX_TOKENS, "max_tokens"),
    "reasoning.effort": "reasoning_effort",
    "reasoning.summary": "reasoning_summary",
    "reasoning.generate_summary": "reasoning_summary",
    "reasoning.context": "reasoning_context",
    "reasoning.mode": "reasoning_mode",
    "text.format": "response_format",
    "text.verbosity": "verbosity",
}
_SHAPES: Final[Mapping[str, Shape]] = {
    "input": Shape(each=_ITEM),
    "tools": Shape(each=_TOOL),
    "tool_choice": fields("type", "name", "mode", "server_label", function=fields("name"), tools=Shape(each=_TOOL)),
    "prompt": fields("id", "version", "variables"),
    "conversation": fields("id"),
    "reasoning": fields("effort", "summary", "generate_summary", "context", "mode"),
    "text": Shape({"verbosity": None, "format": fields("type", "name", "description", "schema", "strict")}),
    "stream_options": fields("include_usage", "include_obfuscation"),
}
_REQUEST: Final = fields(*(name for name in (*_KNOWN, *_CONTENT) if "." not in name and name not in _SHAPES), **_SHAPES)


class OpenAiResponses:
    """``POST /v1/responses``."""

    name = "openai.responses"
    named_only = False

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path creates a response."""
        return method == "POST" and path == "/v1/responses"

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _REQUEST, limits)
        model = required_string(document, "model")
        check_template_arguments(document)
        untrusted = Untrusted()
        untrusted.add("system", string(document, "instructions") or "", ("instructions",))
        tools, settings = read_input(document, untrusted)
        _read_history(document, untrusted)
        untrusted.walk("tool_definition", document.get("tools"), ("tools",), keys=True)
        tools += declared(objects(document, "tools"), ("tools",))
        untrusted.parameters(document, _CONTENT)
        return ChatRequest(
            dialect=self.name,
            model=model,
            stream=flag(document, "stream"),
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters=_parameters(document),
            not_inspected=tuple(untrusted.not_inspected),
            settings=(*read_settings(document, _KNOWN, _CONTENT), *settings),
        )

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools, and any choice that names them, out of the request."""
        listed = tuple(tool for tool in request.tools if tool.path[0] == "tools")
        in_items = [Edit(tool.path, REMOVED) for tool in request.tools if tool not in listed and tool.name in names]
        edits = removal(replace(request, tools=listed), names, ("tool_choice", "parallel_tool_calls"))
        return (*dict.fromkeys(edits), *dict.fromkeys(in_items))

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """In the instructions."""
        return in_member(request.document, "instructions", note)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("text/event-stream", "application/json"):
            return ResponsesDecoder(request, limit_bytes, streams=kind == "text/event-stream")
        return BodyDecoder(limit_bytes, error)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """OpenAI's error answer."""
        return HttpReply(denial.status, error(denial))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """An answer that says the message, incomplete because of ``content_filter``; no token was spent on it.

        Every client shows an ``output_text``. One that asked for JSON would parse it, so it is told by a ``refusal``.
        """
        head = Head(f"resp_{denial.decision_id}", 0, request.model)
        if request.stream:
            return HttpReply(200, streamed_answer(head, denial), "text/event-stream")
        form = object_(object_(request.document, "text") or {}, "format") or {}
        return HttpReply(
            200, whole_answer(head, denial, "refusal" if "json" in str(form.get("type")) else "output_text")
        )


def _read_history(document: Members, untrusted: Untrusted) -> None:
    """List what the server puts before the input. What the client says of it is text, too."""
    for name in _HISTORY:
        value = document.get(name)
        if value is None:
            continue
        untrusted.not_inspected.append("history")
        if name != "prompt":
            untrusted.parameter(name, value)
    prompt = object_(document, "prompt")
    if prompt is not None:
        read_variables(prompt, untrusted)
        for name, value in prompt.items():
            if name != "variables":
                untrusted.walk("parameter", value, ("prompt", name), keys=True)


def _parameters(document: Members) -> Mapping[str, int]:
    asked = {
        "max_tokens": largest(document, _MAX_TOKENS, unbounded_at=0),
        "choices": largest(document, _CHOICES),
    }
    return {name: value for name, value in asked.items() if value is not None}
