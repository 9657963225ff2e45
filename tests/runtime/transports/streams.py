"""A grpc.aio server of our transport and a client of it, in one loop; and exchanges that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from extproc.messages import Opinion
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.tls import Tls
from extproc.runtime.transports.base import METHOD, SERVICE, Broken, Deadlines, Metadata
from extproc.runtime.transports.endpoint import Endpoint
from extproc.runtime.transports.grpc_aio import GrpcAio

LOOPBACK: Final = Endpoint(host="127.0.0.1")
NEVER_S: Final = 3600.0

Replies: TypeAlias = list[pb.ProcessingResponse]


class Exchange:
    """Answers every message with what ``receive`` makes of it, and remembers how it was treated."""

    def __init__(
        self,
        receive: Callable[[pb.ProcessingRequest], Replies],
        *,
        expire: Callable[[str], Replies] = lambda _what: [],
        overdue: Callable[[], Replies] = list,
        deadlines: Deadlines | None = None,
        consult: Callable[[], Coroutine[Any, Any, tuple[Opinion, ...]] | None] = lambda: None,
        consulted: Callable[[tuple[Opinion, ...]], Replies] = lambda _opinions: [],
    ) -> None:
        self._consult, self._consulted = consult, consulted
        self.deadlines = deadlines or Deadlines(NEVER_S, NEVER_S, NEVER_S)
        self.owes_verdict = False
        self.holds_answer = False
        self.expired: list[str] = []
        self.closed: list[str] = []
        self.over = asyncio.Event()
        self._receive = receive
        self._expire = expire
        self._overdue = overdue

    def receive(self, message: pb.ProcessingRequest) -> Replies:
        return self._receive(message)

    def consult(self) -> Coroutine[Any, Any, tuple[Opinion, ...]] | None:
        return self._consult()

    def consulted(self, opinions: tuple[Opinion, ...]) -> Replies:
        return self._consulted(opinions)

    def expire(self, what: str) -> Replies:
        self.expired.append(what)
        return self._expire(what)

    def overdue(self) -> Replies:
        return self._overdue()

    def close(self, reason: str) -> None:
        self.closed.append(reason)
        self.over.set()


class Handler:
    """Hands out the exchanges it was given, in order."""

    def __init__(self, *exchanges: Exchange) -> None:
        self.opened: list[Metadata] = []
        self.failed: list[Broken] = []
        self._exchanges = list(exchanges)

    def open(self, metadata: Metadata) -> Exchange:
        self.opened.append(metadata)
        return self._exchanges.pop(0)

    def stream_failed(self, broken: Broken) -> None:
        self.failed.append(broken)


def go_on() -> pb.ProcessingResponse:
    """A bare CONTINUE for request headers."""
    return pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=pb.CommonResponse()))


def echo(_message: pb.ProcessingRequest) -> Replies:
    """One reply per message."""
    return [go_on()]


def headers(**fields: bool) -> pb.ProcessingRequest:
    """A first message."""
    return pb.ProcessingRequest(request_headers=pb.HttpHeaders(end_of_stream=True), **fields)  # type: ignore[arg-type]


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test in a loop of its own; it must leave no task behind."""

    async def checked() -> None:
        before = asyncio.all_tasks()
        await asyncio.wait_for(test, 30)
        left = asyncio.all_tasks() - before
        if left:  # gRPC's own ends of calls may take another turn of the loop
            _, left = await asyncio.wait(left, timeout=10)
        assert left == set()

    asyncio.run(checked())


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, endpoint: Endpoint = LOOPBACK, tls: Tls | None = None, **options: Any
) -> AsyncIterator[tuple[GrpcAio, Endpoint]]:
    """A running server."""
    transport = GrpcAio(**options)
    bound = await transport.serve(handler, endpoint, tls)
    try:
        yield transport, bound
    finally:
        await transport.stop(0)


@contextlib.asynccontextmanager
async def connected(endpoint: Endpoint, credentials: Any = None) -> AsyncIterator[Any]:
    """A channel to it."""
    target = f"unix:{endpoint.path}" if endpoint.path else str(endpoint)
    channel = grpc.aio.insecure_channel(target) if credentials is None else grpc.aio.secure_channel(target, credentials)
    async with channel:
        yield channel


def open_stream(channel: Any, metadata: Sequence[tuple[str, str]] = ()) -> Any:
    """Begin a stream as Envoy does."""
    method = channel.stream_stream(
        f"/{SERVICE}/{METHOD}",
        request_serializer=pb.ProcessingRequest.SerializeToString,
        response_deserializer=pb.ProcessingResponse.FromString,
    )
    return method(metadata=metadata)
