"""What every LLM API has in common: requests, pieces of text, tools, calls, and the frames of an answer.

What lives here: plain data that dialects produce and the policy reads. What must not: parsing, deciding, wire formats.

The two ideas. First, every piece of text has a *scope* (who is speaking) on the way in and a *channel* (which logical
text of the answer it belongs to) on the way out, so no detector knows an API. Second, text is addressed by a JSON path
into the document that carried it, so an edit touches just that string and unknown fields survive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

JsonPath: TypeAlias = tuple[str | int, ...]
"""Object keys and array indexes from the document's root, e.g. ``("messages", 0, "content")``."""

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class Malformed(ValueError):  # noqa: N818 - the field's word for it, as in RFC 9110
    """The body is not what its API defines. ``str()`` is safe to show the client: it never quotes the body."""


# ---- requests ----------------------------------------------------------------------------------------------------

REQUEST_SCOPES: Final = (
    "system",  # system and developer messages, Ollama's `system` and `template`
    "user",  # user messages, `name` fields, prompts, and every unknown role
    "assistant",  # earlier answers that the client sends back, and prefills
    "tool_result",  # what a tool returned: role tool / function
    "tool_definition",  # names, descriptions and schemas of declared tools
    "document",  # files, citations, retrieved text in a place of its own
    "parameter",  # response_format schemas, prediction, suffix ... (stop strings never reach a prompt: not read)
)
RESPONSE_SCOPES: Final = (
    "response.content",
    "response.reasoning",
    "response.refusal",
    "response.tool_arguments",
    "response.logprobs",
    "response.body",  # an answer that is not in the dialect's form (an upstream's error page), scanned as one text
)


@dataclass(frozen=True, slots=True)
class Text:
    """One piece of untrusted request text. ``message`` is the index of the message it came from, -1 for none."""

    scope: str
    text: str
    path: JsonPath
    message: int = -1


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool that the request declares. ``kind`` is ``function`` or the API's name of a built-in tool."""

    name: str
    path: JsonPath
    kind: str = "function"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete call, as the client would run it. ``arguments`` is the JSON text as sent."""

    name: str
    arguments: str
    choice: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """An LLM request, read once. ``document`` is the parsed body and is never changed in place.

    ``parameters`` holds what limits speak of, under one name for all APIs: ``max_tokens`` (the largest asked for by any
    of its spellings), ``choices`` (``n``). ``not_inspected`` names content that no detector can read (``image``,
    ``audio``, ``file``, ``tokens``), one entry each.
    """

    dialect: str
    model: str
    stream: bool
    document: Mapping[str, Json]
    texts: tuple[Text, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)
    not_inspected: tuple[str, ...] = ()
    include_usage: bool = False


class _Removed:
    __slots__ = ()

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()


@dataclass(frozen=True, slots=True)
class Edit:
    """Put ``value`` at ``path`` of a document, or take the member or element away with ``REMOVED``."""

    path: JsonPath
    value: Json | _Removed


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal before it is phrased in an API's own shape. ``message`` is for a person; no matched text in it."""

    message: str
    rule: str
    decision_id: str
    status: int = 403
    code: str = "content_policy_violation"


# ---- answers -----------------------------------------------------------------------------------------------------

Channel: TypeAlias = tuple[int, str]
"""(choice, logical text of that choice): ``content``, ``reasoning``, ``refusal``, ``logprobs``, ``body``."""

CHANNEL_SCOPES: Final[Mapping[str, str]] = {
    "content": "response.content",
    "reasoning": "response.reasoning",
    "refusal": "response.refusal",
    "logprobs": "response.logprobs",
    "body": "response.body",
}


class TextDelta(NamedTuple):
    """A piece of one channel's text and where it sits in its frame.

    ``drop``: the text is a copy of what another channel says (logprobs), so an edit removes the node at ``path`` (sets
    it to null) instead of rewriting it.
    """

    channel: Channel
    text: str
    path: JsonPath
    drop: bool = False


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a tool call. ``name`` and ``arguments`` are pieces to append; ``whole`` says that nothing follows.

    ``arguments_path`` addresses the arguments: a string holding JSON text, or with ``structured`` the JSON value itself
    (Ollama); ``arguments`` is the JSON text in both cases.
    """

    choice: int
    index: int
    name: str
    arguments: str
    arguments_path: JsonPath
    whole: bool = False
    structured: bool = False
    id: str = ""


class Frame(NamedTuple):
    """One SSE event, NDJSON line or JSON document of an answer.

    ``raw`` leaves unless something in it is edited; ``render(edits)`` gives the bytes that leave then. ``choices`` are
    the choices it speaks of; ``None`` makes it a barrier that waits for all before it. ``closes`` are the choices
    whose texts are complete once this frame's deltas are counted. ``end`` marks the dialect's own end of the answer.
    """

    raw: bytes
    render: Callable[[Sequence[Edit]], bytes]
    deltas: tuple[TextDelta, ...] = ()
    calls: tuple[CallDelta, ...] = ()
    choices: frozenset[int] | None = None
    closes: tuple[int, ...] = ()
    end: bool = False
