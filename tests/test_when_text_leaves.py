"""When the text of a running answer leaves, counted in events, under the shipped rules for secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from extproc.messages import Forward, Headers, ResponseBody, ResponseHeaders
from extproc.session import Session
from tests.support.openai_wire import PATH, call_chunks, chat, chunk, text_of
from tests.support.policies import MODEL
from tests.support.sessions import NDJSON, SSE, asked, session

LITERAL = "AK" + "IA"  # a key begins so
KEY = LITERAL + "Q3EGRIZ7" + "WKXM5TBA"
CALL = list(call_chunks("get_weather", ["{}"]))


def event(*args: Any, **fields: Any) -> bytes:
    return b"data: " + json.dumps(chunk(*args, **fields)).encode() + b"\n\n"


def both(first: Any, second: Any) -> bytes:
    """One event for two choices."""
    whole = chunk({})
    whole["choices"] = [{"index": index, **choice} for index, choice in enumerate((first, second))]
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def line(**members: Any) -> bytes:
    return json.dumps({"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "done": False, **members}).encode() + b"\n"


def spoken(content: str, **members: Any) -> bytes:
    return line(message={"role": "assistant", "content": content}, **members)


def answering(path: str = PATH, headers: Headers = SSE) -> Session:
    exchange = session()
    generation = json.dumps({"model": MODEL, "prompt": "hello", "stream": True}).encode()
    asked(exchange, generation if path == "/api/generate" else chat(stream=True), path)
    exchange.receive(ResponseHeaders(headers))
    return exchange


def left(exchange: Session, data: bytes, *, end: bool = False) -> bytes:
    """What leaves with one event of the peer's."""
    replies = exchange.receive(ResponseBody(data, end))
    assert exchange.failure is None
    return b"".join(reply.data for reply in replies if isinstance(reply, Forward))


def leaves(exchange: Session, *pieces: bytes) -> list[int]:
    """How many of these pieces have left after each of them. All leave as they came, in order."""
    sent, counts = b"", []
    for piece in pieces:
        sent += left(exchange, piece)
        assert b"".join(pieces).startswith(sent)
        counts.append(next(n for n in range(len(pieces) + 1) if len(sent) <= len(b"".join(pieces[:n]))))
    return counts


class TestTheFrameThatFinishes:
    @pytest.mark.parametrize("held", [" ", " A", f" {LITERAL}", " gh", " -----BEGIN"])
    def test_what_was_held_leaves_before_it(self, held: str) -> None:
        pieces = [event({"content": held}), event({}, "stop")]
        assert leaves(answering(), *pieces)[-1] == 2

    def test_text_in_the_same_frame_leaves_with_it(self) -> None:
        assert leaves(answering(), event({"content": " A"}), event({"content": LITERAL[1:]}, "length")) == [0, 2]

    def test_a_key_that_is_whole_in_it_is_found(self) -> None:
        exchange = answering()
        out = left(exchange, event({"content": f" {LITERAL}"})) + left(exchange, event({"content": KEY[4:]}, "stop"))
        assert text_of(out).startswith(" [")
        assert KEY[6:] not in text_of(out)

    def test_the_end_of_one_choice_is_not_that_of_another(self) -> None:
        pieces = [
            event({"content": " A"}, index=1),
            event({"content": " A"}),
            event({}, "stop"),
            event({}, "stop", index=1),
        ]
        assert leaves(answering(), *pieces) == [0, 0, 0, 4]

    def test_each_choice_of_several_is_let_go_by_its_own_end(self) -> None:
        pieces = [
            event({"content": " A"}),
            event({}, "stop"),
            event({"content": " A"}, index=1),
            event({}, "stop", index=1),
        ]
        assert leaves(answering(), *pieces) == [0, 2, 2, 4]

    def test_a_frame_that_finishes_one_choice_waits_for_the_text_of_another_in_it(self) -> None:
        going_on = {"delta": {"content": " A"}, "finish_reason": None}
        ending = {"delta": {"content": " A"}, "finish_reason": "stop"}
        pieces = [both(ending, going_on), event({"content": " ."}, index=1)]
        assert leaves(answering(), *pieces) == [0, 2]

    def test_the_end_of_the_stream_lets_go_of_what_nothing_finished(self) -> None:
        assert leaves(answering(), event({"content": " A"}), b"data: [DONE]\n\n") == [0, 2]

    def test_so_does_the_end_of_the_body(self) -> None:
        exchange, held = answering(), event({"content": " A"})
        assert left(exchange, held) == b""
        assert left(exchange, b"", end=True) == held

    @pytest.mark.parametrize("last", [spoken("", done=True), spoken(LITERAL[1:], done=True), line(done=True)])
    def test_the_last_line_of_a_chat_lets_go(self, last: bytes) -> None:
        assert leaves(answering("/api/chat", NDJSON), spoken(" A"), last) == [0, 2]

    @pytest.mark.parametrize("said", ["", LITERAL[1:]])
    def test_the_last_line_of_a_generation_lets_go(self, said: str) -> None:
        pieces = [line(response=" A"), line(response=said, done=True)]
        assert leaves(answering("/api/generate", NDJSON), *pieces) == [0, 2]


