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
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": ""}},
        {"type": "input_audio", "input_audio": {"data": "AA-_==", "format": ""}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "report.pdf"}},
        {"type": "surprise", "nested": {"deep": "three"}},
        {"type": "image_url", "image_url": None},
    ]
    untrusted.content("user", parts, ("c",), 0)
    assert [(text.scope, text.text) for text in untrusted.texts] == [
        ("user", "plain"),
        ("user", "one"),
        ("user", "two"),
        ("document", "report.pdf"),
        ("user", "surprise"),
        ("user", "deep"),
        ("user", "three"),
    ]
    assert untrusted.not_inspected == ["image", "audio", "file"]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x.example/?q=said"}}, "image"),
        ({"type": "image_url", "image_url": "https://said"}, "image"),
        ({"type": "image_url", "image_url": {"url": "data:text/plain,said"}}, "image"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,said in words"}}, "image"),
        ({"type": "image_url", "image_url": {"url": "", "detail": "said"}}, "image"),
        ({"type": "image_url", "image_url": {"url": "", "said": 1}}, "image"),
        ({"type": "image_url", "image_url": {"url": "", "more": {"deep": ["said"]}}}, "image"),
        ({"type": "image", "image": "said so"}, "image"),
        ({"type": "input_audio", "input_audio": {"data": "said so"}}, "audio"),
        ({"type": "video_url", "video_url": {"url": "https://said"}}, "video"),
        ({"type": "file", "file": {"file_id": "said"}}, "file"),
        ({"type": "file", "file": {"file_data": "said so"}}, "file"),
        ({"type": "image_embeds", "image_embeds": "said so"}, "embedding"),
    ],
)
def test_what_comes_with_media_is_text(part: Json, kind: str) -> None:
    untrusted = Untrusted()
    untrusted.content("tool_result", [part], ("c",), 3)
    assert untrusted.not_inspected == [kind]
    assert [text for text in untrusted.texts if "said" in text.text]
    assert {(text.scope, text.message) for text in untrusted.texts} == {("tool_result", 3)}


@pytest.mark.parametrize("content", [1, True, {"text": "x"}, [1], [["x"]], [{"type": {"text": "x"}}]])
def test_content_of_another_type_is_malformed(content: Json) -> None:
    with pytest.raises(Malformed):
        Untrusted().content("user", content, ("c",), 0)
