"""Answers of the Messages API: what events and documents say, and how a running answer ends, as its SDK reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message

from extproc.chat import RESPONSE_SCOPES, Edit, Json, Malformed, Step
from extproc.dialects.anthropic_events import MessageDecoder
from extproc.dialects.base import Decoder
from extproc.messages import HttpReply
from tests.dialects import shared
from tests.dialects.shared import SECRET, framed, run, surfaces
from tests.dialects.support import DENIAL, LIMIT_BYTES, Case, call_pieces, calls, case, closes, drain, texts
from tests.support.policies import policy

SURFACES = surfaces("anthropic.messages")
NOTICE = f"\n\n[{DENIAL.message}]"


def decoder(*, streams: bool = True) -> MessageDecoder:
    return MessageDecoder(SURFACES.answered(b"", shared.SSE).request, LIMIT_BYTES, streams=streams)


def event(kind: str, **members: Any) -> dict[str, Any]:
    return {"event": kind, "data": {"type": kind, **members}}


def start(content: list[Json] | None = None) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m:1", "content": content or []}
    return event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage})


def block(index: int, kind: str = "text", **members: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"text": {"text": ""}, "thinking": {"thinking": ""}}.get(kind, {})
    return event("content_block_start", index=index, content_block={"type": kind, **empty, **members})


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return event("content_block_delta", index=index, delta={"type": kind, **members})


def text(index: int, said: str) -> dict[str, Any]:
    return delta(index, "text_delta", text=said)


def stop(index: int) -> dict[str, Any]:
    return event("content_block_stop", index=index)


def tool(index: int, *pieces: str, name: str = "f", **members: Any) -> list[dict[str, Any]]:
    begun = block(index, "tool_use", id=f"t{index}", name=name, **{"input": {}, **members})
    return [begun, *(delta(index, "input_json_delta", partial_json=piece) for piece in pieces)]


REASON = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 4})
END = event("message_stop")


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(framed(events, shared.SSE))


def read(*events: dict[str, Any]) -> list[Any]:
    return drain(decoder(), [stream(*events)])


# ---- reading -----------------------------------------------------------------------------------------------------


def test_the_recorded_stream_of_thoughts_text_and_a_call_is_read() -> None:
    frames = drain(case("anthropic.messages/thinking_tools_stream").decoder(), [case_body("thinking_tools_stream")])
    said = texts(frames)
    assert said[0, "reasoning"] == "The user wants the weather in Paris. I have a tool for that."
    assert said[0, "content"] == "Let me check the weather in Paris for you."
    assert calls(frames) == {(0, 2): ("get_weather", '{"city": "Paris", "unit": "celsius"}')}
    assert [piece.whole for piece in call_pieces(frames)][-2:] == [False, True]
    assert closes(frames) == [0]
    assert [unread for frame in frames for unread in frame.not_inspected] == ["encrypted"]
    assert frames[-1].end


def case_body(name: str) -> bytes:
    return case(f"anthropic.messages/{name}").body


def test_what_a_search_brings_is_read_apart_from_the_text() -> None:
    frames = drain(case("anthropic.messages/search_stream").decoder(), [case_body("search_stream")])
    found = [piece for frame in frames for piece in frame.deltas if piece.alone and piece.channel[1] == "body"]
    assert {"Weather in New York City", "https://weather.example/nyc"} <= {piece.text for piece in found}
    assert "Sunny, 21 degrees." in [piece.text for frame in frames for piece in frame.deltas if piece.alone]
    assert texts(frames)[0, "content"] == "I'll check the current weather.It is sunny in New York City."
    assert calls(frames) == {(0, 1): ("web_search", '{"query": "weather NYC today"}')}
    assert [unread for frame in frames for unread in frame.not_inspected] == ["encrypted", "encrypted"]


def test_blocks_continue_one_text_and_thoughts_another() -> None:
    frames = read(
        start([{"type": "text", "text": "a"}]),
        block(0, text="b"),
        text(0, "c"),
        stop(0),
        block(1, "thinking", thinking="x"),
        delta(1, "thinking_delta", thinking="y"),
        stop(1),
        block(2),
        text(2, "d"),
        stop(2),
        REASON,
        END,
    )
    assert texts(frames)[0, "content"] == "abcd"
    assert texts(frames)[0, "reasoning"] == "xy"


@pytest.mark.parametrize(
    ("block", "called"),
    [
        ({"type": "tool_use", "name": "f", "input": {"a": 1}}, ("f", '{"a":1}')),
        ({"type": "tool_use", "name": "f", "input": "{}"}, ("f", "{}")),
        ({"type": "tool_use", "name": "f", "input": []}, ("f", "[]")),
        ({"type": "tool_use", "name": "f"}, ("f", "")),
        ({"type": "mcp_tool_use", "name": "f", "server_name": "s", "input": {}}, ("s", "{}")),
        ({"type": "server_tool_use", "name": "bash_code_execution", "input": {}}, ("code_execution", "{}")),
        ({"type": "mcp_tool_use", "name": "f", "input": {}}, ("f", "{}")),
        ({"type": "tool_use", "name": "f", "server_name": "s", "input": {}}, ("f", "{}")),
        ({"type": "tool_use", "name": "bash_code_execution", "input": {}}, ("bash_code_execution", "{}")),
        ({"type": "new_tool_use", "name": "f", "input": {}}, ("f", "{}")),
    ],
)
def test_calls_have_the_name_that_was_declared(block: Json, called: tuple[str, str]) -> None:
    body = json.dumps({"type": "message", "content": [block]}).encode()
    frames = drain(decoder(streams=False), [body])
    assert calls(frames) == {(0, 0): called}
    assert all(piece.whole for piece in call_pieces(frames))


def test_texts_that_stand_apart_are_read() -> None:
    citations = [{"type": "char_location", "cited_text": "cited words"}]
    document = {"type": "message", "content": [{"type": "text", "text": "a", "citations": citations}]}
    (frame,) = drain(decoder(streams=False), [json.dumps(document).encode()])
    assert [piece.text for piece in frame.deltas if piece.alone] == ["char_location", "cited words"]
    odd = [block(0, "compaction"), delta(0, "compaction_delta", content="short"), delta(0, "new_delta", news="more")]
    frames = read(start(), *odd, stop(0), block(1, "redacted_thinking", data="Eq=="), event("ping", note="pong"))
    assert {"short", "more", "pong"} <= {piece.text for frame in frames for piece in frame.deltas}
    assert [unread for frame in frames for unread in frame.not_inspected] == ["encrypted"]


def test_arguments_that_come_whole_with_the_start_are_arguments() -> None:
    frames = read(start(), *tool(0, "", input={"a": 1}), stop(0), REASON, END)
    assert calls(frames) == {(0, 0): ("f", '{"a":1}')}
    held = frames[1]
    (piece,) = held.calls
    assert piece.structured
    assert b'"input":{"a":2}' in held.render([Edit(piece.arguments_path, {"a": 2})])


def test_an_empty_input_only_holds_the_place() -> None:
    assert calls(read(start(), *tool(0, '{"a"', ":1}"), stop(0), REASON, END)) == {(0, 0): ("f", '{"a":1}')}


@pytest.mark.parametrize(
    "document",
    [
        {"type": "error", "error": {"message": "m1"}},
        {"choices": [{"message": {"content": "m1"}}]},
        {"type": "message", "content": "m1"},
        ["m1"],
    ],
)
def test_a_document_that_is_no_message_is_text(document: Json) -> None:
    frames = drain(decoder(streams=False), [json.dumps(document).encode()])
    assert "m1" in texts(frames)[-1, "body"]
    assert closes(frames) == [0]


def test_media_in_a_result_is_counted() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}
    result: dict[str, Any] = {
        "kind": "web_fetch_tool_result",
        "content": {"content": {"type": "document", "source": source}},
    }
    upload = block(1, "container_upload", file_id="file_1")
    frames = read(start(), block(0, **result), stop(0), upload, stop(1), REASON, END)
    assert [unread for frame in frames for unread in frame.not_inspected] == ["file", "file"]
    assert "JVBERi0x" not in "".join(texts(frames).values())


MALFORMED: dict[str, list[dict[str, Any]]] = {
    "begun twice": [start(), start()],
    "a block begun twice": [start(), block(0), stop(0), block(0)],
    "arguments without a call": [start(), delta(0, "input_json_delta", partial_json="{}")],
    "arguments of a text": [start(), block(0), delta(0, "input_json_delta", partial_json="{}")],
    "arguments behind the end": [start(), *tool(0, "{}"), stop(0), delta(0, "input_json_delta", partial_json="{}")],
    "arguments that are no string": [start(), *tool(0), delta(0, "input_json_delta", partial_json={})],
    "a name that is none": [start(), *tool(0, name=5)],  # type: ignore[arg-type]
    "an input that is none": [start(), *tool(0, input=5)],
    "an index that is none": [start(), event("content_block_start", index="0", content_block={"type": "text"})],
    "a call at no index": [start(), event("content_block_start", content_block={"type": "tool_use", "name": "f"})],
    "a stop of nothing": [start(), event("content_block_stop")],
    "a negative index": [start(), block(-1)],
    "a text that is a number": [start(), block(0), delta(0, "text_delta", text=5)],
    "a delta that is none": [start(), event("content_block_delta", index=0, delta="x")],
    "a block that is none": [event("message_start", message={"content": ["x"]})],
    "arguments behind the reason": [start(), *tool(0, "{"), REASON, delta(0, "input_json_delta", partial_json="}")],
    "calls out of order": [start(), *tool(1), *tool(0)],
    "a call in the place of one that was given": [
        start([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]),
        *tool(0, name="g"),
    ],
    "an event whose name is not its type": [{**block(0), "event": "ping"}],
    "a name in the place of a type": [
        {"event": "content_block_start", "data": {"content_block": {"type": "tool_use"}}}
    ],
    "a name that says something": [start(), {"event": "anything at all", "data": {"type": "ping"}}],
    "too many blocks": [start(), *(block(index) for index in range(1025))],
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_clients_would_read_differently_is_malformed(what: str) -> None:
    with pytest.raises(Malformed):
        read(*MALFORMED[what])


@pytest.mark.parametrize("kind", ["text", "thinking", "other", "tool_result", ""])
def test_a_text_is_one_whatever_types_its_pieces_have(kind: str) -> None:
    pieces = [block(0, kind, text="a"), delta(0, "other", text="b"), delta(0, "", text="c"), text(0, "d")]
    assert texts(read(start(), *pieces))[0, "content"] == "abcd"


def test_what_goes_on_beside_a_known_event_or_in_an_unknown_one_is_one_text() -> None:
    beside = [event("ping", note="a"), event("other", note="b"), event("ping", note="c")]
    assert texts(read(start(), *beside))[~0, "body"] == "abc"


@pytest.mark.parametrize("kind", ["web_search_tool_result", "code_execution_tool_result", "mcp_tool_listing"])
def test_a_secret_in_what_a_server_s_tool_returned_is_cut_out(kind: str) -> None:
    found = block(0, kind, content=[{"title": f"it is {SECRET} ok"}])
    models = {"allow": ["m:1"], "pinned": False}  # all else is as the policy has it that is shipped
    body = stream(start(), found, stop(0), REASON, END)
    outcome = run(SURFACES.answered(body, shared.SSE, streamed=True), policy(models=models), [body])
    assert b"REDACTED" in outcome.answer
    assert SECRET.encode() not in outcome.answer


def test_an_error_needs_no_type() -> None:
    frames = read(start(), {"event": "error", "data": {"error": {"message": "no luck today"}}})
    assert "no luck today" in texts(frames)[~0, "body"]


@pytest.mark.parametrize(
    "odd",
    [
        event("message_delta", delta={}, usage={"output_tokens": 1}),
        event("ping"),
        stop(7),
        {"data": {"type": ["message_start"]}},
        {"data": ["x"]},
        {"data": {}},
        "[DONE]",
    ],
)
def test_odd_events_pass_as_they_came(odd: Any) -> None:
    frames = read(start(), block(0), text(0, "a"), odd, stop(0), REASON, END)
    assert texts(frames)[0, "content"] == "a"
    assert [step for frame in frames for step in frame.steps][-2:] == [("reason",), ("ended",)]


def test_what_comes_twice_is_one_step() -> None:
    steps = [step for frame in read(start(), REASON, REASON, END, END) for step in frame.steps]
    assert steps == [("message", 0), ("reason",), ("ended",)]


def test_a_call_that_the_reason_ended_is_not_ended_again() -> None:
    frames = read(start(), *tool(0, "{}"), REASON, stop(0), END)
    assert not [piece for piece in call_pieces(frames) if piece.whole]


# ---- as the SDK reads it -----------------------------------------------------------------------------------------


def client(answer: HttpReply | bytes) -> anthropic.Anthropic:
    """A client whose server gives this answer."""
    if isinstance(answer, bytes):
        answer = HttpReply(200, answer, shared.SSE)
    headers = {"content-type": answer.content_type, **dict(answer.headers)}
    reply = httpx2.Response(answer.status, content=answer.body, headers=headers)
    transport = httpx2.MockTransport(lambda _: reply)
    return anthropic.Anthropic(
        api_key="none", base_url="http://x.example", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def streamed(body: HttpReply | bytes) -> Message:
    """What the SDK's accumulator makes of a stream."""
    with client(body).messages.stream(
        model="m:1", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
    ) as running:
        running.until_done()
        return running.get_final_message()


