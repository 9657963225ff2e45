"""The walk over free-form JSON, and roles and parts of messages."""

from __future__ import annotations

import pytest

from extproc.chat import Json, Malformed, Text
from extproc.dialects.untrusted import Found, Untrusted, strings


def test_the_walk_is_in_document_order_and_gives_keys_before_members() -> None:
    value: Json = {"a": ["x", {"b": "y"}, 1, None], "c": "z"}
    assert list(strings(value, ("r",))) == [
        Found(("r",), "a\nc", keys=True),
        Found(("r", "a", 0), "x", keys=False),
        Found(("r", "a", 1), "b", keys=True),
        Found(("r", "a", 1, "b"), "y", keys=False),
        Found(("r", "c"), "z", keys=False),
    ]


def test_keys_are_listed_only_where_they_are_asked_for_and_empty_texts_never() -> None:
    untrusted = Untrusted()
    untrusted.walk("user", {"a": "", "b": "x"}, ("p",), 3)
    assert untrusted.texts == [Text("user", "x", ("p", "b"), 3)]
    untrusted.walk("parameter", {"a": ""}, ("q",), keys=True)
    assert untrusted.texts[1:] == [Text("parameter", "a", ("q",))]


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("tool", "tool_result"),
        ("function", "tool_result"),
    ],
)
def test_a_known_role_is_a_scope(role: str, scope: str) -> None:
    untrusted = Untrusted()
    assert untrusted.role({"role": role}, 0) == scope
    assert untrusted.texts == []


def test_an_unknown_role_speaks_as_the_user_and_is_text_itself() -> None:
    untrusted = Untrusted()
    assert untrusted.role({"role": "wizard"}, 2) == "user"
    assert untrusted.texts == [Text("user", "wizard", ("messages", 2, "role"), 2)]


def test_parts_are_read_and_what_cannot_be_read_is_said() -> None:
    untrusted = Untrusted()
    parts: Json = [
        "plain",
        {"type": "text", "text": "one"},
        {"type": "refusal", "refusal": "two"},
        {"type": "image_url", "image_url": {"url": "data:..."}},
        {"type": "input_audio", "input_audio": {"data": "..."}},
        {"type": "file", "file": {"file_data": "...", "filename": "report.pdf"}},
        {"type": "surprise", "nested": {"deep": "three"}},
    ]
    untrusted.content("user", parts, ("c",), 0)
    assert [(text.scope, text.text) for text in untrusted.texts] == [
        ("user", "plain"),
        ("user", "one"),
        ("user", "two"),
        ("document", "report.pdf"),
        ("user", "deep"),
        ("user", "three"),
    ]
    assert untrusted.not_inspected == ["image", "audio", "file"]


@pytest.mark.parametrize("content", [1, True, {"text": "x"}, [1], [["x"]], [{"type": {"text": "x"}}]])
def test_content_of_another_type_is_malformed(content: Json) -> None:
    with pytest.raises(Malformed):
        Untrusted().content("user", content, ("c",), 0)
