from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import pytest

from extproc.demo import phrasing
from extproc.demo.phrasing import Said, said
from extproc.demo.scripts import Call, Piece

PIECES: tuple[Piece, ...] = ("Caf", "é, ", Call("run", '{"a": [1, 2]}'), "done")
Phrase = Callable[[str, Iterable[Piece]], Iterator[bytes]]


@pytest.mark.parametrize(
    "phrase", [phrasing.openai_stream, phrasing.openai_whole, phrasing.ollama_chat, phrasing.ollama_chat_whole]
)
def test_a_chat_reads_back_as_it_was_said_in_every_shape(phrase: Phrase) -> None:
    assert said(b"".join(phrase("m", PIECES))) == Said("Café, done", ("run",))


@pytest.mark.parametrize("phrase", [phrasing.ollama_generate, phrasing.ollama_generate_whole])
def test_a_generated_text_has_no_calls(phrase: Phrase) -> None:
    assert said(b"".join(phrase("m", PIECES))) == Said("Café, done", ())


def test_a_streamed_openai_call_brings_its_name_once_and_its_arguments_in_pieces() -> None:
    events = list(phrasing.openai_stream("m", [Call("run", '{"command": "ls -l"}')]))
    assert events[-1] == b"data: [DONE]\n\n"
    deltas = [document["choices"][0] for event in events for document in phrasing.documents(event)]
    calls = [call["function"] for choice in deltas for call in choice["delta"].get("tool_calls", ())]
    assert [call["name"] for call in calls if "name" in call] == ["run"]
    assert "".join(call["arguments"] for call in calls) == '{"command": "ls -l"}'
    assert len(calls) > 2
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_a_whole_openai_answer_without_text_has_null_content() -> None:
    (body,) = phrasing.openai_whole("m", [Call("run", "{}")])
    choice = json.loads(body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


def test_ollama_arguments_are_an_object_and_the_last_line_is_done() -> None:
    lines = [json.loads(line) for line in phrasing.ollama_chat("m", PIECES)]
    assert lines[2]["message"]["tool_calls"] == [{"function": {"name": "run", "arguments": {"a": [1, 2]}}}]
    assert [line["done"] for line in lines] == [False] * 4 + [True]
    assert lines[-1]["done_reason"] == "stop"


def test_what_a_runtime_says_of_a_pull_is_its_status() -> None:
    assert said(b'{"status":"success"}').text == "success"


def test_an_answer_that_is_no_json_says_nothing() -> None:
    assert said(b"plain\n\ndata: [DONE]\n\n") == Said()
