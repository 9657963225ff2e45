"""Gemini's answers: what events, elements of an array and documents say, and how a running answer ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from extproc.chat import ChatRequest, Edit, Frame, Json, Malformed
from extproc.dialects.answers import BodyDecoder
from extproc.dialects.base import Decoder
from extproc.dialects.gemini import GeminiEmbed, GeminiGenerate
from extproc.dialects.gemini_answers import GeminiDecoder
from tests.dialects.support import (
    DENIAL,
    LIMIT_BYTES,
    byte_by_byte,
    call_pieces,
    calls,
    case,
    closes,
    drain,
    raw,
    texts,
)

DIALECT = GeminiGenerate()
FORMS = ("events", "array", "document")


def decoder(form: str = "events") -> GeminiDecoder:
    return GeminiDecoder(LIMIT_BYTES, form)


def written(form: str, *answers: Json) -> bytes:
    if form == "events":
        return b"".join(b"data: " + json.dumps(answer).encode() + b"\n\n" for answer in answers)
    if form == "array":
        return b"[" + b"\n,\n".join(json.dumps(answer).encode() for answer in answers) + b"\n]\n"
    (answer,) = answers
    return json.dumps(answer).encode()


def frames(*answers: Json, form: str = "events") -> list[Frame]:
    return drain(decoder(form), [written(form, *answers)])


def candidate(*parts: Mapping[str, Json], **members: Json) -> Json:
    return {"candidates": [{"content": {"parts": [dict(part) for part in parts], "role": "model"}, **members}]}


def test_which_decoder_reads_follows_the_request_and_the_content_type() -> None:
    plain = ChatRequest("gemini.generate", "m", False, {})
    streamed = ChatRequest("gemini.generate", "m", True, {})
    for request, kind, streams in (
        (plain, "application/json; charset=UTF-8", False),
        (streamed, "application/json", True),
        (streamed, "text/event-stream", True),
        (plain, "text/event-stream", True),
    ):
        made = DIALECT.decoder(request, 200, kind, LIMIT_BYTES)
        assert isinstance(made, GeminiDecoder)
        assert made.streams is streams
    for status, kind in ((500, "application/json"), (200, "text/html"), (200, "application/x-protobuf")):
        assert isinstance(DIALECT.decoder(plain, status, kind, LIMIT_BYTES), BodyDecoder)
        assert isinstance(GeminiEmbed().decoder(plain, status, kind, LIMIT_BYTES), BodyDecoder)


@pytest.mark.parametrize("form", FORMS)
def test_all_text_of_a_candidate_is_one_text_and_its_thoughts_another(form: str) -> None:
    told = frames(
        candidate(
            {"text": "hm", "thought": True}, {"text": "Hel"}, {"text": "lo", "thought": False}, finishReason="STOP"
        ),
        form=form,
    )
    assert texts(told) == {(0, "reasoning"): "hm", (0, "content"): "Hello"}
    assert closes(told) == ([] if form == "events" else [0])


def test_candidates_are_told_apart_by_their_index_and_go_on_behind_a_reason() -> None:
    """Some servers say STOP in every element of a stream."""
    told = frames(
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}}, {"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}]},
        {"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]},
        {"candidates": [{"finish_reason": ["STOP"], "content": None}]},
    )
    assert texts(told)[1, "content"] == "b"
    assert texts(told)[0, "content"] == "a"
    assert closes(told) == []
    assert [frame.choices for frame in told] == [frozenset({0, 1}), frozenset({1}), frozenset({0}), frozenset({0})]


def test_a_call_is_whole_and_counted_in_its_candidate() -> None:
    told = frames(
        candidate({"functionCall": {"name": "f", "args": {"q": [1]}}}, {"function_call": {"name": "g"}}),
        candidate({"functionCall": {"name": "f", "args": {}, "willContinue": False}}),
    )
    assert calls(told) == {(0, 0): ("f", '{"q":[1]}'), (0, 1): ("g", "{}"), (0, 2): ("f", "{}")}
    assert all(piece.whole and piece.structured for piece in call_pieces(told))
    edited = told[0].render([Edit(call_pieces(told)[1].arguments_path, {"x": 1})])
    assert json.loads(edited.removeprefix(b"data: "))["candidates"][0]["content"]["parts"][1] == {
        "function_call": {"name": "g", "args": {"x": 1}}
    }


def test_code_and_what_came_of_it_stand_beside_the_text() -> None:
    told = frames(
        candidate(
            {"text": "Run: "},
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        )
    )
    assert texts(told)[0, "content"] == "Run: "
    assert texts(told)[-1, "content"] == "print(1)"
    assert "1\n" in texts(told)[-1, "body"]


def test_media_are_said_and_text_among_them_is_read() -> None:
    data = base64.b64encode(b"plain words").decode()
    told = frames(
        candidate(
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"inline_data": {"mime_type": "audio/wav", "data": "AAAA", "displayName": "a name"}},
            {"inlineData": {"data": "AAAA"}},
            {"inlineData": {"mimeType": "text/plain", "data": data}},
            {"text": "", "thoughtSignature": "Ci+/_-=="},
            {"text": "", "thoughtSignature": ""},
            {"fileData": {"fileUri": "https://x/"}},
        )
    )
    assert told[0].not_inspected == ("image", "audio", "file", "encrypted")
    assert "a name" in texts(told)[-1, "body"]
    assert "https://x/" in texts(told)[-1, "body"]
    (plain,) = [delta for delta in told[0].deltas if delta.text == "plain words"]
    assert (plain.drop, plain.alone, plain.path[-1]) == (True, True, "inlineData")


def test_a_signature_that_is_none_is_text() -> None:
    told = frames(candidate({"text": "", "thoughtSignature": "two words"}))
    assert told[0].not_inspected == ()
    assert "two words" in texts(told)[-1, "body"]


def test_what_is_said_beside_the_text_is_read_as_body() -> None:
    told = frames(
        {
            **candidate(
                {"text": "a"}, finishMessage="f1", citationMetadata={"citationSources": [{"uri": "f2"}]}, x="f3"
            ),  # type: ignore[dict-item]
            "promptFeedback": {"blockReasonMessage": "f4"},
            "modelStatus": {"message": "f5"},
            "usageMetadata": {"f6": 1},
        }
    )
    assert {"f1", "f2", "f3"} <= set(texts(told)[-1, "body"].split("\n"))
    assert {"f4", "f5", "f6"} <= set(texts(told)[-1, "body"].split("\n"))


def test_the_api_s_own_words_are_no_text() -> None:
    rating: Json = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE", "blocked": False}
    answer: Any = candidate({"text": "a"}, safetyRatings=[rating], avgLogprobs=-0.5, tokenCount=3)
    answer["usageMetadata"] = {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}]}
    answer["prompt_feedback"] = {"block_reason": "SAFETY"}
    (frame,) = frames(answer)
    assert [delta.text for delta in frame.deltas] == ["a"]


def test_what_names_the_answer_is_a_text_of_its_own_in_every_frame_that_repeats_it() -> None:
    head = {"modelVersion": "gemini-2.5-flash", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4", "createTime": None}
    told = frames(*({**candidate({"text": "a"}), **head} for _ in range(3)))  # type: ignore[dict-item]
    for frame in told:
        assert [(delta.text, delta.alone) for delta in frame.deltas] == [("a", False), (head["responseId"], True)]


@pytest.mark.parametrize("part", [{"thoughtSignature": "@"}, {"inlineData": {"data": "@"}}])
@pytest.mark.parametrize(("chars", "read"), [(16, False), (40, True), (256, True), (260, False)])
def test_data_that_could_be_a_token_is_read(part: Json, chars: int, read: bool) -> None:
    word = "Ab1_" * (chars // 4)
    (frame,) = frames(json.loads(json.dumps(candidate(part)).replace("@", word)))  # type: ignore[arg-type]
    assert len(frame.not_inspected) == 1
    assert any(delta.text == word for delta in frame.deltas) is read


def test_media_that_is_no_base64_is_read() -> None:
    (frame,) = frames(candidate({"inlineData": {"mimeType": "image/png", "data": "the key"}}))
    assert frame.not_inspected == ("image",)
    assert texts([frame]) == {(~0, "body"): "the key\nimage/png\n"}


def test_a_cut_off_repeats_nothing_that_a_rule_could_have_found() -> None:
    cut = decoder()
    head = {"modelVersion": "gemini-2.5-pro", "responseId": "a secret", "createTime": {"deep": "a secret"}}
    drain(cut, [written("events", {**candidate({"text": "a"}), **head, "usageMetadata": {"a secret": 1}})], end=False)  # type: ignore[dict-item]
    last = cut.cutoff(DENIAL)
    assert b"gemini-2.5-pro" in last
    assert b"a secret" not in last


def test_copies_of_the_text_go_where_it_is_edited() -> None:
    (frame,) = frames(
        candidate(
            {"text": "ok"},
            groundingMetadata={"groundingSupports": [{"segment": {"text": "ok"}, "groundingChunkIndices": [0]}]},
            logprobsResult={"chosenCandidates": [{"token": "ok", "tokenId": 5}]},
            logprobs_x={"ids": [1, 2]},
        )
    )
    dropped = {delta.path[-1] for delta in frame.deltas if delta.drop}
    assert dropped == {"groundingMetadata", "logprobsResult", "logprobs_x"}
    assert texts([frame])[0, "logprobs"].startswith("ok")


def test_token_ids_beside_the_candidates_may_be_those_of_any() -> None:
    (frame,) = frames({"candidates": [{"index": 0}, {"index": 1}], "ids": [1, 2]})
    assert {delta.channel for delta in frame.deltas if delta.drop} == {(0, "logprobs"), (1, "logprobs")}


@pytest.mark.parametrize("form", FORMS)
def test_an_error_is_read_as_one_text(form: str) -> None:
    told = frames({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, form=form)
    assert "overloaded" in " ".join(texts(told).values())
    assert told[0].choices is None


def test_an_error_in_an_array_is_read_where_one_object_was_asked_for() -> None:
    told = frames([{"error": {"message": "overloaded"}}], form="document")
    assert "overloaded" in texts(told)[0, "body"]
    with pytest.raises(Malformed, match="an array"):
        frames([candidate({"text": "a"})], form="document")


@pytest.mark.parametrize(
    "answer",
    [
        {"candidates": {}},
        {"candidates": ["x"]},
        {"candidates": [{"index": 0}, {}]},
        {"candidates": [{"index": "0"}]},
        {"candidates": [{"index": -1}]},
        {"candidates": [{"content": "x"}]},
        {"candidates": [{"content": {"parts": "x"}}]},
        {"candidates": [{"content": {"parts": [5]}}]},
        {"candidates": [{"finishReason": "A", "finish_reason": "B"}]},
        {"modelVersion": "a", "model_version": "b"},
        candidate({"text": 5}),
        candidate({"text": ["x"]}),
        candidate({"text": "a", "thought": "yes"}),
        candidate({"functionCall": "f"}),
        candidate({"functionCall": {"name": 5}}),
        candidate({"functionCall": {"name": "f", "args": "{}"}}),
        candidate({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.q", "stringValue": "x"}]}}),
        candidate({"functionCall": {"name": "f", "will_continue": True}}),
        candidate({"inlineData": {"mimeType": 5}}),
        candidate({"inlineData": {"mimeType": "a/b", "mime_type": "c/d"}}),
    ],
)
def test_what_no_client_reads_like_this_is_malformed(answer: Json) -> None:
    with pytest.raises(Malformed):
        frames(answer)


def test_how_many_candidates_there_may_be_is_bounded() -> None:
    with pytest.raises(Malformed, match="more candidates"):
        frames({"candidates": [{"index": index} for index in range(1025)]})


def test_vectors_are_said_to_be_none_that_anybody_reads() -> None:
    recorded = case("gemini.embed/batch")
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert frame.not_inspected == ("embedding",)
    assert json.loads(recorded.decoder().cutoff(DENIAL))["error"]["message"] == DENIAL.message


# ---- ends --------------------------------------------------------------------------------------------------------


def after(form: str, left: int, *answers: Json) -> tuple[bytes, Json]:
    """What left, with the end put behind it, and the end's own document."""
    running: Decoder = decoder(form)
    gone = drain(running, [written(form, *answers)], end=form == "document")[:left]
    steps = [step for frame in gone for step in frame.steps]
    end = running.cutoff(DENIAL, frozenset(closes(gone)), steps)
    whole = raw(gone) + end
    if form == "events":
        return whole, [json.loads(event.removeprefix("data: ")) for event in whole.decode().split("\n\n") if event]
    return whole, json.loads(whole) if whole else None


