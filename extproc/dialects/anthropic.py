"""Anthropic's Messages API: requests, refusals, and which decoder reads the answer.

Servers of other makers speak it, too, and some take more than it defines from a request: what is not known here is
inspected, in a message as the message's own text, anywhere else as a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from extproc.chat import (
    REMOVED,
    ChatRequest,
    Denial,
    Edit,
    JsonPath,
    RequestHead,
    ToolDefinition,
)
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.anthropic_answers import answer_head, error, streamed_answer, whole_answer
from extproc.dialects.anthropic_blocks import Reader
from extproc.dialects.anthropic_events import CountDecoder, MessageDecoder
from extproc.dialects.base import Decoder
from extproc.dialects.members import Members, fields, flag, largest, required_string
from extproc.dialects.notes import in_blocks
from extproc.dialects.prompt_templates import check_template_arguments
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.tools import removal
from extproc.dialects.untrusted import Untrusted, strings
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, read

_STOPS: Final = "stop_sequences"
_CONTENT: Final = frozenset({"model", "messages", "system", "tools", "mcp_servers"})
# What the server remembers of earlier requests, and puts into this one.
_HISTORY: Final = ("container", "thread")
# Not here, so that policies decide on it as on what is not known: `fallbacks` names models that no rule would judge.
_KNOWN: Final[Names] = {
    **named(
        *("max_tokens", "temperature", "top_p", "top_k", "stream", "metadata", "thinking", "tool_choice", "container"),
        *("service_tier", "context_management", "cache_control", "compaction", "diagnostics", "inference_geo", "speed"),
        *("user_profile_id", "workspace_id", "billing_policy", "fallback_credit_token", "thread", "betas"),
        *("anthropic_beta", "anthropic_version"),  # the clouds' spelling of what are headers elsewhere
        *("chat_template", "chat_template_kwargs", "kv_transfer_params"),  # llama.cpp, vLLM, SGLang
        *("seed", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"),
        *("cache_prompt", "id_slot", "keep_alive", "reasoning_effort", "response_format"),
        stop_sequences="stop",
        output_format="response_format",
    ),
    "output_config.effort": "reasoning_effort",
    "output_config.format": "response_format",
    "output_config.task_budget": "task_budget",
}

_SOURCE: Final = fields("type", "media_type", "data", "url", "file_id", "content")
_CALLED: Final = ("id", "name", "input", "server_name", "caller", "toolset_name")
_BLOCK_FIELDS: Final = (
    *("type", "text", "citations", "cache_control", "title", "context", "thinking", "signature", "data", "file_id"),
    *("tool_use_id", "is_error", "url", "page_age", "encrypted_content", "tool", "tool_name", "tools"),
    *("mcp_server_name", "stdout", "stderr", "return_code", "error_code", *_CALLED),
)
_INNERMOST: Final = fields(*_BLOCK_FIELDS, "content", source=_SOURCE)
_INNER: Final = fields(*_BLOCK_FIELDS, source=_SOURCE, content=Shape(_INNERMOST.members, _INNERMOST))
_BLOCK: Final = fields(*_BLOCK_FIELDS, source=_SOURCE, content=Shape(_INNER.members, _INNER))
_MESSAGE: Final = fields("role", "name", "tool_calls", "tool_call_id", "reasoning_content", content=Shape(each=_BLOCK))
_TOOL: Final = fields(
    *("type", "name", "description", "input_schema", "cache_control", "strict", "defer_loading", "allowed_callers"),
    *("input_examples", "eager_input_streaming", "mcp_server_name", "configs", "default_config", "tools", "model"),
    *("max_uses", "allowed_domains", "blocked_domains", "user_location", "citations", "max_content_tokens"),
)
_REQUEST: Final = fields(
    *(name for name in _KNOWN if "." not in name and name not in ("thinking", "tool_choice", "metadata", "container")),
    *("model", "fallbacks"),
    system=Shape(each=_BLOCK),
    messages=Shape(each=_MESSAGE),
    tools=Shape(each=_TOOL),
    mcp_servers=Shape(each=fields("type", "name", "url", "authorization_token", "tool_configuration")),
    tool_choice=fields("type", "name", "disable_parallel_tool_use"),
    thinking=fields("type", "budget_tokens", "display"),
    metadata=fields("user_id"),
    container=fields("id", "skills"),
    output_config=fields("effort", "format", "task_budget"),
)


class AnthropicMessages:
    """``POST /v1/messages``."""

    name = "anthropic.messages"
    named_only = False
    _path = "/v1/messages"

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this endpoint."""
        return method == "POST" and path == self._path

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _REQUEST, limits)
        model = required_string(document, "model")
        check_template_arguments(document)
        untrusted = Untrusted()
        tools: list[ToolDefinition] = []
        reader = Reader(untrusted, tools)
        reader.system(document)
        pseudo = tuple(reader.messages(document))
        reader.declarations(document)
        _read_parameters(document, untrusted)
        untrusted.not_inspected += _remembered(document)
        most = largest(document, ("max_tokens",), unbounded_at=0)
        return ChatRequest(
            dialect=self.name,
            model=model,
            stream=self._streams(document),
            document=document,
            texts=tuple(untrusted.texts),
            tools=tuple(tools),
            parameters={} if most is None else {"max_tokens": most},
            not_inspected=tuple(untrusted.not_inspected),
            settings=(*read_settings(document, _KNOWN, _CONTENT), *pseudo),
        )

    def _streams(self, document: Members) -> bool:
        return flag(document, "stream")

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools, and any choice that names them, out of the request."""
        inline = [tool for tool in request.tools if tool.path[0] == "messages"]
        declared = tuple(tool for tool in request.tools if tool.path[0] != "messages")
        edits = [*removal(replace(request, tools=declared), names, ("tool_choice",))]
        gone = [tool.path for tool in inline if tool.name in names]
        edits += _without_blocks(request, gone)
        choice = request.document.get("tool_choice")
        if gone and any(found.text in names for found in strings(choice, ()) if not found.keys):
            edits.append(Edit(("tool_choice",), REMOVED))
        return tuple(edits)

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """In the system prompt, as its last block or its last words."""
        system = request.document.get("system")
        return in_blocks(system, ("system",), note) if system else (Edit(("system",), note),)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("text/event-stream", "application/json"):
            return MessageDecoder(request, limit_bytes, streams=kind == "text/event-stream")
        return BodyDecoder(limit_bytes, error)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """The API's error answer. Its id is the decision's, also in the header that the SDKs show."""
        return HttpReply(denial.status, error(denial), headers=(("request-id", denial.decision_id),))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """A message that says it and ends with ``refusal``; no token was spent on it."""
        head = answer_head(request.model, denial)
        if request.stream:
            return HttpReply(200, streamed_answer(head, denial.message), "text/event-stream")
        return HttpReply(200, whole_answer(head, denial.message))


class AnthropicCountTokens(AnthropicMessages):
    """``POST /v1/messages/count_tokens``: the same request, answered with a number."""

    name = "anthropic.count_tokens"
    _path = "/v1/messages/count_tokens"

    def _streams(self, document: Members) -> bool:
        flag(document, "stream")
        return False

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder that reads whatever is said beside the number."""
        if status < 400 and media_type(content_type) == "application/json":
            return CountDecoder(request, limit_bytes)
        return BodyDecoder(limit_bytes, error)

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """The error: a number has no place for a message."""
        return self.refusal(denial, request)


def _read_parameters(document: Members, untrusted: Untrusted) -> None:
    for name, value in document.items():
        if name in _CONTENT:
            continue
        if name == _STOPS:  # what generation stops at reaches no prompt
            untrusted.walk("steering", value, (name,), keys=True)
        else:
            untrusted.parameter(name, value)


def _remembered(document: Members) -> Iterator[str]:
    """What the server adds to this request. A container without an id is a new one; skills are files that it has."""
    for name in _HISTORY:
        value = document.get(name)
        if isinstance(value, dict) and value.get("id") is None and value.keys() <= {"id", "skills"}:
            if value.get("skills"):
                yield "file"
        elif value is not None:
            yield "history"


def _without_blocks(request: ChatRequest, gone: list[JsonPath]) -> list[Edit]:
    """Take these blocks out of their messages, and the messages that say nothing else."""
    edits = [Edit(path, REMOVED) for path in gone]
    for message in {path[:2] for path in gone}:
        said = request.document["messages"][message[1]]["content"]  # type: ignore[index, call-overload]
        if len(said) == sum(path[:2] == message for path in gone):  # type: ignore[arg-type]
            edits.append(Edit(message, REMOVED))
    return edits
