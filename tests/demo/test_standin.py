from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest

from extproc.demo import scripts
from extproc.demo.model import MODEL_NAME
from extproc.demo.scripts import STANDIN_MODEL
from extproc.demo.standin import Standin
from tests.support.upstream import Answer, Hangup, Upstream, sse

HELLO = [{"role": "user", "content": scripts.ASK_HELLO}]


@pytest.fixture
def standin() -> Iterator[Standin]:
    with Standin() as running:
        yield running


@pytest.fixture
def http(standin: Standin) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=standin.url, trust_env=False) as client:
        yield client


def test_it_lists_its_models_for_both_clients(standin: Standin) -> None:
    with ollama.Client(standin.url) as client:
        assert [model.model for model in client.list().models] == [MODEL_NAME, STANDIN_MODEL]
    with openai.OpenAI(base_url=f"{standin.url}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == [MODEL_NAME, STANDIN_MODEL]


def test_the_openai_client_reads_it_streamed_and_not(standin: Standin) -> None:
    with openai.OpenAI(base_url=f"{standin.url}/v1", api_key="none") as client:
        ask: Any = client.chat.completions.create
        whole = ask(model=STANDIN_MODEL, messages=HELLO)
        chunks = ask(model=STANDIN_MODEL, messages=HELLO, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert whole.choices[0].message.content == streamed == "Hello! How can I help you today?"


def test_the_ollama_client_reads_it_streamed_and_not(standin: Standin) -> None:
    with ollama.Client(standin.url) as client:
        whole = client.chat(STANDIN_MODEL, HELLO).message.content
        streamed = "".join(part.message.content or "" for part in client.chat(STANDIN_MODEL, HELLO, stream=True))
        assert whole == streamed == client.generate(STANDIN_MODEL, scripts.ASK_HELLO).response
        assert client.pull("anything").status == "success"
        assert [part.status for part in client.pull("anything", stream=True)] == ["pulling manifest", "success"]


def test_ollama_streams_by_default(http: httpx.Client) -> None:
    answer = http.post("/api/chat", json={"model": STANDIN_MODEL, "messages": HELLO})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(answer.text.splitlines()) > 3


def test_it_remembers_what_reached_it_and_what_it_said(standin: Standin, http: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    body = {"model": STANDIN_MODEL, "messages": HELLO, "tools": [tool]}
    answer = http.post("/v1/chat/completions", json=body)
    (exchange,) = standin.exchanges
    assert (exchange.method, exchange.target) == ("POST", "/v1/chat/completions")
    assert json.loads(exchange.body) == body
    assert exchange.declared_tools() == ("f",)
    assert bytes(exchange.answer) == answer.content


def test_a_chunked_request_body_is_read_whole(standin: Standin, http: httpx.Client) -> None:
    pieces = iter((b'{"model": "x", ', b'"prompt": "hi"}'))
    answer = http.post("/api/generate", content=pieces)
    assert answer.status_code == 200
    assert json.loads(standin.exchanges[0].body) == {"model": "x", "prompt": "hi"}


def test_like_a_real_runtime_it_serves_a_percent_encoded_path(standin: Standin, http: httpx.Client) -> None:
    answer = http.post("/v1/chat/%63ompletions", json={"model": "any:1", "messages": HELLO})
    assert answer.status_code == 200
    assert standin.exchanges[0].target == "/v1/chat/%63ompletions"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("POST", "/nothing", b"{}", 404),
        ("POST", "/api/chat", b"{", 400),
        ("DELETE", "/api/delete", b"{}", 404),
        ("HEAD", "/", b"", 200),
        ("GET", "/api/version", b"", 200),
    ],
)
def test_what_it_does_not_serve_is_an_error(
    http: httpx.Client, method: str, path: str, body: bytes, status: int
) -> None:
    assert http.request(method, path, content=body).status_code == status


def test_a_chat_with_the_real_model_passes_through_byte_for_byte() -> None:
    answer = sse({"choices": [{"index": 0, "delta": {"content": "Paris"}}], "odd": 1.0})
    body = b'{"model" :"%s","messages":[],"stream":true}' % MODEL_NAME.encode()
    with (
        Upstream({"POST /v1/chat/completions": answer}) as model,
        Standin(model.url) as standin,
        httpx.Client(base_url=standin.url) as http,
    ):
        assert http.post("/v1/chat/completions", content=body).content == answer.body
    assert bytes(model.requests[0].body) == body


def test_an_ollama_chat_is_put_to_the_real_model_and_its_words_come_back() -> None:
    words = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hel", "lo")]
    with (
        Upstream({"POST /v1/chat/completions": sse(*words)}) as model,
        Standin(model.url) as standin,
        ollama.Client(standin.url) as client,
    ):
        parts = list(client.chat(MODEL_NAME, HELLO, stream=True, options={"num_predict": 7}))
    assert [part.message.content for part in parts] == ["Hel", "lo", ""]
    asked = model.requests[0].json()
    assert isinstance(asked, dict)
    assert (asked["messages"], asked["max_tokens"]) == (HELLO, 7)


def test_other_models_never_reach_the_real_one() -> None:
    with Upstream() as model, Standin(model.url) as standin, ollama.Client(standin.url) as client:
        assert "evil:7b" in (client.generate("evil:7b", "hi").response or "")
    assert model.requests == []


def test_a_model_that_breaks_off_breaks_the_answer_off() -> None:
    broken = Answer(pieces=(b"data: {}\n\n", Hangup()))
    body = {"model": MODEL_NAME, "messages": HELLO, "stream": True}
    with (
        Upstream({"POST /v1/chat/completions": broken}) as model,
        Standin(model.url) as standin,
        httpx.Client(base_url=standin.url) as http,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        http.post("/v1/chat/completions", json=body)
    assert standin.exchanges[0].failure.startswith("the model server failed: ")


def test_every_request_to_the_model_has_a_connection_of_its_own() -> None:
    with (
        Upstream({"POST /v1/chat/completions": sse()}) as model,
        Standin(model.url) as standin,
        ollama.Client(standin.url) as client,
    ):
        for _ in range(3):
            client.chat(MODEL_NAME, HELLO)
    assert model.connections == 3


def test_a_client_that_breaks_off_is_not_a_complaint(standin: Standin, capfd: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"model": STANDIN_MODEL, "messages": HELLO}).encode()
    request = b"POST /api/chat HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection(("127.0.0.1", int(standin.url.rpartition(":")[2]))) as client:
        client.sendall(request)
        client.recv(1)
    with httpx.Client(base_url=standin.url) as http:
        assert http.get("/").status_code == 200
    assert capfd.readouterr().err == ""
