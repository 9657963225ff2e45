"""Chat completions: what a request says, whatever form it takes, and how it is refused."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.chat import REMOVED, ChatRequest, Denial, Edit, Json, Malformed, Parameter, ToolDefinition
from extproc.dialects.members import UNBOUNDED
from extproc.dialects.openai_chat import OpenAiChat
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, HEAD, LIMITS, case, events

DIALECT = OpenAiChat()


def read(**document: Json) -> ChatRequest:
    document = {"model": "m", "messages": [], **document}
    return DIALECT.read_request(HEAD, json.dumps(document).encode(), LIMITS)


def said(request: ChatRequest, scope: str) -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def at(request: ChatRequest, path: tuple[str | int, ...]) -> object:
    value: object = request.document
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def test_every_text_is_reached_under_its_speaker() -> None:
    request = read(
        messages=[
            {"role": "system", "content": "s1"},
            {"role": "developer", "content": [{"type": "text", "text": "s2"}]},
            {"role": "user", "content": "u1", "name": "Mallory"},
            {"role": "assistant", "content": None, "refusal": "a1", "reasoning_content": "a2"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a3":1}'}}],
                "function_call": {"name": "g", "arguments": "a4"},
            },
            {"role": "tool", "tool_call_id": "c", "content": "t1"},
            {"role": "function", "name": "g", "content": "t2"},
            {"role": "wizard", "content": "u2"},
            {"role": "user", "content": "u3", "from_the_future": ["u4"]},
        ],
        functions=[{"name": "g", "description": "d1", "parameters": {"title": "d2"}}],
        response_format={"type": "json_schema", "json_schema": {"name": "p1", "schema": {"title": "p2"}}},
        prediction={"type": "content", "content": [{"type": "text", "text": "p3"}]},
        stop=["<|end|>"],
        user="p5",
        metadata={"k": "p6"},
        web_search_options={"user_location": "d3"},
        vendor_extension={"template": "p7"},
    )
    assert said(request, "system") == ["s1", "s2"]
    assert said(request, "user") == ["u1", "Mallory", "g", "wizard", "u2", "u3", "u4"]
    assert {"a1", "a2", "f", '{"a3":1}', "a4", "g"} <= set(said(request, "assistant"))
    assert said(request, "tool_result") == ["c", "t1", "t2"]
    assert {"g", "d1", "d2", "d3"} <= set(said(request, "tool_definition"))
    assert {"p1", "p2", "p3", "p5", "p6", "p7"} <= set(said(request, "parameter"))
    assert request.not_inspected == ()


@pytest.mark.parametrize(
    "document",
    [
        {"stop": "<|end|>"},
        {"stop": ["</s>", "<|end|>"]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"pattern": "<|end|>"}}}},
    ],
)
def test_what_reaches_no_prompt_is_no_text(document: dict[str, Json]) -> None:
    assert "<|end|>" not in said(read(**document), "parameter")


@pytest.mark.parametrize(
    "document",
    [
        {"stop": [{"x": "<|end|>"}]},
        {"vendor": {"pattern": "<|end|>"}},
        {"tools": [{"function": {"name": "f", "parameters": {"pattern": "<|end|>"}}}]},
    ],
)
def test_what_looks_like_it_and_may_reach_a_prompt_is_text(document: dict[str, Json]) -> None:
    assert "<|end|>" in [text.text for text in read(**document).texts]


def test_escapes_cannot_hide_what_is_in_the_arguments_of_an_earlier_call() -> None:
    arguments = '{"\\u003ckey>":"\\u003c|end|>","plain":"<|raw|>","plain":"\\u003cagain>"}'
    called: dict[str, Json] = {"name": "f", "arguments": arguments}
    messages: list[dict[str, Json]] = [
        {"tool_calls": [{"function": called, "<|x|>": 1}]},
        {"function_call": {**called, "<|x|>": 1}},
    ]
    for message in messages:
        request = read(messages=[{"role": "assistant", **message}])
        found = said(request, "assistant")
        assert {arguments, "<key>", "<|end|>", "<again>"} <= set(found)
        assert any("<|x|>" in text for text in found)
        (path,) = {text.path for text in request.texts if text.text in (arguments, "<|end|>")}
        assert at(request, path) == arguments


def test_arguments_that_no_parser_reads_are_listed_as_they_stand() -> None:
    request = read(messages=[{"role": "assistant", "function_call": {"name": "f", "arguments": '{"a":"\\x"}'}}])
    assert said(request, "assistant") == ["name\narguments", "f", '{"a":"\\x"}']


def test_documents_that_are_printed_into_the_prompt_are_texts() -> None:
    request = read(documents=[{"title": "d1", "deep": {"text": "d2"}}, "d3"])
    assert {"d1", "d2", "d3"} <= set(said(request, "document"))
    assert said(request, "parameter") == []


def test_switches_of_a_chat_template_are_parameters() -> None:
    request = read(
        chat_template=None, chat_template_kwargs={"enable_thinking": False, "effort": "low", "n": 1, "x": None}
    )
    assert "low" in said(request, "parameter")


def test_a_texts_path_leads_to_it_and_its_message_is_known() -> None:
    request = read(
        messages=[{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    )
    assert [(text.text, text.message) for text in request.texts] == [("a", 0), ("b", 1)]
    assert [at(request, text.path) for text in request.texts] == ["a", "b"]


def test_content_that_cannot_be_read_is_said() -> None:
    parts: Json = [
        {"type": "image_url", "image_url": {"url": "https://x/"}},
        {"type": "file", "file": {"file_id": "f"}},
    ]
    request = read(messages=[{"role": "user", "content": parts}], modalities=["text", "audio"])
    assert request.not_inspected == ("image", "file", "audio")
    assert said(request, "user") == ["https://x/", "f"]


def test_an_earlier_answer_in_audio_is_not_inspected_and_its_id_is_text() -> None:
    request = read(messages=[{"role": "assistant", "audio": {"id": "an id"}, "content": None}])
    assert request.not_inspected == ("audio",)
    assert said(request, "assistant") == ["an id"]
    assert read(messages=[{"role": "assistant", "audio": None, "content": "x"}]).not_inspected == ()


def test_token_ids_in_the_place_of_the_messages_are_not_inspected() -> None:
    request = read(input_ids=[1, 2])
    assert request.not_inspected == ("tokens",)
    assert request.settings == ()
    assert read(input_ids=None).not_inspected == ()


def test_settings_have_the_names_that_policies_use() -> None:
    request = read(
        max_completion_tokens=5,
        n=2,
        temperature=0,
        function_call="auto",
        chat_template="x",
        chat_template_kwargs={"enable_thinking": False},
        structured_outputs={"grammar": "g", "novel": 1},
        guided_json={},
        response_format={"type": "text"},
        web_search_options={},
        documents=[],
        models=["other"],
    )
    assert [(each.name, each.known) for each in request.settings] == [
        ("max_tokens", True),
        ("choices", True),
        ("temperature", True),
        ("tool_choice", True),
        ("chat_template", True),
        ("chat_template_kwargs", True),
        ("structured_outputs.grammar", True),
        ("structured_outputs.novel", False),
        ("guided_json", True),
        ("response_format", True),
        ("models", False),
    ]
    assert request.settings[6].path == ("structured_outputs", "grammar")


def test_a_last_message_of_the_assistant_and_unknown_roles_are_settings() -> None:
    request = read(messages=[{"role": "SYSTEM", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert request.settings == (
        Parameter("unknown_role", ("messages", 0, "role"), None),
        Parameter("prefill", ("messages", 1), None),
    )
    assert read(messages=[{"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}]).settings == ()


def test_the_largest_limit_in_any_spelling_counts() -> None:
    assert read().parameters == {}
    assert read(max_tokens=5, max_completion_tokens=7, n=3).parameters == {"max_tokens": 7, "choices": 3}
    assert read(max_tokens=5, n_predict=90, n=1, n_cmpl=4).parameters == {"max_tokens": 90, "choices": 4}
    assert read(max_tokens=-1, max_completion_tokens=7).parameters == {"max_tokens": UNBOUNDED}


def test_stream_and_usage_are_off_unless_asked_for() -> None:
    assert (read().stream, read().include_usage) == (False, False)
    asked = read(stream=True, stream_options={"include_usage": True})
    assert (asked.stream, asked.include_usage) == (True, True)


def test_all_kinds_of_tools_are_listed() -> None:
    request = case("openai.chat/tools").request
    assert request.tools == (ToolDefinition("get_weather", ("tools", 0)),)
    legacy = read(functions=[{"name": "g"}], web_search_options={})
    assert legacy.tools == (
        ToolDefinition("g", ("functions", 0)),
        ToolDefinition("web_search", ("web_search_options",), "web_search"),
    )


def test_removing_legacy_functions_removes_the_choice_among_them() -> None:
    request = read(functions=[{"name": "g"}], function_call={"name": "g"}, web_search_options={"x": 1})
    edits = DIALECT.without_tools(request, frozenset({"g", "web_search"}))
    assert apply(dict(request.document), edits) == {"model": "m", "messages": []}
    assert Edit(("function_call",), REMOVED) in edits


@pytest.mark.parametrize(
    "document",
    [
        {"model": None},
        {"model": 1},
        {"messages": None},
        {"messages": "x"},
        {"messages": ["x"]},
        {"messages": {"role": "user"}},
        {"messages": [{"content": "no role"}]},
        {"messages": [{"role": 1}]},
        {"messages": [{"role": "user", "content": 1}]},
        {"messages": [{"role": "user", "content": {"text": "x"}}]},
        {"messages": [{"role": "user", "name": ["x"]}]},
        {"messages": [{"role": "assistant", "refusal": {}}]},
        {"messages": [{"role": "assistant", "tool_calls": {}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]},
        {"messages": [{"role": "assistant", "function_call": "f"}]},
        {"stream": "true"},
        {"messages": [{"role": "system", "content": "x", "tools": [{"function": {"name": "f"}}]}]},
        {"chat_template_kwargs": "x"},
        {"chat_template_kwargs": {"messages": "x"}},
        {"chat_template_kwargs": {"tools": None}},
        {"chat_template_kwargs": {"add_generation_prompt": False}},
        {"chat_template_kwargs": {"x": [1]}},
        {"chat_template_kwargs": {"x": {}}},
        {"chat_template_kwargs": {"x": "long" * 20}},
        {"Chat_Template": "x"},
        {"stream_options": []},
        {"stream_options": {"include_usage": 1}},
        {"max_tokens": "9"},
        {"n": True},
        {"tools": {}},
        {"tools": [{}]},
        {"functions": [{}]},
        {"modalities": "audio"},
        {"MODEL": "evil"},
        {"messages": [{"role": "user", "Content": "x"}]},
        {"\u017ftream": True},
        {"tool_choice": {"Type": "x"}},
        {"tools": [{"type": "function", "function": {"name": "f", "Name": "g"}}]},
    ],
)
def test_what_the_api_does_not_define_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        read(**document)


def test_a_refusal_is_an_error_that_no_sdk_retries() -> None:
    reply = DIALECT.refusal(Denial("No.", "r", "d", status=400))
    assert (reply.status, reply.content_type) == (400, "application/json")
    assert json.loads(reply.body) == {
        "error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": "content_policy_violation"}
    }


def test_a_friendly_refusal_is_an_answer_of_the_sdks_type() -> None:
    reply = DIALECT.refusal_message(DENIAL, read())
    answer = ChatCompletion.model_validate_json(reply.body, strict=True)
    assert (reply.status, answer.model, answer.choices[0].finish_reason) == (200, "m", "content_filter")
    assert answer.choices[0].message.content == DENIAL.message


@pytest.mark.parametrize("usage", [True, False])
def test_a_friendly_refusal_streams_if_a_stream_was_asked_for(usage: bool) -> None:
    reply = DIALECT.refusal_message(DENIAL, read(stream=True, stream_options={"include_usage": usage}))
    assert reply.content_type == "text/event-stream"
    chunks = [ChatCompletionChunk.model_validate(event) for event in events(reply.body)]
    assert chunks[0].choices[0].delta.content == DENIAL.message
    assert chunks[1].choices[0].finish_reason == "content_filter"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([0] if usage else [])


@pytest.mark.parametrize(
    ("status", "content_type", "streams"),
    [
        (200, "text/event-stream; charset=utf-8", True),
        (200, "application/json", False),
        (200, "text/html", False),
        (200, "", False),
        (500, "text/event-stream", False),
    ],
)
def test_the_decoder_follows_what_the_upstream_says_it_sends(status: int, content_type: str, streams: bool) -> None:
    for request in (read(), read(stream=True)):
        assert DIALECT.decoder(request, status, content_type, 100).streams is streams


def test_a_body_in_another_form_is_read_as_a_body_and_cut_to_an_error() -> None:
    for decoder in (
        DIALECT.decoder(read(), 500, "application/json", 99),
        DIALECT.decoder(read(), 200, "text/html", 99),
    ):
        (frame,) = decoder.feed(b'{"choices":[]}', True)
        assert {delta.channel for delta in frame.deltas} == {(0, "body")}
        assert json.loads(decoder.cutoff(DENIAL))["error"]["message"] == DENIAL.message
