"""What every LLM API has in common: requests, pieces of text, tools, calls, and the frames of an answer.

What lives here: plain data that dialects produce and the policy reads. What must not: parsing, deciding, wire formats.

The two ideas. First, every piece of text has a *scope* (who is speaking) on the way in and a *channel* (which logical
text of the answer it belongs to) on the way out, so no detector knows an API. Second, text is addressed by a JSON path
into the document that carried it, so an edit touches just that string and unknown fields survive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from extproc.messages import Headers

JsonPath: TypeAlias = tuple[str | int, ...]
"""Object keys and array indexes from the document's root, e.g. ``("messages", 0, "content")``."""

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class Malformed(ValueError):  # noqa: N818 - the field's word for it, as in RFC 9110
    """The body is not what its API defines. ``str()`` is safe to show the client: it never quotes the body."""


# ---- requests ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request says before its body. ``path`` is the API's own (a policy's aliases are resolved), no query."""

    method: str
    path: str
    query: str = ""
    headers: Headers = ()

    def header(self, name: str) -> str | None:
        """The value of a field that may be there once; None where it is absent.

        Raises:
            Malformed: it is there more than once, and peers disagree about which one counts.
        """
        values = [value for each, value in self.headers if each == name]
        if len(values) > 1:
            raise Malformed(f"the header '{name}' is there more than once")
        return values[0] if values else None


REQUEST_SCOPES: Final = (
    "system",  # system and developer messages, Ollama's `system` and `template`
    "user",  # user messages, `name` fields, prompts, and every unknown role
    "assistant",  # earlier answers that the client sends back, and prefills
    "tool_result",  # what a tool returned: role tool / function
    "tool_definition",  # names, descriptions and schemas of declared tools
    "document",  # files, citations, retrieved text in a place of its own
    "parameter",  # response_format schemas, prediction, suffix ...
    "steering",  # stop strings and the patterns of an answer's schema: they reach the upstream, but no prompt
)
WHOLE_SCOPES: Final = ("response.tool_result", "response.tool_definition")
"""Scopes of answers whose texts come whole, so that a detector which needs a whole text can read them."""
RESPONSE_SCOPES: Final = (
    "response.content",
    "response.reasoning",
    "response.refusal",
    "response.tool_arguments",
    "response.logprobs",
    "response.tool_result",  # what an MCP server answers: a model will read it
    "response.tool_definition",  # the tools that it offers
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


class Parameter(NamedTuple):
    """A setting of the request: what is neither its text nor its tools.

    ``name`` is what policies call it: one name for the twins of all APIs (``max_tokens``, ``choices``), else the API's
    own (``options.num_ctx``). ``known``: the dialect knows what it does; policies decide on the others as a whole.
    Some are no member of their own: ``prefill`` (a trailing assistant message), ``unknown_role``.
    """

    name: str
    path: JsonPath
    value: Json
    known: bool = True


UNSEEN: Final = (
    "image",
    "audio",
    "video",
    "file",
    "tokens",  # a text in token ids: prompts of numbers, Ollama's `context`
    "history",  # what the server remembers of earlier requests: `previous_response_id`, `conversation`
    "encrypted",  # reasoning and thoughts that only their maker can read
    "embedding",  # vectors
    "query",  # the request target's query
)
"""Content that no detector can read. Policies say for each whether it may pass; it is never passed over in silence."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """An LLM request, read once. ``document`` is the parsed body and is never changed in place.

    ``parameters`` holds what limits speak of, under one name for all APIs: ``max_tokens`` (the largest asked for by any
    of its spellings), ``choices`` (``n``). ``settings`` are all of them, for the policy to allow. ``not_inspected`` has
    one entry of ``UNSEEN`` for each thing that no detector can read. ``names_model``: the API has a model, so one must
    be approved (a list of models has none). ``calls`` are tools that this very request would run (MCP).
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
    settings: tuple[Parameter, ...] = ()
    names_model: bool = True
    calls: tuple[ToolCall, ...] = ()


class _Removed:
    __slots__ = ()

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()


@dataclass(frozen=True, slots=True)
class Edit:
    """Put ``value`` at ``path`` of a document, or take the member or element away with ``REMOVED``.

    ``place`` says where, if not in the place of what is there: ``before`` the element of an array (one past the last is
    its end), or ``behind`` a string, at its end. Both leave to other edits what they make of what is there.
    """

    path: JsonPath
    value: Json | _Removed
    place: Literal["at", "before", "behind"] = "at"


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
"""(choice, logical text of that choice): a key of ``CHANNEL_SCOPES``."""

Step: TypeAlias = tuple[str | int, ...]
"""Something that a client has seen once a frame left, in the words of its decoder: ``("block", 2)``."""

_SPOKEN: Final = {
    "content": "response.content",
    "reasoning": "response.reasoning",
    "summary": "response.reasoning",
    "refusal": "response.refusal",
}
CHANNEL_SCOPES: Final[Mapping[str, str]] = {
    **_SPOKEN,
    # What an API says once more, as texts and as parts, which continue each other there as they did before.
    **{f"{name}.{form}": scope for name, scope in _SPOKEN.items() for form in ("text", "part")},
    "logprobs": "response.logprobs",
    "body": "response.body",
    "tool_result": "response.tool_result",
    "tool_definition": "response.tool_definition",
}


class TextDelta(NamedTuple):
    """A piece of one channel's text and where it sits in its frame.

    ``drop``: the text is a copy of what another channel says (logprobs), so an edit removes the node at ``path`` (sets
    it to null) instead of rewriting it.

    ``alone``: the text is whole. It has a scan of its own that ends with it, and neither goes on from the channel
    nor is gone on with. Where it says once more what was said before (``response.completed``) it is also ``again``: it
    is edited as the first time, and what was found then is not counted twice. So are the pieces of a text that is said
    once more in pieces, on a channel of its own.
    """

    channel: Channel
    text: str
    path: JsonPath
    drop: bool = False
    alone: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a tool call. ``name`` and ``arguments`` are pieces to append; ``whole`` says that nothing follows.

    ``arguments_path`` addresses the arguments: a string holding JSON text, or with ``structured`` the JSON value itself
    (Ollama); ``arguments`` is the JSON text in both cases. Where arguments are edited, the first piece that brought any
    carries all of them and the others none. ``again``: a whole call that was judged before and is only repeated.
    """

    choice: int
    index: int
    name: str
    arguments: str
    arguments_path: JsonPath
    whole: bool = False
    structured: bool = False
    id: str = ""
    again: bool = False


class Frame(NamedTuple):
    """One SSE event, NDJSON line or JSON document of an answer.

    ``raw`` leaves unless something in it is edited; ``render(edits)`` gives the bytes that leave then. ``choices`` are
    the choices it speaks of; ``None`` makes it a barrier that waits for all before it. ``closes`` are the choices
    whose texts are complete once this frame's deltas are counted. ``end`` marks the dialect's own end of the answer.
    ``steps`` are remembered once the frame has left, for ``Decoder.cutoff``. ``not_inspected``: see ``UNSEEN``.
    """

    raw: bytes
    render: Callable[[Sequence[Edit]], bytes]
    deltas: tuple[TextDelta, ...] = ()
    calls: tuple[CallDelta, ...] = ()
    choices: frozenset[int] | None = None
    closes: tuple[int, ...] = ()
    end: bool = False
    steps: tuple[Step, ...] = ()
    not_inspected: tuple[str, ...] = ()
