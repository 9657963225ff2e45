"""Frames known by their template: found where they fit, read in full where anything differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from unittest import mock

import pytest

from extproc.chat import ChatRequest, Edit, Frame, Json, Malformed, TextDelta
from extproc.dialects.answers import line_render
from extproc.dialects.base import Decoder
from extproc.dialects.ollama_lines import LinesDecoder
from extproc.dialects.openai_chunks import ChatDecoder
from extproc.dialects.templates import Reading, Templates
from extproc.strict_json import read_answer
from tests.dialects.support import drain


class Reader:
    """Reads ``{"t": text, "w": white space of time, ...}`` and counts how often it does."""

    def __init__(self) -> None:
        self.readings = 0
        self.templates = Templates(self.read, "w")

    def read(self, raw: bytes) -> Reading:
        self.readings += 1
        document = read_answer(raw)
        assert isinstance(document, dict)
        said = document.get("t", "")
        assert isinstance(said, str)
        deltas = (TextDelta((0, "content"), said, ("t",)),) if said else ()
        if "also" in document:
            deltas += (TextDelta((0, "refusal"), "x", ("also",)),)
        return Frame(raw, line_render(raw, document), deltas, choices=frozenset({0}), end="end" in document), document

    def take(self, raw: bytes) -> Frame:
        """What a decoder does."""
        frame = self.templates.frame(raw)
        if frame is None:
            frame, document = self.read(raw)
            assert isinstance(document, dict)
            self.templates.learn(frame, document)
        return frame


def line(**members: Json) -> bytes:
    return json.dumps(members).encode() + b"\n"


def text(frame: Frame) -> str:
    (delta,) = frame.deltas
    return delta.text


def readings(reader: Reader, raw: bytes) -> int:
    before = reader.readings
    reader.take(raw)
    return reader.readings - before


@pytest.fixture
def reader() -> Reader:
    reader = Reader()
    reader.take(line(id="a", t="hello", n=1))
    return reader


def test_a_frame_that_differs_in_its_text_alone_is_not_read(reader: Reader) -> None:
    assert readings(reader, line(id="a", t="world", n=1)) == 0
    assert text(reader.take(line(id="a", t="again", n=1))) == "again"


@pytest.mark.parametrize("said", ["a\nb", 'say "no"', "é", "\\", "\U0001f600", "\ud83d", "\u2028", "a, b: {[", " "])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_string_reads_as_the_json_reader_reads_it(reader: Reader, said: str, ascii_only: bool) -> None:
    raw = json.dumps({"id": "a", "t": said, "n": 1}, ensure_ascii=ascii_only).encode("utf-8", "backslashreplace")
    assert readings(reader, raw + b"\n") == 0
    assert text(reader.take(raw + b"\n")) == said


@pytest.mark.parametrize(
    "raw",
    [
        line(id="b", t="x", n=1),
        line(id="a", t="x", n=2),
        line(id="a", t="x", n=1) + b"\n",
        line(id="a", t="", n=1),
        line(id="a", t=" x", n=1).replace(b": ", b":"),
        b'{"id": "a", "t": "x", "t": "y", "n": 1}\n',
        b'{"id": "a", "t": "x", "also": "y", "n": 1}\n',
        b'{"id": "a", "t": "x\\", "n": 1}\n',
        b'{"id": "a", "t": "x\\q", "n": 1}\n',
        b'{"id": "a", "t": "x\ny", "n": 1}\n',
        b'{"id": "a", "t": "x\0", "n": 1}\n',
        b'{"id": "a", "t": "\xff", "n": 1}\n',
        b'{"id": "a", "t": "\xed\xa0\x80", "n": 1}\n',
        b'{"id": "a", "t": "x',
        b'{"id": "a", "t": ["x"], "n": 1}\n',
    ],
)
def test_whatever_differs_elsewhere_is_read_in_full(reader: Reader, raw: bytes) -> None:
    assert reader.templates.frame(raw) is None


def test_an_edit_is_made_on_the_full_reading(reader: Reader) -> None:
    raw = line(id="a", t="world", n=1)
    frame = reader.take(raw)
    assert frame.render(()) == raw
    assert reader.readings == 2
    assert json.loads(frame.render([Edit(("t",), "[x]")])) == {"id": "a", "t": "[x]", "n": 1}
    assert reader.readings == 3


@pytest.mark.parametrize("shape", ['{{"w": "{w}", "t": "{t}", "n": 1}}', '{{"t": "{t}", "n": 1, "w" : "{w}"}}'])
def test_a_second_string_may_vary_before_the_text_or_behind_it(shape: str) -> None:
    reader = Reader()
    reader.take(shape.format(t="hello", w="12:01").encode())
    raw = shape.format(t="world", w="12:02").encode()
    assert readings(reader, raw) == 0
    assert text(reader.take(raw)) == "world"
    assert reader.templates.varied == "12:02"
    assert readings(reader, shape.format(t='x", "also": "y', w="12:03").encode()) > 0
    assert readings(reader, shape.format(t="x", w='12:04", "also": "y').encode()) > 0
    assert reader.templates.varied == "12:02"


@pytest.mark.parametrize(
    "members",
    [
        {"t": "same", "u": "same"},
        {"t": ""},
        {"t": "x" * 5000},
        {"t": "hello", "u": "x" * 5000},
        {"t": "hello", "also": "y"},
        {"t": "hello", "end": True},
        {"t": "\u2060probe\u2060"},
        {"t": "hello", "w": "varied-0-probe"},
        {"t": "hello", "w": "x", "inner": {"w": "x"}},
    ],
)
def test_a_frame_whose_place_is_in_doubt_or_that_says_more_makes_no_template(members: dict[str, Json]) -> None:
    reader = Reader()
    raw = line(**members)
    reader.take(raw)
    assert reader.templates.frame(raw) is None


def test_a_probe_that_reads_otherwise_makes_no_template() -> None:
    # The text stands at another place than it seems: escaped in its own, and plain in a place that says nothing.
    reader = Reader()
    raw = b'{"u": "other", "t": "\\u0068ello"}'
    frame, document = reader.read(raw)
    assert isinstance(document, dict)
    misled = frame._replace(deltas=(TextDelta((0, "content"), "other", ("t",)),))
    reader.templates.learn(misled, document)
    assert reader.templates.frame(raw) is None


def test_a_probe_that_cannot_be_read_makes_no_template() -> None:
    def fails(raw: bytes) -> Reading:
        raise Malformed("no")

    templates = Templates(fails, "w")
    raw = line(t="hello")
    templates.learn(*_reading(raw))
    assert templates.frame(raw) is None


def _reading(raw: bytes) -> tuple[Frame, dict[str, Json]]:
    frame, document = Reader().read(raw)
    assert isinstance(document, dict)
    return frame, document


def test_what_only_looks_like_a_string_is_passed_by() -> None:
    read = Reader().read
    templates = Templates(lambda raw: read(raw.partition(b"\n")[2]), "w")
    raw = b': "\\q" "w": "\\q"\n{"t": "hello", "w": "x"}'
    frame, document = _reading(b'{"t": "hello", "w": "x"}')
    templates.learn(frame._replace(raw=raw), document)
    known = templates.frame(raw.replace(b"hello", b"world"))
    assert known is not None
    assert text(known) == "world"


def test_a_comment_in_no_encoding_makes_no_template() -> None:
    templates = Templates(Reader().read, "w")
    frame, document = _reading(line(t="hello"))
    templates.learn(frame._replace(raw=b": \xff\n" + frame.raw), document)
    assert templates.frame(frame.raw) is None


def test_several_kinds_of_frame_may_take_turns() -> None:
    reader = Reader()
    kinds: list[Callable[[str], bytes]] = [lambda said, n=n: line(t=said, n=n) for n in range(8)]  # type: ignore[misc]
    for kind in kinds:
        reader.take(kind("hello"))
    assert [readings(reader, kind("x")) for kind in kinds] == [0] * 8


def test_a_frame_keeps_the_texts_that_stand_alone_beside_its_own() -> None:
    reader = Reader()

    def named(raw: bytes) -> Reading:
        frame, document = reader.read(raw)
        return frame._replace(deltas=(*frame.deltas, TextDelta((~0, "body"), "a name", ("id",), alone=True))), document

    templates = Templates(named, "w")
    frame, document = named(line(t="hello", id="a name"))
    assert isinstance(document, dict)
    templates.learn(frame, document)
    known = templates.frame(line(t="world", id="a name"))
    assert known is not None
    assert [delta.text for delta in known.deltas] == ["world", "a name"]


@pytest.mark.parametrize("decoder", ["openai.chat", "ollama.chat"])
def test_what_varies_in_real_streams_does_not_keep_them_from_templates(decoder: str) -> None:
    request = ChatRequest(decoder, "m", True, {})
    if decoder == "openai.chat":
        made: Decoder = ChatDecoder(request, 4096, streams=True)
        wire = 'data: {"choices":[{"index":0,"delta":{"content":"hi"}}],"obfuscation":"@"}\n\n'
        varied = ("aB3", "x9Kd01")
    else:
        made = LinesDecoder(request, 4096, chat=True, streams=True)
        wire = '{"created_at":"@","message":{"content":"hi"},"done":false}\n'
        varied = ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:01.2+02:00")
    first, second = (wire.replace("@", each).encode() for each in varied)
    assert len(drain(made, [first], end=False)) == 1
    module = "openai_chunks" if decoder == "openai.chat" else "ollama_lines"
    with mock.patch(f"extproc.dialects.{module}.read_answer") as read_in_full:
        (frame,) = drain(made, [second], end=False)
    assert not read_in_full.called
    assert text(frame) == "hi"


def test_probes_that_prove_nothing_are_given_up_too() -> None:
    reads = 0

    def counts(raw: bytes) -> Reading:  # a document that is another one each time it is read
        nonlocal reads
        reads += 1
        frame, document = Reader().read(raw)
        assert isinstance(document, dict)
        return frame, {**document, "n": reads}

    templates = Templates(counts, "w")
    for _ in range(40):
        templates.learn(*_reading(line(t="hello")))
    assert reads == 16


def test_templates_made_in_vain_are_no_longer_made() -> None:
    reader = Reader()
    costs = [readings(reader, line(t="x", n=n)) for n in range(40)]
    assert costs[:16] == [2] * 16
    assert costs[16:] == [1] * 24


def test_a_template_that_fits_gives_patience_back() -> None:
    reader = Reader()
    costs = [readings(reader, line(t="x", n=n // 2)) for n in range(80)]
    assert costs == [2, 0] * 40


def test_what_is_forgotten_is_read_in_full(reader: Reader) -> None:
    reader.templates.forget()
    assert reader.templates.frame(line(id="a", t="world", n=1)) is None
