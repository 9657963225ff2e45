"""A Session that says what a test tells it to, for the tests of the wire."""

from __future__ import annotations

from collections.abc import Callable

from extproc.messages import Event, HttpReply, Refuse, Reply
from extproc.policy.decision import DecisionRecord

Answer = list[Reply] | Callable[[Event], list[Reply]]


class ScriptedSession:
    """Answers the n-th event with the n-th entry of the script; ``done`` entries also write the record."""

    def __init__(self, *script: Answer, done: int = -1) -> None:
        self.events: list[Event] = []
        self.failure: BaseException | None = None
        self.gathering = False
        self.holds_answer = False
        self._script = list(script)
        self._done = done
        self._records: list[DecisionRecord] = []

    def receive(self, event: Event) -> list[Reply]:
        at = len(self.events)
        self.events.append(event)
        answer = self._script[at] if at < len(self._script) else []
        if at == self._done:
            self._records.append(DecisionRecord("d1", "test", "sha256:0", dialect="toy", ended="complete"))
        return answer(event) if callable(answer) else answer

    def overdue(self) -> Refuse:
        return Refuse(HttpReply(500, b"overdue"))

    def records(self) -> list[DecisionRecord]:
        records, self._records = self._records, []
        return records
