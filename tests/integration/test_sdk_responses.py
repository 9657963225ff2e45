"""OpenAI's client in front of a real gate: the Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.integration.conftest import Once
from tests.support.gateway import Gateway
from tests.support.policies import MODEL
from tests.support.recorded import ADDRESS, INJECTION, KEY, NOTICE, outcome, recorded, spoiled
from tests.support.upstream import Upstream

PATH = "POST /v1/responses"
LLAMACPP, OPENAI = "openai.responses/stream", "openai.responses/openai_stream"
HELLO = "Hello! How can I assist you today?"
LOOK = "I will look up the weather in Paris."
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
SHELL = ("get_weather", "run_shell")


class City(pydantic.BaseModel):
    city: str


def client_of(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url() + "/v1", api_key="none")


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
    return {"model": MODEL, "input": text, **fields}


def shown(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


class TestAllowed:
    def test_a_document(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/response")
        answer = client.responses.create(**ask())
        assert (answer.output_text, answer.status) == (HELLO, "completed")

    def test_a_document_with_reasoning_and_a_call(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/openai_response")
        answer = client.responses.create(**ask(tools=[WEATHER], reasoning={"effort": "low", "summary": "auto"}))
        assert [item.type for item in answer.output] == ["reasoning", "message", "function_call"]

    @pytest.mark.parametrize(("name", "text"), [(LLAMACPP, HELLO), (OPENAI, LOOK)])
    def test_events(self, client: openai.OpenAI, upstream: Upstream, name: str, text: str) -> None:
        upstream.routes[PATH] = recorded(name, size=7)
        events = list(client.responses.create(**ask(tools=[WEATHER]), stream=True))
        assert shown(events) == text
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == text

    def test_the_stream_helper(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded(OPENAI)
        with client.responses.stream(**ask(tools=[WEATHER])) as stream:
            answer = stream.get_final_response()
        *_, call = answer.output
        assert (answer.output_text, answer.status) == (LOOK, "completed")
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})

    def test_a_streamed_call(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/tools_stream")
        events = list(client.responses.create(**ask(tools=[WEATHER]), stream=True))
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        assert json.loads("".join(pieces)) == {"city": "Paris"}
        (call,) = events[-1].response.output
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})

    def test_a_secret_is_redacted_wherever_it_is_said(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded(LLAMACPP, ("today", KEY), size=1)
        events = list(client.responses.create(**ask(), stream=True))
        text = shown(events)
        assert text.startswith("Hello! How can I assist you [REDACTED:")
        assert text.endswith("]?")
        assert [event.text for event in events if event.type == "response.output_text.done"] == [text]
        assert events[-1].response.output_text == text
        assert KEY not in repr(events)

    def test_a_forbidden_tool_is_taken_out(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/response")
        shell = {**WEATHER, "name": "run_shell"}
        client.responses.create(**ask(tools=[WEATHER, shell], tool_choice={"type": "function", "name": "run_shell"}))
        client.responses.create(**ask(tools=[shell], tool_choice="required"))
        first, second = (request.json() for request in upstream.requests)
        assert first == ask(tools=[WEATHER])
        assert second == ask()

    @pytest.mark.parametrize(
        "name", ["response", "openai_response", "stream", "openai_stream", "tools_stream", "error"]
    )
    def test_what_is_allowed_is_as_without_a_gate(self, client: openai.OpenAI, upstream: Upstream, name: str) -> None:
        upstream.routes[PATH] = recorded(f"openai.responses/{name}")
        stream = name.endswith("stream")

        def read(asking: openai.OpenAI) -> Any:
            answer = asking.responses.create(**ask(tools=[WEATHER]), stream=stream)
            return list(answer) if stream else answer

        with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="none") as direct:
            fails = name == "error"
            assert outcome(lambda: read(client), fails=fails) == outcome(lambda: read(direct), fails=fails)

    def test_a_parsed_document(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/response", (HELLO, r"{\"city\":\"Paris\"}"))
        assert client.responses.parse(**ask(), text_format=City).output_parsed == City(city="Paris")


class TestRefused:
    def test_before_the_first_byte(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        for stream in (False, True):
            with once(gate), pytest.raises(openai.PermissionDeniedError, match='rule "injection"') as caught:
                client.responses.create(**ask(INJECTION), stream=stream)
            assert caught.value.code == "content_policy_violation"
            assert caught.value.type == "invalid_request_error"

    def test_before_the_first_event_of_the_helper(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with (
            once(gate),
            pytest.raises(openai.PermissionDeniedError, match='rule "injection"'),
            client.responses.stream(**ask(INJECTION)),
        ):
            pytest.fail("the helper has begun")

    def test_what_the_server_remembers(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(openai.PermissionDeniedError) as caught:
            client.responses.create(**ask(previous_response_id="resp_1"))
        assert caught.value.code == "content_not_inspected"

    def test_other_endpoints_of_the_api(self, client: openai.OpenAI, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(openai.PermissionDeniedError):
            client.responses.retrieve("resp_1")

    def test_an_answer_that_is_one_document(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/response", ("today", ADDRESS))
        with pytest.raises(openai.PermissionDeniedError, match=NOTICE):
            client.responses.create(**ask())
        assert len(upstream.requests) == 1


class TestRefusedWithAMessage:
    def test_as_a_document(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            answer = told.responses.create(**ask(INJECTION))
        assert 'rule "injection"' in answer.output_text
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "content_filter"

    def test_as_a_stream(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            events = list(told.responses.create(**ask(INJECTION), stream=True))
        assert 'rule "injection"' in shown(events)
        assert events[-1].response.incomplete_details.reason == "content_filter"

    def test_the_stream_helper_does_not_raise(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate), told.responses.stream(**ask(INJECTION)) as stream:
            answer = stream.get_final_response()
        assert 'rule "injection"' in answer.output_text
        assert answer.status == "incomplete"

    def test_where_the_client_would_parse_it(self, told: openai.OpenAI, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            answer = told.responses.parse(**ask(INJECTION), text_format=City)
        assert answer.output_parsed is None

    def test_an_answer_that_is_one_document(self, told: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/response", ("today", ADDRESS))
        answer = told.responses.create(**ask())
        assert NOTICE in answer.output_text
        assert answer.status == "incomplete"


class TestCut:
    def check(self, events: list[Any], text: str) -> None:
        said, _, notice = shown(events).partition("\n\n[")
        assert said.rstrip() == text
        assert notice
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.incomplete_details.reason == "content_filter"
        assert ADDRESS not in repr(events)
        self.check_balance(events)

    def check_balance(self, events: list[Any]) -> None:
        """Whatever began is over."""
        kinds = [event.type for event in events]
        for thing in ("output_item", "content_part"):
            assert kinds.count(f"response.{thing}.added") == kinds.count(f"response.{thing}.done")

    def test_in_a_text_of_llamacpp(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded(LLAMACPP, ("today", ADDRESS))
        events = list(client.responses.create(**ask(), stream=True))
        self.check(events, "Hello! How can I assist you")
        assert NOTICE in shown(events)

    def test_in_a_text(self, client: openai.OpenAI, upstream: Upstream) -> None:
        last = '" Paris.","logprobs"'
        upstream.routes[PATH] = recorded(OPENAI, (last, last.replace("Paris", ADDRESS)))
        events = list(client.responses.create(**ask(tools=[WEATHER]), stream=True))
        self.check(events, "I will look up the weather in")
        assert NOTICE in shown(events)
        numbers = [event.sequence_number for event in events]
        assert numbers == sorted(set(numbers))

    def test_in_a_summary_of_reasoning(self, client: openai.OpenAI, upstream: Upstream) -> None:
        last = '" Paris.","obfuscation"'
        upstream.routes[PATH] = recorded(OPENAI, (last, last.replace("Paris", ADDRESS)))
        events = list(client.responses.create(**ask(tools=[WEATHER]), stream=True))
        self.check(events, "")
        assert NOTICE in shown(events)
        thought = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
        assert "".join(thought).startswith("**Finding the weather**\n\nThe user asks about")

    @pytest.mark.parametrize("name", [LLAMACPP, OPENAI])
    def test_anywhere(self, client: openai.OpenAI, upstream: Upstream, name: str) -> None:
        for answer in spoiled(name, r'_text\.delta"[^\n]*"delta":"([^"]+)"'):
            upstream.routes[PATH] = answer
            events = list(client.responses.create(**ask(tools=[WEATHER]), stream=True))
            assert NOTICE in shown(events)
            assert events[-1].type == "response.incomplete"
            assert ADDRESS not in repr(events)
            self.check_balance(events)

    def test_at_a_forbidden_tool(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded(OPENAI, SHELL)
        events = list(client.responses.create(**ask(), stream=True))
        self.check(events, LOOK)
        assert not [event for event in events if event.type.startswith("response.function_call")]

    def test_at_a_forbidden_tool_of_llamacpp(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded("openai.responses/tools_stream", SHELL)
        events = list(client.responses.create(**ask(), stream=True))
        self.check(events, "")
        assert "run_shell" not in repr([event for event in events if event.type.startswith("response.output_item")])

    def test_the_helper_shows_it_and_raises_as_at_every_cut(self, client: openai.OpenAI, upstream: Upstream) -> None:
        upstream.routes[PATH] = recorded(OPENAI, SHELL)
        with client.responses.stream(**ask(tools=[WEATHER])) as stream:
            events = list(stream)
            with pytest.raises(RuntimeError, match=r"Didn't receive a `response.completed` event"):
                stream.get_final_response()
        self.check(events, LOOK)