def blocks(message: Message) -> list[tuple[str, str]]:
    return [
        (part.type, part.text if part.type == "text" else getattr(part, "thinking", getattr(part, "name", "")))
        for part in message.content
    ]


def filtered(*events: dict[str, Any], action: str = "deny", tools: str = "allow") -> shared.Outcome:
    """What leaves of a stream under a policy that cuts at a secret."""
    body = stream(*events)
    asked = SURFACES.answered(body, shared.SSE, streamed=True)
    rule = {"id": "s", "detector": "secrets", "scope": RESPONSE_SCOPES, "action": action, "mode": "enforce"}
    models = {"allow": ["m:1"], "pinned": False}
    return run(asked, policy(models=models, tools={"default": tools}, rules=[rule]), [body])


@pytest.mark.parametrize("name", ["stream", "tools_stream", "thinking_tools_stream", "search_stream"])
def test_an_answer_that_passes_is_the_same_to_the_sdk(name: str) -> None:
    recorded = case(f"anthropic.messages/{name}")
    outcome = run(recorded, shared.rules_only(), [recorded.body])
    assert outcome.answer == recorded.body
    assert streamed(outcome.answer) == streamed(recorded.body)
    assert streamed(outcome.answer).stop_reason in ("end_turn", "tool_use")


@pytest.mark.parametrize("streams", [True, False])
def test_a_refusal_is_the_sdk_s_exception(streams: bool) -> None:
    asked = SURFACES.asked(streamed=streams)
    reply = asked.dialect.refusal(DENIAL, asked.request)
    with pytest.raises(anthropic.PermissionDeniedError) as raised:
        streamed(reply) if streams else said_whole(reply)
    assert raised.value.request_id == DENIAL.decision_id
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["error"]["message"] == DENIAL.message


