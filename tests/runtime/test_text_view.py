"""A text knows its bytes, however it was escaped and joined."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.runtime.text_view import TextView


def _overwritten(view: TextView, body: bytes, start: int, end: int) -> bytes:
    clean = bytearray(body)
    view.overwrite(start, end, clean)
    assert len(clean) == len(body)
    return bytes(clean)


@given(st.text(), st.data())
def test_overwriting_characters_overwrites_exactly_their_bytes(text: str, data: st.DataObject) -> None:
    body = b"<" + text.encode() + b">"
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    clean = _overwritten(TextView.of(text.encode(), 1), body, start, end)
    filled = "".join(char if char in '"\r\n' else "x" * len(char.encode()) for char in text[start:end])
    assert clean.decode() == f"<{text[:start]}{filled}{text[end:]}>"


@given(st.text(), st.integers(1, 3))
def test_escapes_are_undone_as_often_as_they_were_made(text: str, depth: int) -> None:
    written = text
    for _ in range(depth):
        written = json.dumps(written)[1:-1]
    readings = [view.text for view in TextView.of(written.encode()).readings(depth)]
    assert readings[0] == written
    assert text in readings


@given(st.text(min_size=1), st.integers(0, 2))
def test_overwriting_an_unescaped_text_whole_leaves_only_fill(text: str, depth: int) -> None:
    written = text
    for _ in range(depth):
        written = json.dumps(written)[1:-1]
    body = written.encode()
    for view in TextView.of(body).readings(depth):
        assert set(_overwritten(view, body, 0, len(view.text))) <= set(b'x"\r\n')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a\u0041\n\/\"\\", 'aA\n/"\\'),
        (r"\ud83d\ude00!", "\U0001f600!"),
        (r"\ud83d!", "\ud83d!"),
        (r"\ude00\ud83d", "\ude00\ud83d"),
        (r"\q \u12 \U0041", r"\q \u12 \U0041"),
    ],
)
def test_an_escape_means_what_json_says_and_anything_else_stays(written: str, meant: str) -> None:
    last = list(TextView.of(written.encode()).readings(1))[-1]
    assert last.text == meant


def test_a_text_without_escapes_has_one_reading() -> None:
    assert TextView.of(b"plain").unescaped() is None


def test_pieces_that_spell_a_text_together_are_overwritten_where_they_stand() -> None:
    body = b'"ab\\u0063" and "de"'
    first = TextView.of(body[1:9], 1).unescaped()
    assert first is not None
    joined = TextView.joined([first, TextView.of(body[16:18], 16)])
    assert joined.text == "abcde"
    assert _overwritten(joined, body, 1, 4) == b'"axxxxxxx" and "xe"'


def test_an_escape_that_is_cut_by_two_pieces_is_overwritten_in_both() -> None:
    body = rb'"a\\" "nb"'
    pieces = [TextView.of(body[1:4], 1).unescaped(), TextView.of(body[7:9], 7)]
    joined = TextView.joined([piece for piece in pieces if piece is not None])
    assert joined.text == r"a\nb"
    inner = joined.unescaped()
    assert inner is not None
    assert inner.text == "a\nb"
    assert _overwritten(inner, body, 1, 2) == b'"axx" "xb"'


def test_bytes_that_are_no_utf8_are_not_read() -> None:
    with pytest.raises(UnicodeDecodeError):
        TextView.of(b"\xff")
