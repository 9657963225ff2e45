"""Comments, ids and names of server-sent events: text like any other."""

from __future__ import annotations

import pytest

from extproc.messages import ResponseBody, ResponseHeaders
from extproc.session import Session
from tests.support.openai_wire import chat, said
from tests.support.sessions import SSE, asked, forwarded, session

KEY = "gh" + "p_" + "16C7e42F292c6912E7710c838347Ae178B4a"
WIRE = said("Hi", " there", ".")


def passed(exchange: Session, wire: bytes, size: int) -> bytes:
    asked(exchange, chat(stream=True))
    exchange.receive(ResponseHeaders(SSE))
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    out = b"".join(forwarded(exchange.receive(ResponseBody(piece))) for piece in pieces)
    return out + forwarded(exchange.receive(ResponseBody(b"", end=True)))


@pytest.mark.parametrize("line", [f": {KEY}", f"id: {KEY}", f"event: {KEY}", f":{KEY} and more", f"retry: {KEY}"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_secret_beside_the_data_goes_with_its_line(line: str, size: int) -> None:
    exchange = session()
    beside = line.encode() + b"\n"
    out = passed(exchange, WIRE.replace(b"data:", beside + b"data:", 2) + beside + b"\n", size)
    assert KEY.encode() not in out
    assert b"Hi" in out
    assert out.count(b"data:") == WIRE.count(b"data:")
    (record,) = exchange.records()
    assert {finding.scope for finding in record.findings} == {"response.body"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "beside", [": keep-alive", ": ping - 2026-01-01 12:00:00.000000", "event: message", "id: 0123456789abcdef012345"]
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_what_says_nothing_leaves_as_it_came(beside: str, end: str, size: int) -> None:
    wire = WIRE.replace(b"data:", beside.encode() + b"\ndata:").replace(b"\n", end.encode())
    exchange = session()
    assert passed(exchange, wire, size) == wire
    (record,) = exchange.records()
    assert record.findings == []


def test_a_line_that_is_no_text_ends_the_answer() -> None:
    exchange = session()
    out = passed(exchange, b": \xff\xfe and more than a name\n" + WIRE, 10_000)
    assert b"\xff" not in out
    (record,) = exchange.records()
    assert record.reason == "unreadable_answer"


@pytest.mark.parametrize(
    "wire",
    [
        b":data:\n\n:data:KEY\n\n" + WIRE,  # a comment that looks like data
        WIRE + b"data: [DONE]\n: KEY\n",  # behind the data of an event that its sender did not end
        WIRE.replace(b"\n\n", b"\n: KEY\n\n"),
    ],
)
def test_a_line_is_read_wherever_it_stands(wire: bytes) -> None:
    out = passed(session(), wire.replace(b"KEY", KEY.encode()), 10_000)
    assert KEY.encode() not in out
