"""Ollama's chat and generate: what a request says, and how it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import ollama
import pytest

from extproc.chat import ChatRequest, Json, Malformed, ToolDefinition
from extproc.dialects.members import UNBOUNDED
from extproc.dialects.ollama import OllamaChat, OllamaGenerate
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, HEAD, LIMITS, case

CHAT, GENERATE = OllamaChat(), OllamaGenerate()


def chat(**document: Json) -> ChatRequest:
    return CHAT.read_request(HEAD, json.dumps({"model": "m", **document}).encode(), LIMITS)


def generate(**document: Json) -> ChatRequest:
    return GENERATE.read_request(HEAD, json.dumps({"model": "m", **document}).encode(), LIMITS)


def said(request: ChatRequest, scope: str) -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def test_chats_texts_are_reached_under_their_speakers() -> None:
    call: Json = {"function": {"name": "f", "arguments": {"city": "Paris"}}}
    request = chat(
        messages=[
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u1", "images": ["AAAA", "BBBB"]},
            {"role": "assistant", "content": "a1", "thinking": "a2", "tool_calls": [call]},
            {"role": "tool", "tool_name": "f", "content": "t"},
            {"role": "wizard", "content": "u2"},
        ],
        format={"title": "p1"},
        options={"stop": ["<|end|>"], "unheard_of": "p2"},
    )
    assert said(request, "system") == ["s"]
    assert said(request, "user") == ["u1", "wizard", "u2"]
    assert {"a1", "a2", "f", "city", "Paris"} <= set(said(request, "assistant"))
    assert said(request, "tool_result") == ["f", "t"]
    assert {"p1", "p2"} <= set(said(request, "parameter"))
    assert request.not_inspected == ("image", "image")
    assert [text.message for text in request.texts if text.text in ("s", "u2")] == [0, 4]


def test_generates_texts_are_reached_and_token_ids_are_said() -> None:
    request = generate(
        prompt="u", suffix="p1", system="s1", template="s2", format="json", raw=True, images=["AAAA"], context=[1, 2]
    )
    assert said(request, "user") == ["u"]
    assert said(request, "system") == ["s1", "s2"]
    assert said(request, "parameter") == ["p1", "json"]
    assert sorted(request.not_inspected) == ["image", "tokens"]
    assert generate(context=[], images=None).not_inspected == ()


def test_what_reaches_no_prompt_is_what_steers() -> None:
    for read in (chat, generate):
        request = read(options={"stop": ["<|end|>", "</s>"]}, format={"pattern": "<|end|>", "pattern_": "p"})
        assert said(request, "steering") == ["<|end|>", "</s>", "<|end|>"]
        assert "p" in said(request, "parameter")
        assert "deep" in said(read(options={"stop": [{"x": "deep"}]}), "parameter")


def test_an_image_that_is_no_data_is_text() -> None:
    request = chat(messages=[{"role": "user", "images": ["AAAA", "https://x.example/said"]}])
    assert request.not_inspected == ("image", "image")
    assert said(request, "user") == ["https://x.example/said"]
    request = generate(images=[{"url": "u"}], context="c")
    assert request.not_inspected == ("image", "tokens")
    assert said(request, "user") == ["u", "c"]


def test_settings_have_the_names_that_policies_use() -> None:
    request = chat(
        options={"num_predict": 5, "num_ctx": 6, "novel": 1}, format="json", think=True, keep_alive=0, novel=1
    )
    assert [(each.name, each.path, each.known) for each in request.settings] == [
        ("max_tokens", ("options", "num_predict"), True),
        ("num_ctx", ("options", "num_ctx"), True),
        ("options.novel", ("options", "novel"), False),
        ("response_format", ("format",), True),
        ("thinking", ("think",), True),
        ("keep_alive", ("keep_alive",), True),
        ("novel", ("novel",), False),
    ]
    generated = generate(prompt="p", system="s", template="t", raw=True, suffix="x", images=[], context=[])
    assert [each.name for each in generated.settings] == ["template", "raw", "suffix"]


def test_a_last_message_of_the_assistant_and_unknown_roles_are_settings() -> None:
    request = chat(messages=[{"role": "developer", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert [(each.name, each.path) for each in request.settings] == [
        ("unknown_role", ("messages", 0, "role")),
        ("prefill", ("messages", 1)),
    ]
    assert chat(messages=[]).settings == ()


@pytest.mark.parametrize("read", [chat, generate])
def test_both_stream_unless_told_not_to(read: Callable[..., ChatRequest]) -> None:
    assert (read().stream, read(stream=None).stream, read(stream=False).stream) == (True, True, False)


@pytest.mark.parametrize(("asked", "limit"), [(12, 12), (-1, UNBOUNDED), (-2, UNBOUNDED), (0, UNBOUNDED)])
def test_the_token_limit_is_an_option(asked: int, limit: int) -> None:
    assert chat(options={"num_predict": asked}).parameters == {"max_tokens": limit}
    assert chat(options=None).parameters == {}


def test_tools_are_listed_and_can_be_taken_out() -> None:
    request = case("ollama.chat/tools_stream").request
    assert request.tools == (ToolDefinition("get_weather", ("tools", 0)),)
    document = apply(dict(request.document), CHAT.without_tools(request, frozenset({"get_weather"})))
    assert document == {name: value for name, value in request.document.items() if name != "tools"}


@pytest.mark.parametrize(
    "document",
    [
        {"model": None},
        {"model": ["m"]},
        {"MODEL": "evil"},
        {"messages": "x"},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "user", "CONTENT": "x"}]},
        {"messages": [{"role": "user", "images": "AAAA"}]},
        {"messages": [{"role": "user", "tool_calls": [{"function": "f"}]}]},
        {"messages": [{"role": "user", "tool_calls": [{"function": {"Name": "f"}}]}]},
        {"stream": "false"},
        {"\u017ftream": False},
        {"\u212aeep_alive": 1},
        {"options": []},
        {"options": {"num_predict": "1"}},
        {"options": {"NUM_PREDICT": 1}},
        {"tools": [{"type": "function"}]},
    ],
)
def test_what_chat_does_not_define_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        chat(**document)


@pytest.mark.parametrize("document", [{"prompt": ["x"]}, {"system": 1}, {"raw": "x"}, {"Prompt": "x"}, {"images": {}}])
def test_what_generate_does_not_define_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        generate(**document)


def test_a_refusal_is_an_error_string() -> None:
    for dialect in (CHAT, GENERATE):
        reply = dialect.refusal(DENIAL)
        assert (reply.status, json.loads(reply.body)) == (403, {"error": DENIAL.message})


def test_a_friendly_refusal_is_an_answer_of_the_clients_type() -> None:
    reply = CHAT.refusal_message(DENIAL, chat(stream=False))
    message = ollama.ChatResponse.model_validate_json(reply.body)
    assert (reply.status, message.message.content, message.done) == (200, DENIAL.message, True)
    reply = GENERATE.refusal_message(DENIAL, generate(stream=False))
    assert ollama.GenerateResponse.model_validate_json(reply.body).response == DENIAL.message


def test_a_friendly_refusal_streams_if_a_stream_was_asked_for() -> None:
    reply = CHAT.refusal_message(DENIAL, chat())
    assert reply.content_type == "application/x-ndjson"
    first, last = [ollama.ChatResponse.model_validate_json(line) for line in reply.body.splitlines()]
    assert (first.message.content, first.done, last.message.content, last.done) == (DENIAL.message, False, "", True)


@pytest.mark.parametrize(
    ("status", "content_type", "streams"),
    [
        (200, "application/x-ndjson", True),
        (200, "application/json; charset=utf-8", False),
        (200, "text/event-stream", False),
        (404, "application/x-ndjson", False),
    ],
)
def test_the_decoder_follows_what_the_upstream_says_it_sends(status: int, content_type: str, streams: bool) -> None:
    for dialect, request in ((CHAT, chat()), (GENERATE, generate(stream=False))):
        assert dialect.decoder(request, status, content_type, 100).streams is streams


def test_a_body_in_another_form_is_cut_to_an_error() -> None:
    assert json.loads(CHAT.decoder(chat(), 500, "", 99).cutoff(DENIAL)) == {"error": DENIAL.message}
