"""The JSON reader: what parsers disagree about is refused, what is edited keeps all the rest."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.chat import REMOVED, Edit, Json, Malformed
from extproc.strict_json import JsonLimits, Shape, apply, dump, read, read_answer

LIMITS = JsonLimits()
SHAPE = Shape(
    {
        "model": None,
        "stream": None,
        "kind": None,
        "tools": Shape(each=Shape({"name": None, "parameters": None})),
        "messages": Shape(each=Shape({"content": Shape(each=Shape({"text": None}))})),
    }
)

DIFFERENTIALS = {
    "a repeated key: the last one wins nearly everywhere": b'{"model":"good","model":"evil"}',
    "a repeated key spelled with an escape": b'{"model":"good","\\u006dodel":"evil"}',
    "a repeated key deep down": b'{"tools":[{"parameters":{"a":{"b":1,"b":2}}}]}',
    "another case: Go folds it": b'{"model":"good","MODEL":"evil"}',
    "another case alone": b'{"Model":"evil"}',
    "long s: Go folds it to s": '{"ſtream":true}'.encode(),
    "Kelvin sign: Go folds it to k": '{"\u212aind":1}'.encode(),
    "another case in an element": b'{"messages":[{"CONTENT":"x"}]}',
    "another case in a part": b'{"messages":[{"content":[{"Text":"x"}]}]}',
    "NaN: Python reads it": b'{"model":NaN}',
    "Infinity": b'{"model":Infinity}',
    "minus Infinity": b'{"model":-Infinity}',
    "a number that overflows to infinity": b'{"model":1e999}',
    "an integer that overflows a double": b'{"model":' + b"9" * 400 + b"}",
    "an integer that Python refuses": b'{"model":' + b"9" * 5000 + b"}",
    "half a surrogate pair in a string": b'{"model":"\\ud800"}',
    "half a surrogate pair in a key": b'{"\\udc00":1}',
    "a surrogate as raw bytes": b'{"model":"\xed\xa0\x80"}',
    "a byte order mark: llama.cpp accepts it": b'\xef\xbb\xbf{"model":"m"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "invalid UTF-8: Go replaces it": b'{"model":"\xff"}',
    "an overlong encoding": b'{"model":"\xc1\xad"}',
    "something after the document": b'{"model":"m"}{"model":"evil"}',
    "a NUL after the document": b'{"model":"m"}\x00',
    "a comment": b'{"model":"m"/* x */}',
    "a trailing comma": b'{"model":"m",}',
    "a single-quoted string": b"{'model':'m'}",
    "a control character in a string": b'{"model":"a\nb"}',
    "a number with a leading zero": b'{"model":01}',
    "white space that JSON does not know": '{"model":\u00a0"m"}'.encode(),
    "an array": b'[{"model":"m"}]',
    "a string": b'"model"',
    "nothing": b"",
}


@pytest.mark.parametrize("body", DIFFERENTIALS.values(), ids=DIFFERENTIALS.keys())
def test_what_parsers_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        read(body, SHAPE, LIMITS)
    assert "evil" not in str(refused.value)


def test_a_plain_request_is_read_as_it_is() -> None:
    body = '{"model":"m","stream":true,"n":-0.5e1,"messages":[{"content":"\\ud83d\\ude00 ſ é"}],"x":null}'.encode()
    assert read(body, SHAPE, LIMITS) == json.loads(body)


def test_free_form_objects_forbid_exact_duplicates_only() -> None:
    body = b'{"tools":[{"parameters":{"Name":1,"name":2,"MODEL":3}}],"options":{"Seed":1,"seed":2}}'
    assert read(body, SHAPE, LIMITS) == json.loads(body)


def test_a_string_where_a_shape_allows_parts_is_left_to_the_dialect() -> None:
    assert read(b'{"messages":[{"content":"x"}]}', SHAPE, LIMITS) == {"messages": [{"content": "x"}]}


def test_depth_is_bounded_before_the_parser_recurses() -> None:
    nested = b'{"a":' * 63 + b"[1]" + b"}" * 63
    assert read(nested, None, LIMITS)
    for deeper in (b'{"a":' + nested + b"}", b'{"a":' * 100_000):
        with pytest.raises(Malformed, match="deep"):
            read(deeper, None, LIMITS)


def test_brackets_inside_strings_are_not_depth() -> None:
    body = dump({"a": "[{" * 500 + '\\"[' * 500})
    assert read(body, None, LIMITS) == json.loads(body)


def test_an_unclosed_string_full_of_quotes_is_refused_in_one_pass() -> None:
    with pytest.raises(Malformed):
        read(b"[" * 65 + b'"' + b'\\"' * 1_000_000, None, LIMITS)


def test_answers_may_hold_half_a_surrogate_pair_but_nothing_else_odd() -> None:
    assert read_answer(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert read_answer(b"[1]") == [1]
    for data in (b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1}x', b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}', b"[" * 200):
        with pytest.raises(Malformed):
            read_answer(data)


def test_edits_copy_only_along_their_path() -> None:
    document: Json = {"a": {"b": "old"}, "c": [1, {"d": 2}]}
    edited = apply(document, [Edit(("a", "b"), "new")])
    assert edited == {"a": {"b": "new"}, "c": [1, {"d": 2}]}
    assert document == {"a": {"b": "old"}, "c": [1, {"d": 2}]}
    assert isinstance(edited, dict)
    assert isinstance(document, dict)
    assert edited["c"] is document["c"]


def test_removed_elements_do_not_move_each_other() -> None:
    document: Json = {"tools": [0, 1, 2, {"x": 3, "y": 4}]}
    edits = [Edit(("tools", 0), REMOVED), Edit(("tools", 2), REMOVED), Edit(("tools", 3, "x"), REMOVED)]
    assert apply(document, edits) == {"tools": [1, {"y": 4}]}
    assert apply(document, edits[::-1]) == {"tools": [1, {"y": 4}]}


def test_the_upper_of_two_edits_wins_in_either_order() -> None:
    edits = [Edit(("a",), REMOVED), Edit(("a", "b"), 2)]
    assert apply({"a": {"b": 1}}, edits) == {}
    assert apply({"a": {"b": 1}}, edits[::-1]) == {}


def test_the_empty_path_replaces_the_whole_document() -> None:
    assert apply({"a": 1}, [Edit((), [2])]) == [2]
    assert apply({"a": 1}, []) == {"a": 1}


def test_the_last_step_may_name_a_new_member() -> None:
    assert apply({"a": {}}, [Edit(("a", "b"), 1)]) == {"a": {"b": 1}}


@pytest.mark.parametrize("path", [("x", "y"), ("list", 5), ("text", "y")])
def test_a_path_that_leads_nowhere_is_an_error(path: tuple[str | int, ...]) -> None:
    with pytest.raises(LookupError):
        apply({"list": [1], "text": "s"}, [Edit(path, 1)])


def test_dump_writes_compact_utf8_and_escapes_lone_surrogates() -> None:
    assert dump({"a": ["é😀", "\ud83d\\"]}) == '{"a":["é😀","\\ud83d\\\\"]}'.encode()


def test_what_dump_writes_is_one_line_however_a_client_cuts_lines() -> None:
    document: Json = {"a\u2028b\u2029": "".join(map(chr, range(0x3000)))}
    written = dump(document)
    assert len(written.decode().splitlines()) == 1
    assert read_answer(written) == document


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_what_dump_writes_is_read_back(document: Json) -> None:
    assert read_answer(dump(document)) == document


@given(st.dictionaries(st.text(), JSON), st.booleans())
def test_a_request_reads_as_python_reads_it_however_it_is_escaped(document: dict[str, Json], ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert read(body, None, LIMITS) == document


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0d8ea1 \n', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_malformed(body: bytes) -> None:
    document: object = {}
    with contextlib.suppress(Malformed):
        document = read(body, SHAPE, LIMITS)
    assert isinstance(document, dict)


# ---- edits beside what is there ----


def test_elements_are_put_before_others_and_at_the_end_whatever_becomes_of_those() -> None:
    document: Json = {"a": [1, {"b": "x"}, 3]}
    edits = [
        Edit(("a", 0), "new", "before"),
        Edit(("a", 1, "b"), "y"),
        Edit(("a", 2), REMOVED),
        Edit(("a", 2), "last but gone", "before"),
        Edit(("a", 3), "end", "before"),
    ]
    assert apply(document, edits) == {"a": ["new", 1, {"b": "y"}, "last but gone", "end"]}
    assert document == {"a": [1, {"b": "x"}, 3]}
    assert apply({"a": []}, [Edit(("a", 0), 1, "before")]) == {"a": [1]}


@pytest.mark.parametrize("first", [True, False])
def test_what_is_put_behind_a_string_follows_what_edits_make_of_it(first: bool) -> None:
    edits = [Edit(("a",), "new"), Edit(("a",), " end", "behind")]

    assert apply({"a": "old"}, edits if first else edits[::-1]) == {"a": "new end"}
    assert apply({"a": "old"}, edits[1:]) == {"a": "old end"}
    assert apply({"a": "old"}, [Edit(("a",), REMOVED), edits[1]]) == {}


@pytest.mark.parametrize("index", [2, -1])
def test_an_element_that_is_not_there_is_no_place(index: int) -> None:
    with pytest.raises(LookupError):
        apply({"a": [1]}, [Edit(("a", index), 2)])
    with pytest.raises(LookupError):
        apply({"a": [1]}, [Edit(("a", index), 2, "before")])
