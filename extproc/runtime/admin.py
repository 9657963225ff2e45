"""The admin endpoint: ``GET /metrics`` and ``GET /healthz``, and nothing that changes state.

It runs on the event loop it reports on, on purpose: a loop that stands still does not answer. Bounded in everything:
connections, bytes of a request, seconds. A request gets one answer and the connection is closed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

from extproc.runtime.metrics import CONTENT_TYPE, Metrics
from extproc.runtime.transports.base import ListenError
from extproc.runtime.transports.endpoint import Endpoint, try_bind

CONNECTIONS_MAX: Final = 32
REQUEST_BYTES_MAX: Final = 8192
TIMEOUT_S: Final = 5.0


class Admin:
    """Serves metrics and health. ``policy`` names the policy in force and its revision."""

    def __init__(
        self,
        metrics: Metrics,
        policy: Callable[[], tuple[str, str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._metrics: Final = metrics
        self._policy: Final = policy
        self._clock: Final = clock
        self._timeout_s: Final = timeout_s
        self._connections_max: Final = connections_max
        self._started_at: Final = clock()
        self._connections = 0
        self._draining = False
        self._server: asyncio.Server

    async def serve(self, endpoint: Endpoint) -> Endpoint:
        """Start listening; return the endpoint with the port that was bound.

        Raises:
            ListenError: it cannot be listened on.
        """
        try:
            try_bind(endpoint)  # asyncio wraps the reason in words of its own
            self._server = await asyncio.start_server(
                self._connected, endpoint.host, endpoint.port, limit=REQUEST_BYTES_MAX
            )
        except OSError as error:
            raise ListenError(f"cannot listen on {endpoint}: {error.strerror}") from None
        return Endpoint(host=endpoint.host, port=self._server.sockets[0].getsockname()[1])

    def drain(self) -> None:
        """Report as not ready from now on."""
        self._draining = True

    async def stop(self) -> None:
        """Stop listening."""
        self._server.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= self._connections_max:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0]))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._connections -= 1

    def _answer(self, request_line: bytes) -> bytes:
        method, _, rest = request_line.partition(b" ")
        if method != b"GET":
            return _http("405 Method Not Allowed", "text/plain", b"only GET\n", "Allow: GET\r\n")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path == b"/metrics":
            return _http("200 OK", CONTENT_TYPE, self._metrics.render())
        if path == b"/healthz":
            status = "503 Service Unavailable" if self._draining else "200 OK"
            return _http(status, "application/json", self._health())
        return _http("404 Not Found", "text/plain", b"/metrics and /healthz\n")

    def _health(self) -> bytes:
        name, revision = self._policy()
        health = {
            "status": "draining" if self._draining else "serving",
            "policy": name,
            "revision": revision,
            "uptime_s": round(self._clock() - self._started_at, 3),
            "streams": self._metrics.streams,
        }
        return json.dumps(health).encode() + b"\n"


def _http(status: str, content_type: str, body: bytes, headers: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
