"""A stream whose exchange waits for others: deadlines pass, clients leave and messages queue meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc.aio
import pytest

from extproc.messages import Opinion
from extproc.policy.decision import DecisionRecord
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.gate import Gate
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder, read_recording
from extproc.runtime.replay import compare, drive, event_name
from extproc.runtime.transports.base import Deadlines
from extproc.runtime.transports.grpc_aio import ASIDE_BYTES
from tests.runtime.transports.streams import (
    NEVER_S,
    Exchange,
    Handler,
    Replies,
    connected,
    go_on,
    headers,
    open_stream,
    run,
    serving,
)
from tests.support.second_opinions import CHAT, LIKELY, unsure
from tests.support.streams import chat, request_body, request_headers
from tests.support.tier2 import guard_says, ok, passages, saying, silence, tcp_server

OPINIONS: Final = (Opinion(0.5),)


def _recorded(folder: Path) -> rec.Recording:
    (file,) = folder.glob("*.slrec")
    return read_recording(file)


def _refusal() -> pb.ProcessingResponse:
    return pb.ProcessingResponse(immediate_response=pb.ImmediateResponse())


def test_the_answers_come_back_to_the_exchange_and_its_words_are_sent() -> None:
    given: list[tuple[Opinion, ...]] = []

    async def opinions() -> tuple[Opinion, ...]:
        return OPINIONS

    def consulted(opinions: tuple[Opinion, ...]) -> Replies:
        given.append(opinions)
        return [go_on()]

    async def test() -> None:
        exchange = Exchange(lambda _: [], consult=opinions, consulted=consulted)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.read() == go_on()
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
        assert (given, exchange.closed) == ([OPINIONS], ["eof"])

    run(test())


@pytest.mark.parametrize("bytes_", [10, ASIDE_BYTES + 10], ids=["small", "large"])
def test_messages_that_come_meanwhile_wait_their_turn(bytes_: int) -> None:
    order: list[str] = []
    release = asyncio.Event()

    async def opinions() -> tuple[Opinion, ...]:
        await release.wait()
        return OPINIONS

    def receive(message: pb.ProcessingRequest) -> Replies:
        order.append(str(message.WhichOneof("request")))
        return []

    def consulted(_: tuple[Opinion, ...]) -> Replies:
        order.append("consulted")
        return [go_on()]

    async def test() -> None:
        asked = iter([None, opinions])

        def consult() -> Any:
            which = next(asked, None)
            return which() if which is not None else None

        exchange = Exchange(receive, consult=consult, consulted=consulted)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.write(request_body(b"x" * bytes_))
            await stream.write(pb.ProcessingRequest(request_trailers=pb.HttpTrailers()))
            release.set()
            await stream.done_writing()
            assert await stream.read() == go_on()
            assert await stream.read() is grpc.aio.EOF
        assert order == ["request_headers", "request_body", "consulted", "request_trailers"]

    run(test())


def test_the_verdict_deadline_passes_while_others_are_asked() -> None:
    async def never() -> tuple[Opinion, ...]:
        await asyncio.Event().wait()
        return ()

    async def test() -> None:
        exchange = Exchange(
            lambda _: [], consult=never, expire=lambda _: [_refusal()], deadlines=Deadlines(0.05, NEVER_S, NEVER_S)
        )
        exchange.owes_verdict = True
        async with serving(Handler(exchange), linger_s=0.05) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.read() == _refusal()
            with pytest.raises(grpc.aio.AioRpcError):
                await stream.read()  # it does not hang, though nobody ever answers
        assert (exchange.expired, exchange.closed) == (["verdict"], ["error"])

    run(test())


def test_a_client_that_leaves_meanwhile_is_recorded() -> None:
    records: asyncio.Queue[DecisionRecord] = asyncio.Queue()

    async def test() -> None:
        asked = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await silence(reader, writer)

        async with tcp_server(talk) as address:
            policy = unsure({**CHAT, "url": f"http://{address}/", "timeout_s": 30})
            gate = Gate(policy, metrics=Metrics(), audit=records.put_nowait)
            async with serving(gate) as (_, bound), connected(bound) as channel:  # type: ignore[arg-type]
                stream = open_stream(channel)
                await stream.write(request_headers())
                await stream.write(request_body(chat(LIKELY)))
                await asked.wait()
                stream.cancel()
                record = await records.get()
        assert (record.ended, record.not_inspected) == ("closed", ["tier2:guard"])

    run(test())


def test_a_recording_has_the_answers_and_replays_to_the_byte(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = Recorder(tmp_path, ())
        async with tcp_server(saying(ok(guard_says("unsafe\nS1")))) as address:
            policy = unsure({**CHAT, "url": f"http://{address}/", "timeout_s": 30})
            (passage,) = await passages(policy, LIKELY, recorder=recorder)
        recorder.close()
        recording = _recorded(tmp_path)
        assert passage.status == 403
        assert [event_name(entry) for entry in recording.entries][2] == "consulted"
        assert [opinion.score for opinion in recording.entries[2].consulted.opinions] == [1.0]
        assert not recording.live_replies_differ
        assert compare(recording, policy) == []
        del recording.entries[2]
        assert not any(
            reply.HasField("immediate_response") for each in drive(recording, policy) for reply in each.replies
        )

    run(test())


def test_a_recording_says_why_there_was_no_answer(tmp_path: Path) -> None:
    async def test() -> None:
        recorder = Recorder(tmp_path, ())
        async with tcp_server(saying(ok(b"[]"))) as address:
            policy = unsure({**CHAT, "url": f"http://{address}/", "timeout_s": 30}, "allow")
            await passages(policy, LIKELY, recorder=recorder)
        recorder.close()
        recording = _recorded(tmp_path)
        (opinion,) = recording.entries[2].consulted.opinions
        assert (opinion.HasField("score"), opinion.skipped) == (False, "garbage")
        assert compare(recording, policy) == []

    run(test())
