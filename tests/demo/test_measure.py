"""The measurement against a gate that is not there: requests go straight to the stand-in."""

from __future__ import annotations

from dataclasses import replace

from extproc.demo import measure
from extproc.demo.clients import Clients
from extproc.demo.gate import Audit
from extproc.demo.measure import Result, Sample
from extproc.demo.rows import ROWS, Row
from extproc.demo.standin import Standin


class OpenDoor:
    """In the place of a gate: the upstream itself, and an audit log that says what it is told to."""

    def __init__(self, url: str, line: Audit | None) -> None:
        self.url = url
        self._line = line

    def audit(self, decision_id: str) -> Audit | None:
        return self._line


def results(rows: tuple[Row, ...], line: Audit | None) -> tuple[list[Result], Standin, list[str]]:
    started: list[str] = []
    with Standin() as standin:
        door = OpenDoor(standin.url, line)
        done = measure.run(rows, door, standin, lambda row: started.append(row.title))  # type: ignore[arg-type]
    return done, standin, started


def test_without_a_gate_every_guarded_row_fails_and_no_ordinary_one() -> None:
    once = tuple(replace(row, repeats=1) for row in ROWS)
    done, _, started = results(once, {"action": "allow", "reason": "", "findings": []})
    failed = {result.row.title for result in done if not result.as_expected}
    assert failed == {row.title for row in ROWS} - {"chat", "chat, Ollama API"}
    assert started == [row.title for row in ROWS]


def test_without_an_audit_line_no_row_is_as_expected() -> None:
    done, _, _ = results(ROWS[:1], None)
    assert done[0].complaints == ("the audit log has no line for this exchange",)


def test_every_row_is_sent_both_ways_and_only_its_own_exchange_is_observed() -> None:
    (result,), standin, _ = results(ROWS[:1], None)
    assert len(standin.exchanges) == 2 * ROWS[0].repeats
    assert result.request is standin.exchanges[0]
    assert result.observation.reached == (standin.exchanges[1],)


def test_latencies_are_positive_and_the_first_text_is_not_after_the_end() -> None:
    (result,), _, _ = results(ROWS[:1], None)
    for latency in (result.direct, result.gated):
        assert 0 < latency.first.median_ms <= latency.total.median_ms


def test_a_sample_is_the_middle_and_the_middle_distance_from_it() -> None:
    assert Sample.of([0.004, 0.001, 0.009]) == Sample(4, 3)


def test_a_row_that_fails_later_than_at_first_has_failed() -> None:
    asked = 0

    def ask(clients: Clients) -> object:
        nonlocal asked
        asked += 1
        return clients.post("/api/version" if asked == 4 else "/v1/chat/completions", {"model": "m"})

    row = Row("t", "c", "a", ask, lambda o: (yield from (["late"] if o.seen.refused else [])), repeats=2)  # type: ignore[arg-type]
    (result,), _, _ = results((row,), None)
    assert result.complaints == ("late",)
