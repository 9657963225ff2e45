"""One process, whole: it serves, shows itself, drains, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.runtime.recording import read_recording
from extproc.runtime.replay import compare
from extproc.runtime.server import ServerSetup, Serving, run_server, secret_detectors
from extproc.runtime.transports.base import ListenError
from extproc.runtime.transports.endpoint import Endpoint
from tests.runtime.transports.streams import LOOPBACK, connected, open_stream
from tests.support.streams import request_headers, secrets_policy


@asynccontextmanager
async def _running(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Serving, asyncio.Task[None]]]:
    """A running server; it is stopped at the end unless the test did."""
    ready: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
    audit = os.open(tmp_path / "audit.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    setup = ServerSetup(secrets_policy(), LOOPBACK, audit, **options)
    running = asyncio.create_task(run_server(setup, ready.set_result))
    try:
        both: set[asyncio.Future[Any]] = {ready, running}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        serving = ready.result()
        yield serving, running
        if not running.done():
            serving.stop()
        await running
    finally:
        os.close(audit)


async def _refused_exchange(serving: Serving) -> None:
    async with connected(serving.listen) as channel:
        stream = open_stream(channel)
        await stream.write(request_headers("/api/pull", end=True))
        assert (await stream.read()).immediate_response.status.code == 403
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK


async def _get(endpoint: Endpoint | None, path: str) -> bytes:
    assert endpoint is not None
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_an_exchange_is_judged_audited_counted_and_recorded(tmp_path: Path) -> None:
    async def test() -> None:
        async with _running(tmp_path, admin=LOOPBACK, record=tmp_path / "recordings") as (serving, _):
            await _refused_exchange(serving)
            metrics = await _get(serving.admin, "/metrics")
            assert b'sluicegate_exchanges_total{action="deny",dialect="none"} 1.0\n' in metrics
            assert b'sluicegate_policy_info{policy="test",' in metrics
            assert b'"policy": "test"' in await _get(serving.admin, "/healthz")

    asyncio.run(test())
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["url.path"] == "/api/pull"
    (file,) = (tmp_path / "recordings").iterdir()
    assert file.stem == json.loads(line)["decision_id"]
    assert compare(read_recording(file), secrets_policy()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_server_and_a_running_exchange_finishes(tmp_path: Path, number: signal.Signals) -> None:
    async def test() -> None:
        async with _running(tmp_path, admin=LOOPBACK) as (serving, running), connected(serving.listen) as channel:
            stream = open_stream(channel)
            await stream.write(request_headers("/api/tags", "GET", end=True))
            await stream.read()
            os.kill(os.getpid(), number)
            while b"503" not in (await _get(serving.admin, "/healthz"))[:12]:
                pass
            assert not running.done()
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
            await running

    asyncio.run(test())


def test_a_second_stop_ends_a_drain(tmp_path: Path) -> None:
    async def test() -> None:
        async with _running(tmp_path) as (serving, running), connected(serving.listen) as channel:
            stream = open_stream(channel)
            await stream.write(request_headers("/api/tags", "GET", end=True))
            await stream.read()
            serving.stop()
            serving.stop()
            await running
            assert await stream.code() is not grpc.StatusCode.OK

    asyncio.run(test())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()

    async def test() -> None:
        async with _running(tmp_path, record=tmp_path / "recordings") as (serving, _):
            await _refused_exchange(serving)

    asyncio.run(test())
    left = [thread.name for thread in threading.enumerate() if thread.name in {"audit", "recorder", "watchdog"}]
    assert left == []
    assert threading.active_count() <= before + 1  # gRPC keeps one poller for the process


def test_an_endpoint_in_use_ends_the_start_and_what_had_started(tmp_path: Path) -> None:
    async def test() -> None:
        async with _running(tmp_path) as (serving, _):
            for name in ("listen", "admin"):
                other = tmp_path / name
                other.mkdir()
                audit = os.open(other / "audit.jsonl", os.O_WRONLY | os.O_CREAT)
                options: dict[str, Any] = {"listen": LOOPBACK, name: serving.listen}
                with pytest.raises(ListenError):
                    await run_server(ServerSetup(secrets_policy(), audit=audit, **options), lambda _serving: None)
                os.close(audit)

    asyncio.run(test())
    assert not [thread for thread in threading.enumerate() if thread.name in {"audit", "watchdog"}]


def test_recordings_are_cleaned_with_the_shipped_rules_even_where_the_policy_has_none() -> None:
    assert len(secret_detectors(secrets_policy())) == 2
    key = "AKIA" + "Q3EGXKP7VWLZ2M5N"
    assert all(detector.scan(key).matches for detector in secret_detectors(secrets_policy()))