ONE = candidate({"text": "a"})


@pytest.mark.parametrize("form", ["events", "array"])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_stream_ends_with_a_notice_and_safety(form: str, left: int) -> None:
    _, answers = after(form, left, ONE, ONE)
    assert isinstance(answers, list)
    assert len(answers) == left + 1
    last: Any = answers[-1]
    assert last == {
        "candidates": [
            {
                "content": {"parts": [{"text": f"\n\n[{DENIAL.message}]"}], "role": "model"},
                "finishReason": "SAFETY",
                "finishMessage": DENIAL.message,
                "index": 0,
            }
        ]
    }


def test_all_candidates_are_given_an_end_and_what_names_the_answer_stays() -> None:
    first: Json = {"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 2}], "modelVersion": "m"}
    second: Json = {"usageMetadata": {"totalTokenCount": 5}, "responseId": "r"}
    for form in ("events", "array"):
        _, answers = after(form, 2, first, second)
        last: Any = answers[-1]  # type: ignore[index]
        assert [each["index"] for each in last["candidates"]] == [0, 2]
        assert (last["usageMetadata"], last["modelVersion"], last["responseId"]) == ({"totalTokenCount": 5}, "m", "r")


def test_an_array_that_has_left_is_not_gone_on_with() -> None:
    done = candidate({"text": "a"}, finishReason="STOP")
    assert after("array", 2, done)[0] == written("array", done).rstrip()
    assert json.loads(decoder("array").cutoff(DENIAL, frozenset({0}))) == []


def test_a_document_becomes_one_that_says_the_message() -> None:
    _, answer = after("document", 0, {"candidates": [{"index": 0}, {"index": 1}], "modelVersion": "m"})
    assert isinstance(answer, dict)
    said: Any = answer["candidates"]
    assert [each["content"]["parts"][0]["text"] for each in said] == [DENIAL.message] * 2
    assert answer["modelVersion"] == "m"


# ---- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": "]}"}\n,\r\n{"b": "\\"}"}\n]\n',
        b' \n[ {"a":[{}]},{"b":{}} ] \n ',
        b"[]",
        b"[ \n ]\n",
        b" ",
        b"",
    ],
)
def test_an_array_leaves_as_it_came_however_it_is_cut(body: bytes) -> None:
    whole = drain(decoder("array"), [body])
    assert raw(whole) == body
    assert raw(drain(decoder("array"), byte_by_byte(body))) == body
    single = drain(decoder("array"), byte_by_byte(body))
    assert [frame.raw for frame in single if frame.steps] == [frame.raw for frame in whole if frame.steps]


