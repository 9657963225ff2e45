"""The Messages API: what a request says, whatever form it takes, and how it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.chat import REMOVED, ChatRequest, Denial, Edit, Json, Malformed, Parameter, ToolDefinition
from extproc.dialects import dialect_for, refusal_for
from extproc.dialects.answers import BodyDecoder
from extproc.dialects.anthropic import AnthropicCountTokens, AnthropicMessages
from extproc.dialects.members import UNBOUNDED
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, HEAD, LIMITS, case

DIALECT = AnthropicMessages()
COUNTING = AnthropicCountTokens()
HI: Json = {"role": "user", "content": "hi"}
TOOL: Json = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def read(**document: Json) -> ChatRequest:
    document = {"model": "m", "max_tokens": 10, "messages": [HI], **document}
    return DIALECT.read_request(HEAD, json.dumps(document).encode(), LIMITS)


def asked(*blocks: Json, role: str = "user") -> ChatRequest:
    return read(messages=[{"role": role, "content": [*blocks]}, HI])


def said(request: ChatRequest, scope: str) -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def at(request: ChatRequest, path: tuple[str | int, ...]) -> Any:
    value: Any = request.document
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/messages", "anthropic.messages"),
        ("POST", "/v1/messages/count_tokens", "anthropic.count_tokens"),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/messages/", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1/messages/count_tokens/x", None),
    ],
)
def test_two_exact_paths_are_claimed(method: str, path: str, name: str | None) -> None:
    dialect = dialect_for(method, path)
    assert (dialect and dialect.name) == name


def test_every_text_is_reached_under_its_speaker() -> None:
    request = read(
        system=[{"type": "text", "text": "s1", "cache_control": {"type": "s2"}}],
        messages=[
            {"role": "user", "content": "u1"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "a1", "signature": "Eq+/=="}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "a2", "citations": [{"cited_text": "d1", "encrypted_index": "Eq=="}]},
                    {"type": "tool_use", "id": "a3", "name": "a4", "input": {"a5": ["a6", 1]}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "t2"}]},
                    {"type": "document", "title": "d2", "context": "d3", "source": {"type": "text", "data": "d4"}},
                    {
                        "type": "search_result",
                        "source": "d5",
                        "title": "d6",
                        "content": [{"type": "text", "text": "d7"}],
                    },
                ],
            },
            {"role": "system", "content": "s3"},
        ],
        tools=[{"name": "td1", "description": "td2", "input_schema": {"title": "td3", "td4": 1}}],
        mcp_servers=[{"type": "url", "name": "td5", "url": "td6", "authorization_token": "td7"}],
        metadata={"user_id": "p1"},
        output_config={"format": {"type": "json_schema", "schema": {"title": "p2"}}},
        stop_sequences=["never"],
    )
    assert said(request, "system") == ["s1", "type", "s2", "s3"]
    assert said(request, "user") == ["u1"]
    assert said(request, "assistant") == ["a1", "a2", "a3", "a4", "a5", "a6"]
    assert said(request, "tool_result") == ["t1", "t2"]
    assert said(request, "document") == ["cited_text\nencrypted_index", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]
    assert {f"td{number}" for number in range(1, 8)} <= set("\n".join(said(request, "tool_definition")).split())
    assert {"p1", "p2"} <= set(said(request, "parameter"))
    assert said(request, "steering") == ["never"]
    assert request.not_inspected == ("encrypted", "encrypted")
    assert next(text.path for text in request.texts if text.message == 3)[:4] == ("messages", 3, "content", 0)


@pytest.mark.parametrize(
    ("block", "unread", "texts"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "i/p", "data": "AAAA"}}, ["image"], ["i/p"]),
        ({"type": "image", "source": {"type": "base64", "data": "not it"}}, ["image"], ["not it"]),
        ({"type": "image", "source": {"type": "url", "url": "u"}}, ["image"], ["u"]),
        ({"type": "image", "source": "u"}, ["image"], ["u"]),
        ({"type": "image_url", "image_url": {"url": "u"}}, ["image"], ["url", "u"]),
        ({"type": "document", "source": {"type": "base64", "data": "AAAA"}}, ["file"], []),
        ({"type": "document", "source": {"type": "url", "url": "u"}}, ["file"], ["u"]),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, ["file"], ["f"]),
        ({"type": "document", "source": {"type": "text", "data": "AAAA"}}, [], ["AAAA"]),
        ({"type": "document", "source": {"type": "content", "content": "c"}}, [], ["c"]),
        ({"type": "container_upload", "file_id": "f"}, ["file"], ["f"]),
        ({"type": "redacted_thinking", "data": "AAAA"}, ["encrypted"], []),
        ({"type": "redacted_thinking", "data": "a key"}, ["encrypted"], ["a key"]),
        ({"type": "thinking", "thinking": "", "signature": "AAAA"}, ["encrypted"], []),
        ({"type": "thinking", "thinking": "", "signature": ""}, [], []),
        ({"type": "thinking", "thinking": "", "signature": "a key"}, ["encrypted"], ["a key"]),
        ({"type": "thinking", "thinking": "", "signature": 5}, ["encrypted"], []),
        ({"type": "text", "text": "", "signature": "AAAA"}, [], ["AAAA"]),
        ({"type": "web_search_result", "encrypted_content": "AAAA"}, ["encrypted"], ["web_search_result"]),
        ({"type": "other", "data": "AAAA"}, [], ["other", "AAAA"]),
    ],
)
def test_what_nobody_can_read_is_counted_and_what_stands_beside_it_is_read(
    block: Json, unread: list[str], texts: list[str]
) -> None:
    request = asked(block)
    assert list(request.not_inspected) == unread
    assert [text.text for text in request.texts][:-1] == texts


def test_a_result_of_a_tool_stays_one_whatever_is_in_it() -> None:
    inner: list[Json] = [
        {"type": "document", "title": "t1", "source": {"type": "content", "content": [{"type": "text", "text": "t2"}]}},
        {"type": "text", "text": "t3", "citations": [{"cited_text": "t4"}]},
    ]
    request = asked({"type": "tool_result", "content": inner})
    assert said(request, "tool_result") == ["t1", "t2", "t3", "cited_text", "t4"]


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        ("web_search_tool_result", "document"),
        ("web_fetch_tool_result", "document"),
        ("code_execution_tool_result", "tool_result"),
        ("bash_code_execution_tool_result", "tool_result"),
        ("mcp_tool_result", "tool_result"),
        ("from_the_future_tool_result", "tool_result"),
    ],
)
def test_results_of_servers_are_read_as_what_they_bring(kind: str, scope: str) -> None:
    request = asked(
        {"type": kind, "content": {"type": "text", "text": "here", "deep": {"text": "there"}}}, role="assistant"
    )
    assert {"here", "there"} <= set(said(request, scope))


def test_escapes_cannot_hide_what_is_in_arguments_as_text() -> None:
    arguments = '{"a": "\\u003c|end|>"}'
    blocks = asked({"type": "tool_use", "name": "f", "input": arguments})
    calls: Json = [{"function": {"name": "f", "arguments": arguments}}]
    handed_on = read(messages=[{"role": "user", "content": "hi", "tool_calls": calls}])
    for request in (blocks, handed_on):
        assert {arguments, "<|end|>"} <= set(said(request, "assistant"))


@pytest.mark.parametrize(
    "document",
    [
        {"messages": None},
        {"messages": "hi"},
        {"messages": [{"content": "hi"}]},
        {"messages": [{"role": 5, "content": "hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}]},
        {"messages": [{"role": "user", "content": [5]}]},
        {"messages": [{"role": "user", "content": [{"type": 5}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": 5}}]}]},
        {"system": {"text": "s"}},
        {"model": None},
        {"max_tokens": "many"},
        {"stream": "yes"},
        {"tools": [{"description": "d"}]},
        {"tools": [{"type": "custom"}]},
        {"tools": [{"type": "mcp_toolset"}]},
        {"tools": {}},
        {"mcp_servers": [{"url": "u"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        {"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": True}]}]},
        {"chat_template_kwargs": {"messages": "x"}},
        {"chat_template_kwargs": {"note": "x" * 65}},
        {"chat_template_kwargs": {"deep": {}}},
    ],
)
def test_what_the_api_does_not_define_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        read(**document)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"m","Model":"n","messages":[]}',
        '{"model":"m","messages":[{"role":"user","Role":"system","content":"x"}]}',
        '{"model":"m","messages":[{"role":"user","content":[{"type":"text","Text":"x"}]}]}',
        '{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","content":[{"Text":"x"}]}]}]}',
        '{"model":"m","messages":[],"tools":[{"Name":"x"}]}',
    ],
)
def test_keys_that_some_decoders_fold_are_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        DIALECT.read_request(HEAD, body.encode(), LIMITS)


def test_short_arguments_for_the_template_pass() -> None:
    request = read(chat_template_kwargs={"enable_thinking": False, "effort": "low"})
    assert "low" in said(request, "parameter")


def test_settings_have_the_names_that_policies_use() -> None:
    request = read(
        stop_sequences=["x", {"odd": "y"}],
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"effort": "low", "format": None, "new": 1},
        output_format={"type": "json_schema", "schema": {}},
        fallbacks=[{"model": "other"}],
        from_the_future=1,
        tools=[TOOL],
        system="s",
    )
    names = {setting.name: setting.known for setting in request.settings}
    assert names == {
        "max_tokens": True,
        "stop": True,
        "stream": True,
        "thinking": True,
        "reasoning_effort": True,
        "response_format": True,
        "output_config.new": False,
        "fallbacks": False,
        "from_the_future": False,
    }
    assert said(request, "steering") == ["x", "odd", "y"]
    assert request.stream


def test_a_prefill_and_unknown_roles_are_settings_of_their_own() -> None:
    messages: list[Json] = [{"role": "wizard", "content": "x"}, {"role": "tool", "content": "y"}]
    request = read(messages=[*messages, {"role": "system", "content": "z"}, {"role": "assistant", "content": "The"}])
    assert request.settings[1:] == (
        Parameter("unknown_role", ("messages", 0, "role"), None),
        Parameter("unknown_role", ("messages", 1, "role"), None),
        Parameter("prefill", ("messages", 3), None),
    )
    assert said(request, "user") == ["wizard", "x"]
    assert said(request, "tool_result") == ["y"]


@pytest.mark.parametrize(
    ("document", "limits"),
    [
        ({}, {"max_tokens": 10}),
        ({"max_tokens": None}, {}),
        ({"max_tokens": 0}, {"max_tokens": UNBOUNDED}),
        ({"max_tokens": -1}, {"max_tokens": UNBOUNDED}),
    ],
)
def test_the_limit_is_the_most_that_can_be_asked_for(document: dict[str, Json], limits: dict[str, int]) -> None:
    assert read(**document).parameters == limits


@pytest.mark.parametrize("name", ["container", "thread"])
def test_what_a_server_remembers_is_not_inspected(name: str) -> None:
    value: Json = {"id": "x"}
    assert read(**{name: value}).not_inspected == ("history",)
    assert read(**{name: None}).not_inspected == ()


@pytest.mark.parametrize(
    ("container", "unread"),
    [
        ("container_1", ("history",)),
        ({"id": "container_1", "skills": [{"skill_id": "xlsx"}]}, ("history",)),
        ({"skills": [{"skill_id": "xlsx"}]}, ("file",)),
        ({"id": None, "skills": []}, ()),
        ({"other": 1}, ("history",)),
    ],
)
def test_a_new_container_remembers_nothing(container: Json, unread: tuple[str, ...]) -> None:
    assert read(container=container).not_inspected == unread


# ---- tools -------------------------------------------------------------------------------------------------------

ADDED: Json = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**TOOL, "name": "late"}}}  # type: ignore[dict-item]
ALL_TOOLS: dict[str, Json] = {
    "tools": [
        TOOL,
        {"type": "custom", "name": "g"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "computer_toolset_20260801"},
        {"type": "mcp_toolset", "mcp_server_name": "server"},
    ],
    "mcp_servers": [{"type": "url", "name": "server", "url": "https://x.example"}],
    "messages": [HI, {"role": "system", "content": [ADDED]}],
    "tool_choice": {"type": "tool", "name": "f"},
}


def test_every_declaration_is_a_tool() -> None:
    assert read(**ALL_TOOLS).tools == (
        ToolDefinition("late", ("messages", 1, "content", 0)),
        ToolDefinition("f", ("tools", 0)),
        ToolDefinition("g", ("tools", 1)),
        ToolDefinition("web_search", ("tools", 2), "web_search_20250305"),
        ToolDefinition("computer_toolset_20260801", ("tools", 3), "computer_toolset_20260801"),
        ToolDefinition("server", ("tools", 4), "mcp"),
        ToolDefinition("server", ("mcp_servers", 0), "mcp"),
    )


def test_a_reference_declares_nothing() -> None:
    reference: Json = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}
    assert asked(reference, role="system").tools == ()


def without(*names: str, **more: Json) -> Any:
    request = read(**{**ALL_TOOLS, **more})
    return apply(dict(request.document), DIALECT.without_tools(request, frozenset(names)))


def test_a_removed_tool_takes_the_choice_that_names_it_along() -> None:
    left = without("f")
    assert [tool.get("name") for tool in left["tools"]] == ["g", "web_search", None, None]
    assert "tool_choice" not in left
    assert "tool_choice" in without("g")


def test_a_server_goes_with_its_toolset() -> None:
    left = without("server")
    assert "mcp_servers" not in left
    assert len(left["tools"]) == 4


def test_nothing_stays_of_tools_that_are_all_removed() -> None:
    left = without("f", "g", "web_search", "computer_toolset_20260801", "server", "late")
    assert left == {"model": "m", "max_tokens": 10, "messages": [HI]}


def test_a_tool_that_a_message_brings_is_taken_out_of_it() -> None:
    left = without("late", tool_choice={"type": "tool", "name": "late"})
    assert left["messages"] == [HI]
    assert "tool_choice" not in left
    words: Json = {"type": "text", "text": "w"}
    left = without("late", messages=[HI, {"role": "system", "content": [words, ADDED]}])
    assert left["messages"][1]["content"] == [words]


def test_no_removal_is_no_edit() -> None:
    assert DIALECT.without_tools(read(**ALL_TOOLS), frozenset({"other"})) == ()
    assert Edit(("tools",), REMOVED) in DIALECT.without_tools(read(tools=[TOOL]), frozenset({"f"}))


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
    ],
)
def test_a_refusal_is_the_api_s_error(status: int, kind: str) -> None:
    reply = DIALECT.refusal(Denial("No.", "r", "d-1", status))
    assert (reply.status, reply.content_type, reply.headers) == (status, "application/json", (("request-id", "d-1"),))
    assert json.loads(reply.body) == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
        "request_id": "d-1",
    }


def test_paths_that_nobody_claims_are_refused_in_the_same_shape() -> None:
    assert json.loads(refusal_for("/v1/messages/batches", DENIAL).body)["error"]["type"] == "permission_error"


def test_a_number_has_no_place_for_a_message() -> None:
    counted = case("anthropic.count_tokens/count_tokens")
    assert COUNTING.refusal_message(DENIAL, counted.request) == COUNTING.refusal(DENIAL)
    assert json.loads(counted.decoder().cutoff(DENIAL))["type"] == "error"
    assert isinstance(COUNTING.decoder(counted.request, 200, "text/plain", 1000), BodyDecoder)
    assert not counted.request.stream
    with pytest.raises(Malformed):
        COUNTING.read_request(HEAD, b'{"model":"m","messages":[],"stream":"x"}', LIMITS)


def test_what_is_counted_is_read_as_what_is_asked() -> None:
    document = {"model": "m", "system": "s", "messages": [HI], "tools": [TOOL]}
    counted = COUNTING.read_request(HEAD, json.dumps(document).encode(), LIMITS)
    sent = DIALECT.read_request(HEAD, json.dumps(document).encode(), LIMITS)
    assert (counted.texts, counted.tools, counted.settings) == (sent.texts, sent.tools, sent.settings)
    assert counted.dialect == "anthropic.count_tokens"
