"""Of a stream only what is named is kept, in the pieces in which it came."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.cleaning import cleaned
from extproc.runtime.scrub import Scrubber
from tests.runtime.test_scrub import DETECTORS, KEY
from tests.support.streams import (
    DONE,
    DUPLEX,
    chat,
    chunk,
    request_body,
    request_headers,
    response_body,
    response_headers,
)

SCRUBBER: Final = Scrubber(DETECTORS)


def _clean(*messages: pb.ProcessingRequest) -> rec.Recording:
    recording = rec.Recording(
        version=1,
        decision_id="d-1",
        policy="p",
        policy_revision="r",
        clock_s=[1.5],
        entries=[
            rec.Entry(offset_us=number, clock_s=[2.5], received=message) for number, message in enumerate(messages)
        ],
    )
    recording.entries[0].replies.add().request_headers.SetInParent()
    return cleaned(recording, SCRUBBER)


def _headers(recording: rec.Recording, entry: int = 0) -> dict[str, str]:
    message = recording.entries[entry].received
    fields = getattr(message, str(message.WhichOneof("request"))).headers.headers
    return {field.key: field.raw_value.decode() for field in fields}


def test_headers_are_kept_by_name_and_their_values_by_allowlist() -> None:
    more = (("authorization", "Bearer abc"), ("cookie", "a=b"), (":authority", "llm"), ("content-length", "12"))
    clean = _headers(_clean(request_headers("/v1/models?key=abc", "GET", *more)))
    assert clean == {
        ":method": "GET",
        ":path": "/v1/models?xxxxxxx",
        "content-type": "application/json",
        "authorization": "xxxxxxxxxx",
        "cookie": "xxx",
        ":authority": "xxx",
        "content-length": "12",
    }


def test_a_secret_in_an_allowed_header_is_overwritten() -> None:
    clean = _headers(_clean(request_headers(f"/files/{KEY}", "POST", ("te", KEY))))
    assert KEY not in clean[":path"]
    assert KEY not in clean["te"]
    assert clean[":path"].startswith("/files/")


def test_a_header_written_in_the_other_field_is_read() -> None:
    fields = pb.HeaderMap(
        headers=[pb.HeaderValue(key=":method", value="POST"), pb.HeaderValue(key="cookie", value="a=b")]
    )
    clean = _clean(pb.ProcessingRequest(request_headers=pb.HttpHeaders(headers=fields)))
    assert _headers(clean) == {":method": "POST", "cookie": "xxx"}


def test_nothing_that_is_not_named_is_kept() -> None:
    message = request_headers()
    message.attributes["envoy.filters.http.ext_proc"].update(
        {"xds.route_name": "chat", "source.address": "10.0.0.1", "xds.number": 1}
    )
    message.metadata_context.filter_metadata["jwt"].update({"sub": "someone"})
    unknown = pb.ProcessingRequest.FromString(message.SerializeToString() + bytes([0xA2, 0x06, 3]) + b"abc")
    received = _clean(unknown).entries[0].received
    assert dict(received.attributes["envoy.filters.http.ext_proc"]) == {"xds.route_name": "chat"}
    assert not received.HasField("metadata_context")
    assert received.protocol_config == DUPLEX
    assert b"abc" not in received.SerializeToString()


def test_what_a_replay_needs_is_kept_and_replies_are_not() -> None:
    clean = _clean(request_headers(end=True))
    assert (clean.decision_id, clean.policy_revision, list(clean.clock_s)) == ("d-1", "r", [1.5])
    assert [(entry.offset_us, list(entry.clock_s), len(entry.replies)) for entry in clean.entries] == [(0, [2.5], 0)]
    assert clean.entries[0].received.request_headers.end_of_stream


def test_events_that_are_no_messages_are_kept() -> None:
    recording = rec.Recording(entries=[rec.Entry(expired="idle"), rec.Entry(closed="eof")])
    assert list(cleaned(recording, SCRUBBER).entries) == list(recording.entries)


def test_trailers_are_treated_as_headers_and_end_a_body() -> None:
    trailers = pb.HttpTrailers(trailers=pb.HeaderMap(headers=[pb.HeaderValue(key="x-id", raw_value=b"abc")]))
    body = request_body(b'data: {"a": 1', end=False)
    clean = _clean(body, pb.ProcessingRequest(request_trailers=trailers))
    assert clean.entries[1].received.request_trailers.trailers.headers[0].raw_value == b"xxx"
    assert clean.bodies_withheld == 1  # the body is complete, so a torn document is one that cannot be read


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_a_body_is_cleaned_as_a_whole_and_keeps_its_cuts(sizes: list[int]) -> None:
    body = b"".join(chunk(char) for char in f"it is {KEY}.") + DONE
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    pieces.append(body[at:])
    clean = _clean(*(response_body(piece, end=number == len(pieces) - 1) for number, piece in enumerate(pieces)))
    written = [entry.received.response_body for entry in clean.entries]
    assert [len(piece.body) for piece in written] == [len(piece) for piece in pieces]
    assert [piece.end_of_stream for piece in written] == [False] * (len(pieces) - 1) + [True]
    assert b"".join(piece.body for piece in written) == SCRUBBER.body(body, complete=True).body
    assert clean.secrets_replaced > 0


def test_the_two_bodies_of_an_exchange_are_not_mixed_up() -> None:
    clean = _clean(request_body(chat("one")), response_body(chunk("two")))
    assert b"one" in clean.entries[0].received.request_body.body
    assert b"two" in clean.entries[1].received.response_body.body


def test_a_compressed_body_is_withheld() -> None:
    headers = response_headers("application/json", ("content-encoding", "gzip"))
    clean = _clean(headers, response_body(b"{}", end=True))
    assert clean.entries[1].received.response_body.body == b"xx"
    assert clean.bodies_withheld == 1
