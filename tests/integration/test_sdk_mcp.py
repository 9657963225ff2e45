"""The Model Context Protocol's own client and server with a real gate between them, in both eras of the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types
import pytest
from mcp.client.client import Client, ConnectMode
from mcp.shared.exceptions import MCPError

from tests.integration.mcp_server import McpServer
from tests.support.gateway import Gateway
from tests.support.recorded import KEY

MODES: tuple[ConnectMode, ...] = ("legacy", "auto")
both = pytest.mark.parametrize("mode", MODES)


def session(url: str, mode: ConnectMode, act: Callable[[Client], Awaitable[Any]], **settings: Any) -> Any:
    """Run ``act`` on a client, then see that its session still works."""

    async def run() -> Any:
        with anyio.fail_after(30):
            async with Client(url, mode=mode, read_timeout_seconds=10, **settings) as client:
                try:
                    came = await act(client)
                except MCPError as error:
                    came = error
                assert said(await client.call_tool("add", {"a": 2, "b": 3})) == "5"
                return came

    return anyio.run(run)


def calling(tool: str, /, **arguments: Any) -> Callable[[Client], Awaitable[Any]]:
    async def act(client: Client) -> Any:
        return await client.call_tool(tool, arguments)

    return act


def working(step: str) -> tuple[list[str | None], Callable[[Client], Awaitable[Any]]]:
    """A call of a tool that tells its steps, the second of which is given; and where they will stand."""
    steps: list[str | None] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        steps.append(message)

    async def act(client: Client) -> Any:
        return await client.call_tool("work", {"step": step}, progress_callback=told)

    return steps, act


def said(result: Any) -> str:
    return "".join(part.text for part in result.content)


@both
class TestAllowed:
    def test_tools_are_listed_and_called(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode) -> None:
        async def act(client: Client) -> Any:
            names = {tool.name for tool in (await client.list_tools()).tools}
            return names, await client.call_tool("add", {"a": 1, "b": 2})

        names, result = session(gate.url() + "/mcp", mode, act)
        assert {"add", "page"} <= names
        assert said(result) == "3"
        assert result.structured_content == {"result": 3}

    def test_under_another_path(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode) -> None:
        result = session(gate.url() + "/mcp-tools", mode, calling("add", a=1, b=2))
        assert said(result) == "3"

    def test_a_secret_in_a_result_is_redacted(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode) -> None:
        result = session(gate.url() + "/mcp", mode, calling("page", name="key"))
        assert said(result).startswith("The key is [REDACTED:")
        assert said(result).endswith("], keep it.")
        assert KEY not in repr(result)

    def test_how_far_a_tool_is(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode) -> None:
        steps, act = working("two")
        result = session(gate.url() + "/mcp", mode, act)
        assert (said(result), steps) == ("done", ["one", "two"])


@both
class TestRefused:
    @pytest.mark.parametrize("path", ["/mcp", "/mcp-tools"])
    def test_a_forbidden_tool(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode, path: str) -> None:
        tool_server.ran.clear()
        refusal = session(gate.url() + path, mode, calling("run_shell", command="id"))
        assert isinstance(refusal, MCPError)
        assert refusal.error.code == -32001
        assert "run_shell" in refusal.error.message
        assert tool_server.ran == ["add"]

    def test_an_injection_in_a_result(self, gate: Gateway, tool_server: McpServer, mode: ConnectMode) -> None:
        refusal = session(gate.url() + "/mcp", mode, calling("page", name="trap"))
        assert isinstance(refusal, MCPError)
        assert 'the answer was stopped by the rule "injection"' in refusal.error.message

    def test_a_forbidden_tool_as_a_message(
        self, message_gate: Gateway, tool_server: McpServer, mode: ConnectMode
    ) -> None:
        tool_server.ran.clear()
        result = session(message_gate.url() + "/mcp", mode, calling("run_shell", command="id"))
        assert isinstance(result, mcp_types.CallToolResult)
        assert result.is_error
        assert "run_shell" in said(result)
        assert tool_server.ran == ["add"]

    def test_an_injection_in_a_result_as_a_message(
        self, message_gate: Gateway, tool_server: McpServer, mode: ConnectMode
    ) -> None:
        came = session(message_gate.url() + "/mcp", mode, calling("page", name="trap"))
        # The older era answers with a stream, which is cut; the newer with a document, which another replaces.
        assert isinstance(came, MCPError if mode == "legacy" else mcp_types.CallToolResult)
        assert 'rule "injection"' in (came.error.message if isinstance(came, MCPError) else said(came))
        assert isinstance(came, MCPError) or came.is_error


@both
class TestCut:
    @pytest.mark.parametrize("style", ["error", "message"])
    def test_behind_what_a_tool_has_told(
        self, gate: Gateway, message_gate: Gateway, tool_server: McpServer, mode: ConnectMode, style: str
    ) -> None:
        steps, act = working("trap")
        chosen = gate if style == "error" else message_gate
        refusal = session(chosen.url() + "/mcp", mode, act)
        assert isinstance(refusal, MCPError)
        assert 'the answer was stopped by the rule "injection"' in refusal.error.message
        assert steps == ["one"]


class TestTheServersOwnStream:
    def test_it_opens_speaks_and_closes(self, gate: Gateway, tool_server: McpServer) -> None:
        tool_server.seen.clear()
        before = len(gate.records())
        heard: list[str] = []

        async def listen(message: Any) -> None:
            heard.append(type(message).__name__)

        async def act(client: Client) -> None:
            while not heard:  # the stream may open a moment after the session
                await client.call_tool("say", {})

        session(gate.url() + "/mcp", "legacy", act, message_handler=listen)
        assert set(heard) == {"ToolListChangedNotification"}
        assert ("GET", "/mcp") in tool_server.seen
        assert tool_server.seen[-1] == ("DELETE", "/mcp")
        records = gate.records(before + len(tool_server.seen))[before:]
        (own,) = [record for record in records if record["http.request.method"] == "GET"]
        assert (own["dialect"], own["action"], own["cut"]) == ("mcp", "allow", False)

    def test_it_is_cut_with_a_log_message_and_the_session_goes_on(self, gate: Gateway, tool_server: McpServer) -> None:
        heard: list[Any] = []

        async def listen(message: mcp_types.LoggingMessageNotificationParams) -> None:
            heard.append(message.data)

        async def act(client: Client) -> None:
            while not heard:
                await client.call_tool("trap", {})

        session(gate.url() + "/mcp", "legacy", act, logging_callback=listen)
        assert heard == ['[the answer was stopped by the rule "injection"]']
