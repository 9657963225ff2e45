"""A scripted HTTP/1.1 upstream in a thread: answers by script, and keeps every byte that reached it.

What lives here: the server and its small scripting vocabulary. What must not: knowledge of any LLM API beyond the
framing of SSE and NDJSON, and any judgement of what arrived: tests judge.

One idea: an answer is a list of *pieces*. ``bytes`` are one socket write each; everything else says what happens
between writes. A piece that waits for the test (``Until``) makes a mid-stream moment exact, without a sleep::

    go = threading.Event()
    with Upstream({"POST /api/chat": Answer(pieces=(line_1, Until(go), line_2))}) as up:
        ...                                 # line_1 has left, line_2 cannot have
        go.set()
    assert up.requests[0].body == b"..."
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]

_POLL_S: Final = 0.01
_HEAD_LIMIT_BYTES: Final = 1 << 20


# ---- the script --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """Write nothing for this long."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Until:
    """Write nothing until the test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Forever:
    """Write these bytes again and again until the client leaves."""

    data: bytes
    every_s: float = _POLL_S


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection cleanly, without the end that the framing owes."""


Piece: TypeAlias = bytes | Pause | Until | Forever | Reset | Hangup
Framing: TypeAlias = Literal["chunked", "length", "close", "none"]
"""How the body is delimited. ``none`` adds no header at all: the script's own headers say it, true or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer. ``length`` needs pieces that are all bytes (or waits), since it announces their sum."""

    status: int = 200
    headers: Headers = ()
    pieces: tuple[Piece, ...] = ()
    framing: Framing = "chunked"

    @property
    def body(self) -> bytes:
        """The bytes of the whole body, as a client should see them after the framing."""
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))

    def head(self) -> bytes:
        """Give the status line and headers as they go on the wire."""
        fields = list(self.headers)
        if self.framing == "chunked":
            fields.append(("transfer-encoding", "chunked"))
        elif self.framing == "length":
            fields.append(("content-length", str(len(self.body))))
        elif self.framing == "close":
            fields.append(("connection", "close"))
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{name}: {value}" for name, value in fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")


def json_answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Answer with one JSON document in one write."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(status, (("content-type", "application/json"), *headers), (body,), "length")


def sse(*events: object, done: bool = True, headers: Headers = ()) -> Answer:
    """Answer with server-sent events, one write each; ``done`` adds OpenAI's ``[DONE]``."""
    writes = [b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events]
    if done:
        writes.append(b"data: [DONE]\n\n")
    return Answer(headers=(("content-type", "text/event-stream"), *headers), pieces=tuple(writes))


