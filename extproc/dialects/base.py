"""The contract of an LLM API. A dialect decodes and phrases; it never scans, holds back or decides.

Dialects are stateless and shared by every exchange; what a running answer needs lives in its Decoder. To add one: a
module here, one line in ``DIALECTS`` (``dialects/__init__.py``), its data in ``tests/dialects/cases/<name>/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from extproc.chat import ChatRequest, Denial, Edit, Frame, RequestHead, Step
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits


class Decoder(Protocol):
    """Turns one answer's bytes into frames. Owned by one exchange, called from one thread."""

    def feed(self, data: bytes, end: bool) -> Iterable[Frame]:
        """Take the next bytes of the body, give the frames completed by them, one by one.

        The frames before a malformed place come out before it raises, so that cuts make no difference.

        Concatenated, the ``raw`` of all frames equals all bytes fed once ``end`` was true. Holds at most one
        incomplete frame, of at most the limit given to ``Dialect.decoder``.

        Raises:
            Malformed: the bytes cannot be this API's answer, or a frame is larger than the limit.
        """
        ...

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:
        """Phrase the well-formed last frames of this running answer: a visible notice, then the API's own end.

        ``closed`` are the choices whose closing frame has left already: only the others are given a notice and an end
        (a closing frame that was decoded may still be held, and will then never leave). Uses what the frames so far
        said (id, model, the choices seen), so call it after ``feed``. For a decoder of a single document it is a whole
        document in the API's shape. ``steps`` are those of all frames that left, in order: what a client knows of.
        """
        ...

    streams: bool
    """Whether frames can leave one by one. False: one document, decided whole."""


class Dialect(Protocol):
    """One LLM API. ``named_only``: it is served only where the policy's ``endpoints.allow`` names it."""

    name: str
    named_only: bool

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path (no query) is this API's."""
        ...

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read a request strictly (see ``strict_json``).

        Raises:
            Malformed: not a request that the API defines; the message is fit for the client.
        """
        ...

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        """The edits that take these declared tools, and any choice that names them, out of the request."""
        ...

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        """The edits that have the model told a note as by its system; none where the request has no place for one."""
        ...

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer to ``request``. Status >= 400 or a content type that the API does not use gives
        one that reads the whole body as channel ``(0, "body")``."""
        ...

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:
        """That API's own error answer, with ``denial.status``; ``request`` is None where it could not be read."""
        ...

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """A 200 answer in the API's own shape (streamed if the request asked for a stream) that shows the message.

        An API that has no place for a message (embeddings, lists) answers with its error.
        """
        ...
