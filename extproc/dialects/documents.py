"""Answers that are one JSON document and no conversation: embeddings, lists of models. All their strings are text.

Nobody can read the vectors of embeddings: those are listed. What lives here: the decoder and the phrasing that these
APIs share. What must not: their requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Frame, Json, Malformed, Step
from extproc.dialects.answers import BodyDecoder, body_text, line_render, media_type, plain_frame, unreadable
from extproc.dialects.base import Decoder
from extproc.dialects.untrusted import is_base64
from extproc.framing import DocumentFramer
from extproc.messages import HttpReply
from extproc.strict_json import read_answer

_NUMBERS: Final = frozenset({int, float})
_VECTORS: Final = frozenset({"embedding", "embeddings"})


class OneDocument:
    """What dialects of such answers share; ``phrase`` is the API's error."""

    phrase: Callable[[Denial], bytes]

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: the API has no tools."""
        return ()

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: nothing here is told to a model."""
        return ()

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:  # noqa: ARG002
        """A decoder for the answer, by what the upstream says it is."""
        if status < 400 and media_type(content_type) == "application/json":
            return DocumentDecoder(limit_bytes, self.phrase)
        return BodyDecoder(limit_bytes, self.phrase)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:  # noqa: ARG002
        """The API's error answer."""
        return HttpReply(denial.status, self.phrase(denial))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """The error: the document has no place for a message, and clients fail on one without what they asked for."""
        return self.refusal(denial, request)


class DocumentDecoder:
    """Reads an answer that is one document; ``phrase`` gives the API's error."""

    streams = False

    def __init__(self, limit_bytes: int, phrase: Callable[[Denial], bytes]) -> None:
        self._framer = DocumentFramer(limit_bytes)
        self._phrase = phrase

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes; give the document's one frame with ``end``."""
        return map(_frame, self._framer.feed(data, end))

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the API's error: such a document has no place for a message."""
        return self._phrase(denial)


def _frame(raw: bytes) -> Frame:
    if DocumentFramer.payload(raw) is None:
        return plain_frame(raw)
    document = read_answer(raw)
    if not isinstance(document, dict):
        raise Malformed("the answer is not a JSON object")
    seen: list[str] = []
    words = _without_vectors(document, seen)
    render = line_render(raw, document)
    return Frame(raw, render, tuple(body_text(words)), closes=(0,), end=True, not_inspected=tuple(seen[:1]))


def _without_vectors(document: Json, seen: list[str]) -> Json:
    """The document with nothing where its vectors stand, which says all that can be read; lists those in ``seen``."""
    if isinstance(document, list):
        return [_without_vectors(element, seen) for element in document]
    if not isinstance(document, dict):
        return document
    words: dict[str, Json] = {}
    for name, value in document.items():
        is_vector = name in _VECTORS and _is_vector(value)
        seen += ["embedding"] * (is_vector and bool(value))
        reads = isinstance(value, str) and not unreadable(value)
        words[name] = None if is_vector and not reads else _without_vectors(value, seen)
    return words


def _is_vector(value: Json) -> bool:
    """Whether a value is numbers, or lists of them, or the base64 of their bytes."""
    if isinstance(value, list):
        kinds = set(map(type, value))
        return kinds <= _NUMBERS or (kinds == {list} and all(map(_is_vector, value)))
    return isinstance(value, str) and is_base64(value)
