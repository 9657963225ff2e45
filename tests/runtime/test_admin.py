"""The admin endpoint answers two questions, to a bounded number of peers, for a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from extproc.runtime.admin import Admin
from extproc.runtime.metrics import Metrics
from extproc.runtime.transports.base import ListenError
from extproc.runtime.transports.endpoint import Endpoint

LOOPBACK: Final = Endpoint(host="127.0.0.1")


@contextlib.asynccontextmanager
async def _serving(**options: Any) -> AsyncIterator[tuple[Admin, Metrics, Endpoint]]:
    metrics, ticks = Metrics(), iter([10.0, 12.5, 20.0, 30.0])
    admin = Admin(metrics, lambda: ("default", "sha256:1"), clock=lambda: next(ticks), **options)
    endpoint = await admin.serve(LOOPBACK)
    try:
        yield admin, metrics, endpoint
    finally:
        await admin.stop()


async def _ask(endpoint: Endpoint, request: bytes) -> tuple[str, bytes]:
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


def test_healthz_names_the_policy_the_uptime_and_the_streams() -> None:
    async def test() -> None:
        async with _serving() as (_, metrics, endpoint):
            metrics.stream_opened()
            head, body = await _ask(endpoint, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            assert json.loads(body) == {
                "status": "serving", "policy": "default", "revision": "sha256:1", "uptime_s": 2.5, "streams": 1,
            }  # fmt: skip

    asyncio.run(test())


def test_a_draining_server_is_not_healthy() -> None:
    async def test() -> None:
        async with _serving() as (admin, _, endpoint):
            admin.drain()
            head, body = await _ask(endpoint, b"GET /healthz HTTP/1.1\r\n\r\n")
            assert head.startswith("HTTP/1.1 503 ")
            assert json.loads(body)["status"] == "draining"

    asyncio.run(test())


def test_metrics_are_in_prometheus_text_format() -> None:
    async def test() -> None:
        async with _serving() as (_, metrics, endpoint):
            metrics.stream_failed("protocol")
            head, body = await _ask(endpoint, b"GET /metrics?x=1 HTTP/1.1\r\n\r\n")
            assert "Content-Type: text/plain" in head
            assert b'sluicegate_streams_failed_total{why="protocol"} 1.0\n' in body

    asyncio.run(test())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        (b"PUT /healthz HTTP/1.1", "405 Method Not Allowed"),
        (b"GET / HTTP/1.1", "404 Not Found"),
        (b"GET /metrics/../secret HTTP/1.1", "404 Not Found"),
        (b"GET", "404 Not Found"),
        (b"\xff\xfe", "405 Method Not Allowed"),
    ],
)
def test_nothing_else_is_there(request_line: bytes, status: str) -> None:
    async def test() -> None:
        async with _serving() as (_, _, endpoint):
            head, _ = await _ask(endpoint, request_line + b"\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {status}\r\n")

    asyncio.run(test())


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n", b"G" * 20_000])
def test_a_peer_that_never_asks_properly_is_cut_off(sent: bytes) -> None:
    async def test() -> None:
        async with _serving(timeout_s=0.02) as (_, _, endpoint):
            with contextlib.suppress(ConnectionError):
                assert await _ask(endpoint, sent) == ("", b"")

    asyncio.run(test())


def test_more_peers_than_the_limit_are_turned_away_and_later_ones_served() -> None:
    async def test() -> None:
        async with _serving(connections_max=1) as (_, _, endpoint):
            idle_reader, idle_writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            with contextlib.suppress(ConnectionError):
                assert await _ask(endpoint, b"GET /healthz HTTP/1.1\r\n\r\n") == ("", b"")
            idle_writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert (await idle_reader.read()).startswith(b"HTTP/1.1 200 OK")
            idle_writer.close()
            await idle_writer.wait_closed()
            head, _ = await _ask(endpoint, b"GET /healthz HTTP/1.1\r\n\r\n")
            assert head.startswith("HTTP/1.1 200 OK")

    asyncio.run(test())


def test_a_port_in_use_is_said() -> None:
    async def test() -> None:
        async with _serving() as (_, metrics, endpoint):
            with pytest.raises(ListenError, match=f"^cannot listen on {endpoint}: Address already in use$"):
                await Admin(metrics, lambda: ("", "")).serve(endpoint)

    asyncio.run(test())
