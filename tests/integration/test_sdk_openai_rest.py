"""OpenAI's client in front of a real gate: completions, embeddings, models, and the helpers for chats."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pydantic
import pytest

from tests.integration.conftest import Once
from tests.support.gateway import Gateway
from tests.support.openai_wire import PATH, chat, chunk, events, said
from tests.support.policies import MODEL
from tests.support.recorded import ADDRESS, INJECTION, KEY, NOTICE, outcome, recorded, spoiled
from tests.support.upstream import Answer, Upstream, cut

CHAT = f"POST {PATH}"
COMPLETIONS = "POST /v1/completions"
EMBEDDINGS = "POST /v1/embeddings"
CUT = ("today", ADDRESS)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(pydantic.BaseModel):
    city: str


def client_of(gateway: Gateway, **settings: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url() + "/v1", api_key="none", **settings)


@pytest.fixture
def client(gate: Gateway) -> Iterator[openai.OpenAI]:
    with client_of(gate) as made:
        yield made


@pytest.fixture
def told(message_gate: Gateway) -> Iterator[openai.OpenAI]:
    """A client of the gate that refuses with messages."""
    with client_of(message_gate) as made:
        yield made


def ask(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def spoken(*deltas: dict[str, Any], end: str = "stop") -> Answer:
    pieces = cut(events(chunk({"role": "assistant"}), *(chunk(delta) for delta in deltas), chunk({}, end)), 31)
    return Answer(headers=(("content-type", "text/event-stream"),), pieces=pieces)


class TestCompletions:
    ASKED: dict[str, Any] = {"model": MODEL, "prompt": "def add(a, b):", "max_tokens": 12}  # noqa: RUF012

    def test_a_document(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[COMPLETIONS] = recorded("openai.completions/document")
        (choice,) = client.completions.create(**self.ASKED).choices
        assert choice.text.strip()
        assert choice.finish_reason == "length"

    def test_a_stream(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[COMPLETIONS] = recorded("openai.completions/stream", size=1)
        pieces = list(client.completions.create(**self.ASKED, stream=True))
        text = "".join(piece.choices[0].text for piece in pieces if piece.choices)
        assert text.startswith("  # a and b are parameters\n    return a")

    def test_several_with_logprobs(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[COMPLETIONS] = recorded("openai.completions/vllm_n2")
        choices = client.completions.create(**{**self.ASKED, "n": 2, "echo": True, "logprobs": 1}).choices
        assert [choice.text for choice in choices] == ["2+2= 4", "2+2= four"]
        assert choices[0].logprobs is not None
        assert choices[0].logprobs.tokens == ["2+2=", " 4"]

    def test_a_refusal(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        for stream in (False, True):
            with once(gate), pytest.raises(openai.PermissionDeniedError, match='rule "injection"') as caught:
                client.completions.create(**{**self.ASKED, "prompt": INJECTION}, stream=stream)
            assert caught.value.code == "content_policy_violation"

    def test_a_refused_document(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[COMPLETIONS] = recorded("openai.completions/vllm_n2", (" four", f" {ADDRESS}"))
        with pytest.raises(openai.PermissionDeniedError, match=NOTICE):
            client.completions.create(**{**self.ASKED, "n": 2})
        assert len(upstream.requests) == 1

    def test_a_message(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            (choice,) = told.completions.create(**{**self.ASKED, "prompt": INJECTION}).choices
        assert 'rule "injection"' in choice.text
        assert choice.finish_reason == "content_filter"

    def test_a_streamed_message(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            pieces = list(told.completions.create(**{**self.ASKED, "prompt": INJECTION}, stream=True))
        assert 'rule "injection"' in "".join(piece.choices[0].text for piece in pieces)
        assert pieces[-1].choices[0].finish_reason == "content_filter"

    def test_a_cut(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[COMPLETIONS] = recorded("openai.completions/stream", (" parameters", f" {ADDRESS}"))
        pieces = list(client.completions.create(**self.ASKED, stream=True))
        shown, _, notice = "".join(piece.choices[0].text for piece in pieces).partition("\n\n[")
        assert shown.rstrip() == "  # a and b are"
        assert NOTICE in notice
        assert pieces[-1].choices[0].finish_reason == "content_filter"


class TestEmbeddings:
    def test_floats(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[EMBEDDINGS] = recorded("openai.embeddings/embeddings")
        vectors = client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float").data
        assert vectors[0].embedding == [0.0023064255, -0.009327292, 1]

    def test_base64_that_the_client_asks_for_unasked(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[EMBEDDINGS] = recorded("openai.embeddings/base64")
        assert list(client.embeddings.create(model=MODEL, input="one").data[0].embedding) == [1.0, 2.0, 3.0]
        assert b"base64" in upstream.requests[0].body

    def test_a_refusal(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(openai.PermissionDeniedError, match='rule "injection"'):
            client.embeddings.create(model=MODEL, input=["one", INJECTION])

    def test_no_message_in_the_place_of_a_vector(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), pytest.raises(openai.PermissionDeniedError, match='rule "injection"'):
            told.embeddings.create(model=MODEL, input=INJECTION)

    def test_token_ids_cannot_be_read(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(openai.PermissionDeniedError) as caught:
            client.embeddings.create(model=MODEL, input=[1, 2, 3])
        assert caught.value.code == "content_not_inspected"

    def test_an_error_of_the_upstream_stays_one(self, gate: Gateway, upstream: Upstream) -> None:
        upstream.routes[EMBEDDINGS] = recorded("openai.embeddings/error")
        with client_of(gate, max_retries=0) as client, pytest.raises(openai.InternalServerError) as caught:
            client.embeddings.create(model=MODEL, input="one")
        assert "does not support embeddings" in str(caught.value)


class TestModels:
    def test_a_list(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes["GET /v1/models"] = recorded("openai.models/models")
        assert [model.id for model in client.models.list()] == ["qwen2.5:0.5b"]

    def test_one(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes["GET /v1/models/m"] = recorded("openai.models/model")
        assert client.models.retrieve("m").id == "org/model-7b"

    def test_a_secret_in_the_list(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes["GET /v1/models"] = recorded(
            "openai.models/models", ('"owned_by":"llamacpp"', f'"owned_by":"{KEY}"')
        )
        (model,) = client.models.list()
        assert model.owned_by.startswith("[REDACTED:")

    def test_a_list_that_is_not_named(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), pytest.raises(openai.PermissionDeniedError) as caught:
            told.models.list()
        assert caught.value.response.headers["x-sluicegate-decision-id"]


class TestChats:
    def test_the_stream_helper(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/stream", size=1)
        with client.chat.completions.stream(**ask()) as stream:
            (choice,) = stream.get_final_completion().choices
        assert choice.message.content == "Hello! How can I assist you today?"

    def test_a_parsed_answer(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/json_schema")
        (choice,) = client.chat.completions.parse(**ask(), response_format=City).choices
        assert choice.message.parsed == City(city="City of the Eiffel Tower")

    def test_a_parsed_tool_call_in_a_stream(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/tools_stream")
        with client.chat.completions.stream(**ask(tools=[WEATHER])) as stream:
            (choice,) = stream.get_final_completion().choices
        (call,) = choice.message.tool_calls or ()
        assert call.function.parsed_arguments == {"city": "Paris"}

    @pytest.mark.parametrize(
        "name",
        [
            *("chat", "audio", "tools", "json_schema", "tool_result", "error"),
            *("stream", "n2_stream", "logprobs_stream", "tools_stream", "tools_required_stream"),
        ],
    )
    def test_what_is_allowed_is_as_without_a_gate(self, client: openai.OpenAI, upstream: Upstream, name: str) -> None:
        upstream.routes[CHAT] = recorded(f"openai.chat/{name}")
        stream = name.endswith("stream")

        def read(asking: openai.OpenAI) -> Any:
            answer = asking.chat.completions.create(**ask(tools=[WEATHER]), stream=stream)
            return list(answer) if stream else answer

        with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="none", max_retries=0) as direct:
            fails = name == "error"
            assert outcome(lambda: read(client), fails=fails) == outcome(lambda: read(direct), fails=fails)

    @pytest.mark.parametrize("name", ["stream", "n2_stream", "logprobs_stream"])
    def test_a_cut_anywhere(self, client: openai.OpenAI, upstream: Upstream, name: str) -> None:
        for answer in spoiled(f"openai.chat/{name}", r'"delta":\{"content":"([^"]+)"'):
            upstream.routes[CHAT] = answer
            pieces = list(client.chat.completions.create(**ask(n=2), stream=True))
            reasons = [choice.finish_reason for piece in pieces for choice in piece.choices if choice.finish_reason]
            assert "content_filter" in reasons
            assert NOTICE in repr(pieces)
            assert ADDRESS not in repr(pieces)

    def test_refusals_of_the_helpers(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(openai.PermissionDeniedError, match='rule "injection"'):
            client.chat.completions.parse(**ask(INJECTION), response_format=City)
        with (
            once(gate),
            pytest.raises(openai.PermissionDeniedError, match='rule "injection"'),
            client.chat.completions.stream(**ask(INJECTION)),
        ):
            pytest.fail("the helper has begun")

    def test_a_message(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            (choice,) = told.chat.completions.create(**ask(INJECTION)).choices
        assert 'rule "injection"' in choice.message.content
        assert choice.finish_reason == "content_filter"

    def test_a_streamed_message(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            pieces = list(told.chat.completions.create(**ask(INJECTION), stream=True))
        assert 'rule "injection"' in "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert pieces[-1].choices[0].finish_reason == "content_filter"

    def test_the_helpers_raise_at_a_message(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), pytest.raises(openai.ContentFilterFinishReasonError):
            told.chat.completions.parse(**ask(INJECTION), response_format=City)
        with (
            once(message_gate),
            told.chat.completions.stream(**ask(INJECTION), response_format=City) as stream,
            pytest.raises(openai.ContentFilterFinishReasonError),
        ):
            stream.until_done()

    def test_a_cut_text(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/stream", CUT)
        pieces = list(client.chat.completions.create(**ask(), stream=True))
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        shown, _, notice = text.partition("\n\n[")
        assert shown.rstrip() == "Hello! How can I assist you"
        assert NOTICE in notice
        assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "content_filter"

    def test_the_stream_helper_shows_a_cut_and_raises_at_the_end(
        self, client: openai.OpenAI, upstream: Upstream
    ) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/stream", CUT)
        with client.chat.completions.stream(**ask()) as stream:
            shown = "".join(event.delta for event in stream if event.type == "content.delta")
            with pytest.raises(openai.ContentFilterFinishReasonError):
                stream.get_final_completion()
        assert shown.startswith("Hello! How can I assist you")
        assert NOTICE in shown

    def test_the_stream_helper_raises_where_it_would_parse_what_was_cut(
        self, client: openai.OpenAI, upstream: Upstream
    ) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/stream", CUT)
        shown: list[str] = []
        with (
            client.chat.completions.stream(**ask(tools=[WEATHER])) as stream,
            pytest.raises(openai.ContentFilterFinishReasonError),
        ):
            for event in stream:
                shown += [event.delta] if event.type == "content.delta" else []
        assert "".join(shown).startswith("Hello! How can I assist you")
        assert NOTICE in "".join(shown)

    def test_a_cut_at_a_forbidden_tool(self, client: openai.OpenAI, upstream: Upstream) -> None:
        function = {"name": "run_shell", "arguments": ""}
        upstream.routes[CHAT] = spoken(
            {"content": "Sure."},
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
            end="tool_calls",
        )
        pieces = list(client.chat.completions.create(**ask(tools=[WEATHER]), stream=True))
        assert not any(piece.choices[0].delta.tool_calls for piece in pieces)
        assert pieces[-1].choices[0].finish_reason == "content_filter"

    def test_a_refused_document(self, client: openai.OpenAI, told: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/chat", CUT)
        with pytest.raises(openai.PermissionDeniedError, match=NOTICE):
            client.chat.completions.create(**ask())
        (choice,) = told.chat.completions.create(**ask()).choices
        assert NOTICE in choice.message.content
        assert choice.finish_reason == "content_filter"
        assert len(upstream.requests) == 2


class TestTransport:
    def test_a_cut_stream_over_http2(self, gate: Gateway, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("openai.chat/stream", CUT)
        versions = []

        def note(response: httpx.Response) -> None:
            versions.append(response.http_version)

        with (
            httpx.Client(http1=False, http2=True, event_hooks={"response": [note]}) as http,
            client_of(gate, http_client=http) as client,
        ):
            pieces = list(client.chat.completions.create(**ask(), stream=True))
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(**ask(INJECTION), stream=True)
        assert versions == ["HTTP/2", "HTTP/2"]
        assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "content_filter"

    def test_an_upstream_that_compresses_unasked(self, gate: Gateway, upstream: Upstream) -> None:
        headers = (("content-type", "text/event-stream"), ("content-encoding", "gzip"))
        packed = gzip.compress(said("The key is ", *KEY, ", keep it."))
        upstream.routes[CHAT] = Answer(headers=headers, pieces=cut(packed, 11))
        response = httpx.post(gate.url() + PATH, content=chat(stream=True), headers={"accept-encoding": "gzip, br"})
        assert upstream.requests[0].header("accept-encoding") in (None, "identity")
        assert "content-encoding" not in response.headers
        assert "[REDACTED:" in response.text
        with client_of(gate) as client:
            pieces = list(client.chat.completions.create(**ask(), stream=True))
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert text.startswith("The key is [REDACTED:")
        assert text.endswith("], keep it.")
