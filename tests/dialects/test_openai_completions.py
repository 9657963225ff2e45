"""OpenAI's older completions: requests, refusals, answers and the ends that we phrase."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion

from extproc.chat import ChatRequest, Edit, Frame, Json, Malformed, Text, TextDelta
from extproc.dialects import dialect_for
from extproc.dialects.answers import BodyDecoder
from extproc.dialects.openai_completions import OpenAiCompletions
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, HEAD, LIMIT_BYTES, LIMITS, case, closes, drain, events, raw, texts

COMPLETIONS = OpenAiCompletions()
NOTICE = f"\n\n[{DENIAL.message}]"


def read(**members: Any) -> ChatRequest:
    body = json.dumps({"model": "m", "prompt": "hi", **members}).encode()
    return COMPLETIONS.read_request(HEAD, body, LIMITS)


def said(request: ChatRequest) -> list[tuple[str, str]]:
    return [(text.scope, text.text) for text in request.texts]


def stream(*documents: Any, request: ChatRequest | None = None) -> tuple[Any, list[Frame]]:
    decoder = COMPLETIONS.decoder(request or read(), 200, "text/event-stream", LIMIT_BYTES)
    body = b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)
    return decoder, drain(decoder, [body])


def chunk(*choices: Json, **members: Json) -> Json:
    return {"id": "c1", "created": 7, "model": "told", "choices": list(choices), **members}


def choice(text: Json, index: int = 0, finish: str | None = None, **members: Json) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **members}


# ---- requests ----


def test_it_claims_its_path_only() -> None:
    assert dialect_for("POST", "/v1/completions") is not None
    assert not COMPLETIONS.named_only
    assert not COMPLETIONS.claims("GET", "/v1/completions")
    assert not COMPLETIONS.claims("POST", "/completions")


def test_a_prompt_is_the_user_s_text_and_paths_lead_to_it() -> None:
    assert read(prompt="one").texts == (Text("user", "one", ("prompt",)),)
    several = read(prompt=["one", "", "two"])
    assert several.texts == (Text("user", "one", ("prompt", 0)), Text("user", "two", ("prompt", 2)))
    assert several.not_inspected == ()


@pytest.mark.parametrize(
    ("prompt", "unseen"),
    [([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 0)],
)
def test_token_ids_are_not_inspected_once_for_each_prompt(prompt: Json, unseen: int) -> None:
    request = read(prompt=prompt)
    assert (request.texts, request.not_inspected) == ((), ("tokens",) * unseen)


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            ["a", 1],
            [1, "a"],
            ["a", [1]],
            [[1], "a"],
            [["a"]],
            [[1, "a"]],
            [1.5],
            [True],
            [[True]],
            [None],
            ["a", None],
        ),
        *({"prompt_string": "a"}, 7, True, [{"prompt_string": "a"}]),
    ],
)
def test_a_prompt_that_servers_read_in_different_ways_is_malformed(prompt: Json) -> None:
    with pytest.raises(Malformed, match="'prompt' must be"):
        read(prompt=prompt)


def test_a_prompt_may_only_be_left_out_where_it_comes_as_vectors() -> None:
    with pytest.raises(Malformed, match="'prompt' is required"):
        read(prompt=None)
    request = read(prompt=None, prompt_embeds=["AAAA", "AA=="])
    assert (request.texts, request.not_inspected) == ((), ("embedding", "embedding"))
    assert request.parameters == {"choices": 2}
    assert [each.name for each in request.settings] == ["prompt_embeds"]


def test_vectors_that_are_none_are_read() -> None:
    request = read(prompt_embeds="not base64: at all")
    assert said(request) == [("user", "hi"), ("user", "not base64: at all")]
    assert request.not_inspected == ("embedding",)


def test_a_suffix_and_what_nobody_knows_are_parameters() -> None:
    request = read(suffix="end", user="me", other={"key": "deep"}, stop=["<|im_end|>"])
    assert said(request) == [
        *(("user", "hi"), ("parameter", "end"), ("parameter", "me"), ("parameter", "key"), ("parameter", "deep")),
        ("steering", "<|im_end|>"),
    ]
    assert [(each.name, each.known) for each in request.settings] == [
        *(("suffix", True), ("user", True), ("other", False), ("stop", True)),
    ]
    with pytest.raises(Malformed, match="'suffix' must be a string"):
        read(suffix=["a"])


def test_settings_have_the_names_that_policies_use() -> None:
    request = read(
        **{"n": 2, "n_predict": 5, "logprobs": 3, "grammar": "root", "lora_path": "x", "speculative.n_max": 4},
        structured_outputs={"choice": ["a"]},
        stream_options={"include_usage": True},
        best_of=None,
    )
    assert {each.path: each.name for each in request.settings} == {
        ("n",): "choices",
        ("n_predict",): "max_tokens",
        ("logprobs",): "logprobs",
        ("grammar",): "grammar",
        ("lora_path",): "lora",
        ("speculative.n_max",): "speculative.n_max",
        ("structured_outputs", "choice"): "structured_outputs.choice",
        ("stream_options",): "stream_options",
        ("best_of",): "best_of",
    }
    assert all(each.known for each in request.settings)
    assert request.include_usage


@pytest.mark.parametrize(
    ("members", "parameters"),
    [
        ({}, {}),
        ({"n": 3}, {"choices": 3}),
        ({"n": 2, "best_of": 5}, {"choices": 5}),
        ({"prompt": ["a", "b"]}, {"choices": 2}),
        ({"prompt": [[1], [2], [3]], "n": 2}, {"choices": 6}),
        ({"n": -1, "prompt": ["a", "b"]}, {"choices": -2}),
        ({"max_tokens": 5, "n_predict": 9}, {"max_tokens": 9}),
    ],
)
def test_limits_count_every_answer_to_every_prompt(members: dict[str, Any], parameters: dict[str, int]) -> None:
    assert read(**members).parameters == parameters


@pytest.mark.parametrize("members", [{"Prompt": "x"}, {"SUFFIX": "x"}, {"stream_options": {"Include_Usage": True}}])
def test_a_key_that_differs_by_case_is_malformed(members: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="only by case"):
        read(**members)


@pytest.mark.parametrize("members", [{"model": None}, {"stream": 1}, {"n": "2"}, {"model": 7}])
def test_a_member_of_another_type_is_malformed(members: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(**members)


def test_there_are_no_tools_to_take_out() -> None:
    assert COMPLETIONS.without_tools(read(), frozenset({"f"})) == ()


# ---- answers ----


@pytest.mark.parametrize(
    ("name", "told", "usage"),
    [
        ("document", {(0, "content"): "  # a and b are parameters\n    return a +"}, False),
        ("stream", {(0, "content"): "  # a and b are parameters\n    return a +"}, False),
    ],
)
def test_a_recorded_answer_says_what_the_model_said(name: str, told: dict[Any, str], usage: bool) -> None:
    recorded = case(f"openai.completions/{name}")
    frames = drain(recorded.decoder(), [recorded.body])
    assert raw(frames) == recorded.body
    assert {channel: text for channel, text in texts(frames).items() if channel[0] >= 0} == told
    assert closes(frames) == [0]
    assert [frame for frame in frames if frame.end] == frames[-1:]


def test_log_probabilities_are_copies_and_their_alternatives_texts() -> None:
    recorded = case("openai.completions/vllm_logprobs_stream")
    frames = drain(recorded.decoder(), [recorded.body])
    assert {channel: text for channel, text in texts(frames).items() if channel[1] == "content"} == {
        (0, "content"): " 4.",
        (1, "content"): " 6!",
    }
    first = [delta for delta in frames[0].deltas if delta.channel == (0, "logprobs")]
    path = ("choices", 0, "logprobs")
    assert first == [
        TextDelta((0, "logprobs"), " 4", path, drop=True),
        TextDelta((0, "logprobs"), " 4\n other", path, drop=True, alone=True),
    ]
    assert closes(frames) == [0, 1]


def test_reasoning_speaks_on_its_channel_and_once() -> None:
    _, frames = stream(chunk(choice("a", reasoning="b")), chunk(choice("c", reasoning_content="d", reasoning="d")))
    assert {channel: text for channel, text in texts(frames).items() if channel[0] >= 0} == {
        (0, "content"): "ac",
        (0, "reasoning"): "bd",
        (0, "body"): "",  # the node that repeats it
    }


def test_what_is_no_text_of_a_completion_is_read_as_a_body() -> None:
    _, frames = stream(chunk(choice("a", other={"content": "chat"}, stop_reason="word")), {"error": {"message": "no"}})
    body = "".join(text for channel, text in texts(frames).items() if channel[1] == "body")
    assert all(word in body for word in ("chat", "word", "no"))


def test_a_text_that_is_none_is_malformed() -> None:
    with pytest.raises(Malformed, match="not a string"):
        stream(chunk(choice(7)))


def test_an_unknown_text_of_a_choice_goes_on_over_chunks() -> None:
    chunks = [chunk({"index": 0, "text": "", "other": piece}) for piece in "abc"]
    said = [delta.text for frame in stream(*chunks)[1] for delta in frame.deltas if delta.channel == (~0, "body")]
    assert said == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["delta", "message"])
def test_a_choice_of_a_conversation_is_malformed(name: str) -> None:
    with pytest.raises(Malformed, match="conversation"):
        stream(chunk({"index": 0, name: {"content": "a"}}))


def test_two_choices_of_one_index_are_malformed() -> None:
    with pytest.raises(Malformed, match="the same index"):
        stream(chunk(choice("a"), choice("b")))


def test_later_frames_fit_the_template_of_the_first_and_can_be_edited() -> None:
    _, frames = stream(*(chunk(choice(text)) for text in ("one", "two", "three")))
    assert texts(frames) == {(0, "content"): "onetwothree"}
    edited = frames[2].render([Edit(("choices", 0, "text"), "x")])
    assert json.loads(edited.removeprefix(b"data: "))["choices"][0]["text"] == "x"


@pytest.mark.parametrize(("status", "kind"), [(400, "application/json"), (200, "text/html")])
def test_another_answer_is_read_as_a_body(status: int, kind: str) -> None:
    assert isinstance(COMPLETIONS.decoder(read(), status, kind, LIMIT_BYTES), BodyDecoder)


# ---- refusals and ends ----


def test_a_refusal_is_openai_s_error() -> None:
    reply = COMPLETIONS.refusal(DENIAL)
    assert reply.status == DENIAL.status
    assert json.loads(reply.body)["error"] == {
        "message": DENIAL.message,
        "type": "invalid_request_error",
        "param": None,
        "code": "content_policy_violation",
    }


def test_a_message_is_a_completion_that_says_it() -> None:
    reply = COMPLETIONS.refusal_message(DENIAL, read())
    answer = Completion.model_validate_json(reply.body, strict=True)
    assert (reply.status, answer.object, answer.model, answer.id) == (200, "text_completion", "m", "cmpl-d-1")
    assert [(each.text, each.finish_reason) for each in answer.choices] == [(DENIAL.message, "content_filter")]
    assert answer.usage is not None


@pytest.mark.parametrize("usage", [False, True])
def test_a_streamed_message_is_chunks_that_say_it(usage: bool) -> None:
    reply = COMPLETIONS.refusal_message(DENIAL, read(stream=True, stream_options={"include_usage": usage}))
    assert reply.content_type == "text/event-stream"
    chunks = events(reply.body)
    assert [(each["text"], each["finish_reason"]) for event in chunks for each in event["choices"]] == [
        (DENIAL.message, None),
        ("", "content_filter"),
    ]
    assert ("usage" in chunks[-1]) == usage


def test_a_cut_ends_every_open_choice_and_tells_the_usage_if_asked() -> None:
    request = read(stream=True, n=2, stream_options={"include_usage": True})
    usage: Json = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    decoder, _ = stream(chunk(choice("a"), choice("b", 1), choice("c", 2)), chunk(usage=usage), request=request)
    told = events(decoder.cutoff(DENIAL, frozenset({1})))
    assert [(each["index"], each["text"], each["finish_reason"]) for event in told for each in event["choices"]] == [
        (0, NOTICE, None),
        (0, "", "content_filter"),
        (2, NOTICE, None),
        (2, "", "content_filter"),
    ]
    assert told[-1]["usage"] == usage
    assert {(event["id"], event["created"], event["model"], event["object"]) for event in told} == {
        ("c1", 7, "told", "text_completion")
    }


def test_a_cut_of_a_document_is_a_whole_document() -> None:
    recorded = case("openai.completions/vllm_n2")
    decoder = recorded.decoder()
    drain(decoder, [recorded.body])
    answer = json.loads(decoder.cutoff(DENIAL))
    assert [(each["index"], each["text"], each["finish_reason"]) for each in answer["choices"]] == [
        (0, DENIAL.message, "content_filter"),
        (1, DENIAL.message, "content_filter"),
    ]


def test_an_edit_of_a_prompt_leaves_the_rest() -> None:
    request = read(prompt=["a", "b"], other=1)
    assert apply(dict(request.document), [Edit(request.texts[1].path, "x")]) == {
        "model": "m",
        "prompt": ["a", "x"],
        "other": 1,
    }
