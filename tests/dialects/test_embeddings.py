"""Embeddings of OpenAI and Ollama: what goes in is text, what comes out is listed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.chat import ChatRequest, Frame, Json, Malformed
from extproc.dialects.ollama_embed import OllamaEmbed, OllamaEmbeddings
from extproc.dialects.openai_embeddings import OpenAiEmbeddings
from tests.dialects.support import DENIAL, HEAD, LIMIT_BYTES, LIMITS, byte_by_byte, case, drain, raw, texts

OPENAI, EMBED, EMBEDDINGS = OpenAiEmbeddings(), OllamaEmbed(), OllamaEmbeddings()
DIALECTS: list[Any] = [OPENAI, EMBED, EMBEDDINGS]


def read(dialect: Any, **document: Json) -> ChatRequest:
    request = dialect.read_request(HEAD, json.dumps({"model": "m", **document}).encode(), LIMITS)
    assert isinstance(request, ChatRequest)
    return request


def said(request: ChatRequest, scope: str = "user") -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def answer(dialect: Any, document: Json) -> Frame:
    decoder = dialect.decoder(ChatRequest(dialect.name, "m", False, {}), 200, "application/json", LIMIT_BYTES)
    assert not decoder.streams
    body = json.dumps(document).encode()
    (frame,) = drain(decoder, byte_by_byte(body))
    assert frame.raw == body
    return frame


@pytest.mark.parametrize(
    ("value", "texts_", "unseen"),
    [
        ("a", ["a"], ()),
        (["a", "b"], ["a", "b"], ()),
        ([], [], ()),
        ([1, 2], [], ("tokens",)),
        ([1, "a"], ["a"], ("tokens",)),
        ([[1], [2, 3]], [], ("tokens", "tokens")),
        ([["a"]], ["a"], ("tokens",)),
        ([{"text": "a"}, {"image": "https://x"}], ["text", "a", "https://x"], ("image",)),
        ([{"content": [{"type": "text", "text": "a"}], "k": "v"}], ["a", "k", "v"], ()),
    ],
)
def test_every_form_of_input_is_reached(value: Json, texts_: list[str], unseen: tuple[str, ...]) -> None:
    request = read(OPENAI, input=value)
    assert [text for text in said(request) if text != "text"] == [text for text in texts_ if text != "text"]
    assert request.not_inspected == unseen


def test_a_conversation_can_be_embedded() -> None:
    request = read(OPENAI, messages=[{"role": "system", "content": "s"}, {"role": "assistant", "content": "a"}])
    assert (said(request, "system"), said(request, "assistant")) == (["s"], ["a"])
    assert [each.name for each in request.settings] == ["prefill"]


def test_settings_have_the_names_that_policies_use() -> None:
    request = read(OPENAI, input="x", dimensions=3, encoding_format="base64", user="p", lora_path="l", novel=1)
    names = [(each.name, each.known) for each in request.settings]
    assert names == [
        ("dimensions", True),
        ("encoding_format", True),
        ("user", True),
        ("lora", True),
        ("novel", False),
    ]
    assert said(request, "parameter") == ["base64", "p", "l"]
    request = read(EMBED, input="x", truncate=True, options={"num_ctx": 1, "novel": "p"})
    assert [(each.name, each.known) for each in request.settings] == [
        ("truncate", True),
        ("num_ctx", True),
        ("options.novel", False),
    ]
    assert "p" in said(request, "parameter")


def test_ollamas_texts_are_reached() -> None:
    assert said(read(EMBED, input=["a", "b"])) == ["a", "b"]
    assert said(read(EMBED, input="a")) == said(read(EMBEDDINGS, prompt="a")) == ["a"]
    assert read(EMBED).texts == read(EMBEDDINGS).texts == ()
    assert not read(EMBED).stream


@pytest.mark.parametrize(
    ("dialect", "document"),
    [
        (OPENAI, {}),
        (OPENAI, {"input": 1}),
        (OPENAI, {"input": {"text": "x"}}),
        (OPENAI, {"input": [None]}),
        (OPENAI, {"input": ["a", True]}),
        (OPENAI, {"model": None, "input": "x"}),
        (OPENAI, {"Input": "x", "input": "y"}),
        (OPENAI, {"messages": [{"content": "x"}]}),
        (OPENAI, {"input": "x", "chat_template_kwargs": {"messages": "x"}}),
        (EMBED, {"input": [1]}),
        (EMBED, {"input": {"text": "x"}}),
        (EMBED, {"INPUT": "x"}),
        (EMBED, {"model": None}),
        (EMBEDDINGS, {"prompt": ["x"]}),
        (EMBEDDINGS, {"Prompt": "x"}),
    ],
)
def test_what_the_api_does_not_define_is_malformed(dialect: Any, document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        read(dialect, **document)


@pytest.mark.parametrize(
    "name",
    ["openai.embeddings/embeddings", "openai.embeddings/base64", "ollama.embed/embed", "ollama.embeddings/embeddings"],
)
def test_vectors_are_listed_once_and_not_read(name: str) -> None:
    recorded = case(name)
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert raw([frame]) == recorded.body
    assert (frame.not_inspected, frame.closes, frame.end) == (("embedding",), (0,), True)
    assert "0." not in texts([frame]).get((0, "body"), "")
    assert "AACA" not in texts([frame]).get((0, "body"), "")


@pytest.mark.parametrize(
    "document",
    [
        {"embedding": "said so"},
        {"embedding": [0.5, "said"]},
        {"embedding": [[0.5], ["said"]]},
        {"embedding": {"values": [1], "said": 1}},
        {"data": [{"embedding": [1], "note": "said"}]},
        {"other": {"said": [1]}},
    ],
)
def test_what_is_no_vector_is_text(document: Json) -> None:
    assert "said" in texts([answer(OPENAI, document)])[0, "body"]


def test_vectors_of_several_tokens_are_vectors() -> None:
    frame = answer(EMBED, {"embeddings": [[[0.5, 1]], [[2]]]})
    assert frame.not_inspected == ("embedding",)
    assert answer(EMBED, {"embeddings": []}).not_inspected == ()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_vector_in_one_word_that_could_be_a_token_is_read(dialect: Any) -> None:
    decoder = dialect.decoder(ChatRequest(dialect.name, "m", False, {}), 200, "application/json", 999)
    (frame,) = drain(decoder, [b'{"embedding": "%s"}' % (b"Ab1_" * 10)])
    assert frame.not_inspected == ("embedding",)
    assert "Ab1_" in texts([frame])[0, "body"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_white_space_around_an_answer_passes(dialect: Any) -> None:
    decoder = dialect.decoder(ChatRequest(dialect.name, "m", False, {}), 200, "application/json", 99)
    frames = drain(decoder, [b" \n{", b"}\n", b"\n"])
    assert raw(frames) == b" \n{}\n\n"


def test_an_answer_of_another_form_is_a_body_or_malformed() -> None:
    with pytest.raises(Malformed):
        answer(OPENAI, [1])
    for dialect in DIALECTS:
        request = ChatRequest(dialect.name, "m", False, {})
        for status, kind in ((500, "application/json"), (200, "text/plain")):
            (frame,) = drain(dialect.decoder(request, status, kind, 99), [b"boom"])
            assert texts([frame]) == {(0, "body"): "boom"}
    recorded = case("openai.embeddings/error")
    assert "does not support" in texts(drain(recorded.decoder(), [recorded.body]))[0, "body"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_refusals_and_ends_are_the_apis_error(dialect: Any) -> None:
    request = ChatRequest(dialect.name, "m", False, {})
    decoder = dialect.decoder(request, 200, "application/json", 99)
    told = [dialect.refusal(DENIAL).body, dialect.refusal_message(DENIAL, request).body, decoder.cutoff(DENIAL)]
    for body in told:
        error = json.loads(body)["error"]
        assert (error if isinstance(error, str) else error["message"]) == DENIAL.message
    assert dialect.refusal(DENIAL).status == dialect.refusal_message(DENIAL, request).status == 403
    assert dialect.without_tools(request, frozenset({"x"})) == ()
