"""Ollama's client in front of a real gate: chats, texts, embedding, and the endpoints that a policy has to name."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest

from tests.integration.conftest import Once
from tests.support.gateway import Gateway
from tests.support.policies import MODEL
from tests.support.recorded import ADDRESS, INJECTION, KEY, NOTICE, recorded
from tests.support.upstream import Upstream

CHAT, GENERATE, EMBED = "POST /api/chat", "POST /api/generate", "POST /api/embed"
CUT = ("today", ADDRESS)
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def client_of(gateway: Gateway) -> Iterator[ollama.Client]:
    made = ollama.Client(host=gateway.url())
    yield made
    made._client.close()  # the SDK has no close of its own


@pytest.fixture
def client(gate: Gateway) -> Iterator[ollama.Client]:
    yield from client_of(gate)


@pytest.fixture
def told(message_gate: Gateway) -> Iterator[ollama.Client]:
    """A client of the gate that refuses with messages."""
    yield from client_of(message_gate)


def ask(text: str = "hello") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def chatted(client: ollama.Client, text: str = "hello") -> list[ollama.ChatResponse]:
    return list(client.chat(model=MODEL, messages=ask(text), tools=[WEATHER], stream=True))


def text_of(pieces: list[ollama.ChatResponse]) -> str:
    return "".join(piece.message.content or "" for piece in pieces)


class TestAllowed:
    def test_chats(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("ollama.chat/stream", size=1)
        assert text_of(chatted(client)) == "Hello! How can I assist you today?"
        upstream.routes[CHAT] = recorded("ollama.chat/chat")
        assert client.chat(model=MODEL, messages=ask()).message.content

    def test_a_tool_call_in_a_stream(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("ollama.chat/tools_stream")
        (call,) = [call for piece in chatted(client) for call in piece.message.tool_calls or ()]
        assert call.function.name == "get_weather"

    def test_a_generation(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[GENERATE] = recorded("ollama.generate/stream", size=1)
        pieces = list(client.generate(MODEL, "2+2?", stream=True))
        assert "".join(piece.response for piece in pieces) == "2+2 equals 4."
        assert pieces[-1].done_reason == "stop"

    def test_embedding(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[EMBED] = recorded("ollama.embed/embed")
        vectors = client.embed(MODEL, ["one", "two"]).embeddings
        assert [list(vector) for vector in vectors] == [[0.010071029, -0.0017594862], [-0.0098027075, 0.06042469]]

    def test_embedding_the_older_way(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes["POST /api/embeddings"] = recorded("ollama.embeddings/embeddings")
        assert client.embeddings(MODEL, "one").embedding

    def test_lists_and_descriptions_that_are_named(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes["GET /api/tags"] = recorded("ollama.tags/tags")
        upstream.routes["GET /api/ps"] = recorded("ollama.ps/ps")
        upstream.routes["POST /api/show"] = recorded("ollama.show/show", ("You are helpful.", f"The key is {KEY}"))
        assert [model.model for model in client.list().models] == ["qwen2.5:0.5b"]
        assert [model.model for model in client.ps().models] == ["m:1"]
        shown = client.show(MODEL)
        assert shown.template == "{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}"
        assert KEY not in repr(shown)


class TestRefused:
    def test_before_the_first_byte(self, client: ollama.Client, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(ollama.ResponseError, match='rule "injection"') as caught:
            client.chat(model=MODEL, messages=ask(INJECTION))
        assert caught.value.status_code == 403
        with once(gate), pytest.raises(ollama.ResponseError, match='rule "injection"'):
            chatted(client, INJECTION)
        with once(gate), pytest.raises(ollama.ResponseError, match='rule "injection"'):
            list(client.generate(MODEL, INJECTION, stream=True))
        with once(gate), pytest.raises(ollama.ResponseError, match='rule "injection"'):
            client.embed(MODEL, ["one", INJECTION])

    def test_token_ids_cannot_be_read(self, client: ollama.Client, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(ollama.ResponseError, match="cannot be inspected"):
            client.generate(MODEL, "go on", context=[1, 2, 3])

    def test_an_answer_that_is_one_document(
        self, client: ollama.Client, told: ollama.Client, upstream: Upstream
    ) -> None:
        upstream.routes[CHAT] = recorded("ollama.chat/chat", CUT)
        with pytest.raises(ollama.ResponseError, match=NOTICE):
            client.chat(model=MODEL, messages=ask())
        answer = told.chat(model=MODEL, messages=ask())
        assert NOTICE in (answer.message.content or "")
        assert answer.done
        assert len(upstream.requests) == 2

    def test_what_is_not_named(self, told: ollama.Client, message_gate: Gateway, once: Once) -> None:
        for act in (told.list, told.ps, lambda: told.show(MODEL), lambda: told.delete(MODEL)):
            with once(message_gate), pytest.raises(ollama.ResponseError) as caught:
                act()
            assert caught.value.status_code == 403


class TestRefusedWithAMessage:
    def test_a_chat(self, told: ollama.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            answer = told.chat(model=MODEL, messages=ask(INJECTION))
        assert 'rule "injection"' in (answer.message.content or "")
        assert answer.done

    def test_a_stream(self, told: ollama.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            pieces = chatted(told, INJECTION)
        assert 'rule "injection"' in text_of(pieces)
        assert pieces[-1].done

    def test_a_generation(self, told: ollama.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            pieces = list(told.generate(MODEL, INJECTION, stream=True))
        assert 'rule "injection"' in "".join(piece.response for piece in pieces)
        assert pieces[-1].done

    def test_no_message_in_the_place_of_a_vector(self, told: ollama.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), pytest.raises(ollama.ResponseError, match='rule "injection"'):
            told.embed(MODEL, INJECTION)


class TestCut:
    def test_a_chat(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("ollama.chat/stream", CUT)
        pieces = chatted(client)
        shown, _, notice = text_of(pieces).partition("\n\n[")
        assert shown.rstrip() == "Hello! How can I assist you"
        assert NOTICE in notice
        assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]

    def test_a_chat_at_a_forbidden_tool(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[CHAT] = recorded("ollama.chat/tools_stream", ("get_weather", "run_shell"))
        pieces = chatted(client)
        assert not any(piece.message.tool_calls for piece in pieces)
        assert "tool" in text_of(pieces)
        assert pieces[-1].done

    def test_a_generation(self, client: ollama.Client, upstream: Upstream) -> None:
        upstream.routes[GENERATE] = recorded("ollama.generate/stream", ('"4"', f'"{ADDRESS}"'))
        pieces = list(client.generate(MODEL, "2+2?", stream=True))
        shown, _, notice = "".join(piece.response for piece in pieces).partition("\n\n[")
        assert shown.rstrip() == "2+2 equals"
        assert NOTICE in notice
        assert pieces[-1].done
