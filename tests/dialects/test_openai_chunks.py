"""Answers of chat completions: recorded ones, odd ones, and the ends that we phrase."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.chat import CallDelta, ChatRequest, Edit, Frame, Json, Malformed, TextDelta
from extproc.dialects.openai_chunks import ChatDecoder
from tests.dialects.support import (
    DENIAL,
    LIMIT_BYTES,
    call_pieces,
    calls,
    case,
    closes,
    drain,
    events,
    raw,
    texts,
)

NOTICE = f"\n\n[{DENIAL.message}]"


def decoder(*, streams: bool = True, include_usage: bool = False) -> ChatDecoder:
    request = ChatRequest("openai.chat", "asked", streams, {}, include_usage=include_usage)
    return ChatDecoder(request, LIMIT_BYTES, streams=streams)


def chunk(*choices: Json, **members: Json) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "choices": list(choices), **members}).encode() + b"\n\n"


def delta(index: int = 0, finish: str | None = None, **said: Json) -> Json:
    return {"index": index, "delta": said, "finish_reason": finish}


def stream(*data: bytes) -> list[Frame]:
    return drain(decoder(), data)


def document(*choices: Json, **members: Json) -> Frame:
    body = json.dumps({"id": "c1", "choices": list(choices), **members}).encode()
    (frame,) = drain(decoder(streams=False), [body])
    return frame


# ---- recorded ----


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chat", {(0, "content"): "Hello! How can I assist you today?"}),
        ("stream", {(0, "content"): "Hello! How can I assist you today?"}),
        (
            "n2_stream",
            {(0, "content"): "Hello! How can I assist", (1, "content"): "Hello! How can I assist"},
        ),
        (
            "logprobs_stream",
            {(0, "content"): "Hello! How can I assist", (0, "logprobs"): "Hello! How can I assist"},
        ),
        ("tool_result", {(0, "content"): "It is currently 21 degrees Celsius in Paris. The sky is clear."}),
        ("json_schema", {(0, "content"): '{\n  "city": "City of the Eiffel Tower"\n}'}),
    ],
)
def test_a_recorded_answer_says_what_the_model_said(name: str, said: dict[tuple[int, str], str]) -> None:
    recorded = case(f"openai.chat/{name}")
    frames = drain(recorded.decoder(), [recorded.body])
    assert raw(frames) == recorded.body
    continued = [frame._replace(deltas=tuple(each for each in frame.deltas if not each.alone)) for frame in frames]
    assert texts(continued) == said
    assert calls(frames) == {}
    assert sorted(closes(frames)) == sorted({choice for choice, _ in said})
    assert [frame for frame in frames if frame.end] == frames[-1:]


@pytest.mark.parametrize("name", ["tools", "tools_stream", "tools_required_stream"])
def test_a_recorded_call_is_put_together(name: str) -> None:
    recorded = case(f"openai.chat/{name}")
    frames = drain(recorded.decoder(), [recorded.body])
    (arguments,) = [arguments for _, arguments in calls(frames).values()]
    assert calls(frames) == {(0, 0): ("get_weather", arguments)}
    assert json.loads(arguments) == {"city": "Paris"}
    assert {piece.whole for piece in call_pieces(frames)} == {name == "tools"}


def test_a_recorded_error_is_read_as_a_body() -> None:
    recorded = case("openai.chat/error")
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert "'messages' is required" in texts([frame])[0, "body"]


# ---- streams ----


def test_comments_usage_and_done_are_barriers_without_text() -> None:
    frames = stream(b": ping\n\n", chunk(usage={"total_tokens": 1}), b"data: [DONE]\n\n")
    assert [(frame.choices, frame.deltas, frame.end) for frame in frames] == [
        (None, (), False),
        (None, (), False),
        (None, (), True),
    ]


def test_each_spoken_member_has_its_channel_and_path() -> None:
    (frame,) = stream(chunk(delta(1, content="a", refusal="b", reasoning_content="c", audio={"transcript": "d"})))
    assert frame.choices == frozenset({1})
    assert frame.deltas == (
        TextDelta((1, "content"), "a", ("choices", 0, "delta", "content")),
        TextDelta((1, "refusal"), "b", ("choices", 0, "delta", "refusal")),
        TextDelta((1, "reasoning"), "c", ("choices", 0, "delta", "reasoning_content")),
        TextDelta((~1, "content"), "d", ("choices", 0, "delta", "audio", "transcript")),
    )


def test_null_and_empty_text_say_nothing_and_audio_data_passes() -> None:
    (frame,) = stream(chunk(delta(role="assistant", content=None, refusal="", audio={"data": "AAAA"}, tool_calls=None)))
    assert (frame.deltas, frame.calls, frame.closes) == ((), (), ())


def test_a_finish_reason_closes_its_choice_after_its_text() -> None:
    (frame,) = stream(chunk(delta(0, content="a"), delta(1, "stop", content="b")))
    assert (frame.choices, frame.closes, len(frame.deltas)) == (frozenset({0, 1}), (1,), 2)


def test_a_choice_without_an_index_has_its_position() -> None:
    (frame,) = stream(chunk({"delta": {"content": "a"}}, {"delta": {"content": "b"}}))
    assert [each.channel[0] for each in frame.deltas] == [0, 1]


def test_choices_without_end_are_malformed() -> None:
    many = [chunk(delta(index, content="x")) for index in range(1025)]
    assert len(stream(*many[:1024], *many[:1024])) == 2048
    with pytest.raises(Malformed, match="more choices than allowed"):
        stream(*many)


def test_null_is_an_absent_index() -> None:
    entry: Json = {"index": None, "id": "a", "function": {"name": "f"}}
    frames = stream(chunk({"index": None, "delta": {"tool_calls": [entry], "content": "x"}}))
    assert texts(frames) == {(0, "content"): "x"}
    assert [(piece.choice, piece.index, piece.id) for piece in call_pieces(frames)] == [(0, 0, "a")]


def test_a_message_cannot_stand_between_two_pieces_of_a_streams_text() -> None:
    call_: Json = {"function": {"name": "f", "arguments": "{}"}}
    said: Json = {"role": "assistant", "content": "x", "tool_calls": [call_], "more": "y"}
    frames = stream(chunk(delta(2, content="a")), chunk({"index": 2, "message": said}), chunk(delta(2, content="b")))
    assert texts(frames) == {(2, "content"): "ab", (~2, "content"): "x", (~2, "body"): "y\n"}
    assert [(piece.choice, piece.whole) for piece in call_pieces(frames)] == [(~2, True)]


def test_a_delta_in_a_document_does_not_continue_the_message() -> None:
    frame = document({"delta": {"content": "x"}, "message": {"content": "a"}})
    assert texts([frame]) == {(0, "content"): "a", (~0, "content"): "x"}


def test_a_silent_message_beside_a_delta_changes_nothing() -> None:
    frames = stream(chunk({"index": 0, "delta": {"content": "a"}, "message": {"role": "assistant", "content": ""}}))
    assert texts(frames) == {(0, "content"): "a"}


def test_token_ids_are_copies_wherever_they_stand() -> None:
    choice: Json = {"index": 1, "delta": {"content": "a", "ids": [1]}, "token_ids": [2]}
    (frame,) = stream(chunk(choice, delta(0), tokens=[3]))
    assert [(each.channel, each.path) for each in frame.deltas if each.drop] == [
        ((1, "logprobs"), ("choices", 0, "delta", "ids")),
        ((1, "logprobs"), ("choices", 0, "token_ids")),
        ((0, "logprobs"), ("tokens",)),
        ((1, "logprobs"), ("tokens",)),
    ]
    (alone,) = stream(b'data: {"tokens":[1]}\n\n')
    assert [each.path for each in alone.deltas if each.drop] == [("tokens",)]


def test_a_verbose_log_of_the_exchange_is_text_and_a_copy() -> None:
    frame = document({"message": {"content": "a"}}, __verbose={"prompt": "p", "timings": {}})
    assert "p" in texts([frame])[~0, "body"]
    assert [each.path for each in frame.deltas if each.drop] == [("__verbose",)]


def test_roles_and_reasons_that_are_none_are_text() -> None:
    frames = stream(chunk(delta(0, "a reason", role="a role", audio={"id": "an id"})))
    assert texts(frames) == {(~0, "body"): "an id\na role\na reason\n"}
    assert stream(chunk(delta(0, "stop", role="assistant")))[0].deltas == ()


def test_audio_data_is_listed_once_as_not_inspected() -> None:
    frames = stream(*[chunk(delta(audio={"data": "AAAA"}))] * 3, chunk(delta(audio={"data": ""})))
    assert [frame.not_inspected for frame in frames] == [("audio",), (), (), ()]
    assert not any(frame.deltas for frame in frames)
    (frame,) = stream(chunk(delta(audio={"data": "Ab1_" * 10})))
    assert "Ab1_" * 10 in texts([frame])[~0, "body"]  # it could be a token
    told = document({"message": {"audio": {"data": "not data", "expires_at": "a time"}}})
    assert told.not_inspected == ()
    assert texts([told]) == {(~0, "body"): "not data\na time\n"}


@pytest.mark.parametrize("name", ["id", "model", "system_fingerprint", "object", "service_tier", "obfuscation"])
def test_what_identifies_an_answer_is_text_only_if_it_says_more(name: str) -> None:
    for label in ("fp_44709d6fcb", "2026-01-01T00:00:00.12Z", "chat.completion.chunk"):
        assert stream(chunk(delta(), **{name: label}))[0].deltas == ()
    for value in ("the key", "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"):
        (said,) = stream(chunk(delta(), **{name: value}))[0].deltas
        assert said == TextDelta((~0, "body"), value, (name,), alone=True)
    assert texts(stream(chunk(delta(), **{name: {"deep": "x"}})))[~0, "body"] == "deep\nx\n"


def test_what_counts_is_text_only_if_it_has_words() -> None:
    counted: Json = {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}, "cost": 0.1}
    assert stream(chunk(usage=counted, timings={"predicted_ms": 1}))[0].deltas == ()
    frames = stream(chunk(usage={"note": "two words"}, timings={"a key": 1}))
    assert [(each.text, each.path, each.alone) for each in frames[0].deltas] == [
        ("two words", ("usage", "note"), True),
        ("a key", ("timings",), True),
    ]


def test_streamed_calls_keep_their_indexes() -> None:
    frames = stream(
        chunk(
            delta(
                tool_calls=[
                    {"index": 1, "id": "x", "function": {"name": "g", "arguments": ""}},
                    {"index": 0, "id": "y"},
                ]
            )
        ),
        chunk(delta(tool_calls=[{"index": 1, "function": {"arguments": "{}"}}], function_call={"name": "old"})),
    )
    assert calls(frames) == {(0, 1): ("g", "{}"), (0, 0): ("", ""), (0, -1): ("old", "")}
    assert frames[1].calls[0] == CallDelta(
        0, 1, "", "{}", ("choices", 0, "delta", "tool_calls", 0, "function", "arguments")
    )


def test_reasoning_under_two_names_is_not_doubled() -> None:
    frames = stream(
        chunk(delta(reasoning_content="sec", reasoning="sec")), chunk(delta(reasoning_content="ret", reasoning="ret"))
    )
    assert texts(frames)[0, "reasoning"] == texts(frames)[~0, "body"] == "secret"
    assert [each.path for each in frames[0].deltas if each.drop] == [("choices", 0, "delta", "reasoning")]


def test_unknown_members_are_text_too_even_after_their_choice_has_ended() -> None:
    frames = stream(
        chunk(delta(0, thought="deep", content="a"), provider="P"),
        chunk({"index": 0, "delta": {}, "finish_reason": "stop", "annotation": {"title": "cited"}}),
        chunk(delta(0, late="more")),
    )
    assert texts(frames)[~0, "body"] == "deepP\ntitle\ncited\nmore"
    assert texts(frames)[0, "content"] == "a"


def test_a_copy_of_the_text_is_known_as_one() -> None:
    frame = document({"message": {"content": "said"}}, verbose={"content": "said", "other": "x"})
    assert [each.path for each in frame.deltas if each.drop] == [("verbose", "content")]


@pytest.mark.parametrize("data", ['{"error":{"message":"\\u0062oom"}}', '["boom"]', '"boom"', '{"choices":"boom"}'])
def test_an_event_that_is_no_chunk_is_read_as_a_body(data: str) -> None:
    (frame,) = stream(f"event: error\ndata: {data}\n\n".encode())
    assert "boom" in texts([frame])[0, "body"]
    assert (frame.choices, frame.closes, frame.end) == (None, (), False)


def test_an_edited_event_keeps_its_lines_and_unknown_members() -> None:
    (frame,) = stream(b'id: 7\r\ndata: {"choices":[{"delta":{"content":"old"}}],"x":[1]}\r\n\r\n')
    edited = frame.render([Edit(frame.deltas[0].path, "new")])
    assert edited == b'id: 7\r\ndata: {"choices":[{"delta":{"content":"new"}}],"x":[1]}\r\n\r\n'


def test_half_a_surrogate_pair_survives_an_edit_beside_it() -> None:
    (frame,) = stream(chunk(delta(content="x", refusal="\ud83d")))
    edited = frame.render([Edit(frame.deltas[0].path, "")])
    assert json.loads(edited.removeprefix(b"data: "))["choices"][0]["delta"] == {"content": "", "refusal": "\ud83d"}


@pytest.mark.parametrize(
    "data",
    [
        b"data: nonsense\n\n",
        b'data: {"choices":[]}\ndata: {"choices":[]}\n\n',
        b'data: {"choices":[],"choices":[1]}\n\n',
        b"data: [DONE]x\n\n",
        b'{"choices":[]}\n\n',
        b'data: {"choices":[]',
        chunk(1),
        chunk({"delta": "x"}),
        chunk({"delta": {"content": 1}}),
        chunk({"index": "0"}),
        chunk(delta(0), delta(0)),
        chunk(delta(1), {"delta": {}}),
        chunk({"index": 0, "delta": {"content": "a"}, "message": {"content": "b"}}),
        chunk({"index": -1}),
        chunk({"index": True}),
        chunk(delta(tool_calls={})),
        chunk(delta(tool_calls=[1])),
        chunk(delta(tool_calls=[{"index": "0"}])),
        chunk(delta(function_call="f")),
        chunk(delta(audio="said")),
    ],
)
def test_what_cannot_be_this_apis_stream_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        stream(data)


# ---- documents ----


def test_a_document_closes_its_choices_and_ends_the_answer() -> None:
    frame = document({"index": 0, "message": {"content": "a"}}, {"index": 1, "message": {"content": "b"}})
    assert (frame.choices, frame.closes, frame.end) == (frozenset({0, 1}), (0, 1), True)
    assert texts([frame]) == {(0, "content"): "a", (1, "content"): "b"}


def test_a_document_that_is_no_answer_is_read_as_a_body() -> None:
    body = b'{"error":{"message":"boom"}}'
    (frame,) = drain(decoder(streams=False), [body])
    assert "boom" in texts([frame])[0, "body"]
    assert (frame.closes, frame.end) == ((0,), True)


def test_a_custom_call_in_a_document_is_whole() -> None:
    frame = document({"message": {"tool_calls": [{"type": "custom", "custom": {"name": "sql", "input": "x"}}]}})
    path = ("choices", 0, "message", "tool_calls", 0, "custom", "input")
    assert frame.calls == (CallDelta(0, 0, "sql", "x", path, whole=True),)


# ---- ends that we phrase ----


def validated(body: bytes) -> list[ChatCompletionChunk]:
    return [ChatCompletionChunk.model_validate(event) for event in events(body)]


def test_a_cut_shows_a_notice_and_ends_cleanly_under_the_answers_own_id() -> None:
    cut = decoder()
    drain(cut, [chunk(delta(content="a"), created=5, model="real")], end=False)
    first, last = validated(cut.cutoff(DENIAL))
    assert (first.id, first.created, first.model) == ("c1", 5, "real")
    assert first.choices[0].delta.content == NOTICE
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("content_filter", None)


def test_a_cut_repeats_nothing_that_a_rule_could_have_found() -> None:
    cut = decoder(include_usage=True)
    named: dict[str, Json] = {"id": "a secret", "model": {"deep": "a secret"}, "usage": {"a secret": 1}}
    drain(cut, [chunk(delta(content="a"), **named)], end=False)
    assert b"a secret" not in cut.cutoff(DENIAL)


def test_a_cut_before_the_first_chunk_is_whole_by_itself() -> None:
    first, last = validated(decoder().cutoff(DENIAL))
    assert (first.id, first.model, first.choices[0].delta.content) == ("chatcmpl-d-1", "asked", NOTICE)
    assert last.choices[0].finish_reason == "content_filter"


def test_a_cut_ends_every_choice_whose_end_has_not_left() -> None:
    cut = decoder()
    drain(cut, [chunk(delta(0, content="a"), delta(1, "stop"), delta(2, "stop"))], end=False)
    ended = [
        each.choices[0].index for each in validated(cut.cutoff(DENIAL, frozenset({1}))) if each.choices[0].finish_reason
    ]
    assert ended == [0, 2]
    assert cut.cutoff(DENIAL, frozenset({0, 1, 2})) == b"data: [DONE]\n\n"


@pytest.mark.parametrize(("asked", "told"), [(True, [7]), (False, [])])
def test_a_cut_tells_the_usage_last_seen_if_it_was_asked_for(asked: bool, told: list[int]) -> None:
    cut = decoder(include_usage=asked)
    usage: Json = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    drain(cut, [chunk(delta(content="a"), usage=usage), chunk(delta(content="b"), usage=None)], end=False)
    assert [each.usage.total_tokens for each in validated(cut.cutoff(DENIAL)) if each.usage] == told


def test_the_first_chunk_with_choices_names_the_answer() -> None:
    cut = decoder()
    drain(cut, [b'data: {"id":"","model":"","choices":[]}\n\n', chunk(delta(content="a"))], end=False)
    assert validated(cut.cutoff(DENIAL))[0].id == "c1"


def test_a_cut_document_is_a_whole_document_for_all_its_choices() -> None:
    cut = decoder(streams=False)
    drain(cut, [case("openai.chat/chat").body.replace(b'"index":0', b'"index":1')])
    answer = ChatCompletion.model_validate_json(cut.cutoff(DENIAL), strict=True)
    assert [(choice.index, choice.finish_reason, choice.message.content) for choice in answer.choices] == [
        (1, "content_filter", DENIAL.message)
    ]
    assert answer.usage is not None
