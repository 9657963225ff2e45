"""A real MCP server in a thread, with a few tools that tests need. What must not live here: judging what it saw."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from tests.support.recorded import INJECTION, KEY

TOOLS = MCPServer("tools", version="1.0")


@TOOLS.tool(description="Add two numbers")
def add(a: int, b: int) -> int:
    return a + b


@TOOLS.tool(description="Fetch a page")
def page(name: str) -> str:
    return {"key": f"The key is {KEY}, keep it.", "trap": INJECTION}[name]


@TOOLS.tool(description="Tell that the tools have changed")
async def say(ctx: Context) -> str:  # type: ignore[type-arg]
    await ctx.session.send_tool_list_changed()
    return "said"


@TOOLS.tool(description="Run a command")
def run_shell(command: str) -> str:
    raise AssertionError(f"nobody may run {command}")


class McpServer:
    """``with McpServer() as server:`` serves ``TOOLS`` at ``/mcp``; ``seen`` has every method and path that came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.called: list[str] = []
        self._app: Any = TOOLS.streamable_http_app()
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(self._counted, log_level="error", ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.seen.append((scope["method"], scope["path"]))
        await self._app(scope, receive, send)
