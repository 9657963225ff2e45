"""ext_proc over grpc.aio: the transport that works everywhere.

What lives here: streams, their deadlines and their ends. What must not: anything about what is said on them.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from extproc.messages import Opinion
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.tls import Tls
from extproc.runtime.transports.base import METHOD, SERVICE, Broken, Exchange, Handler, ListenError
from extproc.runtime.transports.endpoint import Endpoint, clear_stale_socket, try_bind
from extproc.runtime.transports.health import Health
from extproc.runtime.transports.timers import Timers

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
MAX_STREAMS: Final = 4096
LINGER_S: Final = 5.0
"""How long an exchange whose deadline passed may take to end in good order before its stream is failed."""

ASIDE_BYTES: Final = 32 * 1024
"""A body that is larger than this is judged in a thread, so that the other streams of the process go on meanwhile."""
ASIDE_THREADS: Final = 4

_CODES: Final = {
    "over_limit": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcAio:
    """One grpc.aio server on the running loop."""

    def __init__(
        self,
        *,
        max_streams: int = MAX_STREAMS,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        socket_mode: int = 0o600,
        linger_s: float = LINGER_S,
    ) -> None:
        self._max_streams: Final = max_streams
        self._max_message_bytes: Final = max_message_bytes
        self._socket_mode: Final = socket_mode
        self._linger_s: Final = linger_s
        self._threads: Final = ThreadPoolExecutor(ASIDE_THREADS, thread_name_prefix="judge")
        self._streams = 0
        self._handler: Handler
        self._health: Health
        self._server: Any = None

    async def serve(self, handler: Handler, endpoint: Endpoint, tls: Tls | None = None) -> Endpoint:
        """Start listening; return the endpoint with the port that was bound.

        Raises:
            ListenError: it cannot be listened on.
        """
        self._handler, self._health = handler, Health()
        self._server = grpc.aio.server(options=_options(self._max_message_bytes))
        process = grpc.stream_stream_rpc_method_handler(
            self._process, pb.ProcessingRequest.FromString, pb.ProcessingResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler(SERVICE, {METHOD: process})
        self._server.add_generic_rpc_handlers((service, self._health.rpc_handler()))
        bound = self._bind(endpoint, tls)
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no more streams, report as not serving, let running ones end within ``grace_s``, fail the rest."""
        self._health.drain()
        await self._server.stop(grace_s)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _bind(self, endpoint: Endpoint, tls: Tls | None) -> Endpoint:
        address = f"unix:{endpoint.path}" if endpoint.path else str(endpoint)
        # The socket file must never exist with more rights than asked for, so a chmod afterwards would be too late.
        umask = os.umask(0o777 & ~self._socket_mode) if endpoint.path else None
        try:
            if endpoint.path:
                clear_stale_socket(Path(endpoint.path))
            try_bind(endpoint)  # gRPC prints the reason of a failure and raises without it
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(tls))
        except OSError as error:
            raise ListenError(f"cannot listen on {endpoint}: {error.strerror or error}") from None
        except RuntimeError:
            raise ListenError(f"cannot listen on {endpoint}: gRPC could not, and said why on stderr") from None
        finally:
            if umask is not None:
                os.umask(umask)
        return endpoint if endpoint.path else Endpoint(host=endpoint.host, port=int(port))

    async def _process(self, _messages: object, context: Any) -> None:
        """Serve one stream. Returns only where Envoy ended it."""
        try:
            await self._admit(context)
        except Broken as why:
            broken = why
        except Exception as error:  # whatever it is: a stream that did not end well must end badly
            broken = Broken("internal", "processor error")
            broken.__cause__ = error
        else:
            return
        self._handler.stream_failed(broken)
        try:
            await context.abort(_CODES.get(broken.why, grpc.StatusCode.INTERNAL), str(broken))
        except grpc.aio.InternalError:  # the call failed before we could fail it: nobody is left to be told
            raise asyncio.CancelledError from None  # which gRPC, unlike a return, never turns into status OK

    async def _admit(self, context: Any) -> None:
        if self._streams >= self._max_streams:
            raise Broken("over_limit", "too many streams")
        self._streams += 1
        try:
            exchange = self._handler.open(context.invocation_metadata() or ())
        except BaseException:
            self._stream_closed()
            raise
        await _Stream(exchange, context, self._linger_s, self._threads, self._stream_closed).run()

    def _stream_closed(self) -> None:
        self._streams -= 1