def said_whole(reply: HttpReply) -> Message:
    hi: Any = {"role": "user", "content": "hi"}
    return client(reply).messages.create(model="m:1", max_tokens=10, messages=[hi])


def test_a_refusal_as_a_message_is_one_to_the_sdk() -> None:
    asked = SURFACES.answered(b"", shared.SSE)
    told = [
        said_whole(asked.dialect.refusal_message(DENIAL, asked.request)),
        streamed(asked.dialect.refusal_message(DENIAL, replace(asked.request, stream=True))),
    ]
    for message in told:
        assert blocks(message) == [("text", DENIAL.message)]
        assert (message.stop_reason, message.model, message.usage.output_tokens) == ("refusal", "m:1", 0)


def test_a_cut_in_a_text_goes_on_in_its_block() -> None:
    outcome = filtered(start(), block(0), text(0, "Hello there, "), text(0, f"it is {SECRET} ok"), stop(0), REASON, END)
    assert outcome.record.cut
    message = streamed(outcome.answer)
    assert message.stop_reason == "refusal"
    ((kind, said),) = blocks(message)
    assert kind == "text"
    assert said.startswith("Hello there, ")
    assert said.endswith("]")
    assert SECRET not in said


def test_a_cut_while_a_call_is_held_leaves_nothing_of_the_call() -> None:
    head = [start(), block(0), text(0, "Let me see. "), stop(0)]
    outcome = filtered(*head, *tool(1, '{"a": "', SECRET, '"}'), stop(1), REASON, END)
    assert outcome.record.cut
    message = streamed(outcome.answer)
    assert [kind for kind, _ in blocks(message)] == ["text", "text"]
    assert blocks(message)[1][1].startswith("\n\n[")
    assert message.stop_reason == "refusal"
    assert b"tool_use" not in outcome.answer


