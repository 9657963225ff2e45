"""Whole exchanges with a second opinion: a real ext_proc stream over gRPC, and the detectors that are asked.

``through`` is Envoy's side. The servers speak for guard models and moderation endpoints: they are stand-ins that answer
what a test tells them to, over real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc.aio

from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import DecisionRecord
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.gate import Gate
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder
from tests.runtime.transports.streams import connected, open_stream, run, serving
from tests.support.streams import chat, request_body, request_headers, response_headers

COVERAGE: Final = "x-sluicegate-coverage"


@dataclass(frozen=True)
class Passage:
    """What became of one exchange: ``status`` 0 is that it went on to the upstream."""

    status: int
    coverage: str
    record: DecisionRecord
    metrics: str

    def counted(self, sample: str) -> bool:
        return f"sluicegate_{sample}\n" in self.metrics


async def passages(policy: CompiledPolicy, *texts: str, recorder: Recorder | None = None) -> list[Passage]:
    """Send these texts, one exchange after the other, to one process."""
    records: asyncio.Queue[DecisionRecord] = asyncio.Queue()
    gate = Gate(policy, metrics=Metrics(), audit=records.put_nowait, recorder=recorder)
    out = []
    await gate.consultant.start(policy.external)
    async with serving(gate) as (_, bound), connected(bound) as channel:
        for text in texts:
            status, coverage = await _exchange(open_stream(channel), text)
            record = await records.get()  # it is written when the server has seen the end
            out.append(Passage(status, coverage, record, gate.metrics.render().decode()))
    await gate.consultant.close()
    return out


def through(policy: CompiledPolicy, *texts: str, **options: Any) -> list[Passage]:
    """``passages`` in a loop of its own."""
    out: list[Passage] = []

    async def test() -> None:
        out.extend(await passages(policy, *texts, **options))

    run(test())
    return out


async def _exchange(stream: Any, text: str) -> tuple[int, str]:
    await stream.write(request_headers())
    await stream.write(request_body(chat(text)))
    reply: pb.ProcessingResponse = await stream.read()
    if reply.HasField("immediate_response"):
        said = reply.immediate_response
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        return said.status.code, _coverage(said.headers)
    assert reply.HasField("request_headers")
    assert (await stream.read()).HasField("request_body")
    await stream.write(response_headers())
    reply = await stream.read()
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    return 0, _coverage(reply.response_headers.response.header_mutation)


def _coverage(edits: pb.HeaderMutation) -> str:
    return next(each.header.raw_value.decode() for each in edits.set_headers if each.header.key == COVERAGE)


# ---- stand-ins ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def http_server(
    answer: Callable[[dict[str, Any], dict[str, str]], Any], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server from the standard library; ``answer`` makes a document of what was posted and its headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(answer(asked, dict(self.headers))).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(talk: Talk) -> AsyncIterator[str]:
    """A server that says to each connection what ``talk`` says, once a request has come."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def saying(raw: bytes) -> Talk:
    """Say this and close."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return talk


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never answer; end when the other side gives up."""
    await reader.read()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer, one byte at a time, without an end."""
    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.005)


def ok(body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def guard_says(words: Any) -> bytes:
    """A chat completion with this content."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": words}}]}).encode()
