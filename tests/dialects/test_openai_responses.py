"""Responses: what a request says, whatever form it takes, and how it is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.chat import ChatRequest, Json, Malformed, Parameter, ToolDefinition
from extproc.dialects import dialect_for, refusal_for
from extproc.dialects.members import UNBOUNDED
from extproc.dialects.openai_responses import OpenAiResponses
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, HEAD, LIMIT_BYTES, LIMITS

DIALECT = OpenAiResponses()
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FUNCTION: Json = {"type": "function", "name": "f", "parameters": {}}


def read(**document: Json) -> ChatRequest:
    return DIALECT.read_request(HEAD, json.dumps({"model": "m", **document}).encode(), LIMITS)


def said(request: ChatRequest, scope: str) -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def named(request: ChatRequest) -> dict[str, bool]:
    return {setting.name: setting.known for setting in request.settings}


# ---- claims and refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/responses/"),
        ("GET", "/v1/responses"),
    ],
)
def test_stored_responses_are_claimed_by_no_dialect(method: str, path: str) -> None:
    assert dialect_for(method, path) is None
    assert refusal_for(path, DENIAL).status == 403
    assert isinstance(dialect_for("POST", "/v1/responses"), OpenAiResponses)


def test_a_refusal_is_openai_s_error() -> None:
    reply = DIALECT.refusal(DENIAL)
    assert reply.status == 403
    assert json.loads(reply.body)["error"]["code"] == "content_policy_violation"


def test_a_refusal_as_a_message_is_an_incomplete_response_that_clients_show() -> None:
    reply = DIALECT.refusal_message(DENIAL, read(input="hi"))
    Response.model_validate_json(reply.body, strict=True)
    client = OpenAI(api_key="k", base_url="http://a/v1", http_client=answering(reply.body, reply.content_type))
    response = client.responses.create(model="m", input="hi")
    assert response.output_text == DENIAL.message
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"


def test_a_refusal_as_a_streamed_message_passes_the_stream_helper() -> None:
    reply = DIALECT.refusal_message(DENIAL, read(input="hi", stream=True))
    assert reply.content_type == "text/event-stream"
    for number, event in enumerate(events(reply.body)):
        EVENT.validate_python(event, strict=True)
        assert event["sequence_number"] == number
    client = OpenAI(api_key="k", base_url="http://a/v1", http_client=answering(reply.body, reply.content_type))
    with client.responses.stream(model="m", input="hi") as stream:
        final = stream.get_final_response()
    assert (final.output_text, final.status) == (DENIAL.message, "incomplete")


def answering(body: bytes, content_type: str) -> httpx2.Client:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def events(stream: bytes) -> list[Any]:
    return [json.loads(event.split("data: ", 1)[1]) for event in stream.decode().split("\n\n") if event]


# ---- input --------------------------------------------------------------------------------------------------------


def test_every_text_is_reached_under_its_speaker() -> None:
    request = read(
        instructions="s1",
        input=[
            {"role": "developer", "content": "s2"},
            {"role": "user", "content": [{"type": "input_text", "text": "u1"}, "u2"]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a1"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x":"a\\u0032"}'},
            {"type": "function_call_output", "call_id": "c", "output": "t1"},
            {"type": "function_call_output", "call_id": "c", "output": {"type": "input_text", "text": "t2"}},
            {"type": "mcp_call", "name": "g", "server_label": "s", "arguments": "{}", "output": "t3"},
            {"type": "file_search_call", "queries": ["a3"], "results": [{"text": "d1"}]},
            {"type": "from_the_future", "deep": ["u3"]},
            {"role": "wizard", "content": None},
        ],
        metadata={"k": "p1"},
    )
    assert said(request, "system") == ["s1", "s2"]
    assert [text for text in said(request, "user") if len(text) == 2] == ["u1", "u2", "u3"]
    assert {"from_the_future", "wizard"} <= set(said(request, "user"))
    assert {"a1", "a2", "a3", "f"} <= set(said(request, "assistant"))
    assert {"t1", "t2", "t3"} <= set(said(request, "tool_result"))
    assert "d1" in said(request, "document")
    assert "p1" in said(request, "parameter")
    for text in request.texts:
        assert apply(dict(request.document), []) == request.document
        assert text.message == (text.path[1] if text.path[0] == "input" else -1)


def test_a_string_is_the_user_s() -> None:
    request = read(input="hi")
    assert [(text.scope, text.text, text.path) for text in request.texts] == [("user", "hi", ("input",))]
    assert not request.stream
    assert read().texts == ()


@pytest.mark.parametrize(
    ("item", "unseen"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}, "image"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}, "image"),
        ({"role": "user", "content": [{"type": "input_file", "file_data": "AAAA"}]}, "file"),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}]},
            "audio",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            "image",
        ),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}, "encrypted"),
        ({"type": "compaction", "encrypted_content": "gAAAA"}, "encrypted"),
        ({"type": "image_generation_call", "result": "AAAA"}, "image"),
        ({"type": "item_reference", "id": "x"}, "history"),
        ({"id": "x"}, "history"),
    ],
)
def test_what_nobody_can_read_is_listed_and_not_read(item: Json, unseen: str) -> None:
    request = read(input=[item, {"role": "user", "content": "hi"}])
    assert request.not_inspected == (unseen,)
    assert all("AAAA" not in text.text for text in request.texts)


def test_addresses_and_titles_beside_media_are_read() -> None:
    parts: Json = [
        {"type": "input_image", "image_url": "https://a.example/x", "detail": "low"},
        {"type": "input_file", "filename": "title", "file_url": "https://b.example/x"},
        {"type": "input_text", "text": "t", "other": {"k": "v"}},
    ]
    request = read(input=[{"role": "user", "content": parts}])
    assert request.not_inspected == ("image", "file")
    assert {"https://a.example/x", "https://b.example/x", "t", "k", "v"} <= set(said(request, "user"))
    assert said(request, "document") == ["title"]


@pytest.mark.parametrize("member", [{"previous_response_id": "r"}, {"conversation": "c"}, {"prompt": {"id": "p"}}])
def test_what_the_server_remembers_is_not_inspected(member: dict[str, Json]) -> None:
    request = read(input="hi", **member)
    assert request.not_inspected == ("history",)
    assert not request.settings


def test_the_variables_of_a_prompt_are_the_user_s() -> None:
    variables: Json = {
        "a": "v1",
        "b": {"type": "input_text", "text": "v2"},
        "c": {"type": "input_image", "file_id": "i"},
    }
    request = read(prompt={"id": "p", "variables": variables})
    assert {"a\nb\nc", "v1", "v2"} <= set(said(request, "user"))
    assert request.not_inspected == ("history", "image")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"model": None}, "'model' is required"),
        ({"input": 1}, "'input' must be a string or an array of items"),
        ({"input": ["hi"]}, "'input' must hold objects only"),
        ({"input": [{"content": "hi"}]}, "'role' is required"),
        ({"input": [{"role": "user", "content": 1}]}, "'content' must be a string or an array of parts"),
        ({"input": [{"role": "user", "content": [1]}]}, "'content' must be a string or an array of parts"),
        ({"input": [{"role": "user", "Content": "hi"}]}, "the JSON body has a key that differs"),
        ({"instructions": ["hi"]}, "'instructions' must be a string"),
        ({"tools": [{"name": "f"}]}, "'type' is required"),
        ({"tools": [{"type": "function"}]}, "a tool must have a 'name'"),
        ({"stream": "yes"}, "'stream' must be true or false"),
        ({"chat_template_kwargs": {"messages": []}}, "'chat_template_kwargs' may hold"),
    ],
)
def test_what_the_api_does_not_define_is_malformed(document: dict[str, Json], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(**document)


# ---- settings and tools -------------------------------------------------------------------------------------------


def test_settings_have_the_names_that_all_apis_share() -> None:
    request = read(
        input="hi",
        max_output_tokens=9,
        n=2,
        background=True,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "text"}, "verbosity": "low"},
        tool_choice="auto",
        store=False,
        vendor_extension=1,
    )
    assert named(request) == {
        **dict.fromkeys(("max_tokens", "choices", "background", "reasoning_effort", "reasoning_summary"), True),
        **dict.fromkeys(("response_format", "verbosity", "tool_choice", "store"), True),
        "vendor_extension": False,
    }
    assert request.parameters == {"max_tokens": 9, "choices": 2}
    assert read(input="hi", max_output_tokens=-1).parameters == {"max_tokens": UNBOUNDED}


@pytest.mark.parametrize("last", [{"role": "assistant", "content": "So"}, {"type": "reasoning", "summary": []}])
def test_an_answer_that_the_client_begins_is_a_setting(last: Json) -> None:
    request = read(input=[{"role": "user", "content": "hi"}, last])
    assert request.settings == (Parameter("prefill", ("input", 1), None),)


def test_an_unknown_role_is_a_setting() -> None:
    request = read(input=[{"role": "tool", "content": "hi"}, {"role": "user", "content": "hi"}])
    assert request.settings == (Parameter("unknown_role", ("input", 0, "role"), None),)
    assert said(request, "tool_result") == ["hi"]


def test_tools_are_found_in_the_list_in_name_spaces_and_in_items() -> None:
    request = read(
        tools=[
            FUNCTION,
            {"type": "custom", "name": "c"},
            {"type": "mcp", "server_label": "f", "server_url": "https://a.example", "headers": {"x": "y"}},
            {"type": "web_search_preview"},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
            {"type": "function", "name": "h", "function": {"name": "i"}},
        ],
        input=[{"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "j"}]}],
    )
    assert request.tools == (
        ToolDefinition("j", ("input", 0, "tools", 0)),
        ToolDefinition("f", ("tools", 0)),
        ToolDefinition("c", ("tools", 1), "custom"),
        ToolDefinition("mcp", ("tools", 2), "mcp"),
        ToolDefinition("web_search_preview", ("tools", 3), "web_search_preview"),
        ToolDefinition("g", ("tools", 4, "tools", 0)),
        ToolDefinition("h", ("tools", 5)),
        ToolDefinition("i", ("tools", 5)),
    )
    assert {"https://a.example", "y"} <= set(said(request, "tool_definition"))


def test_tools_are_taken_out_where_they_stand() -> None:
    item: dict[str, Json] = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [FUNCTION, {"type": "web_search"}],
    }
    request = read(input=[item], tools=[FUNCTION], tool_choice="auto")
    edited = apply(dict(request.document), DIALECT.without_tools(request, frozenset({"f"})))
    assert edited == {"model": "m", "input": [{**item, "tools": [{"type": "web_search"}]}]}
    assert DIALECT.without_tools(request, frozenset({"x"})) == ()


def test_an_answer_of_another_kind_is_read_as_one_text() -> None:
    for status, kind in ((500, "application/json"), (200, "text/html")):
        decoder = DIALECT.decoder(read(), status, kind, LIMIT_BYTES)
        (frame,) = decoder.feed(b"oh no", True)
        assert [delta.text for delta in frame.deltas] == ["oh no"]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "developer", "content": "x", "tools": [FUNCTION]},
        {"type": "more_tools", "tools": [FUNCTION]},
        {"type": "tool_search_output", "call_id": "c", "tools": [FUNCTION]},
    ],
)
def test_tools_of_any_item_are_declared(item: Any) -> None:
    request = read(input=[item])
    assert [tool.path for tool in request.tools] == [("input", 0, "tools", 0)]


def test_tools_that_a_server_lists_are_text() -> None:
    listed: Json = {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "t", "description": "d"}]}
    request = read(input=[listed])
    assert request.tools == ()
    assert "d" in [text.text for text in request.texts]


def test_a_built_in_tool_in_the_form_of_chats_is_two_tools() -> None:
    request = read(tools=[{"type": "web_search", "function": {"name": "f"}}])
    assert [tool.name for tool in request.tools] == ["f", "web_search"]


def test_a_part_that_stands_as_an_item_is_not_inspected() -> None:
    request = read(input=[{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}])
    assert request.not_inspected == ("image",)
    assert all("AAAA" not in text.text for text in request.texts)