def test_a_call_of_a_tool_that_is_not_allowed_is_cut() -> None:
    outcome = filtered(start(), *tool(0, "{}"), stop(0), REASON, END, tools="deny")
    assert outcome.record.cut
    assert [kind for kind, _ in blocks(streamed(outcome.answer))] == ["text"]


def test_a_cut_in_thoughts_closes_them_and_says_so_in_a_text() -> None:
    thought = delta(0, "thinking_delta", thinking="so ")
    outcome = filtered(
        start(), block(0, "thinking"), thought, delta(0, "thinking_delta", thinking=SECRET), stop(0), REASON
    )
    message = streamed(outcome.answer)
    assert [kind for kind, _ in blocks(message)] == ["thinking", "text"]
    assert outcome.answer.count(b"event: content_block_stop") == 2


def test_a_cut_before_anything_has_left_is_a_whole_message() -> None:
    outcome = filtered(start([{"type": "text", "text": f"it is {SECRET} ok"}]), block(0))
    assert outcome.record.cut
    assert [kind for kind, _ in blocks(streamed(outcome.answer))] == ["text"]
    assert b"msg_d-1" in outcome.answer


def test_a_redacted_answer_is_one_to_the_sdk() -> None:
    pieces = ('{"a": "', SECRET[:9], SECRET[9:], '"}')
    events = [start(), block(0), text(0, f"it is {SECRET} ok"), stop(0), *tool(1, *pieces), stop(1), REASON, END]
    outcome = filtered(*events, action="redact")
    message = streamed(outcome.answer)
    assert blocks(message)[0][1].startswith("it is [REDACTED")
    (called,) = [part for part in message.content if part.type == "tool_use"]
    assert "REDACTED" in str(called.input["a"])
    assert SECRET.encode() not in outcome.answer


