"""Gemini's answers: reading events, elements of an array and documents, and phrasing the end of a running answer.

All text parts of a candidate are one text; what it thinks is another. Calls come whole. What is beside them (code that
Google ran, sources, reasons) is read as text that stands beside the candidate's.

What lives here: answers of ``gemini_names``' API, and Google's error. What must not: requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from extproc.chat import CallDelta, Denial, Edit, Frame, Json, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    aside,
    body_text,
    event_render,
    identifiers,
    labels,
    line_render,
    plain_frame,
    repeatable,
    spoken,
    unknown_members,
    unreadable,
)
from extproc.dialects.gemini_content import media_kind, plain_text
from extproc.dialects.gemini_names import camel, member
from extproc.dialects.members import Members
from extproc.dialects.tokens import copy_of, logprobs, token_ids
from extproc.dialects.untrusted import strings
from extproc.framing import ArrayFramer, DocumentFramer, Framer, SseFramer
from extproc.strict_json import dump, read_answer

_FRAMERS: Final[dict[str, Callable[[int], Framer]]] = {
    "events": SseFramer,
    "array": ArrayFramer,
    "document": DocumentFramer,
}
_ELEMENT: Final[Step] = ("element",)
_CLOSED: Final[Step] = ("closed",)
_CHOICES_MAX: Final = 1024  # of one stream: each costs memory until its end, and no API gives as many
_STATUSES: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_HEAD: Final = ("modelVersion", "responseId", "createTime")
_CANDIDATE: Final = frozenset({"content", "index", "finishReason", "logprobsResult", "avgLogprobs", "tokenCount"})
_COPIES: Final = frozenset({"groundingMetadata", "citationMetadata"})  # they quote the text, or count its bytes
_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/_-]*+={0,2}")
# What is said of safety and of usage when nothing but the API's own words is said.
_WORDS: Final = frozenset(
    {
        *("category", "probability", "probabilityScore", "severity", "severityScore", "blocked", "blockReason"),
        *("overwrittenThreshold", "safetyRatings", "modality", "tokenCount", "trafficType", "serviceTier"),
        *("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"),
        *("cachedContentTokenCount", "toolUsePromptTokenCount", "promptTokensDetails", "candidatesTokensDetails"),
        *("cacheTokensDetails", "toolUsePromptTokensDetails"),
        *("HARM_CATEGORY_HATE_SPEECH", "HARM_CATEGORY_DANGEROUS_CONTENT", "HARM_CATEGORY_HARASSMENT"),
        *("HARM_CATEGORY_SEXUALLY_EXPLICIT", "HARM_CATEGORY_CIVIC_INTEGRITY", "HARM_CATEGORY_UNSPECIFIED"),
        *("NEGLIGIBLE", "LOW", "MEDIUM", "HIGH", "TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT"),
        *("HARM_SEVERITY_NEGLIGIBLE", "HARM_SEVERITY_LOW", "HARM_SEVERITY_MEDIUM", "HARM_SEVERITY_HIGH"),
        *("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "ON_DEMAND", "standard", ""),
    }
)
_WORDED: Final = frozenset({"promptFeedback", "usageMetadata", "safetyRatings"})


class GeminiDecoder:
    """Reads one answer and remembers what its cut-off needs. ``form`` is ``events``, ``array`` or ``document``."""

    def __init__(self, limit_bytes: int, form: str) -> None:
        self.streams = form != "document"
        self._form: Final = form
        self._framer: Final = _FRAMERS[form](limit_bytes)
        self._head: dict[str, Json] = {}
        self._usage: Json = None
        self._calls: dict[int, int] = {}  # of each candidate seen: how many calls it has made

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        return map(self._frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:
        """Phrase the last frame: a visible notice and ``SAFETY`` for every open candidate; an array is closed."""
        choices = sorted((self._calls.keys() or {0}) - closed)
        if not self.streams:
            return _answer(self._head, self._usage, denial, "{}", sorted(self._calls) or [0], self._form)
        last = _answer(self._head, self._usage, denial, "\n\n[{}]", choices, self._form) if choices else b""
        if self._form != "array":
            return last
        if _CLOSED in steps:
            return b""
        if not last:
            return b"\n]\n" if _ELEMENT in steps else b"[]\n"
        return b"\n,\n" + last[1:] if _ELEMENT in steps else last

    def _frame(self, raw: bytes) -> Frame:
        payload = self._framer.payload(raw)
        if payload is None:
            closing = self._form == "array" and b"]" in raw
            frame = plain_frame(raw, end=closing)
            return frame._replace(steps=(_CLOSED,), closes=tuple(sorted(self._calls))) if closing else frame
        answer = read_answer(payload)
        whole = not self.streams
        speech = _Speech(self._calls)
        if isinstance(answer, dict):
            speech.deltas += self._read_top(speech, answer)
        else:
            speech.deltas += _no_answer(answer)
        if len(self._calls) > _CHOICES_MAX:
            raise Malformed("the answer has more candidates than allowed")
        # Some servers say STOP in every element, so that no candidate of a stream is over before its end.
        closes = sorted(speech.choices) if whole else ()
        return Frame(
            raw,
            _element_render(raw, answer) if self._form == "array" else self._render(raw, answer),
            tuple(speech.deltas),
            tuple(speech.calls),
            frozenset(speech.choices) or None,
            tuple(closes),
            whole,
            (_ELEMENT,) if self._form == "array" else (),
            tuple(speech.not_inspected),
        )

    def _render(self, raw: bytes, answer: Json) -> Callable[[Sequence[Edit]], bytes]:
        return (event_render if self._form == "events" else line_render)(raw, answer)

    def _read_top(self, speech: _Speech, answer: Members) -> Iterator[TextDelta]:
        fields = _fields(answer)
        if "candidates" in fields:
            name, candidates = fields["candidates"]
            for at, candidate in _objects(candidates, name, ()):
                _read_candidate(speech, candidate, at)
        for field_name, (name, value) in fields.items():
            if field_name in _HEAD:
                yield from identifiers(answer, (name,), (), 0)
            elif field_name in _WORDED:
                yield from _worded(value, (name,), 0)
            elif field_name != "candidates":
                yield from unknown_members({name: value}, frozenset(), (), 0)
        if any(field_name not in _TOP for field_name in fields):
            unknown = {name: value for field_name, (name, value) in fields.items() if field_name not in _TOP}
            for choice in sorted(speech.choices - {0}):
                yield from token_ids(unknown, (), choice)
        self._head |= repeatable({field_name: value for field_name, (_, value) in fields.items()}, _HEAD)
        name, usage = fields.get("usageMetadata", ("", None))
        if usage and not any(_worded(usage, (name,), 0)):
            self._usage = usage


class ValuesDecoder:
    """Reads an answer of numbers: one document, all text in it as one, and ``unseen`` for what no detector reads."""

    streams = False

    def __init__(self, limit_bytes: int, *unseen: str) -> None:
        self._framer: Final = DocumentFramer(limit_bytes)
        self._unseen: Final = unseen

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes; give the document once it is complete."""
        return map(self._frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase Google's error: there is no place for a message."""
        return error(denial)

    def _frame(self, raw: bytes) -> Frame:
        if self._framer.payload(raw) is None:
            return plain_frame(raw)
        answer = read_answer(raw)
        deltas = tuple(body_text(answer))
        return Frame(raw, line_render(raw, answer), deltas, closes=(0,), end=True, not_inspected=self._unseen)


# ---- reading -----------------------------------------------------------------------------------------------------

_TOP: Final = frozenset({*_HEAD, *_WORDED, "candidates"})


@dataclass(slots=True)
class _Speech:
    """What one frame says. ``made`` counts each candidate's calls and is the decoder's own."""

    made: dict[int, int]
    deltas: list[TextDelta] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)
    choices: set[int] = field(default_factory=set)
    not_inspected: list[str] = field(default_factory=list)


