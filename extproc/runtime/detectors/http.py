"""One POST of JSON over HTTP/1.1, on the event loop: nothing blocks, and whoever waits may stop waiting at any time.

What lives here: the exchange of bytes, with a limit on what comes back. What must not: what the bytes mean.

Each question has a connection of its own, which the server closes at the end. The answer is read whole and then parsed
by ``http.client``, as from a file. There are no redirects and no proxies.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from extproc.runtime.detectors.base import Unanswered

ANSWER_BYTES_MAX: Final = 256 * 1024
_READ_BYTES: Final = 16 * 1024


class Endpoint:
    """A URL that takes JSON. ``api_key_env`` names the environment variable that holds a bearer token."""

    def __init__(self, url: str, api_key_env: str | None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host: Final = parts.hostname
        self._tls: Final = ssl.create_default_context() if parts.scheme == "https" else None
        self._port: Final = parts.port or (80 if self._tls is None else 443)
        self._target: Final = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._netloc: Final = parts.netloc
        self._key: Final = "" if api_key_env is None else os.environ.get(api_key_env, "")

    async def post(self, document: Any) -> Any:
        """Send a document; return the one that comes back.

        Raises:
            Unanswered: nobody is there, or what came back is no 200, or no JSON, or too much.
        """
        try:
            raw = await self._exchange(self._request(json.dumps(document).encode()))
        except OSError:
            raise Unanswered("unreachable") from None
        return _parsed(raw)

    def _request(self, body: bytes) -> bytes:
        fields = [
            f"POST {self._target} HTTP/1.1",
            f"host: {self._netloc}",
            "connection: close",
            "content-type: application/json",
            "accept: application/json",
            "accept-encoding: identity",
            f"content-length: {len(body)}",
            *([f"authorization: Bearer {self._key}"] if self._key else []),
        ]
        return "\r\n".join(fields).encode("ascii") + b"\r\n\r\n" + body

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(request)
            await writer.drain()
            raw = bytearray()
            while piece := await reader.read(_READ_BYTES):
                raw += piece
                if len(raw) > ANSWER_BYTES_MAX:
                    raise Unanswered("garbage")
            return bytes(raw)
        finally:
            writer.transport.abort()  # answered, or given up


class _Whole:
    """What ``http.client`` takes for a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw: Final = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _parsed(raw: bytes) -> Any:
    if not raw:
        raise Unanswered("unreachable")
    response = http.client.HTTPResponse(_Whole(raw), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError, OSError):
        raise Unanswered("garbage") from None
    if response.status != http.client.OK:
        raise Unanswered("refused")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unanswered("garbage") from None
