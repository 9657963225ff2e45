"""Frames: the same whatever the cuts, byte-exact, bounded, and linear for a peer that drips."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import framing
from extproc.chat import Malformed
from extproc.framing import (
    BodyFramer,
    DocumentFramer,
    Framer,
    LineFramer,
    SseFramer,
    delimiter,
    replace_event_data,
    replace_line,
)
from tests.dialects.support import byte_by_byte, cut

MakeFramer = Callable[[int], Framer]
FRAMERS: list[MakeFramer] = [SseFramer, LineFramer, DocumentFramer, BodyFramer]


class Piece(NamedTuple):
    """A frame and what a dialect reads in it."""

    raw: bytes
    payload: bytes | None


def read(framer: Framer, data: bytes, *, end: bool = False) -> Iterator[Piece]:
    for raw in framer.feed(data, end):
        yield Piece(raw, framer.payload(raw))


def run(make: MakeFramer, pieces: Sequence[bytes], *, end: bool = True, limit_bytes: int = 1 << 16) -> list[Piece]:
    framer = make(limit_bytes)
    frames = [frame for piece in pieces for frame in read(framer, piece)]
    return [*frames, *read(framer, b"", end=end)]


def payloads(frames: Sequence[Piece]) -> list[bytes]:
    return [frame.payload for frame in frames if frame.payload is not None]


# ---- server-sent events ----

EVENTS = (
    ": ping\n\n"
    "data: one\n\n"
    "event: note\nid: 7\nretry: 10\ndata:two\ndata:  three\n\n"
    "\n"
    "data\n\n"
    "event: only\n\n"
    "data: é😀\n\n"
    "data: last"
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_events_end_with_a_blank_line_in_every_line_end(line_end: str) -> None:
    stream = EVENTS.replace("\n", line_end).encode()
    whole = run(SseFramer, [stream])
    assert payloads(whole) == [b"one", b"two\n three", b"", "é😀".encode(), b"last"]
    assert [frame.raw.splitlines()[0] for frame in whole if frame.payload is None] == [b": ping", b"", b"event: only"]
    assert b"".join(frame.raw for frame in whole) == stream
    assert run(SseFramer, byte_by_byte(stream)) == whole


def test_an_event_leaves_with_its_last_byte() -> None:
    framer = SseFramer(100)
    assert list(read(framer, b"data: x\r\n\r")) == []
    assert list(read(framer, b"\n")) == [Piece(b"data: x\r\n\r\n", b"x")]


@pytest.mark.parametrize("line", [b"\xef\xbb\xbfdata: x", b'{"a":1}', b"Data: x", b" data: x", b"datas: x"])
def test_a_line_that_a_lenient_client_could_read_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        run(SseFramer, [line + b"\n\n"])


@pytest.mark.parametrize("line", [b": ", b"event: ", b"id: "])
def test_a_line_that_nobody_inspects_may_not_carry_much(line: bytes) -> None:
    padded = line + b"x" * 256 + b" " * 2048 + b"\ndata: y\n\n"
    assert payloads(run(SseFramer, [padded])) == [b"y"]
    with pytest.raises(Malformed):
        run(SseFramer, [line + b"x" * 257 + b"\n\n"])


def test_frames_before_a_malformed_one_come_out_first() -> None:
    framer = read(SseFramer(100), b"data: x\n\nbad\n\n")
    assert next(framer).payload == b"x"
    with pytest.raises(Malformed):
        next(framer)


def test_an_event_gets_other_data_and_keeps_its_lines_and_line_ends() -> None:
    raw = b": c\r\nevent: note\r\ndata: one\r\ndata: two\r\nid: 7\r\n\r\n"
    assert replace_event_data(raw, b"{}") == b": c\r\nevent: note\r\ndata: {}\r\nid: 7\r\n\r\n"
    assert replace_event_data(b"data:x", b"{}") == b"data: {}"


# ---- lines ----


def test_lines_keep_their_ends_and_blank_lines_pass() -> None:
    stream = b'{"a":1}\n\n \r\n{"b":2}\r\n{"c":3}'
    whole = run(LineFramer, [stream])
    assert [frame.raw for frame in whole] == [b'{"a":1}\n', b"\n", b" \r\n", b'{"b":2}\r\n', b'{"c":3}']
    assert [frame.payload is None for frame in whole] == [False, True, True, False, False]
    assert run(LineFramer, byte_by_byte(stream)) == whole


def test_a_line_gets_another_document_and_keeps_its_end() -> None:
    assert replace_line(b' {"a":1} \r\n', b"{}") == b"{} \r\n"
    assert replace_line(b'{"a":1}', b"{}") == b"{}"


# ---- documents ----

DOCUMENT = b' \n{"a":"}\\"]\\\\","b":[{},[1,"{"]]}'


@pytest.mark.parametrize("document", [DOCUMENT, b"[]", b'{"a":"\\\\"}'])
def test_a_document_completes_at_its_last_bracket_without_an_end(document: bytes) -> None:
    for pieces in ([document], byte_by_byte(document)):
        assert run(DocumentFramer, pieces, end=False) == [Piece(document, document)]


def test_white_space_after_a_document_passes_and_anything_else_does_not() -> None:
    assert run(DocumentFramer, [b"{}\n ", b"\t"]) == [Piece(b"{}", b"{}"), Piece(b"\n ", None), Piece(b"\t", None)]
    for pieces in ([b"{}x"], [b"{}", b"{}"], [b"{}\n", b"\x0b"]):
        with pytest.raises(Malformed):
            run(DocumentFramer, pieces)


@pytest.mark.parametrize("body", [b"x", b'"a"', b"12", b" \n]", b"\xef\xbb\xbf{}", b'{"a":', b'{"a":"}'])
def test_what_is_not_one_whole_document_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        run(DocumentFramer, [body])


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_no_document_at_all_passes(body: bytes) -> None:
    assert b"".join(frame.raw for frame in run(DocumentFramer, [body])) == body


# ---- whole bodies ----


def test_a_body_is_one_frame_at_its_end() -> None:
    framer = BodyFramer(100)
    assert list(read(framer, b"ab")) == []
    assert list(read(framer, b"c", end=True)) == [Piece(b"abc", b"abc")]
    assert run(BodyFramer, []) == []


# ---- all of them ----


@pytest.mark.parametrize(
    ("make", "frame"),
    [
        (SseFramer, b"data: 56789\n\n"),
        (LineFramer, b"{23456789aB}\n"),
        (DocumentFramer, b'{"34567":9aB}'),
        (BodyFramer, b"0123456789aBc"),
    ],
)
def test_a_frame_may_be_as_large_as_the_limit_and_no_larger(make: MakeFramer, frame: bytes) -> None:
    for pieces in ([frame], byte_by_byte(frame)):
        assert payloads(run(make, pieces, limit_bytes=len(frame)))
        with pytest.raises(Malformed, match="larger"):
            run(make, pieces, limit_bytes=len(frame) - 1)


@pytest.mark.parametrize("make", FRAMERS)
def test_an_endless_frame_stops_at_the_limit(make: MakeFramer) -> None:
    with pytest.raises(Malformed, match="larger"):
        run(make, [b"{" + b" " * 50] * 40, end=False, limit_bytes=1000)


class Spy:
    """A pattern that counts the bytes it is given to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.looked_at = 0

    def search(self, data: bytearray, start: int) -> re.Match[bytes] | None:
        self.looked_at += len(data) - start
        return self.pattern.search(data, start)

    def match(self, data: bytearray, start: int) -> re.Match[bytes] | None:
        self.looked_at += len(data) - start
        return self.pattern.match(data, start)