# ---- phrasing the end --------------------------------------------------------------------------------------------


def ended(*steps: Step) -> list[dict[str, Any]]:
    frames = decoder().cutoff(DENIAL, frozenset(), steps).decode().split("\n\n")
    return [json.loads(frame.partition("data: ")[2]) for frame in frames if frame]


def test_the_end_closes_what_the_client_has_seen_open_and_no_more() -> None:
    got = ended(("message", 0), ("start", 0, "thinking"), ("stop", 0), ("start", 1, "text"), ("start", 2, "other"))
    assert [(each["type"], each.get("index")) for each in got] == [
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert got[0]["delta"] == {"type": "text_delta", "text": NOTICE}
    assert got[3]["delta"] == {"stop_reason": "refusal", "stop_sequence": None}
    assert got[3]["usage"] == {"output_tokens": 0}


@pytest.mark.parametrize(
    ("steps", "index"),
    [
        ([("message", 0)], 0),
        ([("message", 2)], 2),
        ([("message", 0), ("start", 0, "text"), ("stop", 0)], 1),
        ([("message", 0), ("start", 3, "thinking")], 4),
    ],
)
def test_the_notice_has_a_block_of_its_own_behind_those_seen(steps: list[Step], index: int) -> None:
    (begun,) = [each for each in ended(*steps) if each["type"] == "content_block_start"]
    assert (begun["index"], begun["content_block"]) == (index, {"type": "text", "text": ""})


def test_nothing_is_said_twice() -> None:
    assert [each["type"] for each in ended(("message", 0), ("reason",))] == ["message_stop"]
    assert ended(("message", 0), ("reason",), ("ended",)) == []


def test_the_end_of_a_document_is_a_document() -> None:
    message = json.loads(decoder(streams=False).cutoff(DENIAL))
    assert message["content"] == [{"type": "text", "text": DENIAL.message}]
    assert message["stop_reason"] == "refusal"


def test_foreign_answers_are_read_as_one_text() -> None:
    asked: Case = SURFACES.answered(b"", "text/html")
    other: Decoder = asked.decoder()
    assert not isinstance(other, MessageDecoder)
    assert json.loads(other.cutoff(DENIAL))["type"] == "error"
