"""Answers of llama.cpp's own endpoints: streams and documents of completion, documents of the others.

A completion's frames say their text at the top, each for one choice. The last frame of a choice repeats the prompt and
all settings, which are read like unknown members. No marker ends the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from extproc.chat import ChatRequest, Denial, Frame, Json, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.answers import (
    body_text,
    copies,
    event_render,
    labels,
    line_render,
    logprobs,
    plain_frame,
    spoken,
    unknown_members,
)
from extproc.dialects.members import Members
from extproc.dialects.untrusted import strings
from extproc.framing import DocumentFramer, Framer, SseFramer
from extproc.strict_json import dump, read_answer

_PROBABILITIES: Final = ("completion_probabilities", "probs")
_LABELS: Final = ("model", "stop_type")
_REPEATED: Final = ("prompt", "generation_settings", "stopping_word")  # of the request
_RESULT: Final = frozenset({"content", *_PROBABILITIES, *_LABELS, *_REPEATED})
_CHOICES_MAX: Final = 1024  # of one answer: each costs memory until its end
_TEXTS: Final = ("content", "prompt", "text")  # what /detokenize and /apply-template answer with, in several servers
_PIECES: Final = ("tokens", "token_strs")


class CompletionDecoder:
    """Reads the answer to a completion, as a stream or as a document, and remembers what its cut-off needs."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, streams: bool) -> None:
        self.streams = streams
        self._model = request.model
        self._framer: Framer = SseFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._seen: set[int] = set()

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        return map(self._frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the last frames: a visible notice and a stop for every open choice."""
        choices = sorted(self._seen or {0})
        if not self.streams:
            return whole_answer(self._model, denial.message, choices)
        opened = [choice for choice in choices if choice not in closed]
        return streamed_answer(self._model, f"\n\n[{denial.message}]", opened)

    def _frame(self, raw: bytes) -> Frame:
        payload = self._framer.payload(raw)
        if payload is None:
            return plain_frame(raw)
        if self.streams and payload.strip() == b"[DONE]":
            return plain_frame(raw, end=True)
        answer = read_answer(payload)
        render = (event_render if self.streams else line_render)(raw, answer)
        deltas: list[TextDelta] = []
        closes: list[int] = []
        indexes: set[int] = set()
        spoke: set[int] = set()
        for position, result, path in _results(answer):
            index = _index(result, position)
            if index in indexes:
                raise Malformed("the answer has two choices of the same index")
            deltas += _said(result, index, path, pieces=self.streams)
            if result.get("stop") is True or not self.streams:
                closes.append(index)
            if "content" in result:
                spoke.add(index)
            indexes.add(index)
        self._remember(spoke)
        return Frame(raw, render, tuple(deltas), (), frozenset(spoke) or None, tuple(closes), not self.streams)

    def _remember(self, choices: set[int]) -> None:
        self._seen |= choices
        if len(self._seen) > _CHOICES_MAX:
            raise Malformed("the answer has more choices than allowed")


def _results(answer: Json) -> Iterator[tuple[int, Members, JsonPath]]:
    """The results of an answer: one, or an array of them where several were asked for."""
    several = isinstance(answer, list)
    for position, result in enumerate(answer if isinstance(answer, list) else [answer]):
        if not isinstance(result, dict):
            raise Malformed("the answer has a result that is not an object")
        if isinstance(result.get("choices"), list):  # OpenAI's form, whose texts would not be seen to go on
            raise Malformed("the answer is one of another API")
        yield position, result, (position,) if several else ()


def _index(result: Members, position: int) -> int:
    index = result.get("index")
    if index is None:
        return position
    if type(index) is not int or index < 0:
        raise Malformed("the answer has an 'index' that is not one")
    return index


def _said(result: Members, choice: int, path: JsonPath, *, pieces: bool) -> list[TextDelta]:
    deltas = [*spoken(choice, "content", result.get("content"), (*path, "content"))]
    for name in _PROBABILITIES:
        deltas += logprobs(choice, result.get(name), (*path, name))
    deltas += labels(result, _LABELS, path, choice)
    repeated = {name: result[name] for name in _REPEATED if name in result}
    deltas += unknown_members(repeated, frozenset(), path, choice)
    deltas += unknown_members(result, _RESULT, path, choice, pieces=pieces)
    return deltas + copies(deltas)


def whole_answer(model: str, text: str, choices: Sequence[int]) -> bytes:
    """A document that says ``text`` for each choice and stops; an array where there are several."""
    results = [_result(model, text, choice, stop=True) for choice in choices]
    return dump(results if len(results) > 1 else results[0])


def streamed_answer(model: str, text: str, choices: Sequence[int]) -> bytes:
    """The same as the last events of a stream."""
    results = []
    for choice in choices:
        results += [_result(model, text, choice, stop=False), _result(model, "", choice, stop=True)]
    return b"".join(b"data: " + dump(result) + b"\n\n" for result in results)


def _result(model: str, text: str, choice: int, *, stop: bool) -> Json:
    result: dict[str, Json] = {"index": choice, "content": text, "tokens": [], "stop": stop, "id_slot": -1}
    result |= {"tokens_predicted": 0, "tokens_evaluated": 0}
    if stop:
        result |= {"model": model, "truncated": False, "stop_type": "content_filter", "stopping_word": ""}
    return result


# ---- documents of the other endpoints ----------------------------------------------------------------------------


class WordsDecoder:
    """Reads what /tokenize, /detokenize or /apply-template answers: one document with a text, or the pieces of one."""

    streams = False

    def __init__(self, limit_bytes: int, phrase: Callable[[Denial], bytes]) -> None:
        self._framer = DocumentFramer(limit_bytes)
        self._phrase = phrase

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes; give the body's one frame with ``end``."""
        return map(self._frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the API's error."""
        return self._phrase(denial)

    def _frame(self, raw: bytes) -> Frame:
        payload = self._framer.payload(raw)
        if payload is None:
            return plain_frame(raw)
        answer = read_answer(payload)
        deltas = _told(answer) if isinstance(answer, dict) else body_text(answer)
        return Frame(raw, line_render(raw, answer), tuple(deltas), closes=(0,), end=True)


def _told(answer: Members) -> Iterator[TextDelta]:
    for name in _TEXTS:
        yield from spoken(0, "content", answer.get(name), (name,))
    for name in _PIECES:
        if answer.get(name) is not None:
            yield from _pieces(answer[name], (name,))
    yield from unknown_members(answer, frozenset({*_TEXTS, *_PIECES}), (), 0)


def _pieces(node: Json, path: JsonPath) -> Iterator[TextDelta]:
    """The pieces of a text, one for each token, as the one text that they are, and what else there is as another.

    Both stand for the whole node, which goes if there is anything to edit. Mere ids say nothing that can be read.
    """
    said, rest = bytearray(), list[Json]()
    for entry in node if isinstance(node, list) else [node]:
        octets = _octets(entry.get("piece") if isinstance(entry, dict) else entry)
        if octets is None:
            rest.append(entry)
            continue
        said += octets
        if isinstance(entry, dict):
            known = {"piece", "id"} if isinstance(entry.get("id"), int | None) else {"piece"}
            rest.append({name: value for name, value in entry.items() if name not in known})
    beside = "\n".join(found.text for found in strings(rest, ()) if found.text)
    for name, text in (("content", said.decode("utf-8", "replace")), ("body", beside)):
        if text:
            yield TextDelta((0, name), text, path, drop=True, alone=True)


def _octets(piece: Json) -> bytes | None:
    """What one piece says. Half a character comes as an array of bytes; None stands for something else."""
    if isinstance(piece, str):
        return piece.encode("utf-8", "surrogatepass")
    if isinstance(piece, list) and all(type(each) is int and 0 <= each < 256 for each in piece):
        return bytes(each for each in piece if isinstance(each, int))
    return b"" if piece is None or type(piece) is int else None
