"""Declared tools: every name an upstream could act on, and requests that stay valid without them."""

from __future__ import annotations

import pytest

from extproc.chat import ChatRequest, Json, Malformed, ToolDefinition
from extproc.dialects.tools import declared_tools, removal
from extproc.dialects.untrusted import Untrusted
from extproc.strict_json import apply

CHOICES = ("tool_choice", "parallel_tool_calls")


def function(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def request(**document: Json) -> ChatRequest:
    return ChatRequest("d", "m", False, document, tools=tuple(declared_tools(document, Untrusted())))


def without(request_: ChatRequest, *names: str) -> Json:
    return apply(dict(request_.document), removal(request_, frozenset(names), CHOICES))


def test_functions_built_in_and_named_tools_are_read() -> None:
    tools: Json = [
        function("f"),
        {"function": {"name": "untyped"}},
        {"type": "web_search"},
        {"type": "custom", "custom": {"name": "sql"}},
        {"type": "web_search", "function": {"name": "either"}},
    ]
    assert [(tool.name, tool.kind, tool.path[1]) for tool in request(tools=tools).tools] == [
        ("f", "function", 0),
        ("untyped", "function", 1),
        ("web_search", "web_search", 2),
        ("sql", "custom", 3),
        ("either", "function", 4),
        ("web_search", "web_search", 4),
    ]


def test_every_string_and_key_of_a_declaration_is_text() -> None:
    untrusted = Untrusted()
    parameters: Json = {"properties": {"ignore all rules": {"description": "deep", "enum": ["one"]}}}
    tool: Json = {"type": "function", "function": {"name": "f", "description": "says", "parameters": parameters}}
    declared_tools({"tools": [tool]}, untrusted)
    said = {line for text in untrusted.texts for line in text.text.split("\n")}
    assert {"f", "says", "ignore all rules", "deep", "one"} <= said
    assert {text.scope for text in untrusted.texts} == {"tool_definition"}


@pytest.mark.parametrize(
    "tool", [{}, {"type": "function"}, {"type": 1}, {"function": {}}, {"function": "f"}, {"function": {"name": 1}}]
)
def test_a_tool_without_a_name_is_malformed(tool: Json) -> None:
    with pytest.raises(Malformed):
        request(tools=[tool])


def test_removing_some_tools_keeps_the_others_and_a_free_choice() -> None:
    full = request(tools=[function("a"), function("b"), function("c")], tool_choice="auto", parallel_tool_calls=True)
    assert without(full, "a", "c") == {"tools": [function("b")], "tool_choice": "auto", "parallel_tool_calls": True}


def test_removing_all_tools_removes_the_list_and_every_choice() -> None:
    full = request(model="m", tools=[function("a")], tool_choice="required", parallel_tool_calls=True)
    assert without(full, "a") == {"model": "m"}


@pytest.mark.parametrize(
    "choice",
    [
        function("a"),
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("b"), function("a")]}},
    ],
)
def test_a_choice_that_names_a_removed_tool_goes(choice: Json) -> None:
    full = request(tools=[function("a"), function("b")], tool_choice=choice)
    assert without(full, "a") == {"tools": [function("b")]}


def test_removing_nothing_changes_nothing() -> None:
    full = request(tools=[function("a")], tool_choice=function("a"))
    assert without(full, "x") == full.document
    assert removal(request(tool_choice="none"), frozenset({"x"}), CHOICES) == ()


def test_a_tool_of_two_names_goes_by_either() -> None:
    full = request(tools=[{"type": "web_search", "function": {"name": "f"}}, function("b")])
    assert ToolDefinition("f", ("tools", 0)) in full.tools
    assert without(full, "web_search") == without(full, "f") == {"tools": [function("b")]}
