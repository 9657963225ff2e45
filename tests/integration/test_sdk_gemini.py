"""Google's client in front of a real gate: answers, streams, calls, counting and embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.integration.conftest import Once
from tests.support.gateway import Gateway
from tests.support.recorded import ADDRESS, INJECTION, KEY, NOTICE, outcome, recorded, spoiled
from tests.support.upstream import Upstream

NAME = "gemini-2.5-flash"
GENERATE = f"POST /v1/models/{NAME}:generateContent"
STREAM = f"POST /v1/models/{NAME}:streamGenerateContent?alt=sse"
COUNT = f"POST /v1/models/{NAME}:countTokens"
EMBED = "POST /v1/models/gemini-embedding-001:batchEmbedContents"
WHOLE = "Hello there, my dear friend."
CALLED = (f'"text": "{WHOLE}"', '"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}')
CUT = ("dear friend", f"{ADDRESS} friend")
CITY = types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)})
WEATHER = types.FunctionDeclaration(name="get_weather", description="The weather", parameters=CITY)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[WEATHER])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def client_of(gateway: Gateway) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=gateway.url()))


@pytest.fixture
def client(gate: Gateway) -> Iterator[genai.Client]:
    with client_of(gate) as made:
        yield made


@pytest.fixture
def told(message_gate: Gateway) -> Iterator[genai.Client]:
    """A client of the gate that refuses with messages."""
    with client_of(message_gate) as made:
        yield made


def streamed(client: genai.Client, text: str = "hello", **fields: Any) -> list[types.GenerateContentResponse]:
    return list(client.models.generate_content_stream(model=NAME, contents=text, **fields))


def text_of(pieces: list[types.GenerateContentResponse]) -> str:
    """What a client shows that prints the text of each piece."""
    return "".join(piece.text or "" for piece in pieces)


def reason_of(answer: types.GenerateContentResponse) -> Any:
    (candidate,) = answer.candidates or ()
    return candidate.finish_reason


class TestAllowed:
    def test_an_answer(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[GENERATE] = recorded("gemini.generate/generate")
        config = types.GenerateContentConfig(system_instruction="You are brief.", max_output_tokens=64, temperature=0.5)
        answer = client.models.generate_content(model=NAME, contents="hello", config=config)
        assert (answer.text, reason_of(answer)) == (WHOLE, types.FinishReason.STOP)

    def test_a_stream(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/stream", size=1)
        pieces = streamed(client)
        assert (text_of(pieces), reason_of(pieces[-1])) == (WHOLE, types.FinishReason.STOP)

    def test_calls_in_a_stream(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/tools_stream")
        pieces = streamed(client, config=TOOLS)
        calls = [(call.name, call.args) for piece in pieces for call in piece.function_calls or ()]
        assert calls == [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]

    def test_a_chat(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/stream")
        upstream.routes[GENERATE] = recorded("gemini.generate/generate")
        talk = client.chats.create(model=NAME)
        assert text_of(list(talk.send_message_stream("hello"))) == WHOLE
        assert talk.send_message("again").text == WHOLE
        assert b"dear friend" in upstream.requests[1].body  # what was said first goes back with the second question

    def test_a_function_that_the_client_runs_by_itself(self, client: genai.Client, upstream: Upstream) -> None:
        ran = []

        def get_weather(city: str) -> str:
            """The weather in a city."""
            ran.append(city)
            return "sunny"

        answers = [recorded("gemini.generate/generate"), recorded("gemini.generate/generate", CALLED)]
        upstream.routes[GENERATE] = lambda _: answers.pop()
        config = types.GenerateContentConfig(tools=[get_weather])
        answer = client.models.generate_content(model=NAME, contents="hello", config=config)
        assert (answer.text, ran, answers) == (WHOLE, ["Paris"], [])
        assert b"sunny" in upstream.requests[1].body

    def test_counting_tokens(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[COUNT] = recorded("gemini.count_tokens/count")
        assert client.models.count_tokens(model=NAME, contents="hello").total_tokens == 7

    def test_embedding(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[EMBED] = recorded("gemini.embed/batch")
        answer = client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
        assert [vector.values for vector in answer.embeddings or ()] == [[0.25, 0.5], [0.5, 0.25]]

    def test_a_secret_is_redacted(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/stream", ("dear friend", KEY), size=1)
        text = text_of(streamed(client))
        assert text.startswith("Hello there, my [REDACTED:")
        assert text.endswith("].")

    @pytest.mark.parametrize(
        "name", ["generate", "blocked", "grounded", "error", "stream", "candidates_stream", "tools_stream"]
    )
    def test_what_is_allowed_is_as_without_a_gate(self, client: genai.Client, upstream: Upstream, name: str) -> None:
        upstream.routes[GENERATE] = upstream.routes[STREAM] = recorded(f"gemini.generate/{name}")

        def read(asking: genai.Client) -> list[Any]:
            if name.endswith("stream"):
                pieces = streamed(asking, config=TOOLS)
            else:
                pieces = [asking.models.generate_content(model=NAME, contents="hello", config=TOOLS)]
            return [piece.model_dump(exclude={"sdk_http_response"}) for piece in pieces]

        with genai.Client(api_key="none", http_options=types.HttpOptions(base_url=upstream.url)) as direct:
            fails = name == "error"
            assert outcome(lambda: read(client), fails=fails) == outcome(lambda: read(direct), fails=fails)


class TestRefused:
    def test_before_the_first_byte(self, client: genai.Client, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=NAME, contents=INJECTION)
        assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
        assert 'rule "injection"' in (caught.value.message or "")

    def test_before_the_first_byte_of_a_stream(self, client: genai.Client, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(errors.ClientError) as caught:
            streamed(client, INJECTION)
        assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
        assert 'rule "injection"' in (caught.value.message or "")

    def test_counting_and_embedding(self, client: genai.Client, gate: Gateway, once: Once) -> None:
        with once(gate), pytest.raises(errors.ClientError, match=r'rule \\?"injection'):
            client.models.count_tokens(model=NAME, contents=INJECTION)
        with once(gate), pytest.raises(errors.ClientError, match=r'rule \\?"injection'):
            client.models.embed_content(model="gemini-embedding-001", contents=["one", INJECTION])

    def test_an_answer_that_is_one_document(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[GENERATE] = recorded("gemini.generate/generate", CUT)
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=NAME, contents="hello")
        assert NOTICE in (caught.value.message or "")
        assert len(upstream.requests) == 1

    def test_a_forbidden_function_is_never_run(self, client: genai.Client, upstream: Upstream) -> None:
        ran = []

        def run_shell(command: str) -> str:
            """Run a command."""
            ran.append(command)
            return ""

        call = (CALLED[0], '"functionCall": {"name": "run_shell", "args": {"command": "id"}}')
        upstream.routes[GENERATE] = recorded("gemini.generate/generate", call)
        config = types.GenerateContentConfig(tools=[run_shell])
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=NAME, contents="hello", config=config)
        assert caught.value.code == 403
        assert b"run_shell" not in upstream.requests[0].body
        assert (ran, len(upstream.requests)) == ([], 1)


class TestRefusedWithAMessage:
    def test_as_an_answer(self, told: genai.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            answer = told.models.generate_content(model=NAME, contents=INJECTION)
        assert 'rule "injection"' in (answer.text or "")
        assert reason_of(answer) == types.FinishReason.SAFETY

    def test_as_a_stream(self, told: genai.Client, message_gate: Gateway, once: Once) -> None:
        with once(message_gate):
            pieces = streamed(told, INJECTION)
        assert 'rule "injection"' in text_of(pieces)
        assert reason_of(pieces[-1]) == types.FinishReason.SAFETY

    def test_an_answer_that_is_one_document(self, told: genai.Client, upstream: Upstream) -> None:
        upstream.routes[GENERATE] = recorded("gemini.generate/generate", CUT)
        answer = told.models.generate_content(model=NAME, contents="hello")
        assert NOTICE in (answer.text or "")
        assert reason_of(answer) == types.FinishReason.SAFETY

    def test_a_number_and_a_vector_have_no_place_for_one(
        self, told: genai.Client, message_gate: Gateway, once: Once
    ) -> None:
        with once(message_gate), pytest.raises(errors.ClientError):
            told.models.count_tokens(model=NAME, contents=INJECTION)
        with once(message_gate), pytest.raises(errors.ClientError):
            told.models.embed_content(model="gemini-embedding-001", contents=[INJECTION])


class TestCut:
    def test_in_a_text(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/stream", CUT)
        pieces = streamed(client)
        shown, _, notice = text_of(pieces).partition("\n\n[")
        assert shown.rstrip() == "Hello there, my"
        assert NOTICE in notice
        assert reason_of(pieces[-1]) == types.FinishReason.SAFETY

    def test_in_a_chat_that_goes_on(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/stream", CUT)
        upstream.routes[GENERATE] = recorded("gemini.generate/generate")
        talk = client.chats.create(model=NAME)
        assert NOTICE in text_of(list(talk.send_message_stream("hello")))
        assert talk.send_message("and now?").text == WHOLE

    def test_at_a_forbidden_tool(self, client: genai.Client, upstream: Upstream) -> None:
        second = ('"get_weather", "args": {"city": "Rome"', '"run_shell", "args": {"city": "Rome"')
        upstream.routes[STREAM] = recorded("gemini.generate/tools_stream", second)
        pieces = streamed(client, config=TOOLS)
        calls = [call.args for piece in pieces for call in piece.function_calls or ()]
        assert calls == [{"city": "Paris"}]
        assert "tool" in text_of(pieces)
        assert reason_of(pieces[-1]) == types.FinishReason.SAFETY

    @pytest.mark.parametrize("name", ["stream", "candidates_stream", "tools_stream"])
    def test_anywhere(self, client: genai.Client, upstream: Upstream, name: str) -> None:
        for answer in spoiled(f"gemini.generate/{name}", r'"text": "([^"]+)"'):
            upstream.routes[STREAM] = answer
            pieces = streamed(client, config=TOOLS)
            ended = [candidate for candidate in pieces[-1].candidates or () if candidate.finish_reason]
            assert {candidate.finish_reason for candidate in ended} == {types.FinishReason.SAFETY}
            assert NOTICE in repr(pieces[-1])
            assert ADDRESS not in repr(pieces)

    def test_an_error_of_the_upstream_in_a_stream(self, client: genai.Client, upstream: Upstream) -> None:
        upstream.routes[STREAM] = recorded("gemini.generate/error")
        with pytest.raises(errors.ClientError, match="API key not valid"):
            streamed(client)
