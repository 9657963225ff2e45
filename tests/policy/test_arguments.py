from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.arguments import is_json, literals

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def strings_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings_of(item))]
    return []


@given(json_values, st.booleans())
def test_every_string_of_a_json_text_is_found_and_unescaped(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert [literal.text for literal in literals(text)] == strings_of(value)


@given(json_values, st.booleans())
def test_the_offsets_lead_back_to_the_text(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    for literal in literals(text):
        offsets = literal.offsets
        pieces = [text[offsets[at] : offsets[at + 1]] for at in range(len(literal.text))]
        assert [json.loads(f'"{piece}"') for piece in pieces] == list(literal.text)


@given(st.text(alphabet='"\\ua1d8{}[]:,x\n', max_size=60))
def test_text_that_is_no_json_gives_what_can_be_had(text: str) -> None:
    for literal in literals(text):
        assert len(literal.offsets) == len(literal.text) + 1
        assert list(literal.offsets) == sorted(literal.offsets)
        assert literal.offsets[-1] <= len(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": "bc', ["a", "bc"]),
        ('{"a": "b\\', ["a", "b"]),
        ("no quotes", []),
        ('"\\x\\/\\u0041\\ud83d\\ude00\\ud800"', ["x/A😀\ud800"]),
    ],
)
def test_broken_literals_are_read_as_far_as_they_go(text: str, found: list[str]) -> None:
    assert [literal.text for literal in literals(text)] == found


@pytest.mark.parametrize(
    ("text", "valid"), [("{}", True), ('{"a": 1}', True), ("", False), ("{", False), ("[" * 100_000, False)]
)
def test_json_is_told_from_what_is_not(text: str, valid: bool) -> None:
    assert is_json(text) == valid
