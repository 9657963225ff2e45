"""llama.cpp's own endpoints: requests, refusals, answers and the ends that we phrase."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.chat import ChatRequest, Edit, Frame, Json, Malformed, Text, TextDelta
from extproc.dialects import dialect_for
from extproc.dialects.answers import BodyDecoder
from extproc.dialects.llamacpp import (
    LlamaCppApplyTemplate,
    LlamaCppCompletion,
    LlamaCppDetokenize,
    LlamaCppInfill,
    LlamaCppTokenize,
)
from extproc.messages import RequestHeaders
from tests.dialects import shared
from tests.dialects.support import DENIAL, HEAD, LIMIT_BYTES, LIMITS, case, closes, drain, raw, texts
from tests.support.policies import policy
from tests.support.sessions import session

COMPLETION, INFILL = LlamaCppCompletion(), LlamaCppInfill()
TOKENIZE, DETOKENIZE, TEMPLATE = LlamaCppTokenize(), LlamaCppDetokenize(), LlamaCppApplyTemplate()
ALL = (COMPLETION, INFILL, TOKENIZE, DETOKENIZE, TEMPLATE)
NOTICE = f"\n\n[{DENIAL.message}]"


def read(dialect: Any, **members: Any) -> ChatRequest:
    request: ChatRequest = dialect.read_request(HEAD, json.dumps(members).encode(), LIMITS)
    return request


def said(request: ChatRequest) -> list[tuple[str, str]]:
    return [(text.scope, text.text) for text in request.texts]


def answered(dialect: Any, document: Json, *, request: ChatRequest | None = None) -> tuple[Any, Frame]:
    decoder = dialect.decoder(request or ChatRequest("", "m", False, {}), 200, "application/json", LIMIT_BYTES)
    (frame,) = drain(decoder, [json.dumps(document).encode()])
    return decoder, frame


def streamed(*documents: Any) -> tuple[Any, list[Frame]]:
    decoder = COMPLETION.decoder(ChatRequest("", "m", True, {}), 200, "text/event-stream", LIMIT_BYTES)
    body = b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)
    return decoder, drain(decoder, [body])


def results(stream: bytes) -> list[Any]:
    return [json.loads(event.removeprefix("data: ")) for event in stream.decode().split("\n\n") if event]


# ---- which paths ----


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/completion", "llamacpp.completion"),
        ("/completions", "llamacpp.completion"),
        ("/infill", "llamacpp.infill"),
        ("/tokenize", "llamacpp.tokenize"),
        ("/detokenize", "llamacpp.detokenize"),
        ("/apply-template", "llamacpp.apply_template"),
    ],
)
def test_each_path_has_its_dialect_which_must_be_named(path: str, name: str) -> None:
    dialect = dialect_for("POST", path)
    assert dialect is not None
    assert (dialect.name, dialect.named_only) == (name, True)
    assert dialect_for("GET", path) is None


UNCLAIMED = [
    *("/chat/completions", "/embeddings", "/embedding", "/v1/tokenize", "/generate", "/slots", "/props"),
    *("/pooling", "/score", "/rerank", "/reranking", "/classify", "/v1/score", "/v1/rerank", "/v2/rerank"),
    *("/invocations", "/inference/v1/generate", "/v1/load_lora_adapter", "/v1/completions/render", "/lora-adapters"),
]


@pytest.mark.parametrize("path", UNCLAIMED)
def test_what_servers_add_beside_is_claimed_by_none_and_refused(path: str) -> None:
    assert dialect_for("POST", path) is None
    assert refused(policy(), path)


@pytest.mark.parametrize("path", ["/completion", "/completions", "/infill", "/tokenize", "/detokenize"])
def test_a_native_endpoint_is_refused_unless_the_policy_names_it(path: str) -> None:
    assert refused(policy(), path)
    assert not refused(policy(endpoints={"allow": [f"POST {path}"]}), path)


def refused(text: str, path: str) -> bool:
    replies = session(text).receive(RequestHeaders(((":method", "POST"), (":path", path)), end=False))
    return any(type(reply).__name__ == "Refuse" for reply in replies)


# ---- completion and infill: requests ----


@pytest.mark.parametrize(
    ("prompt", "told", "unseen", "choices"),
    [
        ("a", ["a"], 0, None),
        (["a", "b"], ["a", "b"], 0, 2),
        ([1, 2], [], 1, None),
        ([1, "a", 2, "b"], ["a", "b"], 1, None),
        ([[1, 2], "a", ["b", 3]], ["a", "b"], 2, 3),
        ([], [], 0, None),
    ],
)
def test_a_prompt_is_texts_and_token_ids_in_every_mixture(
    prompt: Json, told: list[str], unseen: int, choices: int | None
) -> None:
    request = read(COMPLETION, prompt=prompt)
    assert said(request) == [("user", text) for text in told]
    assert request.not_inspected == ("tokens",) * unseen
    assert request.parameters.get("choices") == choices


def test_paths_lead_to_the_texts_of_a_prompt() -> None:
    request = read(COMPLETION, prompt=["a", ["b", 3]])
    assert request.texts == (Text("user", "a", ("prompt", 0)), Text("user", "b", ("prompt", 1, 0)))


def test_media_beside_a_prompt_are_not_inspected_unless_they_are_text() -> None:
    request = read(COMPLETION, prompt={"prompt_string": "a <__media__>", "multimodal_data": ["AAAA", "not base64!"]})
    assert said(request) == [("user", "a <__media__>"), ("user", "not base64!")]
    assert request.not_inspected == ("file", "file")
    request = read(COMPLETION, prompt=[{"prompt_string": "a", "other": {"key": "b"}}, "c"])
    assert said(request) == [("user", "a"), ("user", "key"), ("user", "b"), ("user", "c")]


@pytest.mark.parametrize(
    "prompt", [None, 7, True, 1.5, [["a", "b"]], [[["a"]]], [1, True], [1, None], [1, ["a"]], {"multimodal_data": []}]
)
def test_a_prompt_that_is_none_is_malformed(prompt: Json) -> None:
    with pytest.raises(Malformed, match="'prompt"):
        read(COMPLETION, prompt=prompt)


def test_a_model_may_be_left_out_or_is_the_request_s() -> None:
    for model, named in ((None, False), ("m", True), ("", True)):
        request = read(COMPLETION, prompt="a", model=model)
        assert (request.model, request.names_model) == (model or "", named)
    with pytest.raises(Malformed):
        read(COMPLETION, prompt="a", model=["m"])


def test_settings_are_listed_and_their_texts_read() -> None:
    request = read(
        COMPLETION, prompt="a", stream=True, n_predict=-1, n_probs=2, n_cmpl=3, grammar="root", id_slot=1, other="o"
    )
    assert [(each.name, each.known) for each in request.settings] == [
        *(("stream", True), ("max_tokens", True), ("logprobs", True), ("choices", True), ("grammar", True)),
        *(("id_slot", True), ("other", False)),
    ]
    assert said(request) == [("user", "a"), ("parameter", "root"), ("parameter", "o")]
    assert request.stream
    assert request.parameters["choices"] == 3
    assert request.parameters["max_tokens"] > 1 << 40  # as many as fit


def test_infill_has_the_text_around_and_other_files() -> None:
    request = read(
        INFILL,
        input_prefix="before",
        input_suffix="after",
        prompt="here",
        input_extra=[{"filename": "a.py", "text": "one"}, {"text": "two", "note": {"key": "deep"}}],
    )
    assert said(request) == [
        *(("document", "a.py"), ("document", "one"), ("document", "text\nnote"), ("document", "two")),
        *(("document", "key"), ("document", "deep"), ("user", "before"), ("user", "here"), ("user", "after")),
    ]
    assert request.settings == ()


@pytest.mark.parametrize(
    "members",
    [
        *({"input_suffix": "a"}, {"input_prefix": "a"}, {"input_prefix": 1, "input_suffix": "a"}),
        {"input_prefix": "a", "input_suffix": "b", "prompt": [1]},
        {"input_prefix": "a", "input_suffix": "b", "input_extra": ["a"]},
        {"input_prefix": "a", "input_suffix": "b", "input_extra": [{"filename": "a"}]},
        {"input_prefix": "a", "input_suffix": "b", "input_extra": [{"filename": 1, "text": "a"}]},
        {"input_prefix": "a", "input_suffix": "b", "Input_Prefix": "c"},
    ],
)
def test_an_infill_that_is_none_is_malformed(members: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(INFILL, **members)


# ---- tokens and templates: requests ----


def test_what_is_to_be_tokenized_is_read_in_every_server_s_form() -> None:
    assert said(read(TOKENIZE, content="a")) == [("user", "a")]
    assert said(read(TOKENIZE, prompt=["a", "b"])) == [("user", "a"), ("user", "b")]
    assert said(read(TOKENIZE, content="a", prompt="b")) == [("user", "a"), ("user", "b")]
    mixed = read(TOKENIZE, content=["a", 1], with_pieces=True)
    assert (said(mixed), mixed.not_inspected) == ([("user", "a")], ("tokens",))
    assert [(each.name, each.known) for each in mixed.settings] == [("with_pieces", True)]
    with pytest.raises(Malformed, match="'content' is required"):
        read(TOKENIZE)


@pytest.mark.parametrize("dialect", [TOKENIZE, TEMPLATE])
def test_a_conversation_is_read_as_a_chat(dialect: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "does"}}
    request = read(
        dialect,
        messages=[{"role": "system", "content": "s"}, {"role": "tool", "content": "t"}],
        tools=[tool],
        add_special_tokens=True,
        stream=True,
    )
    assert (request.dialect, request.model, request.names_model, request.stream) == (dialect.name, "", False, False)
    assert said(request)[:2] == [("system", "s"), ("tool_result", "t")]
    assert [each.name for each in request.tools] == ["f"]
    assert ("add_special_tokens", True) in [(each.name, each.known) for each in request.settings]
    assert "model" not in request.document
    assert dialect.without_tools(request, frozenset({"f"}))
    assert read(dialect, model="m", messages=[]).names_model


def test_a_conversation_is_read_as_strictly_as_a_chat() -> None:
    with pytest.raises(Malformed, match="'messages' is required"):
        read(TEMPLATE, content="a")
    with pytest.raises(Malformed, match="only by case"):
        read(TEMPLATE, messages=[{"role": "user", "Content": "a"}])
    with pytest.raises(Malformed, match="twice"):
        TEMPLATE.read_request(HEAD, b'{"messages":[],"messages":[]}', LIMITS)


def test_a_switch_of_tokenizers_is_known_and_others_are_not() -> None:
    request = read(TOKENIZE, messages=[], with_pieces=True, other=1)
    assert [(each.name, each.known) for each in request.settings] == [("with_pieces", True), ("other", False)]


@pytest.mark.parametrize(("tokens", "unseen"), [([1, 2], 1), ([[1], [2]], 2), ([], 0)])
def test_token_ids_are_not_inspected(tokens: Json, unseen: int) -> None:
    assert read(DETOKENIZE, tokens=tokens).not_inspected == ("tokens",) * unseen


@pytest.mark.parametrize("tokens", [None, "a", ["a"], [1, [2]], [[1], ["a"]], [True]])
def test_token_ids_that_are_none_are_malformed(tokens: Json) -> None:
    with pytest.raises(Malformed, match="'tokens' must"):
        read(DETOKENIZE, tokens=tokens)


# ---- answers ----


@pytest.mark.parametrize(
    ("name", "told", "closed"),
    [
        ("llamacpp.completion/stream", {(0, "content"): "  # a and b are"}, [0]),
        ("llamacpp.completion/several", {(0, "content"): " 4", (1, "content"): " 6"}, [0, 1]),
        ("llamacpp.completion/several_stream", {(0, "content"): " 4", (1, "content"): " 6"}, [0, 1]),
        ("llamacpp.infill/document", {(0, "content"): "x):\n    return"}, [0]),
        ("llamacpp.infill/stream", {(0, "content"): "x):"}, [0]),
        ("llamacpp.tokenize/document", {}, [0]),
        ("llamacpp.tokenize/pieces", {(0, "content"): "Hello é"}, [0]),
        ("llamacpp.tokenize/vllm_chat", {(0, "content"): "Hello world"}, [0]),
        ("llamacpp.detokenize/document", {(0, "content"): "Hello world"}, [0]),
        ("llamacpp.detokenize/vllm", {(0, "content"): "Hello world"}, [0]),
    ],
)
def test_a_recorded_answer_says_what_was_said(name: str, told: dict[Any, str], closed: list[int]) -> None:
    recorded = case(name)
    frames = drain(recorded.decoder(), [recorded.body])
    assert raw(frames) == recorded.body
    assert {channel: text for channel, text in texts(frames).items() if channel[1] == "content"} == told
    assert closes(frames) == closed


def test_a_recorded_template_is_read() -> None:
    recorded = case("llamacpp.apply_template/document")
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert "Say hello in five words." in texts([frame])[0, "content"]


def test_the_prompt_and_the_settings_that_an_answer_repeats_are_read() -> None:
    _, (frame,) = streamed(
        {"index": 1, "content": "", "stop": True, "prompt": "asked", "generation_settings": {"stop": ["word"]}}
    )
    assert frame.closes == (1,)
    assert texts([frame])[~1, "body"] == "asked\nstop\nword\n"


def test_token_ids_and_probabilities_are_copies() -> None:
    probability: Json = {"id": 1, "token": "a", "bytes": [97], "top_logprobs": [{"token": "z", "bytes": [122]}]}
    _, (frame,) = streamed({"index": 0, "content": "a", "tokens": [7], "completion_probabilities": [probability]})
    assert frame.deltas == (
        TextDelta((0, "content"), "a", ("content",)),
        TextDelta((0, "logprobs"), "a", ("completion_probabilities",), drop=True),
        TextDelta((0, "logprobs"), "z", ("completion_probabilities",), drop=True, alone=True),
        *(delta for delta in frame.deltas if delta.path == ("tokens",)),
    )
    assert [(delta.channel, delta.drop) for delta in frame.deltas if delta.path == ("tokens",)] == [
        ((0, "logprobs"), True)
    ]


def test_an_edited_frame_keeps_the_rest() -> None:
    _, (frame,) = streamed({"index": 0, "content": "a", "stop": False})
    assert results(frame.render([Edit(("content",), "b")])) == [{"index": 0, "content": "b", "stop": False}]


def test_frames_without_content_speak_for_no_choice() -> None:
    decoder = COMPLETION.decoder(ChatRequest("", "m", True, {}), 200, "text/event-stream", LIMIT_BYTES)
    frames = drain(decoder, [b': ping\n\ndata: {"error":{"message":"no"}}\n\ndata: [DONE]\n\n'])
    assert [(frame.choices, frame.closes, frame.end) for frame in frames] == [
        (None, (), False),
        (None, (), False),
        (None, (), True),
    ]
    assert "no" in texts(frames)[~0, "body"]


def test_results_without_an_index_have_their_position() -> None:
    _, frame = answered(COMPLETION, [{"content": "a"}, {"content": "b"}])
    assert [(delta.channel[0], delta.path) for delta in frame.deltas] == [(0, (0, "content")), (1, (1, "content"))]
    assert (frame.closes, frame.end) == ((0, 1), True)


@pytest.mark.parametrize(
    "document",
    [
        *("text", 7, None, [7], [[{"content": "a"}]], {"index": -1}, {"index": True}, {"index": "0"}, {"content": 7}),
        [{"index": 0, "content": "a"}, {"index": 0, "content": "b"}],
        {"choices": [{"index": 0, "text": "a"}]},
    ],
)
def test_an_answer_that_is_none_is_malformed(document: Json) -> None:
    with pytest.raises(Malformed):
        answered(COMPLETION, document)


def test_choices_without_end_are_malformed() -> None:
    many = [{"index": index, "content": "x"} for index in range(1025)]
    assert len(streamed(*many[:1024], *many[:1024])[1]) == 2048
    with pytest.raises(Malformed, match="more choices than allowed"):
        streamed(*many)


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ([1, 2], {}),
        ([{"id": 1, "piece": "se"}, {"id": 2, "piece": [99]}, {"id": 3, "piece": "ret"}], {"content": "secret"}),
        (["se", "cret"], {"content": "secret"}),
        ("secret", {"content": "secret"}),
        ([{"id": 1, "piece": "a", "note": ["b"]}], {"content": "a", "body": "note\nb"}),
        ([{"id": 1, "piece": ["a", "b"]}], {"body": "id\npiece\na\nb"}),
        ([[300, "a"]], {"body": "a"}),
        ([None, {"id": 1}], {}),
    ],
)
def test_the_pieces_of_a_text_are_one_text(tokens: Json, told: dict[str, str]) -> None:
    _, frame = answered(TOKENIZE, {"tokens": tokens, "count": 2})
    assert {delta.channel[1]: delta.text for delta in frame.deltas if delta.drop and delta.alone} == told


@pytest.mark.parametrize("document", [["a"], {"error": {"message": "a"}}])
def test_another_document_is_read_as_a_body(document: Json) -> None:
    _, frame = answered(DETOKENIZE, document)
    assert any("a" in text for channel, text in texts([frame]).items() if channel[1] == "body")
    assert (frame.closes, frame.end) == ((0,), True)


def test_white_space_before_a_document_is_a_frame_of_its_own_or_part_of_it() -> None:
    for dialect in (TOKENIZE, COMPLETION):
        decoder = dialect.decoder(ChatRequest("", "m", False, {}), 200, "application/json", LIMIT_BYTES)
        assert raw(drain(decoder, [b" \n"])) == b" \n"


@pytest.mark.parametrize("dialect", ALL)
def test_another_answer_is_a_body(dialect: Any) -> None:
    for status, kind in ((400, "application/json"), (200, "text/html")):
        assert isinstance(dialect.decoder(ChatRequest("", "m", False, {}), status, kind, LIMIT_BYTES), BodyDecoder)
    if dialect not in (COMPLETION, INFILL):
        decoder = dialect.decoder(ChatRequest("", "m", False, {}), 200, "text/event-stream", LIMIT_BYTES)
        assert isinstance(decoder, BodyDecoder)


# ---- refusals and ends ----


@pytest.mark.parametrize("dialect", ALL)
def test_a_refusal_is_openai_s_error(dialect: Any) -> None:
    reply = dialect.refusal(DENIAL)
    assert reply.status == DENIAL.status
    assert json.loads(reply.body)["error"]["message"] == DENIAL.message


@pytest.mark.parametrize("dialect", [TOKENIZE, DETOKENIZE, TEMPLATE])
def test_what_is_no_message_is_refused_with_the_error(dialect: Any) -> None:
    request = ChatRequest("", "m", False, {})
    assert dialect.refusal_message(DENIAL, request) == dialect.refusal(DENIAL)
    decoder, _ = answered(dialect, {})
    assert decoder.cutoff(DENIAL) == dialect.refusal(DENIAL).body


def test_a_message_is_a_result_that_says_it() -> None:
    reply = COMPLETION.refusal_message(DENIAL, read(COMPLETION, prompt="a"))
    answer = json.loads(reply.body)
    assert (reply.status, answer["content"], answer["stop"]) == (200, DENIAL.message, True)
    several = json.loads(COMPLETION.refusal_message(DENIAL, read(COMPLETION, prompt=["a", "b"])).body)
    assert [(each["index"], each["content"]) for each in several] == [(0, DENIAL.message), (1, DENIAL.message)]


@pytest.mark.parametrize(("asked", "told"), [(10**9, 1024), (0, 1), (-5, 1)])
def test_a_message_is_said_for_a_bounded_number_of_choices(asked: int, told: int) -> None:
    request = read(COMPLETION, prompt="a", n=asked, stream=True)
    assert len(results(COMPLETION.refusal_message(DENIAL, request).body)) == 2 * told


def test_a_streamed_message_says_it_and_stops() -> None:
    reply = INFILL.refusal_message(DENIAL, read(INFILL, input_prefix="a", input_suffix="b", stream=True))
    assert reply.content_type == "text/event-stream"
    assert [(each["content"], each["stop"]) for each in results(reply.body)] == [(DENIAL.message, False), ("", True)]


def test_a_cut_stops_every_open_choice() -> None:
    decoder, _ = streamed({"index": 0, "content": "a"}, {"index": 2, "content": "b"}, {"index": 5, "content": "c"})
    assert [
        (each["index"], each["content"], each["stop"]) for each in results(decoder.cutoff(DENIAL, frozenset({2})))
    ] == [
        (0, NOTICE, False),
        (0, "", True),
        (5, NOTICE, False),
        (5, "", True),
    ]
    assert decoder.cutoff(DENIAL, frozenset({0, 2, 5})) == b""


def test_a_cut_before_anything_was_said_is_the_first_choice_s() -> None:
    decoder, _ = streamed()
    assert [each["index"] for each in results(decoder.cutoff(DENIAL))] == [0, 0]


def test_a_cut_of_a_document_has_its_form() -> None:
    one, _ = answered(COMPLETION, {"index": 0, "content": "a"})
    several, _ = answered(COMPLETION, [{"index": 0, "content": "a"}, {"index": 1, "content": "b"}])
    assert json.loads(one.cutoff(DENIAL))["content"] == DENIAL.message
    assert [each["content"] for each in json.loads(several.cutoff(DENIAL))] == [DENIAL.message] * 2


# ---- whole exchanges ----


def test_a_secret_over_several_frames_is_cut_out_with_its_token_ids() -> None:
    frames: list[Json] = [
        {"index": 0, "content": shared.SENTENCE[at : at + 4], "tokens": [at + 9], "stop": False}
        for at in range(0, len(shared.SENTENCE), 4)
    ]
    frames.append({"index": 0, "content": "", "tokens": [], "stop": True, "prompt": "hello"})
    body = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
    asked = shared.surfaces("llamacpp.completion").answered(body, "text/event-stream", streamed=True)
    text = policy(mode="monitor", rules=shared.rules(), endpoints={"allow": ["POST /completion"]})
    outcome = shared.run(asked, text, [body])
    assert outcome.passed
    told = results(outcome.answer)
    assert shared.SECRET not in "".join(each["content"] for each in told)
    assert "".join(each["content"] for each in told).endswith(" ok")
    edited = [each for each, before in zip(told, results(body), strict=True) if each["content"] != before["content"]]
    assert edited
    assert all(each["tokens"] is None for each in edited)


def test_a_model_that_is_named_must_be_approved() -> None:
    asked = shared.surfaces("llamacpp.completion").asked(put={"model": "other"})
    text = policy(models={"allow": ["m:1"]}, endpoints={"allow": ["POST /completion"]})
    assert shared.run(asked, text).record.reason == "models"
    assert shared.run(shared.surfaces("llamacpp.completion").asked(), text).refusal is None