def ndjson(*lines: object, headers: Headers = ()) -> Answer:
    """Answer with one JSON document a line, one write each."""
    writes = tuple(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    return Answer(headers=(("content-type", "application/x-ndjson"), *headers), pieces=writes)


def cut(data: bytes, size: int = 1) -> tuple[bytes, ...]:
    """Cut bytes into writes of ``size``."""
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def dripped(answer: Answer, size: int = 1) -> Answer:
    """Give the same answer with its bytes in writes of ``size``; what happens between them stays in place."""
    pieces: list[Piece] = []
    for piece in answer.pieces:
        pieces.extend(cut(piece, size) if isinstance(piece, bytes) else (piece,))
    return Answer(answer.status, answer.headers, tuple(pieces), answer.framing)


# ---- what arrived ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    """One request as it arrived. ``target`` is the raw request target; ``raw`` is every byte, framing included.

    It is listed as soon as its head is whole, and filled while the body comes: ``complete`` says that it ended.
    """

    method: str
    target: str
    headers: Headers
    raw: bytearray
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    client_left: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed or reset the connection before the scripted answer was over."""

    def header(self, name: str) -> str | None:
        """Give the first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> object:
        """Parse the body."""
        return json.loads(bytes(self.body))


Route: TypeAlias = Answer | Callable[[Request], Answer]


class Upstream:
    """Serve ``routes`` (``"METHOD /raw/target"`` -> answer, or a function of the request) on a loopback port.

    Anything else gets a 404, and is recorded all the same. Requests, bytes and errors may be read at any time, from any
    thread. A route function that raises is a mistake in the test: it is raised again on leaving the ``with`` block.
    """

    def __init__(self, routes: Mapping[str, Route] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.requests: list[Request] = []
        self.received = bytearray()
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._errors: list[Exception] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="upstream", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def wait_for_requests(self, count: int, timeout_s: float = 10) -> None:
        """Block until ``count`` requests have arrived whole.

        Raises:
            TimeoutError: they have not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._complete() >= count, timeout_s):
                raise TimeoutError(f"{self._complete()} of {count} requests arrived within {timeout_s} s")

    def _complete(self) -> int:
        return sum(request.complete for request in self.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the scripted upstream did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self._errors and value is None:
            raise self._errors[0]

    # ---- inside the thread -----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=self._tls, limit=_HEAD_LIMIT_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._read_head(reader)) is not None:
                if not await self._exchange(request, reader, writer):
                    break
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass  # the peer went away: what arrived is recorded
        except Exception as error:  # handed to the test on exit
            self._errors.append(error)
        finally:
            writer.transport.abort()

    async def _exchange(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            await self._read_body(reader, request)
            with self._changed:
                request.complete = True
                self._changed.notify_all()
            return await _Speaker(reader, writer).say(self._answer(request))
        except (OSError, asyncio.IncompleteReadError):
            request.client_left.set()
            return False

    def _answer(self, request: Request) -> Answer:
        route = self.routes.get(f"{request.method} {request.target}", _NOT_FOUND)
        return route if isinstance(route, Answer) else route(request)

    def _take(self, data: bytes, request: Request | None = None) -> bytes:
        with self._changed:
            self.received += data
            if request is not None:
                request.raw += data
        return data

    async def _read_head(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = self._take(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError as error:
            self._take(error.partial)
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ", 2)
        fields = (line.partition(":") for line in lines)
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in fields)
        request = Request(method, target, headers, bytearray(head))
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return request

    async def _read_body(self, reader: asyncio.StreamReader, request: Request) -> None:
        if request.header("transfer-encoding") == "chunked":
            while size := int(self._take(await reader.readuntil(b"\r\n"), request).split(b";")[0], 16):
                await self._read_exactly(reader, request, size)
                self._take(await reader.readexactly(2), request)
            while self._take(await reader.readuntil(b"\r\n"), request) != b"\r\n":
                pass  # trailers
        else:
            await self._read_exactly(reader, request, int(request.header("content-length") or 0))

    async def _read_exactly(self, reader: asyncio.StreamReader, request: Request, size: int) -> None:
        while size:
            data = self._take(await reader.read(min(size, 1 << 16)), request)
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            request.body += data
            size -= len(data)


class _Speaker:
    """Says one answer on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, answer: Answer) -> bool:
        """Play the script; say whether the connection may carry another request."""
        chunked = answer.framing == "chunked"
        await self._write(answer.head())
        for piece in answer.pieces:
            if not await self._play(piece, chunked):
                return False
        if chunked:
            await self._write(b"0\r\n\r\n")
        return answer.framing in ("chunked", "length")

    async def _play(self, piece: Piece, chunked: bool) -> bool:
        match piece:
            case bytes():
                await self._write(_chunk(piece) if chunked else piece)
            case Pause(duration_s):
                await asyncio.sleep(duration_s)
            case Until(event):
                while not event.is_set():
                    await self._wait(_POLL_S)
            case Forever(data, every_s):
                while True:
                    await self._write(_chunk(data) if chunked else data)
                    await self._wait(every_s)
            case Reset():
                # Closing a socket says FIN unless it lingers for no time at all.
                linger = struct.pack("ii", 1, 0)
                self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._writer.transport.abort()
                return False
            case Hangup():
                return False
        return True

    async def _wait(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        if self._reader.at_eof():
            raise ConnectionResetError("the client left")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_NOT_FOUND: Final = json_answer({"error": "not scripted"}, 404)