class TestAnotherTextGoesOn:
    @pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "refusal"])
    def test_what_may_begin_a_key_does_not_hold_it_up(self, name: str) -> None:
        pieces = [event({name: "so say A"}), event({"content": "Hello"}), event({"content": " there"})]
        assert leaves(answering(), *pieces) == [0, 2, 3]

    def test_text_leaves_before_a_call_is_whole(self) -> None:
        pieces = [event({"content": "I look. A"}), *(b"data: " + json.dumps(each).encode() + b"\n\n" for each in CALL)]
        assert leaves(answering(), *pieces) == [0, 1, 1]

    def test_copies_leave_with_their_text(self) -> None:
        told = chunk({"content": " A"})
        told["choices"][0]["logprobs"] = {"content": [{"token": " A", "logprob": -0.1, "top_logprobs": []}]}
        pieces = [b"data: " + json.dumps(told).encode() + b"\n\n", event({"reasoning": "hm"})]
        assert leaves(answering(), *pieces) == [0, 2]

    def test_thinking_does_not_hold_up_a_message(self) -> None:
        thought = line(message={"role": "assistant", "content": "", "thinking": "so A"})
        assert leaves(answering("/api/chat", NDJSON), thought, spoken("Hello")) == [0, 2]

    def test_the_rest_of_a_key_is_found_behind_another_text(self) -> None:
        exchange = answering()
        pieces = [{"content": f" {KEY[:2]}"}, {"reasoning": "hm"}, {"content": KEY[2:]}, {"content": " ."}]
        said = text_of(b"".join(left(exchange, event(piece)) for piece in pieces) + left(exchange, event({}, "stop")))
        assert KEY[4:] not in said
        assert said.endswith("] .")

    def test_what_shows_a_part_of_a_key_stays(self) -> None:
        exchange = answering()
        shown = event({"content": f" {KEY[:12]}"})
        assert left(exchange, shown) + left(exchange, event({"reasoning": "hm"})) == b""
        said = text_of(left(exchange, event({"content": KEY[12:] + " ."})) + left(exchange, event({}, "stop")))
        assert KEY[4:12] not in said


PROSE = """\
The gateway reads each answer as it comes. A policy says what may leave; a secret may not. Ask Alice, ghosts of
skeletons, Xavier's oxen, or "API" people at https://example.org/a?key=none - they agree, AGPL or Apache alike.

- **Note:** the password field is empty, `token = None`, and Authorization is a header like any other.
- ALPHA, AKRON and AIDA sing; eyes see, eyJ does not; sk-ating, ghp, xoxo, glass, npm install, pypi, SG.

    def key(secret: str = "") -> bytes:  # -- no key here --
        return secret.encode() or b"AAAA"

Basic facts: 1,234.56 EUR, 10.0.0.1, 2026-01-01T00:00:00Z, caf\u00e9, \u4f60\u597d, \U0001f600.
Bearer of news, begin: -- end.
"""


def delays(tokens: Iterable[str]) -> list[int]:
    """For each token, fed as an event of its own, how many more had come when it left."""
    exchange, out = answering(), []
    for at, token in enumerate(tokens):
        out += [at] * left(exchange, event({"content": token})).count(b"\n\n")
    return [left_at - at for at, left_at in enumerate(out)]


@pytest.mark.parametrize(
    "tokens",
    [re.findall(r"\s*\S+\s*$|\s*\S+", PROSE), [PROSE[at : at + 4] for at in range(0, len(PROSE), 4)]],
    ids=["words", "four characters"],
)
def test_the_text_of_a_token_has_left_before_the_third_token_after_it(tokens: list[str]) -> None:
    waited = delays(tokens)
    assert len(waited) >= len(tokens) - 2
    assert max(waited) <= 2
    assert sum(wait == 0 for wait in waited) >= len(waited) // 2