class _Stream:
    """One RPC. Its task reads and answers; a passed deadline answers from a task of its own."""

    def __init__(
        self,
        exchange: Exchange,
        context: Any,
        linger_s: float,
        threads: ThreadPoolExecutor,
        on_closed: Callable[[], None],
    ) -> None:
        self._exchange: Final = exchange
        self._context: Final = context
        self._linger_s: Final = linger_s
        self._threads: Final = threads
        self._on_closed: Final = on_closed
        self._loop: Final = asyncio.get_running_loop()
        self._task: Final = asyncio.current_task()
        self._outbox: deque[pb.ProcessingResponse] = deque()
        self._writing: Final = asyncio.Lock()
        self._silent = False
        self._late_words: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._broken: Broken | None = None
        self._over = False
        self._body_bytes = 0
        self._job: Future[list[pb.ProcessingResponse]] | None = None  # until its replies are on their way
        self._job_owes_verdict = False
        self._replaced = False

    async def run(self) -> None:
        """Go on until Envoy ends the stream.

        Raises:
            Broken: fail the stream.
        """
        timers = Timers(self._loop, self._exchange.deadlines, self._on_deadline)
        ended = "error"
        try:
            await self._converse(timers)
            ended = "eof"
        except asyncio.CancelledError:
            if self._broken is None:
                ended = "cancelled"
                raise
            assert self._task is not None
            self._task.uncancel()
            raise self._broken from None
        finally:
            self._over = True
            timers.stop()
            if self._linger is not None:
                self._linger.cancel()
            if self._late_words is not None:
                self._late_words.cancel()
            self._close(ended)

    def _close(self, ended: str) -> None:
        """Close the exchange, but never beside a thread that is at work on it; a job that has not begun never will."""
        if self._job is None or self._job.cancel() or self._job.done():
            self._exchange.close(ended)
            self._on_closed()
        else:
            self._job.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._close, ended))

    async def _converse(self, timers: Timers) -> None:
        read, exchange = self._context.read, self._exchange
        while True:
            try:
                message = await read()
            except Exception as error:
                raise Broken("connection", "the stream cannot be read") from error
            if message is grpc.aio.EOF:
                if self._late_words is not None:
                    await self._late_words
                return
            self._silent = self._silent or message.observability_mode
            if self._is_heavy(message):
                owes_verdict = message.HasField("request_body") or message.HasField("request_trailers")
                replies = await self._aside(functools.partial(exchange.receive, message), timers, owes_verdict)
            else:
                replies = exchange.receive(message)
            timers.heard(exchange.owes_verdict)
            if replies and not self._replaced:
                await self._say(replies)
            if not self._replaced and (asking := exchange.consult()) is not None:
                await self._consult(asking, timers)

    async def _consult(self, asking: Coroutine[Any, Any, tuple[Opinion, ...]], timers: Timers) -> None:
        """Have others asked, and go on with what they say. Messages wait meanwhile; deadlines and the end do not."""
        exchange, opinions = self._exchange, await asking
        if self._body_bytes > ASIDE_BYTES:
            replies = await self._aside(functools.partial(exchange.consulted, opinions), timers, exchange.owes_verdict)
        else:
            replies = exchange.consulted(opinions)
        timers.heard(exchange.owes_verdict)
        if replies and not self._replaced:
            await self._say(replies)

    def _is_heavy(self, message: pb.ProcessingRequest) -> bool:
        """Whether this message may complete a large body, which is when all of it is judged."""
        kind = message.WhichOneof("request")
        if kind == "request_body":
            self._body_bytes += len(message.request_body.body)
            return self._body_bytes > ASIDE_BYTES and message.request_body.end_of_stream
        if kind == "response_body":
            self._body_bytes += len(message.response_body.body)
            return self._body_bytes > ASIDE_BYTES and self._exchange.holds_answer
        if kind == "response_headers":
            self._body_bytes = 0
        return kind == "request_trailers" and self._body_bytes > ASIDE_BYTES

    async def _aside(
        self, work: Callable[[], list[pb.ProcessingResponse]], timers: Timers, owes_verdict: bool
    ) -> list[pb.ProcessingResponse]:
        self._job_owes_verdict = owes_verdict
        timers.heard(owes_verdict)
        self._job = self._threads.submit(work)
        replies = await asyncio.shield(asyncio.wrap_future(self._job))
        self._job, self._job_owes_verdict = None, False
        return replies

    async def _say(self, replies: Sequence[pb.ProcessingResponse]) -> None:
        """Write in the order in which the exchange spoke, whoever of the two tasks carries its words."""
        if self._silent:
            return
        self._outbox.extend(replies)
        async with self._writing:
            try:
                while self._outbox:
                    await self._context.write(self._outbox.popleft())
            except Exception as error:
                raise Broken("connection", "the stream cannot be written") from error

    def _on_deadline(self, what: str) -> None:
        if self._linger is not None:
            return
        if what == "verdict" and not (self._job_owes_verdict or self._exchange.owes_verdict):
            return
        if self._job is not None and self._job.done():  # what it said goes first
            if what != "verdict":
                self._loop.call_soon(self._on_deadline, what)
            return
        try:
            if self._job is None:
                replies = self._exchange.expire(what)
            else:
                self._replaced = True
                replies = self._exchange.overdue()
        except Broken as broken:
            self._fail(broken)
            return
        if what == "verdict" and self._exchange.owes_verdict and not replies:
            self._fail(Broken("deadline", "no verdict in time"))
            return
        overdue = Broken("deadline", "the exchange took too long")
        self._linger = self._loop.call_later(self._linger_s, self._fail, overdue)
        if replies:
            self._late_words = self._loop.create_task(self._say(replies))
            self._late_words.add_done_callback(self._after_late_words)

    def _after_late_words(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Broken):
            self._fail(error)

    def _fail(self, broken: Broken) -> None:
        """Make ``run`` raise, wherever it waits."""
        if not self._over:
            self._broken = broken
            assert self._task is not None
            self._task.cancel()


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Envoy keeps one connection for each of its own threads, so shared ports leave processes idle.
        ("grpc.so_reuseport", 0),
        # Envoy pings to notice a hung server (connection_keepalive); by default the third ping without data in between
        # is answered with GOAWAY, which would kill every stream of that connection.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _credentials(tls: Tls) -> Any:
    return grpc.ssl_server_credentials(
        ((tls.key, tls.certificate),),
        root_certificates=tls.client_ca,
        require_client_auth=tls.client_ca is not None,
    )
