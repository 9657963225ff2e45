"""Answers of OpenAI's chat completions: reading chunks and documents, and phrasing the end of a running answer.

What a choice says, and how an answer of ours is phrased, is a ``Form``: the older completions have one of their own.

A chunk's choices each speak on channels of their own. Audio data is not text and passes, listed as not inspected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from extproc.chat import CallDelta, ChatRequest, Denial, Frame, Json, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    aside,
    body_text,
    call,
    copies,
    event_render,
    figures,
    identifiers,
    labels,
    line_render,
    listed_call,
    logprobs,
    plain_frame,
    repeatable,
    spoken,
    token_ids,
    unknown_members,
    unreadable,
)
from extproc.dialects.members import Members
from extproc.dialects.templates import Reading, Templates
from extproc.dialects.untrusted import is_base64
from extproc.framing import DocumentFramer, Framer, SseFramer
from extproc.strict_json import dump, read_answer

DONE: Final = b"data: [DONE]\n\n"
_HEAD: Final = ("id", "created", "model", "system_fingerprint")
_IDENTIFIERS: Final = (*_HEAD, "object", "service_tier", "obfuscation")
_FIGURES: Final = ("usage", "timings")
_CHUNK: Final = frozenset({*_IDENTIFIERS, *_FIGURES, "choices"})
CHOICE: Final = frozenset({"index", "logprobs", "finish_reason", "native_finish_reason"})
_REASONS: Final = ("finish_reason", "native_finish_reason")
_SPEECH: Final = {
    "content": "content",
    "refusal": "refusal",
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
}
_MESSAGE: Final = frozenset({*_SPEECH, "role", "tool_calls", "function_call", "audio"})
_AUDIO: Final = frozenset({"transcript", "data", "id", "expires_at"})
_FUNCTION_CALL_INDEX: Final = -1
_CHOICES_MAX: Final = 1024  # of one stream: each costs memory until its end, and no API gives as many


class ChatDecoder:
    """Reads one answer, as a stream or as a document, and remembers what its cut-off needs."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, streams: bool, form: Form | None = None) -> None:
        self.streams = streams
        self._form = form or _CHAT
        self._request = request
        self._framer: Framer = SseFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._templates = Templates(self._read, "obfuscation")
        self._head: dict[str, Json] = {}
        self._usage: Json = None
        self._seen: set[int] = set()
        self._unseen: set[str] = set()  # kinds that are listed, once for the answer

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        for raw in self._framer.feed(data, end):
            yield self._templates.frame(raw) or self._frame(raw)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the last frames: a visible notice and ``content_filter`` for every open choice, then ``[DONE]``."""
        head = {**self._form.head(self._request.model, denial), **self._head}
        choices = sorted((self._seen or {0}) - closed)
        if not self.streams:
            return self._form.whole(head, denial.message, choices, self._usage)
        usage = self._usage if self._request.include_usage else None
        return self._form.streamed(head, f"\n\n[{denial.message}]", choices, usage)

    def _frame(self, raw: bytes) -> Frame:
        frame, answer = self._read(raw)
        if frame.not_inspected:
            frame = frame._replace(not_inspected=tuple(set(frame.not_inspected) - self._unseen))
            self._unseen.update(frame.not_inspected)
        if isinstance(answer, dict) and isinstance(answer.get("choices"), list):
            self._remember(answer, frame.choices or frozenset())
            if self.streams and not answer.get("usage"):  # one that counts tells something new each time
                self._templates.learn(frame, answer)
        return frame

    def _read(self, raw: bytes) -> Reading:
        """Read a frame. What it means does not depend on those before it."""
        payload = self._framer.payload(raw)
        if payload is None:
            return plain_frame(raw), None
        if self.streams and payload.strip() == b"[DONE]":
            return plain_frame(raw, end=True), None
        answer = read_answer(payload)
        render = (event_render if self.streams else line_render)(raw, answer)
        whole = not self.streams
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            return Frame(raw, render, _other(answer), closes=(0,) if whole else (), end=whole), answer
        speech = _read(answer, self._form, whole=whole)
        choices = frozenset(speech.choices) or None
        frame = Frame(raw, render, tuple(speech.deltas), tuple(speech.calls), choices, tuple(speech.closes), whole)
        return frame._replace(not_inspected=tuple(speech.not_inspected)) if speech.not_inspected else frame, answer

    def _remember(self, answer: Members, choices: frozenset[int]) -> None:
        if not self._head and choices:  # Azure's first chunk has empty names and no choices
            self._head = repeatable(answer, _HEAD)
        usage = answer.get("usage")
        if usage and not any(figures(usage, (), 0)):
            self._usage = usage
        self._seen |= choices
        if len(self._seen) > _CHOICES_MAX:
            raise Malformed("the answer has more choices than allowed")


# ---- reading -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Speech:
    """What one chunk or document says."""

    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)
    choices: set[int] = field(default_factory=set)
    closes: list[int] = field(default_factory=list)
    not_inspected: list[str] = field(default_factory=list)


class ReadsChoice(Protocol):
    """Lists what one choice says."""

    def __call__(self, speech: Speech, choice: Members, index: int, path: JsonPath, *, whole: bool) -> None:
        """Add to ``speech``. ``whole``: the choice is a document's, not a chunk's."""
        ...


class Form(NamedTuple):
    """What differs between the APIs that answer in chunks: what a choice holds, and how we say something.

    ``members`` are all that are known of a choice; ``read`` lists what those say that are not in ``CHOICE``. ``head``
    identifies an answer that no upstream has begun; ``whole`` and ``streamed`` phrase one, from its head, the text, the
    choices that say it, and the usage to tell.
    """

    members: frozenset[str]
    read: ReadsChoice
    head: Callable[[str, Denial], dict[str, Json]]
    whole: Callable[[dict[str, Json], str, Sequence[int], Json], bytes]
    streamed: Callable[[dict[str, Json], str, Sequence[int], Json], bytes]


def _other(answer: Json) -> tuple[TextDelta, ...]:
    """What a document says that is no chunk: an error, a ping."""
    ids = token_ids(answer, (), 0) if isinstance(answer, dict) else ()
    return (*body_text(answer), *ids)


def _read(answer: Members, form: Form, *, whole: bool) -> Speech:
    speech = Speech()
    choices = answer["choices"]
    assert isinstance(choices, list)
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            raise Malformed("the answer has a choice that is not an object")
        _read_choice(speech, choice, position, form, whole=whole)
    speech.deltas += identifiers(answer, _IDENTIFIERS, (), 0)
    for name in _FIGURES:
        if answer.get(name):
            speech.deltas += figures(answer[name], (name,), 0)
    speech.deltas += unknown_members(answer, _CHUNK, (), 0)
    if not answer.keys() <= _CHUNK:  # ids beside the choices may be those of any of them
        unknown = {name: value for name, value in answer.items() if name not in _CHUNK}
        for index in sorted(speech.choices - {0}):
            speech.deltas += token_ids(unknown, (), index)
    speech.deltas += copies(speech.deltas)
    if whole:
        speech.closes = sorted(speech.choices)
    return speech


def _read_choice(speech: Speech, choice: Members, position: int, form: Form, *, whole: bool) -> None:
    index = _index(choice, position)
    if index in speech.choices:
        raise Malformed("the answer has two choices of the same index")
    path = ("choices", position)
    speech.choices.add(index)
    form.read(speech, choice, index, path, whole=whole)
    if "logprobs" in choice:
        speech.deltas += logprobs(index, choice["logprobs"], (*path, "logprobs"))
    speech.deltas += labels(choice, _REASONS, path, index)
    speech.deltas += unknown_members(choice, form.members, path, index, pieces=not whole)
    if choice.get("finish_reason"):  # some servers send "" where others send null
        speech.closes.append(index)


def _read_messages(speech: Speech, choice: Members, index: int, path: JsonPath, *, whole: bool) -> None:
    """Read ``delta`` and ``message``. The one that is not of this form speaks on channels of its own, and whole."""
    told = []
    for name, own in (("delta", not whole), ("message", whole)):
        before = len(speech.deltas) + len(speech.calls)
        message = choice.get(name)
        if isinstance(message, dict):
            _read_message(speech, message, index if own else aside(index), (*path, name), whole=whole or not own)
        elif message is not None:
            raise Malformed(f"the answer has a '{name}' that is not an object")
        told.append(len(speech.deltas) + len(speech.calls) > before)
    if all(told) and not whole:
        raise Malformed("the answer has a chunk with both a 'delta' and a 'message'")


def _read_message(speech: Speech, message: Members, choice: int, path: JsonPath, *, whole: bool) -> None:
    for name, value in message.items():
        if name in _SPEECH:
            speech.deltas += _spoken(message, name, choice, (*path, name))
        elif name == "tool_calls" and value is not None:
            _read_calls(speech, value, choice, (*path, name), whole=whole)
        elif name == "function_call" and value is not None:
            piece, texts = call(value, choice, _FUNCTION_CALL_INDEX, (*path, name), whole=whole)
            speech.calls.append(piece)
            speech.deltas += texts
        elif name == "audio" and value is not None:
            _read_audio(speech, value, choice, (*path, name))
    speech.deltas += labels(message, ("role",), path, choice)
    speech.deltas += unknown_members(message, _MESSAGE, path, choice, pieces=not whole)


def _spoken(message: Members, name: str, choice: int, path: JsonPath) -> Iterator[TextDelta]:
    """One of the texts that clients show. Some servers say all reasoning twice, under its old and its new name."""
    if name == "reasoning" and message.get("reasoning_content") is not None:
        return spoken(aside(choice), "body", message[name], path)
    return spoken(choice, _SPEECH[name], message[name], path)


def _read_audio(speech: Speech, audio: Json, choice: int, path: JsonPath) -> None:
    if not isinstance(audio, dict):
        raise Malformed("the answer has an 'audio' that is not an object")
    speech.deltas += spoken(aside(choice), "content", audio.get("transcript"), (*path, "transcript"))
    data = audio.get("data")
    if isinstance(data, str) and is_base64(data):
        speech.not_inspected += ["audio"] * bool(data)
    if not isinstance(data, str) or not unreadable(data):
        speech.deltas += body_text(data, (*path, "data"), aside(choice))
    speech.deltas += labels(audio, ("id", "expires_at"), path, choice)
    speech.deltas += unknown_members(audio, _AUDIO, path, choice)


def _read_calls(speech: Speech, calls: Json, choice: int, path: JsonPath, *, whole: bool) -> None:
    if not isinstance(calls, list):
        raise Malformed("the answer has 'tool_calls' that are not an array")
    for position, entry in enumerate(calls):
        index = _index(entry, position) if isinstance(entry, dict) else position
        piece, texts = listed_call(entry, choice, index, (*path, position), whole=whole)
        speech.calls.append(piece)
        speech.deltas += texts


def _index(members: Members, position: int) -> int:
    index = members.get("index")
    if index is None:
        return position
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Malformed("the answer has an 'index' that is not one")
    return index


# ---- phrasing ----------------------------------------------------------------------------------------------------


def answer_head(model: str, denial: Denial) -> dict[str, Json]:
    """What identifies an answer that no upstream has begun; there is no clock here to say when."""
    return {"id": f"chatcmpl-{denial.decision_id}", "created": 0, "model": model}


def whole_answer(head: dict[str, Json], text: str, choices: Sequence[int], usage: Json) -> bytes:
    """A document in which every choice says ``text`` and ends with ``content_filter``."""
    said: list[Json] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": "content_filter",
        }
        for index in choices
    ]
    return dump({**head, "object": "chat.completion", "choices": said, **({"usage": usage} if usage else {})})


def streamed_answer(head: dict[str, Json], text: str, choices: Sequence[int], usage: Json) -> bytes:
    """The same as the last events of a stream, with a usage chunk if there is a usage to tell."""
    events = []
    for index in choices:
        said: Json = {"index": index, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        ended: Json = {"index": index, "delta": {}, "finish_reason": "content_filter"}
        events += [_chunk(head, [said]), _chunk(head, [ended])]
    if usage:
        events.append(_chunk(head, [], usage))
    return b"".join([*events, DONE])


def _chunk(head: dict[str, Json], choices: list[Json], usage: Json = None) -> bytes:
    chunk: dict[str, Json] = {**head, "object": "chat.completion.chunk", "choices": choices}
    if usage:
        chunk["usage"] = usage
    return b"data: " + dump(chunk) + b"\n\n"


_CHAT: Final = Form(CHOICE | {"delta", "message"}, _read_messages, answer_head, whole_answer, streamed_answer)
