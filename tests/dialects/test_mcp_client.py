"""What the protocol's own Python client makes of refusals and cut-offs. No network: its transport is replaced.

The gate answers in the place of the server for one tool; the server is a few recorded words.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import mcp_types
import pytest
from mcp.client.client import Client, ConnectMode
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from extproc.chat import ChatRequest, Denial, RequestHead
from extproc.dialects.mcp import Mcp
from extproc.messages import HttpReply
from tests.dialects.support import DENIAL, LIMIT_BYTES, LIMITS, drain

DIALECT = Mcp()
OLDER: ConnectMode = "legacy"
MODERN: ConnectMode = "2026-07-28"
Refuser = Callable[[ChatRequest], HttpReply]
Act = Callable[[Client], Awaitable[Any]]
TOOL = {"name": "add", "inputSchema": {"type": "object"}}
INFO = {"name": "demo", "version": "1"}
RESULTS: dict[str, Any] = {
    "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": INFO},
    "tools/list": {"resultType": "complete", "tools": [TOOL], "ttlMs": 0, "cacheScope": "private"},
    "tools/call": {"resultType": "complete", "content": [{"type": "text", "text": "3"}], "isError": False},
}


class Gate(httpx2.AsyncBaseTransport):
    """Reads each request as the gate does, refuses calls of ``rm`` and lets the server answer the rest."""

    def __init__(self, refuse: Refuser) -> None:
        self.refuse = refuse
        self.statuses: list[int] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        reply = self._reply(request, await request.aread())
        self.statuses.append(reply.status)
        return httpx2.Response(reply.status, headers={"content-type": reply.content_type}, content=reply.body)

    def _reply(self, request: httpx2.Request, body: bytes) -> HttpReply:
        fields = tuple((name.lower(), value) for name, value in request.headers.items())
        read = DIALECT.read_request(RequestHead(request.method, "/mcp", "", fields), body, LIMITS)
        if request.method != "POST":
            return HttpReply(405, b"")
        if any(call.name == "rm" for call in read.calls):
            return self.refuse(read)
        if "id" not in read.document:
            return HttpReply(202, b"")
        result = RESULTS[str(read.document["method"])]
        answer = json.dumps({"jsonrpc": "2.0", "id": read.document["id"], "result": result}).encode()
        decoder = DIALECT.decoder(read, 200, "application/json", LIMIT_BYTES)
        return HttpReply(200, b"".join(frame.raw for frame in drain(decoder, [answer])))


def session(refuse: Refuser, mode: ConnectMode, act: Act) -> tuple[Any, list[int]]:
    """Run ``act`` on a client, then see that the session still works; what ``act`` gave or raised, and the statuses."""
    gate = Gate(refuse)

    async def run() -> Any:
        async with httpx2.AsyncClient(transport=gate) as http:
            transport = streamable_http_client("http://mcp.test/mcp", http_client=http)
            async with Client(transport, mode=mode, read_timeout_seconds=5) as client:
                try:
                    came: Any = await act(client)
                except MCPError as error:
                    came = error
                assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
                assert (await client.call_tool("add", {"a": 1})).content == [_text("3")]
                return came

    return anyio.run(run), gate.statuses


def _text(text: str) -> mcp_types.TextContent:
    return mcp_types.TextContent(type="text", text=text)


async def call(client: Client) -> Any:
    return await client.call_tool("rm", {"path": "/"})


@pytest.mark.parametrize(("mode", "status"), [(OLDER, 200), (MODERN, 403)])
def test_a_refusal_is_raised_with_its_message_and_the_session_goes_on(mode: ConnectMode, status: int) -> None:
    came, statuses = session(lambda request: DIALECT.refusal(DENIAL, request), mode, call)
    assert isinstance(came, MCPError)
    assert (came.error.message, came.error.code) == (DENIAL.message, -32001)
    assert came.error.data == {"decision_id": DENIAL.decision_id}
    assert status in statuses


@pytest.mark.parametrize("mode", [OLDER, MODERN])
def test_this_client_reads_a_refusal_of_any_status(mode: ConnectMode) -> None:
    came, statuses = session(lambda request: replace(DIALECT.refusal(DENIAL, request), status=403), mode, call)
    assert isinstance(came, MCPError)
    assert came.error.message == DENIAL.message
    assert 403 in statuses


@pytest.mark.parametrize("mode", [OLDER, MODERN])
def test_a_malformed_request_is_raised_though_its_id_was_not_read(mode: ConnectMode) -> None:
    denial = Denial("the MCP headers do not fit the message: 'mcp-name'", "malformed", "d-1", 400, "invalid_request")
    came, statuses = session(lambda _: DIALECT.refusal(denial), mode, call)
    assert isinstance(came, MCPError)
    assert (came.error.message, came.error.code) == (denial.message, -32020)
    assert 400 in statuses


@pytest.mark.parametrize("mode", [OLDER, MODERN])
def test_a_message_is_the_result_of_the_tool(mode: ConnectMode) -> None:
    came, _ = session(lambda request: DIALECT.refusal_message(DENIAL, request), mode, call)
    assert isinstance(came, mcp_types.CallToolResult)
    assert (came.content, came.is_error) == ([_text(DENIAL.message)], True)


@pytest.mark.parametrize("mode", [OLDER, MODERN])
def test_a_cut_stream_is_raised_with_its_message(mode: ConnectMode) -> None:
    log = b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}\n\n'

    def cut(request: ChatRequest) -> HttpReply:
        decoder = DIALECT.decoder(request, 200, "text/event-stream", LIMIT_BYTES)
        sent = b"".join(frame.raw for frame in drain(decoder, [log], end=False))
        return HttpReply(200, sent + decoder.cutoff(DENIAL), "text/event-stream")

    came, _ = session(cut, mode, call)
    assert isinstance(came, MCPError)
    assert came.error.message == DENIAL.message
