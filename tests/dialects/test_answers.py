"""Text in answers that no dialect knows, edited frames, and bodies in no dialect's form."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from extproc.chat import CallDelta, Edit, Frame, Json, Malformed, TextDelta
from extproc.dialects.answers import (
    BodyDecoder,
    aside,
    body_text,
    call,
    copies,
    copy_of,
    event_render,
    labels,
    line_render,
    listed_call,
    media_type,
    plain_frame,
    spoken,
    unknown_members,
)
from tests.dialects.support import DENIAL, byte_by_byte, drain, raw, texts


def joined(deltas: Sequence[TextDelta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.mark.parametrize(
    ("header", "kind"),
    [("text/event-stream", "text/event-stream"), ("Application/JSON; charset=utf-8", "application/json"), ("", "")],
)
def test_a_media_type_is_read_without_parameters_and_case(header: str, kind: str) -> None:
    assert media_type(header) == kind


# ---- frames ----


def test_a_frame_without_text_renders_as_it_is_and_takes_no_edit() -> None:
    frame = plain_frame(b": ping\n\n")
    assert frame.render(()) == frame.raw
    assert frame.choices is None
    with pytest.raises(LookupError):
        frame.render([Edit((), "x")])


def test_without_edits_the_very_bytes_leave() -> None:
    assert event_render(b"data:  { }\n\n", {})(()) == b"data:  { }\n\n"
    assert line_render(b" {}\r\n", {})(()) == b" {}\r\n"


def test_an_edit_changes_one_string_and_keeps_what_we_do_not_know() -> None:
    document: Json = {"text": "old", "unknown": [1, None]}
    edits = [Edit(("text",), "new")]
    assert event_render(b"id: 1\ndata: x\n\n", document)(edits) == b'id: 1\ndata: {"text":"new","unknown":[1,null]}\n\n'
    assert line_render(b"x\n", document)(edits) == b'{"text":"new","unknown":[1,null]}\n'


# ---- text ----


def test_spoken_text_is_a_string_or_parts_that_continue_each_other() -> None:
    parts: Json = [{"type": "thinking", "thinking": [{"type": "text", "text": "sec"}]}, {"type": "text", "text": "ret"}]
    assert list(spoken(0, "content", "x", ("p",))) == [TextDelta((0, "content"), "x", ("p",))]
    assert joined(list(spoken(0, "content", parts, ("p",)))) == "secret"
    assert list(spoken(0, "content", None, ("p",))) == list(spoken(0, "content", "", ("p",))) == []
    for value in (1, 1.5, True):
        with pytest.raises(Malformed):
            list(spoken(0, "content", value, ("p",)))


def test_labels_are_text_only_if_they_look_like_none() -> None:
    members: Json = {"role": "assistant", "id": "x" * 17, "reason": "a b", "other": None, "deep": {"k": "v"}}
    assert isinstance(members, dict)
    deltas = list(labels(members, tuple(members), ("m",), 1))
    assert joined(deltas) == "x" * 17 + "\na b\nk\nv\n"
    assert {each.channel for each in deltas} == {(~1, "body")}
    assert deltas[0].path == ("m", "id")


def test_types_and_keys_of_parts_are_text_aside_if_they_look_like_none() -> None:
    deltas = list(spoken(0, "content", [{"type": "not a type", "a key": "said"}], ("p",)))
    assert [each.text for each in deltas if each.channel == (0, "content")] == ["said"]
    assert joined([each for each in deltas if each.channel == (~0, "body")]) == "type\na key\nnot a type\n"


def test_what_is_aside_stays_there() -> None:
    assert [aside(choice) for choice in (0, 3, ~0, ~3)] == [~0, ~3, ~0, ~3]


def test_body_text_separates_strings_and_reads_keys() -> None:
    deltas = list(body_text({"error": {"message": "one", "code": 1, "detail": ""}}))
    assert joined(deltas) == "error\nmessage\ncode\ndetail\none\n"
    assert [delta.path for delta in deltas[::2]] == [(), ("error",), ("error", "message")]


def test_unknown_members_speak_on_a_channel_that_outlives_the_choice() -> None:
    members: Json = {"role": "x", "extra": "one", "more": ["two"], "n": 1}
    assert isinstance(members, dict)
    deltas = list(unknown_members(members, frozenset({"role"}), ("m",), 1))
    assert joined(deltas) == "one\ntwo\n"
    assert {delta.channel for delta in deltas} == {(~1, "body")}
    assert list(unknown_members(members, frozenset(members), (), 0)) == []


def test_a_lone_unknown_string_of_a_stream_continues_the_last_one() -> None:
    assert joined(list(unknown_members({"thought": "sec"}, frozenset(), (), 0, pieces=True))) == "sec"
    assert joined(list(unknown_members({"a": "x", "b": "y"}, frozenset(), (), 0, pieces=True))) == "x\ny\n"


def test_an_unknown_node_that_repeats_a_known_text_is_a_copy_of_it() -> None:
    known = TextDelta((2, "content"), "tok", ("a",))
    repeated, other = TextDelta((-1, "body"), "tok", ("b",)), TextDelta((-1, "body"), "x", ("c",))
    assert copies([known]) == []
    assert copies([known, repeated, other]) == [copy_of((2, "body"), ("b",))]


# ---- calls ----


def test_arguments_are_json_text_in_either_form() -> None:
    streamed, _ = call({"name": "f", "arguments": '{"a'}, 0, 1, ("p",), whole=False)
    assert streamed == CallDelta(0, 1, "f", '{"a', ("p", "arguments"))
    structured, _ = call({"name": "f", "arguments": {"a": "é"}}, 0, 0, ("p",), whole=True)
    assert structured == CallDelta(0, 0, "f", '{"a":"é"}', ("p", "arguments"), whole=True, structured=True)
    assert call({}, 0, 0, ("p",), whole=True)[0].arguments == ""


def test_a_custom_tools_input_is_its_arguments() -> None:
    piece, deltas = listed_call({"custom": {"name": "sql", "input": "DROP"}, "note": "x"}, 0, 0, ("p",), whole=True)
    assert (piece.name, piece.arguments, piece.arguments_path) == ("sql", "DROP", ("p", "custom", "input"))
    assert joined(list(deltas)) == "x\n"


def test_a_call_says_its_id_and_null_is_an_absent_function() -> None:
    piece, deltas = listed_call({"id": "call_1", "function": None, "custom": None}, 0, 2, ("p",), whole=False)
    assert piece == CallDelta(0, 2, "", "", ("p", "function", "arguments"), id="call_1")
    assert list(deltas) == []
    assert listed_call({"id": None}, 0, 0, ("p",), whole=False)[0].id == ""


def test_what_a_call_holds_beside_its_name_and_arguments_is_text() -> None:
    entry: Json = {"id": "a b", "type": {"t": "c"}, "function": {"name": "f", "arguments": "{}", "note": "d"}}
    piece, deltas = listed_call(entry, 1, 0, ("p",), whole=True)
    found = list(deltas)
    assert piece.id == "a b"
    assert joined(found) == "d\na b\nt\nc\n"
    numbered: Json = {"index": "no index", "function": {"name": "f", "index": "none"}}
    assert joined(list(listed_call(numbered, 1, 0, ("p",), whole=True)[1])) == "no index\n"
    assert {each.channel for each in found} == {(~1, "body")}


@pytest.mark.parametrize(
    "entry",
    [
        1,
        {"function": "f"},
        {"function": {"name": 1}},
        {"function": {"arguments": 1}},
        {"function": {"name": "f"}, "custom": {"name": "g"}},
    ],
)
def test_a_call_that_cannot_be_read_is_malformed(entry: Json) -> None:
    with pytest.raises(Malformed):
        listed_call(entry, 0, 0, ("p",), whole=True)


# ---- bodies in no dialect ----


def whole(body: bytes) -> Frame:
    decoder = BodyDecoder(1000, lambda denial: denial.message.encode())
    assert not decoder.streams
    (frame,) = drain(decoder, byte_by_byte(body))
    assert raw([frame]) == body
    assert frame.end
    return frame


def test_escapes_cannot_hide_text_in_a_json_body() -> None:
    frame = whole(b'{"error":{"message":"\\u0073ecret"}}')
    assert "secret" in texts([frame])[0, "body"]
    assert frame.render([Edit(("error", "message"), "-")]) == b'{"error":{"message":"-"}}'


def test_a_plain_body_is_one_text() -> None:
    frame = whole("<h1>Bad gateway é</h1>\n".encode())
    assert texts([frame]) == {(0, "body"): "<h1>Bad gateway é</h1>\n"}
    assert frame.render([Edit((), "-")]) == b"-"


def test_a_plain_body_may_hold_backslashes_and_brackets() -> None:
    assert whole(b"see C:\\temp [1]").deltas[0].text == "see C:\\temp [1]"
    assert whole(b"[error] no backslash").deltas[0].text == "[error] no backslash"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\u0073ecret","a":1}',
        b'{"a":"\\u0073ecret"}\n{"b":1}',
        b'data: {"a":"\\u0073ecret"}\n\n',
        b'\xef\xbb\xbf{"a":"\\u0073ecret"}',
        b'\r{"a":"\\u0073ecret"}\r{}',
        "secret".encode("utf-16"),
        b"\xff\xfe\xfd",
    ],
)
def test_a_body_that_some_client_could_read_otherwise_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        whole(body)


def test_no_body_is_no_frame_and_a_cut_is_the_dialects_error() -> None:
    decoder = BodyDecoder(1000, lambda denial: denial.message.encode())
    assert drain(decoder, []) == []
    assert decoder.cutoff(DENIAL) == DENIAL.message.encode()