@pytest.mark.parametrize(
    ("make", "pattern", "beginning"),
    [
        (SseFramer, "_EVENT_END", b"data: "),
        (DocumentFramer, "_STRUCTURE", b"["),
        (DocumentFramer, "_STRING_RUN", b'["'),
        (DocumentFramer, "_SPACE_RUN", b""),
    ],
)
def test_a_dripping_peer_never_makes_us_look_again(
    make: MakeFramer, pattern: str, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(getattr(framing, pattern))
    monkeypatch.setattr(framing, pattern, spy)
    run(make, byte_by_byte(beginning + b" " * 2000), end=False)
    assert 2000 <= spy.looked_at <= 5 * 2000


CUTS = st.lists(st.integers(0, 400), max_size=12)
STREAM = st.text(alphabet='data: {}[]"\\\r\nx:é', max_size=60).map(str.encode) | st.binary(max_size=40)


@given(st.sampled_from(FRAMERS), STREAM, CUTS)
def test_any_bytes_give_the_same_frames_under_any_cuts(make: MakeFramer, data: bytes, places: list[int]) -> None:
    def outcome(pieces: Sequence[bytes]) -> tuple[list[bytes], bytes, bool]:
        framer, frames = make(1000), []
        complete = False
        with contextlib.suppress(Malformed):
            for piece in pieces:
                for frame in read(framer, piece):
                    frames.append(frame)  # noqa: PERF402 - keeps what came out before it raised
            frames += read(framer, b"", end=True)
            complete = True
        return payloads(frames), b"".join(frame.raw for frame in frames) if complete else b"", complete

    whole = outcome([data])
    assert outcome(cut(data, places)) == whole
    assert whole[1] == (data if whole[2] else b"")


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), CUTS)
def test_any_document_is_found_whole_under_any_cuts(value: object, places: list[int]) -> None:
    document = json.dumps([value]).encode()
    assert run(DocumentFramer, cut(document, places), end=False) == [Piece(document, document)]


# ---- the short way past the pattern ----

LINE_ENDS = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", b"y"]), max_size=14).map(b"".join)


@given(LINE_ENDS, CUTS)
def test_an_event_ends_where_the_pattern_says(data: bytes, places: list[int]) -> None:
    """An end that is found without the pattern is the one that the pattern finds."""
    expected, at = [], 0
    while at < len(data):
        blank = framing._BLANK_LINE.match(data, at) if data[at] in b"\r\n" else framing._EVENT_END.search(data, at)
        stop = blank.end() if blank else len(data)
        expected.append(data[at:stop])
        at = stop
    framer = SseFramer(1000)
    frames = [raw for piece in cut(data, places) for raw in framer.feed(piece, False)]
    assert [*frames, *framer.feed(b"", True)] == expected


def test_a_piece_that_is_one_event_is_not_copied() -> None:
    event = b"data: x\n\n"
    (raw,) = SseFramer(100).feed(event, False)
    assert raw is event


@pytest.mark.parametrize(
    ("media_type", "tail", "missing"),
    [
        ("text/event-stream", b"", b""),
        ("text/event-stream", b"}\n\n", b""),
        ("text/event-stream", b"\r\n\r\n", b""),
        ("text/event-stream", b"x\r\r", b""),
        ("text/event-stream", b"\n\r\n", b""),
        ("text/event-stream", b"x}\r\n", b"\n\n"),
        ("text/event-stream", b"}\n", b"\n\n"),
        ("text/event-stream", b": c", b"\n\n"),
        ("application/x-ndjson", b"}", b"\n"),
        ("application/x-ndjson", b"}\n", b""),
        ("application/json", b"{", b""),
    ],
)
def test_what_ends_a_frame_that_its_sender_did_not_end(media_type: str, tail: bytes, missing: bytes) -> None:
    assert delimiter(media_type, tail) == missing
