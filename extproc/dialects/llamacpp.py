"""llama.cpp's own endpoints, and vLLM's that share a path with them: completion, infill, tokens, prompt templates.

None is served unless the policy names it. A model may be named (a router in front of several wants it) or left out.

What lives here: requests and refusals. What must not: the answers (``llamacpp_answers``), and which settings may pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Json, JsonPath, Malformed, RequestHead
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.documents import OneDocument
from extproc.dialects.llamacpp_answers import CompletionDecoder, WordsDecoder, streamed_answer, whole_answer
from extproc.dialects.members import Members, fields, flag, largest, objects, required_string, string
from extproc.dialects.openai_chat import OpenAiChat, error
from extproc.dialects.openai_completions import read_data
from extproc.dialects.server_settings import LLAMACPP, SAMPLING
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.untrusted import Untrusted
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, dump, read

_MAX_TOKENS: Final = ("max_tokens", "max_completion_tokens", "n_predict")
_CHOICES_SHOWN: Final = 1024  # of a message of ours
_CHAT: Final = OpenAiChat()

_GENERATION: Final[Names] = {**SAMPLING, **LLAMACPP}
_TOKENS: Final[Names] = named(
    *("add_special", "parse_special", "with_pieces"),
    *("add_special_tokens", "return_token_strs", "skip_special_tokens"),
)
_TEMPLATE: Final[Names] = named(
    *("add_generation_prompt", "continue_final_message", "chat_template", "chat_template_kwargs"),
    *("media_io_kwargs", "mm_processor_kwargs"),
)
_PROMPT: Final = Shape({"prompt_string": None, "multimodal_data": None}, Shape(dict.fromkeys(("prompt_string",))))
_EXTRA: Final = fields("filename", "text")
_GENERATED: Final = tuple(name for name in _GENERATION if "." not in name)
_COMPLETION: Final = fields("model", *_GENERATED, prompt=_PROMPT)
_INFILL: Final = fields("model", "prompt", "input_prefix", "input_suffix", *_GENERATED, input_extra=Shape(each=_EXTRA))
_TOKENIZE: Final = fields("model", "messages", "content", *_TOKENS, prompt=_PROMPT)
_DETOKENIZE: Final = fields("model", "tokens", *_TOKENS)


class _Native(OneDocument):
    """What all of them share."""

    name: str
    named_only = True
    phrase = staticmethod(error)
    _paths: tuple[str, ...]

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is this API's."""
        return method == "POST" and path in self._paths

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools out of the request; only conversations have any."""
        return _CHAT.without_tools(request, names)

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """As in a chat, if it is one: a prompt has no system."""
        return _CHAT.with_system_note(request, note)

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, which is one document."""
        if status < 400 and media_type(content_type) == "application/json":
            return WordsDecoder(limit_bytes, error)
        return super().decoder(request, status, content_type, limit_bytes)

    def _request(
        self,
        document: Members,
        untrusted: Untrusted,
        known: Names,
        content: Collection[str],
        parameters: Mapping[str, int] | None = None,
    ) -> ChatRequest:
        """The request, with every member that is no content read as a parameter."""
        untrusted.parameters(document, content)
        model = string(document, "model")
        return ChatRequest(
            dialect=self.name,
            model=model or "",
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            parameters=parameters or {},
            not_inspected=tuple(untrusted.not_inspected),
            settings=read_settings(document, known, content),
            names_model=model is not None,
        )


class _Generation(_Native):
    """What completion and infill share: the settings and the answers."""

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the upstream says it is, whatever was asked for."""
        kind = media_type(content_type)
        if status < 400 and kind in ("text/event-stream", "application/json"):
            return CompletionDecoder(request, limit_bytes, streams=kind == "text/event-stream")
        return BodyDecoder(limit_bytes, error)

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """An answer that says the message and stops, once for each choice that was asked for."""
        choices = range(max(min(request.parameters.get("choices", 1), _CHOICES_SHOWN), 1))
        if not request.stream:
            return HttpReply(200, whole_answer(request.model, denial.message, choices))
        return HttpReply(200, streamed_answer(request.model, denial.message, choices), "text/event-stream")

    def _generation(
        self, document: Members, untrusted: Untrusted, content: Collection[str], prompts: int
    ) -> ChatRequest:
        request = self._request(document, untrusted, _GENERATION, content, _parameters(document, prompts))
        return replace(request, stream=flag(document, "stream"))


class LlamaCppCompletion(_Generation):
    """``POST /completion`` and its other name ``/completions``."""

    name = "llamacpp.completion"
    _paths = ("/completion", "/completions")

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _COMPLETION, limits)
        untrusted = Untrusted()
        prompts = _read_prompts(document, "prompt", untrusted)
        return self._generation(document, untrusted, ("model", "prompt"), prompts)


class LlamaCppInfill(_Generation):
    """``POST /infill``: what goes between a prefix and a suffix, given other files."""

    name = "llamacpp.infill"
    _paths = ("/infill",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _INFILL, limits)
        untrusted = Untrusted()
        for index, extra in enumerate(objects(document, "input_extra")):
            string(extra, "filename")
            required_string(extra, "text")
            untrusted.walk("document", extra, ("input_extra", index), keys=not extra.keys() <= {"filename", "text"})
        untrusted.add("user", required_string(document, "input_prefix"), ("input_prefix",))
        untrusted.add("user", string(document, "prompt") or "", ("prompt",))
        untrusted.add("user", required_string(document, "input_suffix"), ("input_suffix",))
        content = ("model", "prompt", "input_prefix", "input_suffix", "input_extra")
        return self._generation(document, untrusted, content, 1)


class LlamaCppTokenize(_Native):
    """``POST /tokenize``: llama.cpp's ``content``, vLLM's ``prompt`` or ``messages``."""

    name = "llamacpp.tokenize"
    _paths = ("/tokenize",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read a request body strictly."""
        document = read(body, _TOKENIZE, limits)
        if document.get("messages") is not None:
            return _read_conversation(self.name, head, document, limits)
        untrusted = Untrusted()
        forms = [name for name in ("content", "prompt") if document.get(name) is not None]
        if not forms:
            raise Malformed("'content' is required")
        for form in forms:
            _read_prompts(document, form, untrusted)
        return self._request(document, untrusted, _TOKENS, ("model", "content", "prompt"))


