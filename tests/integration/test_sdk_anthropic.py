"""Anthropic's client in front of a real gate: messages, streams, tools, thinking and counting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.integration.conftest import Once
from tests.support.gateway import Gateway
from tests.support.policies import MODEL
from tests.support.recorded import ADDRESS, INJECTION, KEY, NOTICE, outcome, recorded, spoiled
from tests.support.upstream import Upstream

PATH = "POST /v1/messages"
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CUT = ("today", ADDRESS)
SHELL = ("get_weather", "run_shell")


def client_of(gateway: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url(), api_key="none")


@pytest.fixture
def client(gate: Gateway) -> Iterator[anthropic.Anthropic]:
    with client_of(gate) as made:
        yield made


@pytest.fixture
def told(message_gate: Gateway) -> Iterator[anthropic.Anthropic]:
    """A client of the gate that refuses with messages."""
    with client_of(message_gate) as made:
        yield made


def ask(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": text}], **fields}


class TestAllowed:
    def test_a_message(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/messages")
        answer = client.messages.create(**ask())
        assert [block.text for block in answer.content] == ["Hello! How can I assist you today?"]
        assert answer.stop_reason == "end_turn"

    def test_events(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/stream", size=1)
        events = list(client.messages.create(**ask(), stream=True))
        texts = [event.delta.text for event in events if event.type == "content_block_delta"]
        assert "".join(texts) == "Hello! How can I assist you today?"
        assert events[-1].type == "message_stop"

    def test_the_stream_helper(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/stream")
        with client.messages.stream(**ask()) as stream:
            assert "".join(stream.text_stream) == "Hello! How can I assist you today?"
            assert stream.get_final_message().stop_reason == "end_turn"

    def test_thinking_and_a_tool_in_a_stream(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/thinking_tools_stream")
        thinking = {"type": "enabled", "budget_tokens": 1024}
        with client.messages.stream(**ask(thinking=thinking, tools=[WEATHER])) as stream:
            answer = stream.get_final_message()
        thought, text, call = answer.content
        assert thought.thinking == "The user wants the weather in Paris. I have a tool for that."
        assert thought.signature
        assert text.text == "Let me check the weather in Paris for you."
        assert (call.name, call.input["city"]) == ("get_weather", "Paris")
        assert answer.stop_reason == "tool_use"

    def test_counting_tokens(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[f"{PATH}/count_tokens"] = recorded("anthropic.count_tokens/count_tokens")
        fields = {name: value for name, value in ask().items() if name != "max_tokens"}
        assert client.messages.count_tokens(**fields).input_tokens == 35

    def test_a_secret_is_redacted(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/stream", ("today", KEY), size=1)
        with client.messages.stream(**ask()) as stream:
            text = stream.get_final_text()
        assert text.startswith("Hello! How can I assist you [REDACTED:")
        assert text.endswith("]?")

    def test_a_forbidden_tool_is_taken_out(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/messages")
        shell = {**WEATHER, "name": "run_shell"}
        client.messages.create(**ask(tools=[WEATHER, shell], tool_choice={"type": "tool", "name": "run_shell"}))
        client.messages.create(**ask(tools=[shell], tool_choice={"type": "any"}))
        first, second = (request.json() for request in upstream.requests)
        assert first == ask(tools=[WEATHER])
        assert second == ask()

    @pytest.mark.parametrize("name", ["messages", "stream", "tools_stream", "thinking_tools_stream", "error"])
    def test_what_is_allowed_is_as_without_a_gate(
        self, client: anthropic.Anthropic, upstream: Upstream, name: str
    ) -> None:
        upstream.routes[PATH] = recorded(f"anthropic.messages/{name}")
        stream = name.endswith("stream")

        def read(asking: anthropic.Anthropic) -> Any:
            answer = asking.messages.create(**ask(tools=[WEATHER]), stream=stream)
            return list(answer) if stream else answer

        with anthropic.Anthropic(base_url=upstream.url, api_key="none") as direct:
            fails = name == "error"
            assert outcome(lambda: read(client), fails=fails) == outcome(lambda: read(direct), fails=fails)


class TestRefused:
    def test_before_the_first_byte(self, client: anthropic.Anthropic, gate: Gateway, once: Once) -> None:
        for stream in (False, True):
            with once(gate), pytest.raises(anthropic.PermissionDeniedError) as caught:
                client.messages.create(**ask(INJECTION), stream=stream)
            assert caught.value.body["error"]["type"] == "permission_error"
            assert 'rule "injection"' in caught.value.message
            assert caught.value.request_id == caught.value.response.headers["x-sluicegate-decision-id"]

    def test_before_the_first_event_of_the_helper(self, client: anthropic.Anthropic, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(anthropic.PermissionDeniedError), client.messages.stream(**ask(INJECTION)):
            pytest.fail("the helper has begun")

    def test_counting_tokens(self, client: anthropic.Anthropic, gate: Gateway, once: Once) -> None:
        fields = {name: value for name, value in ask(INJECTION).items() if name != "max_tokens"}
        with once(gate), pytest.raises(anthropic.PermissionDeniedError, match='rule "injection"'):
            client.messages.count_tokens(**fields)

    def test_an_answer_that_is_one_document(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/messages", CUT)
        with pytest.raises(anthropic.PermissionDeniedError, match=NOTICE):
            client.messages.create(**ask())
        assert len(upstream.requests) == 1


class TestRefusedWithAMessage:
    def test_as_a_message(self, told: anthropic.Anthropic, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            answer = told.messages.create(**ask(INJECTION))
        assert answer.stop_reason == "refusal"
        assert ['rule "injection"' in block.text for block in answer.content] == [True]

    def test_as_a_stream(self, told: anthropic.Anthropic, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), told.messages.stream(**ask(INJECTION)) as stream:
            assert 'rule "injection"' in "".join(stream.text_stream)
            assert stream.get_final_message().stop_reason == "refusal"

    def test_an_answer_that_is_one_document(self, told: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/messages", CUT)
        answer = told.messages.create(**ask())
        assert answer.stop_reason == "refusal"
        assert [NOTICE in block.text for block in answer.content] == [True]

    def test_a_number_has_no_place_for_one(self, told: anthropic.Anthropic, message_gate: Gateway, once: Once) -> None:
        fields = {name: value for name, value in ask(INJECTION).items() if name != "max_tokens"}
        with once(message_gate), pytest.raises(anthropic.PermissionDeniedError, match='rule "injection"'):
            told.messages.count_tokens(**fields)


class TestCut:
    def test_in_a_text(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/stream", CUT)
        with client.messages.stream(**ask()) as stream:
            text = "".join(stream.text_stream)
            answer = stream.get_final_message()
        shown, _, rest = text.partition("\n\n[")
        assert shown.strip() == "Hello! How can I assist you"
        assert NOTICE in rest
        assert answer.stop_reason == "refusal"
        assert [block.text for block in answer.content] == [text]

    def test_in_thinking(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        change = (" I have a tool for that.", f" Ask {ADDRESS} for that.")
        upstream.routes[PATH] = recorded("anthropic.messages/thinking_tools_stream", change)
        with client.messages.stream(**ask(tools=[WEATHER])) as stream:
            answer = stream.get_final_message()
        thought, notice = answer.content
        assert thought.thinking.startswith("The user wants the weather in Paris.")
        assert ADDRESS not in thought.thinking
        assert NOTICE in notice.text
        assert answer.stop_reason == "refusal"

    def test_at_a_forbidden_tool(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/thinking_tools_stream", SHELL)
        with client.messages.stream(**ask(tools=[WEATHER])) as stream:
            answer = stream.get_final_message()
        assert [block.type for block in answer.content] == ["thinking", "text", "text"]
        assert answer.content[1].text == "Let me check the weather in Paris for you."
        assert "tool" in answer.content[2].text
        assert answer.stop_reason == "refusal"

    def test_raw_events(self, client: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/tools_stream", SHELL)
        events = list(client.messages.create(**ask(tools=[WEATHER]), stream=True))
        assert [event.type for event in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
        assert events[-2].delta.stop_reason == "refusal"
        assert "run_shell" not in repr([event for event in events if event.type == "content_block_start"])

    @pytest.mark.parametrize("name", ["stream", "thinking_tools_stream"])
    def test_anywhere(self, client: anthropic.Anthropic, upstream: Upstream, name: str) -> None:
        for answer in spoiled(f"anthropic.messages/{name}", r'_delta","(?:text|thinking)":"([^"]+)"'):
            upstream.routes[PATH] = answer
            with client.messages.stream(**ask(tools=[WEATHER])) as stream:
                message = stream.get_final_message()
            assert message.stop_reason == "refusal"
            assert message.content[-1].type == "text"
            assert NOTICE in message.content[-1].text
            assert ADDRESS not in repr(message)

    def test_a_message_gate_cuts_alike(self, told: anthropic.Anthropic, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("anthropic.messages/stream", CUT)
        with told.messages.stream(**ask()) as stream:
            assert NOTICE in "".join(stream.text_stream)
            assert stream.get_final_message().stop_reason == "refusal"
