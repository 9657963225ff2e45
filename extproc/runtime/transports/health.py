"""The gRPC health service (``grpc.health.v1``): serving until the drain begins.

Written for grpc.aio rather than taken from grpcio-health-checking because its ``Watch`` streams never end, and so
would keep a draining server up for the whole of its grace. The messages are that package's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from extproc.runtime.transports.base import SERVICE

NAME: Final = "grpc.health.v1.Health"
_Status: Final = health_pb2.HealthCheckResponse


class Health:
    """Answers for the server as a whole (``""``) and for the ext_proc service."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Report NOT_SERVING from now on."""
        self._draining.set()

    def rpc_handler(self) -> grpc.GenericRpcHandler:
        """The service as grpc wants it."""
        request, response = health_pb2.HealthCheckRequest.FromString, _Status.SerializeToString
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, request, response),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch, request, response),
            },
        )

    def _status(self, service: str) -> int:
        if service not in {"", SERVICE}:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.NOT_SERVING if self._draining.is_set() else _Status.SERVING)

    async def _check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _Status(status=status)

    async def _watch(self, request: Any, context: Any) -> None:
        await context.write(_Status(status=self._status(request.service)))
        if not self._draining.is_set():
            await self._draining.wait()
            await context.write(_Status(status=self._status(request.service)))
