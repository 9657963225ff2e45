"""MCP requests: which are read, what they say, and how they are refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from extproc.chat import ChatRequest, Denial, Malformed, Parameter, RequestHead, ToolCall
from extproc.dialects import dialect_for, refusal_for
from extproc.dialects.mcp import Mcp
from tests.dialects.support import DENIAL, LIMITS, case

DIALECT = Mcp()
VERSION = "io.modelcontextprotocol/protocolVersion"
MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "add"}
META = {"_meta": {VERSION: "2026-07-28"}}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1}}}
BAD_HEADERS = "the MCP headers do not fit the message"


def read(message: Any, *more: tuple[str, str], **headers: str) -> ChatRequest:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return DIALECT.read_request(RequestHead("POST", "/mcp", "", (*fields, *more)), body, LIMITS)


def asked(method: str, **params: Any) -> ChatRequest:
    return read({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def said(request: ChatRequest) -> list[tuple[str, str, tuple[str | int, ...]]]:
    return [(text.scope, text.text, text.path) for text in request.texts]


def modern(**params: Any) -> dict[str, Any]:
    return {**CALL, "params": {**CALL["params"], **META, **params}}  # type: ignore[dict-item]


# ---- which requests are ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "ours"),
    [
        ("POST", "/mcp", True),
        ("GET", "/mcp", True),
        ("DELETE", "/mcp", True),
        ("PUT", "/mcp", False),
        ("HEAD", "/mcp", False),
        ("POST", "/mcp/", False),
        ("POST", "/sse", False),
    ],
)
def test_it_claims_its_endpoint(method: str, path: str, ours: bool) -> None:
    dialect = dialect_for(method, path)
    assert isinstance(dialect, Mcp) is ours
    assert DIALECT.claims(method, path) is ours


@pytest.mark.parametrize(("method", "streams"), [("GET", True), ("DELETE", False)])
def test_what_has_no_message_has_no_body_either(method: str, streams: bool) -> None:
    head = RequestHead(method, "/mcp", "", (("mcp-session-id", "s"), ("last-event-id", "7")))
    request = DIALECT.read_request(head, b"", LIMITS)
    assert (request.document, request.texts, request.settings, request.stream) == ({}, (), (), streams)
    assert not request.names_model
    with pytest.raises(Malformed, match="has no body"):
        DIALECT.read_request(head, b"{}", LIMITS)
    with pytest.raises(Malformed, match=BAD_HEADERS):
        DIALECT.read_request(RequestHead(method, "/mcp", "", (("mcp-method", "tools/call"),)), b"", LIMITS)


# ---- the message ---------------------------------------------------------------------------------------------------


def test_a_tool_call_is_a_call_and_a_models_words() -> None:
    request = read({**CALL, "params": {"name": "add", "arguments": {"a": 1, "to": ["x", {"y": "z"}]}}})
    assert request.calls == (ToolCall("add", '{"a":1,"to":["x",{"y":"z"}]}'),)
    assert said(request) == [
        ("assistant", "add", ("params", "name")),
        ("assistant", "a\nto", ("params", "arguments")),
        ("assistant", "x", ("params", "arguments", "to", 0)),
        ("assistant", "y", ("params", "arguments", "to", 1)),
        ("assistant", "z", ("params", "arguments", "to", 1, "y")),
    ]
    assert request.settings == (Parameter("mcp_method", ("method",), "tools/call", True),)
    assert (request.model, request.names_model, request.stream) == ("", False, False)
    assert DIALECT.without_tools(request, frozenset({"add"})) == ()


def test_a_tool_call_without_arguments_has_none() -> None:
    assert asked("tools/call", name="now").calls == (ToolCall("now", "{}"),)


@pytest.mark.parametrize(
    ("method", "params", "text", "path"),
    [
        ("prompts/get", {"name": "greet", "arguments": {"name": "Zoë"}}, "Zoë", ("params", "arguments", "name")),
        ("prompts/get", {"name": "greet", "arguments": {"name": "Zoë"}}, "name", ("params", "arguments")),
        ("prompts/get", {"name": "greet"}, "greet", ("params", "name")),
        ("resources/read", {"uri": "file:///x"}, "file:///x", ("params", "uri")),
        ("completion/complete", {"argument": {"name": "who", "value": "al"}}, "al", ("params", "argument", "value")),
        ("initialize", {"clientInfo": {"name": "c", "version": "7"}}, "c", ("params", "clientInfo", "name")),
        ("initialize", {"capabilities": {"x": {}}}, "x", ("params", "capabilities")),
        ("logging/setLevel", {"level": "loud"}, "loud", ("params", "level")),
        ("ping", {"_meta": {"trace": "t"}}, "trace", ("params", "_meta")),
        ("ping", {"_meta": {"trace": "t"}}, "t", ("params", "_meta", "trace")),
        ("ping", {"what": 1}, "what", ("params",)),
        ("x/y", {"z": ["deep"]}, "deep", ("params", "z", 0)),
        ("x/y", {}, "x/y", ("method",)),
        ("tools/call", {"name": "a", "inputResponses": {"e": {"content": {"city": "Bern"}}}}, "Bern", None),
        ("tools/call", {"name": "a", "inputResponses": {"odd key": {}}}, "odd key", ("params", "inputResponses")),
        ("tools/call", {"name": "a", "inputResponses": {"e": "bare"}}, "bare", ("params", "inputResponses", "e")),
        ("tools/call", {"name": "a", "inputResponses": ["bare"]}, "bare", ("params", "inputResponses", 0)),
    ],
)
def test_what_else_a_request_says_is_the_users(
    method: str, params: dict[str, Any], text: str, path: tuple[str | int, ...] | None
) -> None:
    found = said(asked(method, **params))
    assert ("user", text) in [(scope, each) for scope, each, _ in found]
    assert path is None or ("user", text, path) in found


def test_the_protocols_own_words_are_no_text() -> None:
    capabilities = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}
    meta = {VERSION: "2025-11-25", "io.modelcontextprotocol/clientCapabilities": capabilities}
    assert said(asked("tools/list", _meta=meta)) == []


@pytest.mark.parametrize(
    ("method", "known"),
    [("server/discover", True), ("notifications/initialized", True), ("tasks/get", True), ("tools/delete", False)],
)
def test_methods_are_settings_of_which_policies_decide_the_unknown_ones(method: str, known: bool) -> None:
    assert asked(method).settings == (Parameter("mcp_method", ("method",), method, known),)


def test_ids_and_unknown_members_are_text() -> None:
    request = read({**CALL, "id": "my id", "extra": {"a": "b"}})
    assert ("user", "my id", ("id",)) in said(request)
    assert ("user", "jsonrpc\nid\nmethod\nparams\nextra", ()) in said(request)
    assert ("user", "b", ("extra", "a")) in said(request)


def test_what_a_client_answers_to_the_server_is_read() -> None:
    content = [{"type": "text", "text": "Blue."}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    sampled = {"role": "assistant", "content": content, "model": "m:1", "stopReason": "endTurn"}
    request = read({"jsonrpc": "2.0", "id": 3, "result": sampled})
    assert said(request) == [
        ("assistant", "Blue.", ("result", "content", 0, "text")),
        ("assistant", "image/png", ("result", "content", 1, "mimeType")),
        ("user", "m:1", ("result", "model")),
    ]
    assert (request.not_inspected, request.settings, request.calls) == (("image",), (), ())
    form = read({"jsonrpc": "2.0", "id": 3, "result": {"action": "accept", "content": {"city": "Bern"}}})
    assert ("user", "Bern", ("result", "content", "city")) in said(form)
    roots = read({"jsonrpc": "2.0", "id": 3, "result": {"roots": [{"uri": "file:///home", "name": "home"}]}})
    assert ("user", "home", ("result", "roots", 0, "name")) in said(roots)
    failed = read({"jsonrpc": "2.0", "id": 3, "error": {"code": -1, "message": "No.", "data": {"why": "so"}}})
    assert {text for _, text, _ in said(failed)} == {"No.", "why", "so"}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ([CALL], "not an object"),
        ([], "not an object"),
        (b"", "not valid JSON"),
        ({**CALL, "jsonrpc": "1.0"}, "'jsonrpc'"),
        ({"id": 1, "method": "ping"}, "'jsonrpc'"),
        ({**CALL, "id": None}, "'id'"),
        ({**CALL, "id": True}, "'id'"),
        ({**CALL, "id": 1.5}, "'id'"),
        ({**CALL, "id": [1]}, "'id'"),
        ({**CALL, "method": 7}, "'method' must be a string"),
        ({**CALL, "method": None}, "'method' is required"),
        ({**CALL, "params": ["add"]}, "'params' must be an object"),
        ({**CALL, "params": {"name": 5}}, "'name' must be a string"),
        ({**CALL, "params": {}}, "'name' is required"),
        ({**CALL, "params": {"name": "a", "arguments": "{}"}}, "'arguments' must be an object"),
        ({**CALL, "method": "resources/read", "params": {"name": "a"}}, "'uri' is required"),
        ({**CALL, "result": {}}, "neither a 'result' nor an 'error'"),
        ({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, "neither a request nor a response"),
        ({"jsonrpc": "2.0", "id": 1}, "neither a request nor a response"),
        ({"jsonrpc": "2.0", "result": {}}, "neither a request nor a response"),
        ({"jsonrpc": "2.0", "id": 1, "result": "text"}, "'result' must be an object"),
        ({**CALL, "Method": "tools/list"}, "differs from a known one only by case"),
        ({**CALL, "params": {"name": "add", "Name": "rm"}}, "differs from a known one only by case"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}', "same key twice"),
    ],
)
def test_what_is_no_message_is_malformed(message: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(message)


# ---- the headers ---------------------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def test_headers_that_say_what_the_message_says_pass() -> None:
    assert read(modern(), *MODERN.items()).calls
    assert read(CALL, mcp_protocol_version="2025-06-18", mcp_session_id="s").calls
    assert read(CALL, mcp_protocol_version="DRAFT").calls
    assert read(CALL, mcp_method="tools/call").calls  # of no stated version, but right
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": META}
    assert read(listed, *{**MODERN, "mcp-method": "tools/list"}.items() - {("mcp-name", "add")}).settings[0].known


def test_a_name_may_be_encoded() -> None:
    message = modern(name="Zoë")
    assert read(message, *{**MODERN, "mcp-name": encoded("Zoë")}.items()).calls
    sentinel = modern(name="=?base64?eA==?=")
    assert read(sentinel, *{**MODERN, "mcp-name": encoded("=?base64?eA==?=")}.items()).calls


def test_an_extension_names_what_it_likes() -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "t-1"}}
    assert read(message, mcp_name="t-1", mcp_method="tasks/get").settings
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(message, mcp_name="t-2", mcp_method="tasks/get")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcp-method": "tools/list"},
        {"mcp-method": "Tools/Call"},
        {"mcp-method": None},
        {"mcp-method": ""},
        {"mcp-name": "rm"},
        {"mcp-name": None},
        {"mcp-name": ""},
        {"mcp-name": encoded("rm")},
        {"mcp-name": "=?base64?***?="},
        {"mcp-name": "=?base64?YWRk"},
        {"mcp-name": "=?base64?/w==?="},
        {"mcp-name": "=?base64?YWRk\n?="},
        {"mcp-protocol-version": "2025-06-18"},
        {"mcp-param-a": "2"},
        {"mcp-param-a": "=?base64?x?="},
    ],
)
def test_headers_that_say_anything_else_are_malformed(wrong: dict[str, str | None]) -> None:
    fields = {name: value for name, value in {**MODERN, **wrong}.items() if value is not None}
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(modern(), *fields.items())


def test_a_name_must_be_written_in_the_one_right_way() -> None:
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(modern(name="a"), *{**MODERN, "mcp-name": "=?base64?YR==?="}.items())
    assert read(modern(name="a"), *{**MODERN, "mcp-name": "=?base64?YQ==?="}.items()).calls


@pytest.mark.parametrize("name", [*MODERN, "mcp-session-id", "mcp-param-a"])
def test_a_header_that_is_there_twice_is_malformed(name: str) -> None:
    fields = {**MODERN, "mcp-session-id": "s", "mcp-param-a": "1"}
    assert read(modern(), *fields.items()).calls
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(modern(), *fields.items(), (name, fields[name]))


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("x", "x"),
        ("Zoë", encoded("Zoë")),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (42.0, "42"),
        ([{"b": "y"}], "y"),
    ],
)
def test_an_argument_may_be_repeated_in_a_header(value: Any, header: str) -> None:
    message = {**CALL, "params": {"name": "add", "arguments": {"a": value, "b": None, "c": 1.5}}}
    assert read(message, ("mcp-param-region", header)).calls
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(message, ("mcp-param-region", header + "!"))


def test_headers_without_a_counterpart_are_malformed() -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "result": {}}
    for name in ("mcp-method", "mcp-name", "mcp-param-a"):
        with pytest.raises(Malformed, match=BAD_HEADERS):
            read(answer, (name, "ping"))
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read({"jsonrpc": "2.0", "id": 1, "method": "ping"}, mcp_name="x")


def test_a_version_that_only_the_message_states_counts() -> None:
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(modern())
    fields = {"mcp-method": "tools/call", "mcp-name": "add"}
    assert read(modern(), *fields.items()).calls
    later = modern(_meta={VERSION: "2027-01-01"})
    with pytest.raises(Malformed, match=BAD_HEADERS):
        read(later, mcp_protocol_version="2027-01-01")


# ---- refusals ------------------------------------------------------------------------------------------------------


def test_a_refusal_is_an_error_for_the_requests_id() -> None:
    reply = DIALECT.refusal(DENIAL, read({**CALL, "id": "seven"}))
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert json.loads(reply.body) == {
        "jsonrpc": "2.0",
        "id": "seven",
        "error": {"code": -32001, "message": DENIAL.message, "data": {"decision_id": "d-1"}},
    }


def test_clients_that_read_errors_of_any_status_get_the_policys() -> None:
    request = read(modern(), *MODERN.items())
    assert DIALECT.refusal(DENIAL, request).status == DENIAL.status
    assert DIALECT.refusal(replace(DENIAL, status=502), request).status == 502


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "result": {"roots": []}},
    ],
)
def test_what_waits_for_no_response_is_refused_by_status(message: Any) -> None:
    reply = DIALECT.refusal(DENIAL, read(message))
    assert (reply.status, json.loads(reply.body)["id"]) == (DENIAL.status, None)
    assert DIALECT.refusal_message(DENIAL, read(message)) == reply


@pytest.mark.parametrize(
    ("why", "code"), [("'jsonrpc' must be \"2.0\"", -32600), (f"{BAD_HEADERS}: 'mcp-name'", -32020)]
)
def test_a_malformed_request_is_refused_in_the_protocols_codes(why: str, code: int) -> None:
    denial = Denial(why, "malformed", "d-1", 400, "invalid_request")
    reply = DIALECT.refusal(denial)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error["message"]) == (400, code, why)


def test_a_refused_tool_can_be_told_to_the_model() -> None:
    reply = DIALECT.refusal_message(DENIAL, read({**CALL, "id": 9}))
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert json.loads(reply.body) == {
        "jsonrpc": "2.0",
        "id": 9,
        "result": {
            "resultType": "complete",
            "content": [{"type": "text", "text": DENIAL.message}],
            "isError": True,
        },
    }
    listing = asked("tools/list")
    assert DIALECT.refusal_message(DENIAL, listing) == DIALECT.refusal(DENIAL, listing)


def test_other_methods_of_its_path_are_refused_in_its_shape() -> None:
    reply = refusal_for("/mcp", DENIAL)
    assert (reply.status, json.loads(reply.body)["error"]["message"]) == (DENIAL.status, DENIAL.message)


def test_a_recorded_call_says_what_was_called() -> None:
    assert case("mcp/tools_call_add").request.calls == (ToolCall("add", '{"a":1,"b":2}'),)


@pytest.mark.parametrize("header", ["key", "=?base64?a2V5?="])
def test_what_a_header_repeats_stands_at_no_string_so_that_no_edit_can_leave_it_there(header: str) -> None:
    request = read(modern(arguments={"a": "key", "b": "other"}), **MODERN, mcp_param_a=header)

    assert ("assistant", "key", ("params", "arguments")) in said(request)
    assert ("assistant", "add", ("params",)) in said(request)
    assert ("assistant", "other", ("params", "arguments", "b")) in said(request)
