"""The grpc.aio transport, against a real gRPC client and exchanges that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import h2.connection
import h2.events
import pytest

from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.tls import Tls
from extproc.runtime.transports import grpc_aio
from extproc.runtime.transports.base import Broken, Deadlines, ListenError
from extproc.runtime.transports.endpoint import Endpoint
from extproc.runtime.transports.grpc_aio import ASIDE_BYTES, ASIDE_THREADS
from tests.runtime.transports.streams import (
    NEVER_S,
    Exchange,
    Handler,
    Replies,
    connected,
    echo,
    go_on,
    headers,
    open_stream,
    run,
    serving,
)
from tests.support.certificates import Authority, Identity

SOON_S = 0.01
GONE = (["cancelled"], ["eof"])  # grpc.aio may show the end of the messages before it shows the cancellation


def test_every_reply_reaches_the_peer_in_order_and_its_end_ends_the_stream_well() -> None:
    def receive(_message: pb.ProcessingRequest) -> Replies:
        return [go_on(), pb.ProcessingResponse(response_body=pb.BodyResponse())]

    async def test() -> None:
        exchange = Exchange(receive)
        handler = Handler(exchange)
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel, (("x-route", "a"),))
            await stream.write(headers())
            first, second = await stream.read(), await stream.read()
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
            assert (first.WhichOneof("response"), second.WhichOneof("response")) == ("request_headers", "response_body")
            assert ("x-route", "a") in [tuple(pair) for pair in handler.opened[0]]
        assert exchange.closed == ["eof"]
        assert handler.failed == []

    run(test())


def _raises(error: Exception) -> Callable[[object], Replies]:
    def receive(_what: object) -> Replies:
        raise error

    return receive


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (Broken("protocol", "text is left over"), grpc.StatusCode.INTERNAL, "text is left over"),
        (Broken("internal", "processor error"), grpc.StatusCode.INTERNAL, "processor error"),
        (ValueError("the prompt was: hello"), grpc.StatusCode.INTERNAL, "processor error"),
    ],
)
def test_an_exchange_that_raises_fails_the_stream_without_quoting_anything(
    error: Exception, code: grpc.StatusCode, details: str
) -> None:
    async def test() -> None:
        exchange = Exchange(_raises(error))
        handler = Handler(exchange)
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.code() is code
            assert await stream.details() == details
        assert exchange.closed == ["error"]
        assert len(handler.failed) == 1

    run(test())


def test_a_handler_that_cannot_open_an_exchange_fails_the_stream_and_says_why() -> None:
    async def test() -> None:
        handler = Handler()  # has none to hand out
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            assert await stream.code() is grpc.StatusCode.INTERNAL
        assert isinstance(handler.failed[0].__cause__, IndexError)

    run(test())


def test_a_peer_that_goes_away_closes_the_exchange_exactly_once() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        handler = Handler(exchange)
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            stream.cancel()
            await exchange.over.wait()
        assert exchange.closed in GONE
        assert handler.failed == []

    run(test())


def test_a_connection_that_breaks_closes_the_exchange_exactly_once() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        async with serving(Handler(exchange)) as (_, bound):
            async with connected(bound) as channel:
                stream = open_stream(channel)
                await stream.write(headers())
                await stream.read()
            await exchange.over.wait()
        assert exchange.closed in GONE

    run(test())


def test_bytes_that_are_no_message_fail_the_stream() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        handler = Handler(exchange)
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = channel.stream_stream("/envoy.service.ext_proc.v3.ExternalProcessor/Process")()
            await stream.write(b"\xff\xff\xff")
            assert await stream.code() is grpc.StatusCode.INTERNAL
        assert exchange.closed == ["error"]
        assert [broken.why for broken in handler.failed] == ["connection"]

    run(test())


def test_a_stream_over_the_limit_is_refused_and_counted_and_room_is_made_again() -> None:
    async def test() -> None:
        first = Exchange(echo)
        handler = Handler(first, Exchange(echo))
        async with serving(handler, max_streams=1) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            assert await open_stream(channel).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
            third = open_stream(channel)
            await third.write(headers())
            assert isinstance(await third.read(), pb.ProcessingResponse)
            await third.done_writing()
            assert await third.code() is grpc.StatusCode.OK
        assert [broken.why for broken in handler.failed] == ["over_limit"]

    run(test())


@pytest.mark.parametrize("size_bytes", [5 << 20, 9 << 20])
def test_messages_up_to_the_limit_pass_and_larger_ones_fail_the_stream(size_bytes: int) -> None:
    async def test() -> None:
        handler = Handler(Exchange(echo))
        async with serving(handler, max_message_bytes=8 << 20) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(pb.ProcessingRequest(request_body=pb.HttpBody(body=bytes(size_bytes))))
            if size_bytes < 8 << 20:
                assert isinstance(await stream.read(), pb.ProcessingResponse)
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK
            else:
                assert await stream.code() is not grpc.StatusCode.OK

    run(test())


def test_a_reply_that_cannot_be_written_fails_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        exchange = Exchange(lambda _message: _large())
        handler = Handler(exchange)
        async with serving(handler, max_message_bytes=1000) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.code() is not grpc.StatusCode.OK
            await exchange.over.wait()
        assert exchange.closed[0] != "eof"

    run(test())
    assert caplog.messages == []


def test_last_words_that_cannot_be_written_fail_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        deadlines = Deadlines(NEVER_S, SOON_S, NEVER_S)
        exchange = Exchange(lambda _message: [], expire=lambda _what: _large(), deadlines=deadlines)
        async with serving(Handler(exchange), max_message_bytes=1000) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.code() is not grpc.StatusCode.OK
            await exchange.over.wait()
        assert exchange.closed[0] != "eof"

    run(test())
    assert caplog.messages == []


def _large() -> Replies:
    return [pb.ProcessingResponse(immediate_response=pb.ImmediateResponse(body=bytes(2000)))]


def test_in_observability_mode_nothing_is_said() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers(observability_mode=True))
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
        assert exchange.closed == ["eof"]

    run(test())


# ---- deadlines ---------------------------------------------------------------------------------------------------


def _refuse(_what: str) -> Replies:
    return [pb.ProcessingResponse(immediate_response=pb.ImmediateResponse(status=pb.HttpStatus(code=500)))]


@pytest.mark.parametrize(
    ("deadlines", "what"),
    [
        (Deadlines(NEVER_S, SOON_S, NEVER_S), "exchange"),
        (Deadlines(NEVER_S, NEVER_S, SOON_S), "idle"),
    ],
)
def test_a_passed_deadline_is_answered_and_the_peer_ends_the_stream(deadlines: Deadlines, what: str) -> None:
    async def test() -> None:
        exchange = Exchange(lambda _message: [], expire=_refuse, deadlines=deadlines)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            reply = await stream.read()
            assert reply.immediate_response.status.code == 500
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
        assert exchange.expired == [what]
        assert exchange.closed == ["eof"]

    run(test())


def test_a_verdict_that_is_late_is_replaced_by_a_refusal() -> None:
    async def test() -> None:
        def receive(_message: pb.ProcessingRequest) -> Replies:
            exchange.owes_verdict = True
            return []

        def expire(what: str) -> Replies:
            exchange.owes_verdict = False
            return _refuse(what)

        exchange = Exchange(receive, expire=expire, deadlines=Deadlines(SOON_S, NEVER_S, NEVER_S))
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert (await stream.read()).HasField("immediate_response")
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
        assert exchange.expired == ["verdict"]

    run(test())


def _large_body() -> pb.ProcessingRequest:
    return pb.ProcessingRequest(request_body=pb.HttpBody(body=b"x" * (ASIDE_BYTES + 1), end_of_stream=True))


def test_a_large_body_is_judged_in_a_thread_while_other_streams_go_on() -> None:
    async def test() -> None:
        go = threading.Event()

        def receive(message: pb.ProcessingRequest) -> Replies:
            if message.HasField("request_body"):
                assert threading.current_thread() is not threading.main_thread()
                assert go.wait(20)
            return [go_on()]

        slow, other = Exchange(receive), Exchange(echo)
        async with serving(Handler(slow, other)) as (_, bound), connected(bound) as channel:
            first, second = open_stream(channel), open_stream(channel)
            await first.write(headers())
            await first.read()
            await first.write(_large_body())
            await second.write(headers())
            assert (await second.read()).HasField("request_headers")
            go.set()
            assert (await first.read()).HasField("request_headers")
            for stream in (first, second):
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK
        assert slow.closed == other.closed == ["eof"]

    run(test())


def test_a_verdict_that_a_thread_works_on_too_long_is_replaced_and_then_dropped() -> None:
    async def test() -> None:
        go = threading.Event()

        def receive(message: pb.ProcessingRequest) -> Replies:
            if message.HasField("request_body"):
                assert go.wait(20)
            return [go_on()]

        late = Deadlines(SOON_S, NEVER_S, NEVER_S)
        exchange = Exchange(receive, overdue=lambda: _refuse("verdict"), deadlines=late)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            await stream.write(_large_body())
            assert (await stream.read()).HasField("immediate_response")
            await stream.done_writing()
            go.set()
            assert await stream.read() is grpc.aio.EOF
        assert exchange.expired == []
        assert exchange.closed == ["eof"]

    run(test())


def test_a_deadline_also_answers_a_verdict_that_still_waits_for_a_thread() -> None:
    async def test() -> None:
        go = threading.Event()

        def receive(message: pb.ProcessingRequest) -> Replies:
            assert not message.HasField("request_body") or go.wait(20)
            return [go_on()]

        def refuse() -> Replies:
            return _refuse("verdict")

        late = Deadlines(SOON_S, NEVER_S, NEVER_S)
        exchanges = [Exchange(receive, overdue=refuse, deadlines=late) for _ in range(3 * ASIDE_THREADS)]
        async with serving(Handler(*exchanges)) as (_, bound), connected(bound) as channel:
            streams = [open_stream(channel) for _ in exchanges]
            for stream in streams:
                await stream.write(headers())
                await stream.read()
                await stream.write(_large_body())
            for stream in streams:
                assert (await stream.read()).HasField("immediate_response")
                await stream.done_writing()
            go.set()
            for stream in streams:
                assert await stream.read() is grpc.aio.EOF
            for exchange in exchanges:
                await exchange.over.wait()
        assert all(exchange.closed == ["eof"] for exchange in exchanges)

    run(test())


def test_a_stream_that_ends_takes_its_waiting_job_along_and_makes_room_only_when_closed() -> None:
    async def test() -> None:
        go, began = threading.Event(), threading.Semaphore(0)
        judged: list[int] = []

        def judging(number: int) -> Callable[[pb.ProcessingRequest], Replies]:
            def receive(message: pb.ProcessingRequest) -> Replies:
                if message.HasField("request_body"):
                    began.release()
                    judged.append(number)
                    assert go.wait(20)
                return [go_on()]

            return receive

        exchanges = [Exchange(judging(number)) for number in range(ASIDE_THREADS + 1)]
        handler = Handler(*exchanges)
        async with serving(handler, max_streams=len(exchanges)) as (_, bound), connected(bound) as channel:
            streams = []
            for number in range(len(exchanges)):
                streams.append(stream := open_stream(channel))
                await stream.write(headers())
                await stream.read()
                await stream.write(_large_body())
                if number < ASIDE_THREADS:
                    await asyncio.to_thread(began.acquire)
            for stream in streams:
                stream.cancel()
            await exchanges[-1].over.wait()  # its job had not begun
            assert not any(exchange.closed for exchange in exchanges[:-1])
            go.set()
            for exchange in exchanges:
                await exchange.over.wait()
        assert sorted(judged) == list(range(ASIDE_THREADS))

    run(test())


def test_a_large_answer_that_is_judged_whole_goes_to_a_thread_and_a_stream_does_not() -> None:
    async def test() -> None:
        seen: list[bool] = []

        def receive(message: pb.ProcessingRequest) -> Replies:
            if message.HasField("response_body"):
                seen.append(threading.current_thread() is threading.main_thread())
            return [go_on()]

        body = pb.ProcessingRequest(response_body=pb.HttpBody(body=b"x" * (ASIDE_BYTES + 1)))
        whole, running = Exchange(receive), Exchange(receive)
        whole.holds_answer = True
        async with serving(Handler(whole, running)) as (_, bound), connected(bound) as channel:
            for _exchange in (whole, running):
                stream = open_stream(channel)
                await stream.write(body)
                await stream.read()
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK
        assert seen == [False, True]

    run(test())


def test_a_peer_that_leaves_while_a_thread_works_closes_the_exchange_after_it() -> None:
    async def test() -> None:
        go, began, finished = threading.Event(), threading.Event(), threading.Event()

        def receive(message: pb.ProcessingRequest) -> Replies:
            if message.HasField("request_body"):
                began.set()
                assert go.wait(20)
                finished.set()
            return [go_on()]

        exchange = Exchange(receive)
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            await stream.write(_large_body())
            await asyncio.to_thread(began.wait, 20)
            stream.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stream.code()
            assert exchange.closed == []
            go.set()
            await exchange.over.wait()
        assert finished.is_set()
        assert exchange.closed == ["cancelled"]

    run(test())


def test_a_verdict_that_never_comes_fails_the_stream() -> None:
    async def test() -> None:
        def receive(_message: pb.ProcessingRequest) -> Replies:
            exchange.owes_verdict = True
            return []

        exchange = Exchange(receive, deadlines=Deadlines(SOON_S, NEVER_S, NEVER_S))
        handler = Handler(exchange)
        async with serving(handler) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert exchange.closed == ["error"]
        assert [broken.why for broken in handler.failed] == ["deadline"]

    run(test())


def test_a_peer_that_lingers_after_its_deadline_is_cut_off() -> None:
    async def test() -> None:
        deadlines = Deadlines(NEVER_S, SOON_S, 3 * SOON_S)
        exchange = Exchange(lambda _message: [], expire=_refuse, deadlines=deadlines)
        handler = Handler(exchange)
        async with serving(handler, linger_s=10 * SOON_S) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            assert (await stream.read()).HasField("immediate_response")
            assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert exchange.expired == ["exchange"]  # one deadline is enough
        assert exchange.closed == ["error"]

    run(test())


def test_an_exchange_that_can_only_be_broken_off_at_its_deadline_is() -> None:
    async def test() -> None:
        expire = _raises(Broken("protocol", "policy_error"))
        exchange = Exchange(echo, expire=expire, deadlines=Deadlines(NEVER_S, SOON_S, NEVER_S))
        async with serving(Handler(exchange)) as (_, bound), connected(bound) as channel:
            stream = open_stream(channel)
            assert await stream.code() is grpc.StatusCode.INTERNAL
            assert await stream.details() == "policy_error"
        assert exchange.closed == ["error"]

    run(test())


# ---- the drain ---------------------------------------------------------------------------------------------------


def test_a_drain_lets_a_running_exchange_finish() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        async with serving(Handler(exchange)) as (transport, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            stopping = asyncio.create_task(transport.stop(NEVER_S))
            await stream.write(headers())
            assert isinstance(await stream.read(), pb.ProcessingResponse)
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
            await stopping
        assert exchange.closed == ["eof"]

    run(test())


def test_a_drain_fails_what_outlasts_its_grace() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        async with serving(Handler(exchange)) as (transport, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            await transport.stop(SOON_S)
            assert await stream.code() is not grpc.StatusCode.OK
        assert exchange.closed in GONE

    run(test())


def test_a_second_stop_ends_a_drain_at_once() -> None:
    async def test() -> None:
        exchange = Exchange(echo)
        async with serving(Handler(exchange)) as (transport, bound), connected(bound) as channel:
            stream = open_stream(channel)
            await stream.write(headers())
            await stream.read()
            stopping = asyncio.create_task(transport.stop(NEVER_S))
            await asyncio.sleep(0)
            await transport.stop(0)
            await stopping
            assert await stream.code() is not grpc.StatusCode.OK
        assert exchange.closed in GONE

    run(test())


# ---- endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_unix_socket_replaces_a_stale_one_and_has_the_rights_asked_for(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "p.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(path))

    async def test() -> None:
        endpoint = Endpoint(path=str(path))
        async with serving(Handler(Exchange(echo)), endpoint, socket_mode=mode) as (_, bound):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            async with connected(bound) as channel:
                stream = open_stream(channel)
                await stream.write(headers())
                assert isinstance(await stream.read(), pb.ProcessingResponse)
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK

    run(test())


def test_an_endpoint_in_use_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(Handler()) as (_, bound):
            with pytest.raises(ListenError, match=f"^cannot listen on {bound}: Address already in use$"):
                async with serving(Handler(), bound):
                    pass
        path = tmp_path / "p.sock"
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as owner:
            owner.bind(str(path))
            owner.listen()
            with pytest.raises(ListenError, match="in use"):
                async with serving(Handler(), Endpoint(path=str(path))):
                    pass
        assert path.exists()

    run(test())


def test_what_grpc_alone_refuses_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_aio, "try_bind", lambda _endpoint: None)  # it was free a moment ago

    async def test() -> None:
        async with serving(Handler()) as (_, bound):
            with pytest.raises(ListenError, match=f"^cannot listen on {bound}: gRPC could not"):
                async with serving(Handler(), bound):
                    pass

    run(test())


def test_pings_of_a_gateway_never_end_its_connection() -> None:
    """By default gRPC takes offence at the third ping without data and kills every stream of the connection."""

    async def test() -> None:
        async with serving(Handler()) as (_, bound):
            reader, writer = await asyncio.open_connection(bound.host, bound.port)
            client = h2.connection.H2Connection()
            client.initiate_connection()
            acknowledged: list[bytes] = []
            for number in range(8):
                client.ping(number.to_bytes(8, "big"))
                writer.write(client.data_to_send())
                while len(acknowledged) <= number:
                    for event in client.receive_data(await reader.read(65536)):
                        assert not isinstance(event, h2.events.ConnectionTerminated)
                        if isinstance(event, h2.events.PingAckReceived):
                            acknowledged.append(event.ping_data)
                    writer.write(client.data_to_send())
            writer.close()
            await writer.wait_closed()
            assert len(acknowledged) == 8

    run(test())


# ---- TLS ---------------------------------------------------------------------------------------------------------


def test_with_tls_the_server_shows_its_certificate_and_speaks_nothing_in_the_clear() -> None:
    authority = Authority("ca")
    server = authority.issue("server")

    async def test() -> None:
        tls = Tls(server.certificate, server.key)
        async with serving(Handler(Exchange(echo)), tls=tls) as (_, bound):
            trusting = grpc.ssl_channel_credentials(authority.certificate)
            async with connected(bound, trusting) as channel:
                stream = open_stream(channel)
                await stream.write(headers())
                assert isinstance(await stream.read(), pb.ProcessingResponse)
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK
            assert await _refused_code(bound, None) is grpc.StatusCode.UNAVAILABLE

    run(test())


def test_with_a_client_authority_only_its_clients_may_speak() -> None:
    authority, stranger = Authority("ca"), Authority("another ca")
    server, client, impostor = authority.issue("server"), authority.issue("client"), stranger.issue("client")

    def credentials(*identity: Identity) -> object:
        key_and_chain = ((one.key, one.certificate) for one in identity)
        return grpc.ssl_channel_credentials(authority.certificate, *(part for pair in key_and_chain for part in pair))

    async def test() -> None:
        tls = Tls(server.certificate, server.key, authority.certificate)
        async with serving(Handler(Exchange(echo)), tls=tls) as (_, bound):
            async with connected(bound, credentials(client)) as channel:
                stream = open_stream(channel)
                await stream.write(headers())
                assert isinstance(await stream.read(), pb.ProcessingResponse)
                await stream.done_writing()
                assert await stream.code() is grpc.StatusCode.OK
            assert await _refused_code(bound, credentials()) is grpc.StatusCode.UNAVAILABLE
            assert await _refused_code(bound, credentials(impostor)) is grpc.StatusCode.UNAVAILABLE

    run(test())


async def _refused_code(bound: Endpoint, credentials: object) -> grpc.StatusCode:
    async with connected(bound, credentials) as channel:
        code = await open_stream(channel).code()
    assert isinstance(code, grpc.StatusCode)
    return code
