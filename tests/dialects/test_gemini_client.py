"""What Google's own client makes of what we let through, refuse, answer and cut. It must show the message each time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx
import pytest
from google import genai
from google.genai import errors, types

from extproc.chat import Denial, RequestHead
from extproc.dialects import dialect_for, refusal_for
from tests.dialects import shared
from tests.dialects.shared import SENTENCE
from tests.dialects.support import DENIAL, LIMITS, byte_by_byte, case

MODEL = "gemini-2.5-flash"
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, version: str | None = None) -> genai.Client:
    transport = httpx.Client(transport=httpx.MockTransport(handler))
    options = types.HttpOptions(httpx_client=transport, api_version=version)
    return genai.Client(api_key="not-a-key", http_options=options)


def guarded(name: str, pieces: Sequence[bytes] | None = None, *, action: str = "deny") -> Handler:
    """An upstream that answers as recorded, behind a policy that denies secrets."""
    recorded = case(name)

    def handle(request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, request.url.query.decode()
        dialect = dialect_for(request.method, path)
        assert dialect is not None
        asked = replace(recorded, dialect=dialect, head=RequestHead(request.method, path, query), sent=request.content)
        rules = [{**rule, "action": action} if rule["id"] == "secrets-out" else rule for rule in shared.rules("deny")]
        outcome = shared.run(asked, shared.guarded(rules=rules), pieces or [asked.body])
        if outcome.refusal is not None and not outcome.record.cut:
            http = outcome.refusal.http
            return httpx.Response(http.status, content=http.body, headers={"content-type": http.content_type})
        return httpx.Response(asked.status, content=outcome.answer, headers={"content-type": asked.content_type})

    return handle


def test_an_answer_is_shown_as_it_came() -> None:
    answer = client(guarded("gemini.generate/generate")).models.generate_content(
        model=MODEL,
        contents="Say hello in five words.",
        config=types.GenerateContentConfig(
            system_instruction="You are brief.", max_output_tokens=64, temperature=0.5, top_k=3, stop_sequences=["x"]
        ),
    )
    assert answer.text == "Hello there, my dear friend."
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP


def test_a_stream_is_shown_as_it_came() -> None:
    recorded = case("gemini.generate/stream")
    for pieces in ([recorded.body], byte_by_byte(recorded.body)):
        chunks = client(guarded("gemini.generate/stream", pieces)).models.generate_content_stream(
            model=MODEL, contents="hello"
        )
        assert "".join(chunk.text or "" for chunk in chunks) == "Hello there, my dear friend."


def test_a_conversation_with_tools_passes() -> None:
    weather = types.FunctionDeclaration(
        name="get_weather",
        description="The weather of a city.",
        parameters=types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}),
    )
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
        ),
        thinking_config=types.ThinkingConfig(thinking_budget=0),
    )
    chunks = client(guarded("gemini.generate/tools_stream")).models.generate_content_stream(
        model=MODEL, contents="Weather in Paris and Rome?", config=config
    )
    called = [(call.name, call.args) for chunk in chunks for call in chunk.function_calls or []]
    assert called == [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_is_an_error_that_says_why(streamed: bool) -> None:
    models = client(guarded("gemini.generate/stream" if streamed else "gemini.generate/generate")).models
    with pytest.raises(errors.ClientError) as raised:
        if streamed:
            list(models.generate_content_stream(model=MODEL, contents=SENTENCE))
        else:
            models.generate_content(model=MODEL, contents=SENTENCE)
    assert (raised.value.code, raised.value.status) == (403, "PERMISSION_DENIED")
    assert raised.value.message


def test_a_refusal_is_an_error_for_what_counts_and_embeds() -> None:
    for attempt in (
        lambda: client(guarded("gemini.count_tokens/count")).models.count_tokens(model=MODEL, contents=SENTENCE),
        lambda: client(guarded("gemini.embed/batch")).models.embed_content(model="x", contents=[SENTENCE]),
    ):
        with pytest.raises(errors.ClientError) as raised:
            attempt()
        assert raised.value.status == "PERMISSION_DENIED"


def test_counts_and_vectors_are_shown_as_they_came() -> None:
    counted = client(guarded("gemini.count_tokens/count")).models.count_tokens(
        model=MODEL, contents=[types.Content(role="user", parts=[types.Part(text="hello")])]
    )
    assert counted.total_tokens == 7
    embedded = client(guarded("gemini.embed/batch")).models.embed_content(
        model="gemini-embedding-001",
        contents=["one", "two"],
        config=types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT", title="t", output_dimensionality=2),
    )
    assert [each.values for each in embedded.embeddings or []] == [[0.25, 0.5], [0.5, 0.25]]


def message(request: httpx.Request) -> httpx.Response:
    path, query = request.url.path, request.url.query.decode()
    dialect = dialect_for("POST", path)
    assert dialect is not None
    asked = dialect.read_request(RequestHead("POST", path, query), request.content, LIMITS)
    reply = dialect.refusal_message(DENIAL, asked)
    return httpx.Response(reply.status, content=reply.body, headers={"content-type": reply.content_type})


def test_a_refusal_as_a_message_is_the_text_of_the_answer() -> None:
    answer = client(message).models.generate_content(model=MODEL, contents="hi")
    assert answer.text == DENIAL.message
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.SAFETY
    chunks = list(client(message).models.generate_content_stream(model=MODEL, contents="hi"))
    assert [chunk.text for chunk in chunks] == [DENIAL.message]


def test_a_refusal_as_a_message_is_shown_in_a_chat() -> None:
    chat = client(message).chats.create(model=MODEL)
    assert chat.send_message("hi").text == DENIAL.message
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("hi")) == DENIAL.message


def leaky(name: str) -> list[bytes]:
    recorded = case(name)
    return [recorded.body.replace(b" dear friend", f" {SENTENCE}".encode())]


def test_a_stream_that_is_cut_says_why_and_ends() -> None:
    chunks = list(
        client(guarded("gemini.generate/stream", leaky("gemini.generate/stream"))).models.generate_content_stream(
            model=MODEL, contents="hi"
        )
    )
    said = "".join(chunk.text or "" for chunk in chunks)
    assert said.startswith("Hello there, my")
    assert said.endswith("]")
    assert "secrets-out" in said
    last = chunks[-1].candidates
    assert last is not None
    assert last[0].finish_reason is types.FinishReason.SAFETY


def test_a_stream_that_is_cut_says_why_and_ends_in_the_asynchronous_client() -> None:
    async def said() -> str:
        transport = httpx.MockTransport(guarded("gemini.generate/stream", leaky("gemini.generate/stream")))
        options = types.HttpOptions(httpx_async_client=httpx.AsyncClient(transport=transport))
        models = genai.Client(api_key="not-a-key", http_options=options).aio.models
        stream = await models.generate_content_stream(model=MODEL, contents="hi")
        return "".join([chunk.text or "" async for chunk in stream])

    assert "secrets-out" in asyncio.run(said())


def test_an_array_that_is_cut_is_an_array() -> None:
    handler = guarded("gemini.generate/array_stream", leaky("gemini.generate/array_stream"))
    reply = httpx.Client(transport=httpx.MockTransport(handler)).post(
        f"http://g/v1beta/models/{MODEL}:streamGenerateContent", json={"contents": [{"parts": [{"text": "hi"}]}]}
    )
    answers = [types.GenerateContentResponse.model_validate(each) for each in reply.json()]
    assert "".join(answer.text or "" for answer in answers).startswith("Hello there, my")
    assert "secrets-out" in (answers[-1].text or "")


def test_a_refusal_of_a_path_that_nobody_knows_is_read_by_the_client() -> None:
    def nowhere(request: httpx.Request) -> httpx.Response:
        reply = refusal_for(request.url.path, Denial("No such thing here.", "endpoints", "d-1", 404))
        return httpx.Response(reply.status, content=reply.body, headers={"content-type": reply.content_type})

    with pytest.raises(errors.ClientError) as raised:
        client(nowhere, "v1beta").models.list()
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    assert raised.value.message == "No such thing here."


def test_the_key_in_the_query_is_nowhere_in_what_is_recorded() -> None:
    recorded = replace(case("gemini.generate/generate"), sent=json.dumps({"contents": []}).encode())
    asked = replace(recorded, head=replace(recorded.head, query="key=AIza-not-a-key&alt=sse"))
    outcome = shared.run(asked, shared.guarded(), [asked.body])
    assert outcome.passed
    assert "AIza" not in repr(outcome.record)
    read = asked.dialect.read_request(asked.head, asked.sent, LIMITS)
    assert "AIza" not in repr(read)
