"""Answers of Ollama: recorded ones, odd ones, and the ends that we phrase."""

from __future__ import annotations

import json

import ollama
import pytest

from extproc.chat import CallDelta, ChatRequest, Edit, Frame, Json, Malformed, TextDelta
from extproc.dialects.ollama_lines import LinesDecoder
from tests.dialects.support import DENIAL, LIMIT_BYTES, calls, case, closes, drain, raw, texts

NOTICE = f"\n\n[{DENIAL.message}]"


def decoder(*, chat: bool = True, streams: bool = True) -> LinesDecoder:
    return LinesDecoder(ChatRequest("ollama", "asked", streams, {}), LIMIT_BYTES, chat=chat, streams=streams)


def line(**members: Json) -> bytes:
    return json.dumps(members).encode() + b"\n"


def stream(*data: bytes) -> list[Frame]:
    return drain(decoder(), data)


# ---- recorded ----


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ollama.chat/chat", "Hello! How can I assist you today?"),
        ("ollama.chat/stream", "Hello! How can I assist you today?"),
        ("ollama.generate/stream", "2+2 equals 4."),
    ],
)
def test_a_recorded_answer_says_what_the_model_said(name: str, said: str) -> None:
    recorded = case(name)
    frames = drain(recorded.decoder(), [recorded.body])
    assert raw(frames) == recorded.body
    assert texts(frames) == {(0, "content"): said}
    assert closes(frames) == [0]
    assert [frame for frame in frames if frame.end] == frames[-1:]


def test_a_recorded_call_is_whole() -> None:
    recorded = case("ollama.chat/tools_stream")
    frames = drain(recorded.decoder(), [recorded.body])
    path = ("message", "tool_calls", 0, "function", "arguments")
    assert frames[0].calls == (CallDelta(0, 0, "get_weather", '{"city":"Paris"}', path, whole=True, structured=True),)
    assert texts(frames) == {}


def test_a_recorded_error_is_read_as_a_body() -> None:
    recorded = case("ollama.chat/error")
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert "File Not Found" in texts([frame])[0, "body"]


# ---- lines ----


def test_each_member_has_its_channel_and_path() -> None:
    (chat,) = stream(line(message={"content": "a", "thinking": "b"}))
    (generate,) = drain(decoder(chat=False), [line(response="c", thinking="d")])
    assert chat.deltas == (
        TextDelta((0, "content"), "a", ("message", "content")),
        TextDelta((0, "reasoning"), "b", ("message", "thinking")),
    )
    assert generate.deltas == (
        TextDelta((0, "content"), "c", ("response",)),
        TextDelta((0, "reasoning"), "d", ("thinking",)),
    )
    assert chat.choices == generate.choices == frozenset({0})


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(("chat", "foreign"), [(True, {"response": "x"}), (False, {"message": {"content": "x"}})])
def test_what_is_the_other_apis_cannot_stand_between_two_pieces_of_the_text(
    chat: bool, streams: bool, foreign: dict[str, Json]
) -> None:
    frames = drain(decoder(chat=chat, streams=streams), [line(**foreign)])
    assert texts(frames) == {(~0, "content"): "x"}


@pytest.mark.parametrize("chat", [True, False])
def test_a_line_that_speaks_in_both_apis_is_malformed(chat: bool) -> None:
    both: dict[str, Json] = {"response": "a", "message": {"content": "b"}}
    with pytest.raises(Malformed):
        drain(decoder(chat=chat), [line(**both)])
    silent = drain(decoder(chat=chat), [line(**both | {"response" if chat else "message": None})])
    assert texts(silent) == {(0, "content"): "b" if chat else "a"}
    said = texts(drain(decoder(chat=chat, streams=False), [line(**both)]))
    assert said == {(0 if chat else ~0, "content"): "b", (~0 if chat else 0, "content"): "a"}


def test_token_ids_are_copies_wherever_they_stand() -> None:
    (frame,) = stream(line(message={"content": "a", "ids": [1]}, tokens=[2]))
    assert [each for each in frame.deltas if each.drop] == [
        TextDelta((0, "logprobs"), "", ("tokens",), drop=True),
        TextDelta((0, "logprobs"), "", ("message", "ids"), drop=True),
    ]


def test_a_role_or_reason_that_is_none_is_text() -> None:
    frames = stream(line(message={"role": "a role"}), line(done=True, done_reason="a reason"))
    assert texts(frames) == {(~0, "body"): "a role\na reason\n"}


