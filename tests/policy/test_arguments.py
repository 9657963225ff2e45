from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.arguments import is_json, unescape


@given(st.text(), st.booleans())
def test_a_json_string_without_its_escapes_is_the_string(value: str, ascii_only: bool) -> None:
    assert unescape(json.dumps(value, ensure_ascii=ascii_only))[0] == f'"{value}"'


@given(st.text(), st.booleans())
def test_the_offsets_lead_back_to_the_text(value: str, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    plain, offsets = unescape(text)
    pieces = [text[offsets[at] : offsets[at + 1]] for at in range(1, len(plain) - 1)]

    assert [json.loads(f'"{piece}"') for piece in pieces] == list(value)


@given(st.text(alphabet='"\\ua1d8{}[]:,x\n', max_size=60))
def test_any_text_keeps_its_order_and_its_end(text: str) -> None:
    plain, offsets = unescape(text)

    assert len(offsets) == len(plain) + 1
    assert list(offsets) == sorted(set(offsets))
    assert offsets[-1] == len(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('{"a": "b"}', '{"a": "b"}'),
        (r'"\"\\\/\b\f\n\r\t"', '""\\/\b\f\n\r\t"'),
        (r'"\x\u0041\ud83d\ude00\ud800"', '"xA😀\ud800"'),
        (r"\u12", "u12"),
        ("ends in \\", "ends in \\"),
        ("", ""),
    ],
)
def test_escapes_are_undone_as_far_as_they_go(text: str, plain: str) -> None:
    assert unescape(text)[0] == plain


@pytest.mark.parametrize(
    ("text", "valid"), [("{}", True), ('{"a": 1}', True), ("", False), ("{", False), ("[" * 100_000, False)]
)
def test_json_is_told_from_what_is_not(text: str, valid: bool) -> None:
    assert is_json(text) == valid