class LlamaCppDetokenize(_Native):
    """``POST /detokenize``: token ids go in, of which nobody can say here what they mean; their text comes out."""

    name = "llamacpp.detokenize"
    _paths = ("/detokenize",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _DETOKENIZE, limits)
        tokens = document.get("tokens")
        if not isinstance(tokens, list):
            raise Malformed("'tokens' must be an array")
        lists = [each for each in tokens if isinstance(each, list)]
        ids = [each for several in lists for each in several] if lists else tokens
        if len(lists) not in (0, len(tokens)) or any(type(each) is not int for each in ids):
            raise Malformed("'tokens' must hold token ids only")
        untrusted = Untrusted(not_inspected=["tokens"] * (len(lists) or bool(tokens)))
        return self._request(document, untrusted, _TOKENS, ("model", "tokens"))


class LlamaCppApplyTemplate(_Native):
    """``POST /apply-template``: the prompt that a chat request would become."""

    name = "llamacpp.apply_template"
    _paths = ("/apply-template",)

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read a request body strictly."""
        return _read_conversation(self.name, head, read(body, None, limits), limits)


def _read_conversation(name: str, head: RequestHead, document: dict[str, Json], limits: JsonLimits) -> ChatRequest:
    """Read a conversation as what it is: a chat request, whose model may be left out."""
    model = string(document, "model")
    chat = _CHAT.read_request(head, dump({**document, "model": model or ""}), limits)
    known = {*_TOKENS, *_TEMPLATE}
    return replace(
        chat,
        dialect=name,
        stream=False,
        document=document,
        settings=tuple(each._replace(known=each.known or each.name in known) for each in chat.settings),
        names_model=model is not None,
    )


def _read_prompts(document: Members, name: str, untrusted: Untrusted) -> int:
    """List the prompts of a member and say how many there are.

    An array that holds a number is one prompt, of token ids and perhaps texts between them; any other array has one
    prompt in each element.
    """
    value = document.get(name)
    if not isinstance(value, list) or any(type(each) is int for each in value):
        _read_prompt(name, value, (name,), untrusted)
        return 1
    for index, each in enumerate(value):
        _read_prompt(name, each, (name, index), untrusted)
    return len(value)


def _read_prompt(name: str, prompt: Json, path: JsonPath, untrusted: Untrusted) -> None:
    if isinstance(prompt, str):
        untrusted.add("user", prompt, path)
    elif isinstance(prompt, dict):
        _read_media_prompt(prompt, path, untrusted)
    elif isinstance(prompt, list) and all(isinstance(each, str) or type(each) is int for each in prompt):
        if all(isinstance(each, str) for each in prompt):
            raise _wrong(name)
        untrusted.walk("user", prompt, path)
        untrusted.not_inspected.append("tokens")
    else:
        raise _wrong(name)


def _read_media_prompt(prompt: Members, path: JsonPath, untrusted: Untrusted) -> None:
    """A text with images or recordings, of which the request does not say which they are."""
    required_string(prompt, "prompt_string")
    for name, value in prompt.items():
        if name == "multimodal_data":
            read_data("file", value, (*path, name), untrusted)
        else:
            untrusted.walk("user", value, (*path, name), keys=True)


def _wrong(name: str) -> Malformed:
    return Malformed(f"'{name}' must be a string, token ids, or an array of those")


def _parameters(document: Members, prompts: int) -> Mapping[str, int]:
    """The limits asked for. Every prompt is answered as often as ``n`` says."""
    asked: dict[str, int | None] = {"max_tokens": largest(document, _MAX_TOKENS, unbounded_at=0)}
    each = largest(document, ("n", "n_cmpl"))
    if each is not None or prompts > 1:
        asked["choices"] = prompts * (1 if each is None else each)
    return {name: value for name, value in asked.items() if value is not None}
