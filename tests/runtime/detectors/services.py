"""A real gRPC service that speaks protos/detector.proto."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from extproc.runtime._pb import detector_pb2 as pb

Scan = Callable[[pb.ScanRequest, Any], Awaitable[pb.ScanResponse]]


@contextlib.asynccontextmanager
async def grpc_service(scan: Scan, address: str = "127.0.0.1:0", credentials: Any = None) -> AsyncIterator[str]:
    """Serve; yields the address, with the port that was bound."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(scan, pb.ScanRequest.FromString, pb.ScanResponse.SerializeToString)
    service = grpc.method_handlers_generic_handler("sluicegate.detector.v1.Detector", {"Scan": handler})
    server.add_generic_rpc_handlers((service,))
    if credentials is None:
        port = server.add_insecure_port(address.replace("unix://", "unix:"))
    else:
        port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
