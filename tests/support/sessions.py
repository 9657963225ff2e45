"""Sessions over the real policy, for tests of the core: no network, no clock, no process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from extproc.messages import (
    Event,
    Forward,
    Headers,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
)
from extproc.policy.compiler import CompiledPolicy
from extproc.runtime.store import load_policy
from extproc.session import Session
from tests.support.openai_wire import PATH
from tests.support.policies import policy

SSE: Headers = ((":status", "200"), ("content-type", "text/event-stream"))
JSON: Headers = ((":status", "200"), ("content-type", "application/json"))
NDJSON: Headers = ((":status", "200"), ("content-type", "application/x-ndjson"))


@functools.cache
def compiled(text: str) -> CompiledPolicy:
    """A policy from its text."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "policy.yaml")
        path.write_text(text, encoding="utf-8")
        return load_policy(path)


@functools.cache
def _test_policy() -> CompiledPolicy:
    return compiled(policy())


def session(text: str | None = None) -> Session:
    """A fresh exchange under a policy (the test policy if none is given), with a clock that ticks once a look."""
    ticks = iter(range(1_000_000))
    return Session(_test_policy() if text is None else compiled(text), "d-1", lambda: float(next(ticks)))


def request_headers(
    path: str = PATH, method: str = "POST", *more: tuple[str, str], end: bool = False
) -> RequestHeaders:
    """A request's first event."""
    return RequestHeaders(((":method", method), (":path", path), *more), end)


def asked(exchange: Session, body: bytes, path: str = PATH) -> list[Reply]:
    """Send a whole request; return the replies."""
    replies = exchange.receive(request_headers(path))
    return [*replies, *exchange.receive(RequestBody(body, end=True))]


def answered(exchange: Session, headers: Headers, *pieces: bytes) -> list[Reply]:
    """Send a whole answer in these pieces; return the replies."""
    events: list[Event] = [ResponseHeaders(headers)]
    events += [ResponseBody(piece) for piece in pieces]
    events.append(ResponseBody(b"", end=True))
    return [reply for event in events for reply in exchange.receive(event)]


def forwarded(replies: list[Reply]) -> bytes:
    """The body bytes that left."""
    return b"".join(reply.data for reply in replies if isinstance(reply, Forward))


def refused(replies: list[Reply]) -> Refuse:
    """The one refusal among the replies."""
    (refusal,) = [reply for reply in replies if isinstance(reply, Refuse)]
    return refusal