def test_calls_of_different_lines_are_different_calls() -> None:
    call: Json = {"function": {"name": "f", "arguments": {}}}
    frames = stream(line(message={"tool_calls": [call, call]}), line(message={"tool_calls": [call]}))
    assert list(calls(frames)) == [(0, 0), (0, 1), (0, 2)]


def test_logprobs_and_the_context_are_copies_that_go_as_a_whole() -> None:
    (frame,) = drain(
        decoder(chat=False), [line(response="ab", logprobs=[{"token": "a"}, {"token": "b"}], context=[1, 2], done=True)]
    )
    assert frame.deltas[1:] == (
        TextDelta((0, "logprobs"), "ab", ("logprobs",), drop=True),
        TextDelta((0, "logprobs"), "", ("context",), drop=True),
    )
    assert (frame.closes, frame.end) == ((0,), True)


def test_what_stands_in_the_place_of_names_and_token_ids_is_text() -> None:
    frames = drain(decoder(chat=False), [line(model="a model", created_at="a time", done="no end", context=[1, "x y"])])
    assert {each.text for each in frames[0].deltas if not each.drop} == {"a model", "a time", "no end", "\n", "x y"}
    assert {each.channel for each in frames[0].deltas if not each.drop} == {(~0, "body")}


def test_errors_and_unknown_members_are_text_too() -> None:
    frames = stream(
        line(error="boom"), line(message={"content": "a", "plan": ["b"]}, remote_host="h", remote_model="r")
    )
    assert texts(frames)[~0, "body"] == "boomh\nr\nb\n"


def test_a_copy_of_the_text_is_known_as_one() -> None:
    (frame,) = stream(line(message={"content": "said"}, rendered={"text": "said"}))
    assert [each.path for each in frame.deltas if each.drop] == [("rendered", "text")]


def test_blank_lines_are_barriers() -> None:
    (frame,) = stream(b"\r\n")
    assert (frame.choices, frame.deltas) == (None, ())


def test_an_edited_line_keeps_its_end_and_unknown_members() -> None:
    (frame,) = stream(b'{"message":{"content":"old","x":null},"done":false}\r\n')
    assert frame.render([Edit(("message", "content"), "new")]) == (
        b'{"message":{"content":"new","x":null},"done":false}\r\n'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"[1]\n",
        b"nonsense\n",
        b'{"response":"a"}\r{"response":"b"}\n',
        b'{"response":"a","response":"b"}\n',
        b'{"response":',
        line(message="x"),
        line(message={"content": 1}),
        line(response=True),
        line(message={"tool_calls": {"function": {}}}),
        line(message={"tool_calls": ["f"]}),
    ],
)
def test_what_cannot_be_this_apis_answer_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        stream(data)


# ---- ends that we phrase ----


def test_a_cut_chat_shows_a_notice_and_is_done() -> None:
    cut = decoder()
    drain(cut, [line(model="real", created_at="2026-01-01T00:00:00Z", message={"content": "a"})], end=False)
    first, last = [ollama.ChatResponse.model_validate_json(each) for each in cut.cutoff(DENIAL).splitlines()]
    assert (first.model, first.created_at) == (last.model, last.created_at) == ("real", "2026-01-01T00:00:00Z")
    assert (first.message.content, first.done) == (NOTICE, False)
    assert (last.message.content, last.done, last.done_reason) == ("", True, "content_filter")


def test_a_cut_repeats_nothing_that_a_rule_could_have_found() -> None:
    cut = decoder()
    drain(cut, [line(model="a secret", created_at="a secret", message={"content": "a"})], end=False)
    assert b"a secret" not in cut.cutoff(DENIAL)


def test_a_cut_generate_shows_a_notice_and_is_done() -> None:
    body = decoder(chat=False).cutoff(DENIAL)
    first, last = [ollama.GenerateResponse.model_validate_json(each) for each in body.splitlines()]
    assert (first.model, first.response, last.done) == ("asked", NOTICE, True)


def test_a_cut_document_is_a_whole_document() -> None:
    cut = decoder(streams=False)
    drain(cut, [case("ollama.chat/chat").body])
    answer = ollama.ChatResponse.model_validate_json(cut.cutoff(DENIAL))
    assert (answer.message.content, answer.done, answer.model) == (DENIAL.message, True, "qwen2.5:0.5b")


def test_nothing_follows_an_end_that_has_left() -> None:
    assert decoder().cutoff(DENIAL, frozenset({0})) == b""
