"""Lists of models: no body goes in, all that comes out is read."""

from __future__ import annotations

import json

import pytest

from extproc.chat import ChatRequest, Json, Malformed, RequestHead
from extproc.dialects.listings import LISTINGS, OllamaShow
from tests.dialects.support import DENIAL, HEAD, LIMITS, case, drain, texts

SHOW = OllamaShow()
EMPTY = ChatRequest("x", "", False, {})


def show(**document: Json) -> ChatRequest:
    return SHOW.read_request(HEAD, json.dumps(document).encode(), LIMITS)


@pytest.mark.parametrize("dialect", LISTINGS, ids=lambda dialect: dialect.name)
def test_a_listing_is_served_only_where_it_is_named(dialect: OllamaShow) -> None:
    assert dialect.named_only


@pytest.mark.parametrize("dialect", LISTINGS[:-1], ids=lambda dialect: dialect.name)
def test_a_list_has_no_model_and_no_body(dialect: OllamaShow) -> None:
    request = dialect.read_request(RequestHead("GET", "/"), b"", LIMITS)
    assert (request.names_model, request.model, request.document, request.texts) == (False, "", {}, ())
    with pytest.raises(Malformed):
        dialect.read_request(RequestHead("GET", "/"), b"{}", LIMITS)


def test_a_model_is_shown_under_either_name() -> None:
    for request in (show(model="m"), show(name="m"), show(model="m", name="m"), show(model="", name="m")):
        assert (request.model, request.names_model, request.stream) == ("m", True, False)


def test_what_shows_a_model_otherwise_is_text_and_a_setting() -> None:
    request = show(model="m", system="s", template="t", verbose=True, options={"num_ctx": 1, "novel": "p"})
    assert [(text.scope, text.text) for text in request.texts] == [
        ("system", "s"),
        ("system", "t"),
        ("parameter", "num_ctx\nnovel"),
        ("parameter", "p"),
    ]
    assert [(each.name, each.known) for each in request.settings] == [
        ("template", True),
        ("verbose", True),
        ("num_ctx", True),
        ("options.novel", False),
    ]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"model": ""},
        {"model": 1},
        {"model": "m", "name": "other"},
        {"Model": "m"},
        {"model": "m", "verbose": "yes"},
        {"model": "m", "system": ["s"]},
    ],
)
def test_what_show_does_not_define_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        show(**document)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai.models/models", "qwen2.5:0.5b"),
        ("openai.models/model", "vllm"),
        ("ollama.tags/tags", "Q4_K_M"),
        ("ollama.tags/error", "File Not Found"),
        ("ollama.version/version", "0.12.6"),
        ("ollama.ps/ps", "expires_at"),
        ("ollama.show/show", "You are helpful."),
        ("ollama.show/error", "File Not Found"),
    ],
)
def test_all_that_an_answer_says_is_read(name: str, said: str) -> None:
    recorded = case(name)
    (frame,) = drain(recorded.decoder(), [recorded.body])
    assert said in texts([frame])[0, "body"]
    assert frame.end


@pytest.mark.parametrize("dialect", LISTINGS, ids=lambda dialect: dialect.name)
def test_refusals_and_ends_are_the_apis_error(dialect: OllamaShow) -> None:
    decoder = dialect.decoder(EMPTY, 200, "application/json", 99)
    told = [dialect.refusal(DENIAL), dialect.refusal_message(DENIAL, EMPTY)]
    assert [reply.status for reply in told] == [403, 403]
    for body in (*(reply.body for reply in told), decoder.cutoff(DENIAL)):
        error = json.loads(body)["error"]
        assert (error["message"] if dialect.name == "openai.models" else error) == DENIAL.message
    assert dialect.without_tools(EMPTY, frozenset({"x"})) == ()
