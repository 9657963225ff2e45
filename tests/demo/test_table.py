from __future__ import annotations

import io
import json
import shlex
from collections.abc import Iterator

from rich.console import Console

from extproc.demo import phrasing, table
from extproc.demo.checks import Observation
from extproc.demo.clients import Seen
from extproc.demo.measure import Latency, Result, Sample
from extproc.demo.rows import Row
from extproc.demo.scripts import Call
from extproc.demo.standin import Exchange

KEY = "secret0123456789"
DIRECT = Latency(Sample(1, 0.1), Sample(2, 0.25))
GATED = Latency(Sample(3, 0.2), Sample(7.25, 0.5))
FINDING = {"rule": "secrets-out", "match": "github-token", "owasp": ["LLM02:2025", "LLM02:2026"]}


def nothing(observation: Observation) -> Iterator[str]:
    return iter(())


def result(seen: Seen, *reached: Exchange, complaints: tuple[str, ...] = (), findings: object = ()) -> Result:
    row = Row("a title", "a client", "what [is] asked", lambda clients: seen, nothing)
    line = {"findings": findings, "reason": "", "action": "allow"}
    answer = bytearray(b"".join(phrasing.openai_whole("m", ["I will " * 20])))
    request = Exchange("POST", "/v1/%63hat", b'{"text": "it\'s \xc3\xa9"}', answer)
    return Result(row, Observation(seen, reached, line, KEY), complaints, DIRECT, GATED, request)


def answered() -> Result:
    body = {"tools": [{"function": {"name": "get_weather"}}]}
    answer = b"".join(phrasing.openai_stream("m", [f"it is {KEY}", Call("get_weather", "{}")]))
    exchange = Exchange("POST", "/", json.dumps(body).encode(), bytearray(answer))
    seen = Seen("it is [REDACTED:github-token]", ("get_weather",), "tool_calls", decision_id="d-1")
    return result(seen, exchange, findings=[FINDING])


def refused(*complaints: str) -> Result:
    return result(Seen("not allowed", error="PermissionDeniedError", status=403), complaints=complaints)


def drawn(*results: Result) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table.render(results, "a model"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_answer_shows_both_sides_the_rule_and_the_added_time() -> None:
    text = drawn(answered())
    for part in ("saw tools: get_weather", "called: get_weather", "[REDACTED:github-token]", "what [is] asked"):
        assert part in text
    for part in ("secrets-out", "github-token", "LLM02:2025", "first +2.0 ±0.3 ms", "whole +5.2 ±0.8 ms", "✓"):
        assert part in text


def test_the_key_is_never_shown_whole() -> None:
    assert "secret0…" in drawn(answered())
    assert KEY not in drawn(answered()) + table.as_json([answered()], "")


def test_a_refusal_shows_the_exception_and_the_time_to_it() -> None:
    text = drawn(refused())
    for part in ("saw nothing", "PermissionDeniedError (403)", "not allowed", "refused in 7.2 ms"):
        assert part in text


def test_a_refusal_shows_the_beginning_of_what_would_have_been_said() -> None:
    assert "without the gate, said: " + ("I will " * 20)[:64] + "…" in " ".join(drawn(refused()).split())


def test_a_row_that_fails_is_marked_and_says_why() -> None:
    text = drawn(refused("the upstream saw the request", "no audit"))
    assert "✗ a title: the upstream saw the request; no audit" in text
    assert "✓" not in text


def test_json_says_the_same() -> None:
    document = json.loads(table.as_json([answered(), refused("bad")], "a model"))
    assert document["upstream"] == "a model"
    first, second = document["rows"]
    assert (first["as_expected"], first["upstream_requests"], first["decision_id"]) == (True, 1, "d-1")
    assert first["gated_ms"] == {"first": {"median": 3, "spread": 0.2}, "total": {"median": 7.25, "spread": 0.5}}
    assert (second["as_expected"], second["complaints"], second["status"]) == (False, ["bad"], 403)


def test_a_curl_line_sends_exactly_the_same_request() -> None:
    (line,) = table.curl_lines([answered()], "http://127.0.0.1:1")
    title, command = line.split("\n")
    words = shlex.split(command)
    assert title == "# a title"
    assert words[:4] == ["curl", "-sNi", "--path-as-is", "http://127.0.0.1:1/v1/%63hat"]
    assert json.loads(words[words.index("-d") + 1]) == {"text": "it's é"}


def test_without_a_terminal_the_table_has_room() -> None:
    assert table.console().width >= 120
