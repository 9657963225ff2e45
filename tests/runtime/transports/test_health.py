"""The health service: serving until the drain begins, and never in the way of a drain."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from extproc.runtime.transports.base import SERVICE
from tests.runtime.transports.streams import NEVER_S, Handler, connected, run, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def _call(kind: Any, method: str, service: str) -> Any:
    call = kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return call(health_pb2.HealthCheckRequest(service=service))


@pytest.mark.parametrize("service", ["", SERVICE])
def test_a_serving_server_says_so(service: str) -> None:
    async def test() -> None:
        async with serving(Handler()) as (_, bound), connected(bound) as channel:
            assert (await _call(channel.unary_unary, "Check", service)).status == SERVING

    run(test())


def test_a_service_that_is_not_ours_is_not_found() -> None:
    async def test() -> None:
        async with serving(Handler()) as (_, bound), connected(bound) as channel:
            call = _call(channel.unary_unary, "Check", "another.Service")
            assert await call.code() is grpc.StatusCode.NOT_FOUND
            watch = _call(channel.unary_stream, "Watch", "another.Service")
            assert (await watch.read()).status == SERVICE_UNKNOWN

    run(test())


def test_a_watcher_hears_of_the_drain_and_does_not_keep_the_server_up() -> None:
    async def test() -> None:
        async with serving(Handler()) as (transport, bound), connected(bound) as channel:
            watch = _call(channel.unary_stream, "Watch", SERVICE)
            assert (await watch.read()).status == SERVING
            stopping = asyncio.create_task(transport.stop(NEVER_S))
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
            await stopping

    run(test())
