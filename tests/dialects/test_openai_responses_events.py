"""Answers of the responses API: items and events, what is said again, and how a running answer is cut off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.body import BodyFilter
from extproc.chat import ChatRequest, Edit, Frame, Json, Malformed, ToolDefinition
from extproc.dialects.responses_answers import ResponsesDecoder
from extproc.dialects.responses_items import read_item
from tests.dialects.support import DENIAL, LIMIT_BYTES, calls, case, drain, raw, texts
from tests.support.answers import ToyJudge
from tests.support.policies import MODEL
from tests.support.sessions import SSE, answered, asked, forwarded, session

KEY = "gh" + "p_" + "16C7e42F292c6912E7710c838347Ae178B4a"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
STREAM = case("openai.responses/openai_stream")
CREATED = {"type": "response.created", "response": {"id": "resp_1", "created_at": 7, "output": []}}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": ""}
ITEM = "response.output_item."


def decoder(*, streams: bool = True, tools: Sequence[str] = ()) -> ResponsesDecoder:
    declared = tuple(ToolDefinition(kind, ("tools", at), kind) for at, kind in enumerate(tools))
    return ResponsesDecoder(ChatRequest("d", "m", streams, {}, tools=declared), LIMIT_BYTES, streams=streams)


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def frames(*events: Any) -> list[Frame]:
    return drain(decoder(), [sse(*events)])


def item(kind: str, value: Any, index: int | None = 0) -> dict[str, Any]:
    place = {} if index is None else {"output_index": index}
    return {"type": ITEM + kind, **place, "item": value}


def delta(said: str, **members: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": said, **members}


def filtered(*events: Any) -> tuple[list[Any], BodyFilter]:
    body = BodyFilter(decoder(), ToyJudge(), 1 << 20)
    out = body.feed(sse(*events), True)
    return [json.loads(event[6:]) for event in out.decode().split("\n\n") if event], body


# ---- documents and items ------------------------------------------------------------------------------------------


def test_a_document_speaks_on_the_channels_of_its_items() -> None:
    (frame,) = drain(
        case("openai.responses/openai_response").decoder(), [case("openai.responses/openai_response").body]
    )
    said = texts([frame])
    assert said[1, "content"] == "I will look up the weather in Paris."
    assert said[0, "summary"].startswith("**Finding the weather**")
    assert calls([frame]) == {(2, 0): ("get_weather", '{"city":"Paris"}')}
    assert frame.closes == (0, 1, 2)
    assert frame.end


@pytest.mark.parametrize("document", [{"error": {"message": "no"}}, {"output": "no"}, ["no"]])
def test_a_document_without_an_output_is_body(document: Json) -> None:
    (frame,) = drain(decoder(streams=False), [json.dumps(document).encode()])
    assert "no\n" in texts([frame])[0, "body"]
    assert frame.end


@pytest.mark.parametrize(
    "bad",
    [
        [1],
        [{"type": "message", "content": [{"type": "output_text", "text": 1}]}],
        [{"type": "function_call", "name": 1, "arguments": 1}],
        [MESSAGE] * 1025,
    ],
)
def test_a_document_that_cannot_be_read_is_malformed(bad: Json) -> None:
    with pytest.raises(Malformed):
        drain(decoder(streams=False), [json.dumps({"output": bad}).encode()])


@pytest.mark.parametrize(
    ("value", "kinds", "name", "arguments"),
    [
        ({"type": "mcp_call", "name": "f", "arguments": "{}"}, [], "f", "{}"),
        ({"type": "custom_tool_call", "name": "f", "input": "x"}, [], "f", "x"),
        ({"type": "code_interpreter_call", "code": None}, [], "code_interpreter", ""),
        ({"type": "local_shell_call", "action": {"command": ["ls"]}}, [], "local_shell", '{"command":["ls"]}'),
        (
            {"type": "computer_call", "action": {"type": "wait"}},
            ["computer_use_preview"],
            "computer_use_preview",
            '{"type":"wait"}',
        ),
        ({"type": "apply_patch_call", "operation": {}}, ["apply_patch"], "apply_patch", "{}"),
        ({"type": "program", "code": "1"}, [], "programmatic_tool_calling", "1"),
        ({"type": "new_call", "input": "x"}, [], "new", "x"),
    ],
)
def test_calls_of_every_kind_are_judged_by_the_tool_that_they_run(
    value: Json, kinds: list[str], name: str, arguments: str
) -> None:
    (piece,) = read_item(value, (), 0, kinds).calls
    assert (piece.name, piece.arguments, piece.whole) == (name, arguments, True)


def test_calls_that_a_server_runs_with_a_query_only_are_text() -> None:
    said = read_item({"type": "web_search_call", "action": {"query": "q"}, "call_id": None}, (), 0)
    assert said.calls == []
    assert [delta.text for delta in said.deltas if delta.text != "\n"] == ["query", "q"]


@pytest.mark.parametrize(
    ("value", "unseen"),
    [
        ({"type": "reasoning", "encrypted_content": "gAAA"}, ["encrypted"]),
        ({"type": "image_generation_call", "result": "AAAA"}, ["image"]),
        ({"type": "image_generation_call", "result": ""}, []),
        ({"type": "message", "content": [{"type": "output_audio", "data": "AAAA", "transcript": "t"}]}, ["audio"]),
        ({"type": "computer_call_output", "output": {"image_url": "data:image/png;base64,AA"}}, ["image"]),
        ({"type": "function_call_output", "output": ["data:text/plain;base64,AA"]}, ["file"]),
    ],
)
def test_media_are_noted_and_not_read(value: Json, unseen: list[str]) -> None:
    said = read_item(value, (), 0)
    assert said.unseen == unseen
    assert all("AA" not in delta.text for delta in said.deltas)


def test_a_text_may_stand_in_the_place_of_parts() -> None:
    said = read_item({"type": "message", "content": "hi"}, (), 0)
    assert [(delta.channel, delta.text, delta.path) for delta in said.deltas] == [((0, "content"), "hi", ("content",))]


# ---- which item is which ------------------------------------------------------------------------------------------


def test_an_item_is_known_by_its_place_its_id_or_by_being_the_last() -> None:
    out = frames(
        CREATED,
        item("added", {**MESSAGE, "id": "a"}, None),
        item("added", {**MESSAGE, "id": "b"}, None),
        delta("0", item_id="a"),
        delta("1", item_id="b"),
        delta("0", item_id="a"),
        delta("0"),
        delta("1", output_index=1, item_id="other"),
        delta("2", output_index=2),
    )
    assert {key: text for key, text in texts(out).items() if key[1] == "content"} == {
        (0, "content"): "000",
        (1, "content"): "11",
        (2, "content"): "2",
    }


@pytest.mark.parametrize(
    "events",
    [
        [delta("x", output_index=-1)],
        [delta("x", output_index=1024)],
        [delta("x", output_index=0.0)],
        [delta("x", output_index="0")],
        [delta("x", content_index=1), delta("y", content_index=0)],
        [delta("x", content_index="1")],
        [item("added", MESSAGE), item("added", CALL, 1), delta("x", output_index=1, item_id="msg_1")],
        [item("added", {**MESSAGE, "id": str(at)}, None) for at in range(1025)],
        [item("added", {**MESSAGE, "id": str(at)}, 0) for at in range(1025)],
        [{"type": "response.content_part.added", "output_index": 0, "part": None}] * 8193,
        [{"type": "response.content_part.done", "part": {"text": "a", "annotations": ["b", "c"]}}] * 8193,
        [{"type": "response.function_call_arguments.delta", "delta": 1}],
        [{"type": "response.function_call_arguments.done", "arguments": {}}],
        [{"type": "response.completed", "response": {"output": 1}}],
        [delta(1)],  # type: ignore[arg-type]
    ],
)
def test_a_stream_that_cannot_be_read_is_malformed(events: list[Any]) -> None:
    with pytest.raises(Malformed):
        frames(*events)


@pytest.mark.parametrize("kind", ["local_shell_call", "shell_call", "computer_call", "code_interpreter_call"])
def test_a_name_that_runs_nothing_does_not_stand_for_the_tool_that_runs(kind: str) -> None:
    said = read_item({"type": kind, "name": "allowed", "action": {}, "code": ""}, (), 0)
    assert {piece.name for piece in said.calls} == {kind.removesuffix("_call")}
    assert "allowed" in [delta.text for delta in said.deltas]


@pytest.mark.parametrize("kind", [None, ["function_call"], "function", "Function_Call"])
def test_an_item_that_names_a_tool_and_has_arguments_is_a_call(kind: Json) -> None:
    (piece,) = read_item({"type": kind, "name": "f", "arguments": "{}"}, (), 0).calls
    assert (piece.name, piece.arguments) == ("f", "{}")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.done", "response": {"output": [{**CALL, "arguments": "{}"}]}},
        {"type": "response.new_item", "item": {**CALL, "arguments": "{}"}},
    ],
)
def test_an_unknown_event_with_an_item_is_judged_by_it(event: Json) -> None:
    (frame,) = frames(event)
    assert [(piece.name, piece.whole) for piece in frame.calls] == [("f", True)]


def named_event(name: bytes, data: Json) -> bytes:
    return b"event:" + name + b"\ndata: " + json.dumps(data).encode() + b"\n\n"


@pytest.mark.parametrize(
    "name", [b"", b" ", b" message", b" response.output_text.delta", b"response.output_text.delta"]
)
def test_an_event_may_be_named_like_its_type(name: bytes) -> None:
    assert texts(drain(decoder(), [named_event(name, delta("x"))])) == {(0, "content"): "x"}


def test_an_event_that_is_named_like_another_type_is_malformed() -> None:
    with pytest.raises(Malformed):
        drain(decoder(), [named_event(b" response.output_text.done", delta("x"))])


def test_an_event_without_a_type_is_what_its_name_says() -> None:
    pieces = [named_event(b" response.output_text.delta", {"delta": text}) for text in ("SEC", "RET")]
    assert texts(drain(decoder(), pieces)) == {(0, "content"): "SECRET"}
    (frame,) = drain(decoder(), [named_event(b" response.output_item.done", {"item": {**CALL, "arguments": "{}"}})])
    assert [piece.name for piece in frame.calls] == ["f"]


# ---- streams ------------------------------------------------------------------------------------------------------


def test_all_frames_are_one_lane_and_the_last_one_ends_the_answer() -> None:
    out = drain(STREAM.decoder(), [STREAM.body + b"data: [DONE]\n\n"])
    assert raw(out) == STREAM.body + b"data: [DONE]\n\n"
    assert {frame.choices for frame in out[:-1]} == {frozenset({0})}
    assert [frame.end for frame in out[-3:]] == [False, True, True]


def test_what_a_stream_says_again_leaves_edited_as_the_first_time() -> None:
    part = {"type": "output_text", "text": "a SECRET b", "annotations": []}
    done = {**MESSAGE, "content": [part]}
    out, body = filtered(
        CREATED,
        item("added", MESSAGE),
        {"type": "response.content_part.added", "output_index": 0, "part": {**part, "text": ""}},
        delta("a SEC", output_index=0, logprobs=[{"token": "a SEC"}]),
        delta("RET b", output_index=0, logprobs=[{"token": "RET b"}]),
        {"type": "response.output_text.done", "output_index": 0, "text": "a SECRET b", "logprobs": [{"token": "x"}]},
        {"type": "response.content_part.done", "output_index": 0, "part": part},
        item("done", done),
        {"type": "response.completed", "response": {"id": "resp_1", "output": [done]}},
    )
    assert [out[3]["delta"], out[4]["delta"]] == ["a [X]", " b"]
    assert (out[5]["text"], out[5]["logprobs"]) == ("a [X] b", None)
    assert out[6]["part"]["text"] == "a [X] b"
    assert out[7]["item"]["content"][0]["text"] == "a [X] b"
    assert out[8]["response"]["output"][0]["content"][0]["text"] == "a [X] b"
    assert [found.scope for found in body.notes.findings] == ["response.content", "response.logprobs"]


def test_a_secret_over_two_parts_is_found_in_the_whole_item_too() -> None:
    parts = [{"type": "output_text", "text": text} for text in ("a SEC", "RET b")]
    done = {**MESSAGE, "content": parts}
    out, body = filtered(
        item("added", MESSAGE),
        delta("a SEC", output_index=0, content_index=0),
        delta("RET b", output_index=0, content_index=1),
        item("done", done),
        {"type": "response.completed", "response": {"output": [done]}},
    )
    for whole in (out[3]["item"], out[4]["response"]["output"][0]):
        assert [part["text"] for part in whole["content"]] == ["a [X]", " b"]
    assert len(body.notes.findings) == 1


def guarded(*events: Any) -> list[Any]:
    """What leaves of a stream under the real policy."""
    exchange = session()
    asked(exchange, json.dumps({"model": MODEL, "input": "hi", "stream": True}).encode(), "/v1/responses")
    out = forwarded(answered(exchange, SSE, sse(*events)))
    return [json.loads(event.split(b"data: ", 1)[1]) for event in out.split(b"\n\n") if event]


def test_a_secret_over_two_parts_is_found_where_texts_and_parts_are_done() -> None:
    halves: list[Any] = []
    for at, text in enumerate((f"a {KEY[:20]}", f"{KEY[20:]} b")):
        place = {"output_index": 0, "content_index": at}
        halves += [
            delta(text, **place),
            {"type": "response.output_text.done", "text": text, **place},
            {"type": "response.content_part.done", "part": {"type": "output_text", "text": text}, **place},
        ]
    out = guarded(item("added", MESSAGE), *halves, item("done", MESSAGE))
    for first, second in [
        (out[1]["delta"], out[4]["delta"]),
        (out[2]["text"], out[5]["text"]),
        (out[3]["part"]["text"], out[6]["part"]["text"]),
    ]:
        assert (first, second) == ("a [REDACTED:github-pat]", " b")


def test_texts_that_are_done_do_not_hold_up_the_next_part() -> None:
    body = BodyFilter(decoder(), ToyJudge(), 1 << 20)
    body.feed(sse(item("added", MESSAGE), delta("a S", content_index=0)), False)
    done = {"type": "response.output_text.done", "text": "a S", "content_index": 0}
    body.feed(sse(done), False)
    assert body.feed(sse(delta("x ", content_index=1)), False).endswith(sse(done, delta("x ", content_index=1)))


def test_a_cut_off_does_not_say_what_was_edited_in_ids() -> None:
    part = {"type": "response.content_part.added", "output_index": 0, "part": {"type": KEY}}
    evil = {"id": "resp_1", "type": "function_call", "name": "evil", "arguments": "{}"}
    begun = {"type": "response.created", "response": {"id": KEY, "output": []}}
    out = guarded(begun, item("added", {**MESSAGE, "id": KEY}), part, item("done", evil, 1))
    assert out[-1]["type"] == "response.incomplete"
    assert KEY not in json.dumps(out)


def test_the_name_of_a_member_is_read_whatever_it_holds() -> None:
    out = guarded(delta("x", **{KEY: 1}), item("added", {**MESSAGE, KEY: None}))
    assert KEY not in json.dumps(out)


def test_a_secret_in_texts_that_were_never_streamed_is_found_over_two_parts() -> None:
    out, _ = filtered(*[{"type": "response.output_text.done", "text": text} for text in ("a SEC", "RET b")])
    assert [event["text"] for event in out] == ["a [X]", " b"]


def test_a_text_that_is_done_after_its_item_stands_alone() -> None:
    out, body = filtered(item("done", MESSAGE), {"type": "response.output_text.done", "text": "SECRET"})
    assert (out[1]["text"], body.broken) == ("[X]", "")


def test_a_summary_and_the_reasoning_are_two_texts() -> None:
    out = frames(
        {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "SEC"},
        {"type": "response.reasoning_text.delta", "content_index": 0, "delta": "x"},
        {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "RET"},
    )
    assert texts(out) == {(0, "summary"): "SECRET", (0, "reasoning"): "x"}


def test_a_call_is_decided_when_its_arguments_are_done() -> None:
    body = BodyFilter(decoder(), ToyJudge(), 1 << 20)
    begun = sse(CREATED, item("added", CALL), {"type": "response.function_call_arguments.delta", "delta": "{}"})
    assert body.feed(begun, False) == sse(CREATED)
    done = sse({"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": "{}"})
    assert body.feed(done, False) == begun[len(sse(CREATED)) :] + done
    whole = item("done", {**CALL, "arguments": "{}"})
    last = sse(whole, {"type": "response.completed", "response": {"output": [whole["item"]]}})
    assert body.feed(last, True) == last


def test_a_call_without_done_arguments_is_decided_with_its_item() -> None:
    tools = case("openai.responses/tools_stream")
    out = drain(tools.decoder(), [tools.body])
    assert calls(out)[0, 0] == ("get_weather", '{"city": "Paris"}')
    assert [frame.closes for frame in out if frame.closes] == [(0,)]


def test_arguments_that_name_another_tool_are_judged_under_both_names() -> None:
    out = frames(
        item("added", CALL),
        {"type": "response.function_call_arguments.done", "output_index": 0, "name": "g", "arguments": "{}"},
    )
    assert [(piece.name, piece.again) for piece in out[-1].calls] == [("", False), ("f", True), ("g", True)]


def test_a_call_with_an_action_is_judged_where_it_stands() -> None:
    shell = {"id": "x", "type": "shell_call", "action": {"commands": ["ls"]}}
    out = frames(
        item("added", shell),
        {"type": "response.shell_call_command.delta", "output_index": 0, "delta": "ls"},
        {"type": "response.shell_call_command.done", "output_index": 0, "command": "ls"},
        item("done", shell),
    )
    assert [[(piece.name, piece.index, piece.whole) for piece in frame.calls] for frame in out] == [
        [("shell", 1, True)],
        [("shell", 0, False)],
        [("", 0, True), ("shell", 1, True)],
        [("shell", 1, True)],
    ]


def test_what_a_created_response_says_is_gone_on_with() -> None:
    begun = {**CREATED["response"], "output": [{**MESSAGE, "content": [{"type": "output_text", "text": "SEC"}]}]}  # type: ignore[dict-item]
    out, _ = filtered({"type": "response.created", "response": begun}, delta("RET", output_index=0))
    assert out[0]["response"]["output"][0]["content"][0]["text"] == "[X]"
    assert out[1]["delta"] == ""


def test_media_in_events_are_noted_once() -> None:
    reasoning = {"id": "rs", "type": "reasoning", "encrypted_content": "gAAA", "summary": []}
    out = frames(
        item("done", reasoning),
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": "AAAA"},
        {"type": "response.audio.delta", "delta": "AAAA"},
        {"type": "response.completed", "response": {"output": [reasoning]}},
    )
    assert [frame.not_inspected for frame in out] == [("encrypted",), ("image",), ("audio",), ()]
    assert all("AAA" not in text for text in texts(out).values())


def test_media_that_only_the_whole_response_has_are_noted() -> None:
    reasoning = {"id": "rs", "type": "reasoning", "summary": []}
    whole = {**reasoning, "encrypted_content": "gAAA"}
    out = frames(item("done", reasoning), {"type": "response.completed", "response": {"output": [whole]}})
    assert [frame.not_inspected for frame in out] == [(), ("encrypted",)]
    assert [frame.not_inspected for frame in frames(item("added", whole), item("done", whole))] == [("encrypted",), ()]


def test_what_nobody_knows_is_body() -> None:
    out = frames(
        ["x"],
        {"other": "y"},
        {"type": "response.new.delta", "delta": "SEC", "item_id": "i"},
        {"type": "response.new.delta", "delta": "RET", "item_id": "i"},
        {"type": "error", "message": "m"},
        {"type": "response.failed", "response": "gone"},
        {"type": "response.audio.transcript.delta", "delta": "spoken"},
        {"type": ITEM + "added", "output_index": 0, "item": None},
    )
    body = "".join(delta.text for frame in out for delta in frame.deltas if not delta.alone)
    assert body.startswith("other\ny\n") or "y\n" in body
    assert "SECRET" in body
    assert "m" in body
    assert texts(out)[-1, "content"] == "spoken"
    assert raw(out)[-10:] == sse({"type": ITEM + "added", "output_index": 0, "item": None})[-10:]


def test_an_unknown_copy_of_a_text_goes_when_the_text_is_edited() -> None:
    out, _ = filtered(item("added", MESSAGE), delta("SECRET", output_index=0, text="SECRET"))
    assert (out[1]["delta"], out[1]["text"]) == ("[X]", None)


# ---- cut-offs -----------------------------------------------------------------------------------------------------


def seen(body: bytes, count: int) -> tuple[bytes, bytes]:
    """The first events of a stream, and the cut-off of an answer of which just those left."""
    parts = [event + b"\n\n" for event in body.split(b"\n\n") if event.strip()]
    running = decoder()
    steps = [step for frame in drain(running, parts[:count], end=False) for step in frame.steps]
    return b"".join(parts[:count]), running.cutoff(DENIAL, frozenset(), steps)


def kinds(stream: bytes) -> list[str]:
    return [json.loads(event.split(b"data: ", 1)[1])["type"] for event in stream.split(b"\n\n") if event]


def both(count: int) -> tuple[bytes, list[Any]]:
    begun, end = seen(STREAM.body, count)
    return begun + end, [json.loads(event.split(b"data: ", 1)[1]) for event in (begun + end).split(b"\n\n") if event]


@pytest.mark.parametrize("count", range(46))
def test_every_cut_off_ends_the_stream_as_the_api_does(count: int) -> None:
    events = both(count)[1]
    for event in events[count:]:
        EVENT.validate_python(event, strict=True)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}


@pytest.mark.parametrize("count", [0, 1, 3, 5, 17, 19, 20, 30, 32, 40, 45])
def test_the_sdk_s_stream_helper_shows_the_notice_of_a_cut_off(count: int) -> None:
    body = both(count)[0]

    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = OpenAI(api_key="k", base_url="http://a/v1", http_client=http)
    with client.responses.stream(model="m", input="hi") as stream:
        shown = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        with pytest.raises(RuntimeError, match=r"Didn't receive a `response.completed` event"):
            stream.get_final_response()
    assert shown.endswith(f"\n\n[{DENIAL.message}]")


def test_a_cut_off_says_what_is_open_and_no_more() -> None:
    begun = sse(
        CREATED,
        item("added", {**MESSAGE, "id": "m0"}, 0),
        {"type": "response.content_part.added", "output_index": 0, "part": {"type": "output_text"}},
        item("added", {**MESSAGE, "id": "m1"}, 1),
        {"type": "response.content_part.added", "output_index": 1, "part": {"type": "refusal", "refusal": ""}},
        item("added", {**CALL, "id": "c"}, 2),
    )
    end = seen(begun, 6)[1]
    assert kinds(end) == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.refusal.done",
        "response.content_part.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert b'"content_index":1' in end
    assert b'"output_index":2' not in end  # clients run a call that is done


def test_a_part_of_an_unknown_kind_is_closed_too() -> None:
    part = {"type": "response.content_part.added", "output_index": 0, "part": {"type": "reasoning_text", "text": ""}}
    end = seen(sse(CREATED, item("added", {"id": "r", "type": "reasoning"}), part), 3)[1]
    assert kinds(end)[:2] == ["response.content_part.done", "response.output_item.done"]


def test_numbers_go_on_from_what_was_seen_or_from_the_count_of_events() -> None:
    assert b'"sequence_number":3' in seen(sse(CREATED, delta("a"), delta("b")), 3)[1]
    assert b'"sequence_number":41' in seen(sse({**CREATED, "sequence_number": 40}), 1)[1]
    assert b'"sequence_number":1,' in seen(sse({**CREATED, "sequence_number": 10**30}), 1)[1]


def test_the_end_is_that_of_the_response_that_was_begun() -> None:
    end = json.loads(seen(sse(CREATED), 1)[1].split(b"data: ")[-1])["response"]
    assert (end["id"], end["created_at"], end["model"]) == ("resp_1", 7, "m")
    strange = {"type": "response.created", "response": {"id": "a b", "created_at": "x"}}
    end = json.loads(seen(sse(strange), 1)[1].split(b"data: ")[-1])["response"]
    assert (end["id"], end["created_at"]) == (f"resp_{DENIAL.decision_id}", 0)


def test_nothing_is_said_after_the_end() -> None:
    assert seen(STREAM.body, 46)[1] == b""


def test_the_cut_off_of_a_document_is_a_document() -> None:
    end = decoder(streams=False).cutoff(DENIAL)
    assert Response.model_validate_json(end, strict=True).output_text == DENIAL.message


def test_an_edit_leaves_the_rest_of_an_event_as_it_is() -> None:
    (frame,) = frames(delta("a", other=[1]))
    assert json.loads(frame.render([Edit(("delta",), "b")])[6:]) == delta("b", other=[1])
