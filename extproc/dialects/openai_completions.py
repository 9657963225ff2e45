"""OpenAI's older completions: a prompt goes in, its continuation comes out. vLLM, SGLang and llama.cpp serve it, too.

What lives here: requests, refusals, and which decoder reads the answer. What must not: the answers themselves
(``completions_chunks``), and which settings may pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Json, JsonPath, Malformed, RequestHead
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.completions_chunks import COMPLETIONS, answer_head, streamed_answer, whole_answer
from extproc.dialects.members import Members, fields, flag, largest, object_, required_string, string
from extproc.dialects.openai_chat import error
from extproc.dialects.openai_chunks import ChatDecoder
from extproc.dialects.server_settings import LLAMACPP, SAMPLING, SGLANG, VLLM
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.untrusted import Untrusted, is_base64, strings
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, read

_MAX_TOKENS: Final = ("max_tokens", "max_completion_tokens", "n_predict")  # the last is llama.cpp's, and wins there
_CHOICES: Final = ("n", "n_cmpl", "best_of")  # the last are made, if not all shown
_EMBEDS: Final = "prompt_embeds"

_KNOWN: Final[Names] = {**SAMPLING, **LLAMACPP, **VLLM, **SGLANG, **named("suffix", "echo", "best_of")}
_CONTENT: Final = frozenset({"model", "prompt"})
_REQUEST: Final = fields(
    *("model", "prompt"),
    *(name for name in _KNOWN if "." not in name and name not in ("response_format", "stream_options")),
    response_format=fields("type", json_schema=fields("name", "description", "schema", "strict")),
    stream_options=fields("include_usage", "include_obfuscation", "continuous_usage_stats"),
)


class OpenAiCompletions:
    """``POST /v1/completions``."""

    name = "openai.completions"
    named_only = False

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is completions."""
        return method == "POST" and path == "/v1/completions"

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _REQUEST, limits)
        untrusted = Untrusted()
        prompts = _read_prompt(document, untrusted)
        prompts += read_data("embedding", document.get(_EMBEDS), (_EMBEDS,), untrusted)
        string(document, "suffix")
        untrusted.parameters(document, (*_CONTENT, _EMBEDS))
        return ChatRequest(
            dialect=self.name,
            model=required_string(document, "model"),
            stream=flag(document, "stream"),
            document=document,
            texts=tuple(untrusted.texts),
            parameters=_parameters(document, prompts),
            not_inspected=tuple(untrusted.not_inspected),
            include_usage=flag(object_(document, "stream_options") or {}, "include_usage"),
            settings=read_settings(document, _KNOWN, _CONTENT),
        )

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: the API has no tools."""
        return ()

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: a prompt is one text, and has no system."""
        return ()

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("text/event-stream", "application/json"):
            return ChatDecoder(request, limit_bytes, streams=kind == "text/event-stream", form=COMPLETIONS)
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


def _read_prompt(document: Members, untrusted: Untrusted) -> int:
    """List the prompts, which are texts or token ids, and say how many there are.

    Raises:
        Malformed: it is something else, or both at once, which servers read in different ways.
    """
    prompt = document.get("prompt")
    if prompt is None:
        if not document.get(_EMBEDS):
            raise Malformed("'prompt' is required")
        return 0
    if isinstance(prompt, str):
        untrusted.add("user", prompt, ("prompt",))
        return 1
    if not isinstance(prompt, list):
        raise _wrong_prompt()
    if _all_tokens(prompt):
        untrusted.not_inspected += ["tokens"] * bool(prompt)
        return 1
    if all(isinstance(each, list) and _all_tokens(each) for each in prompt):
        untrusted.not_inspected += ["tokens"] * len(prompt)
        return len(prompt)
    for index, each in enumerate(prompt):
        if not isinstance(each, str):
            raise _wrong_prompt()
        untrusted.add("user", each, ("prompt", index))
    return len(prompt)


def _wrong_prompt() -> Malformed:
    return Malformed("'prompt' must be a string, an array of strings, or token ids")


def _all_tokens(value: list[Json]) -> bool:
    return all(type(each) is int for each in value)


def read_data(kind: str, value: Json, path: JsonPath, untrusted: Untrusted) -> int:
    """List one or several things in base64, and as text whatever is none. Say how many there are."""
    count = len(value) if isinstance(value, list) else int(value is not None)
    untrusted.not_inspected += [kind] * count
    for found in strings(value, path):
        if found.keys or not is_base64(found.text):
            untrusted.add("user", found.text, found.path)
    return count


def _parameters(document: Members, prompts: int) -> Mapping[str, int]:
    """The limits asked for. Every prompt is answered as often as ``n`` says."""
    asked: dict[str, int | None] = {"max_tokens": largest(document, _MAX_TOKENS, unbounded_at=0)}
    each = largest(document, _CHOICES)
    if each is not None or prompts > 1:
        asked["choices"] = prompts * (1 if each is None else each)
    return {name: value for name, value in asked.items() if value is not None}