def _fields(members: Members) -> dict[str, tuple[str, Json]]:
    """The members by the names of the documentation, each with its name as sent: clients read both spellings.

    Raises:
        Malformed: one is there in both.
    """
    fields = {camel(name): (name, value) for name, value in members.items()}
    if len(fields) != len(members):
        raise Malformed("the answer has the same member in two spellings")
    return fields


def _objects(value: Json, name: str, path: JsonPath) -> Iterator[tuple[JsonPath, dict[str, Json]]]:
    if value is None:
        return
    if not isinstance(value, list):
        raise Malformed(f"the answer has '{name}' that are not an array")
    for index, element in enumerate(value):
        if not isinstance(element, dict):
            raise Malformed(f"the answer has '{name}' that are not objects")
        yield (*path, name, index), element


def _no_answer(answer: Json) -> Iterator[TextDelta]:
    """What stands where an answer should: an error in an array."""
    if isinstance(answer, list) and any(isinstance(each, dict) and "candidates" in each for each in answer):
        raise Malformed("the answer is an array where one object was asked for")
    return body_text(answer)


def _worded(value: Json, path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """What is said of safety or usage, unless it is said in the API's own words alone."""
    words = (word for found in strings(value, path) for word in found.text.split("\n"))
    if not all(word in _WORDS or camel(word) in _WORDS for word in words):
        yield from body_text(value, path, aside(choice))


def _read_candidate(speech: _Speech, candidate: Members, path: JsonPath) -> None:
    fields = _fields(candidate)
    index = _index(candidate)
    if index in speech.choices:
        raise Malformed("the answer has two candidates of the same index")
    speech.choices.add(index)
    speech.made.setdefault(index, 0)
    unknown: dict[str, Json] = {}
    for field_name, (name, value) in fields.items():
        place = (*path, name)
        if field_name == "content":
            _read_content(speech, value, index, place)
        elif field_name == "logprobsResult":
            speech.deltas += logprobs(index, value, place)
        elif field_name == "finishReason":
            speech.deltas += labels(candidate, (name,), path, index)
        elif field_name in _WORDED:
            speech.deltas += _worded(value, place, index)
        elif field_name in _COPIES and value is not None:
            speech.deltas += body_text(value, place, aside(index))
            speech.deltas.append(copy_of((index, "logprobs"), place))
        elif field_name not in _CANDIDATE or not isinstance(value, int | float | None):
            unknown[name] = value
    speech.deltas += unknown_members(unknown, frozenset({"index"}), path, index)


def _index(candidate: Members) -> int:
    index = candidate.get("index")
    if index is None:
        return 0
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Malformed("the answer has an 'index' that is not one")
    return index


def _read_content(speech: _Speech, content: Json, index: int, path: JsonPath) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        raise Malformed("the answer has a 'content' that is not an object")
    for place, part in _objects(content.get("parts"), "parts", path):
        _read_part(speech, part, index, place)
    speech.deltas += labels(content, ("role",), path, index)
    speech.deltas += unknown_members(content, frozenset({"role", "parts"}), path, index)


def _read_part(speech: _Speech, part: Members, index: int, path: JsonPath) -> None:
    fields = _fields(part)
    thought = part.get("thought")
    if not isinstance(thought, bool | None):
        raise Malformed("the answer has a 'thought' that is not true or false")
    unknown: dict[str, Json] = {}
    for field_name, (name, value) in fields.items():
        place = (*path, name)
        if field_name == "thought" or value is None:
            continue
        if field_name == "text" and isinstance(value, str):
            speech.deltas += spoken(index, "reasoning" if thought else "content", value, place)
        elif field_name == "text":
            raise Malformed("the answer has a text that is not a string")
        elif field_name == "functionCall":
            _read_call(speech, value, index, place)
        elif field_name == "executableCode" and isinstance(value, dict):
            speech.deltas += spoken(aside(index), "content", value.get("code"), (*place, "code"))
            speech.deltas += unknown_members(value, frozenset({"code"}), place, index)
        elif field_name == "inlineData" and isinstance(value, dict):
            _read_blob(speech, value, index, place)
        elif field_name == "thoughtSignature" and isinstance(value, str) and _OPAQUE.fullmatch(value):
            speech.not_inspected += ["encrypted"] if value else []
            speech.deltas += () if unreadable(value) else body_text(value, place, aside(index))
        else:
            unknown[name] = value
    speech.deltas += unknown_members(unknown, frozenset(), path, index)


def _read_call(speech: _Speech, call: Json, index: int, path: JsonPath) -> None:
    """A call with all of its arguments.

    Raises:
        Malformed: it is none, or comes in pieces, which have a form of their own that is not read here.
    """
    if not isinstance(call, dict):
        raise Malformed("the answer has a call that is not an object")
    name, arguments = call.get("name"), call.get("args")
    if not isinstance(name, str | None) or not isinstance(arguments, dict | None):
        raise Malformed("the answer has a call whose name or arguments cannot be read")
    if member(call, "partialArgs") or member(call, "willContinue"):
        raise Malformed("the answer has a call that comes in pieces")
    said = dump(arguments or {}).decode()
    piece = CallDelta(index, speech.made[index], name or "", said, (*path, "args"), whole=True, structured=True)
    speech.made[index] += 1
    speech.calls.append(piece)
    speech.deltas += unknown_members(call, frozenset({"name", "args"}), path, index)


def _read_blob(speech: _Speech, blob: Members, index: int, path: JsonPath) -> None:
    kind, data = member(blob, "mimeType"), blob.get("data")
    _fields(blob)
    if not isinstance(kind, str | None) or not isinstance(data, str | None):
        raise Malformed("the answer has media that cannot be read")
    said = plain_text(kind or "", data or "")
    if said is None:
        speech.not_inspected.append(media_kind(kind or ""))
        speech.deltas += () if unreadable(data or "") else body_text(data, (*path, "data"), aside(index))
    else:  # it cannot be edited in base64, so it goes as a whole
        speech.deltas += [TextDelta((index, "content"), text, path, drop=True, alone=True) for text in said]
    speech.deltas += unknown_members(blob, frozenset({"data"}), path, index)


# ---- phrasing ----------------------------------------------------------------------------------------------------


def error(denial: Denial) -> bytes:
    """Phrase Google's error body."""
    otherwise = "INTERNAL" if denial.status >= 500 else "INVALID_ARGUMENT"
    status = _STATUSES.get(denial.status, otherwise)
    details: Json = {"code": denial.status, "message": denial.message, "status": status}
    return dump({"error": details})


def message_answer(denial: Denial, model: str, form: str) -> bytes:
    """A whole answer that says the message."""
    head: dict[str, Json] = {"modelVersion": model, "responseId": denial.decision_id}
    usage: Json = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    return _answer(head, usage, denial, "{}", [0], form)


def _answer(head: dict[str, Json], usage: Json, denial: Denial, text: str, choices: Iterable[int], form: str) -> bytes:
    """One answer in which every candidate says the message, in ``text``, and ends with ``SAFETY``.

    The reason's own message says it once more: some clients raise it and do not show the text.
    """
    said: list[Json] = [
        {
            "content": {"parts": [{"text": text.format(denial.message)}], "role": "model"},
            "finishReason": "SAFETY",
            "finishMessage": denial.message,
            "index": index,
        }
        for index in choices
    ]
    answer = dump({"candidates": said, **({"usageMetadata": usage} if usage else {}), **head})
    if form == "events":
        return b"data: " + answer + b"\n\n"
    return b"[" + answer + b"\n]\n" if form == "array" else answer


def _element_render(raw: bytes, answer: Json) -> Callable[[Sequence[Edit]], bytes]:
    """How an element of an array leaves when it is edited: behind what stands before it."""
    start = raw.index(b"{")
    return partial(_edited_element, raw[:start], line_render(raw[start:], answer))


def _edited_element(before: bytes, render: Callable[[Sequence[Edit]], bytes], edits: Sequence[Edit]) -> bytes:
    return before + render(edits)