def test_each_element_is_a_frame_as_soon_as_it_is_there() -> None:
    running = decoder("array")
    body = written("array", ONE, ONE)
    place = body.index(b"\n,\n")
    assert len(list(running.feed(body[:place], False))) == 1
    second, closing, rest = [*running.feed(body[place:], False), *running.feed(b"", True)]
    assert second.raw.startswith(b"\n,\n{")
    assert (closing.raw, closing.end, rest.raw) == (b"\n]", True, b"\n")
    edited = second.render([Edit(("candidates", 0, "content", "parts", 0, "text"), "b")])
    assert edited == b"\n,\n" + json.dumps(candidate({"text": "b"}), separators=(",", ":")).encode()
    assert second.render([]) == second.raw


@pytest.mark.parametrize(
    "body",
    [b"{}", b"x", b"[1]", b"[{}{}]", b"[{},]", b"[,{}]", b"[[]]", b"[{}]x", b"[{}", b"[", b"[{}, ", b'[{"a":', b"[{]}"],
)
def test_what_is_no_array_of_objects_is_malformed(body: bytes) -> None:
    for pieces in ([body], byte_by_byte(body)):
        with pytest.raises(Malformed):
            drain(decoder("array"), pieces)


@pytest.mark.parametrize("body", [b'[{"a":"' + b"x" * 300 + b'"}]', b"[{}" + b" " * 300])
def test_an_element_may_not_be_larger_than_allowed(body: bytes) -> None:
    for pieces in ([body], byte_by_byte(body)):
        with pytest.raises(Malformed, match="larger"):
            drain(GeminiDecoder(256, "array"), pieces)
