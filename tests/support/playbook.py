"""Conversations as tests: ``Playbook(session) >> event << reply ...`` fails with a readable difference.

``<<`` takes the replies that the last event must have yielded, in order; ``<< nothing`` says that silence is right. A
playbook checks each step as it goes, so a test that never asserts cannot be written with it.
"""

from __future__ import annotations

from typing import Final, Protocol, Self

from extproc.messages import Event, Reply


class Receiver(Protocol):
    """Anything that takes events and gives replies."""

    def receive(self, event: Event) -> list[Reply]: ...


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


nothing: Final = _Nothing()


class Playbook:
    """One conversation with a Session."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._script: list[str] = []
        self._waiting: list[Reply] = []

    def __rshift__(self, event: Event) -> Self:
        self._settled()
        self._script.append(f">> {event!r}")
        self._waiting = self.receiver.receive(event)
        return self

    def __lshift__(self, expected: Reply | _Nothing) -> Self:
        if isinstance(expected, _Nothing):
            self._settled()
            return self
        got = self._waiting.pop(0) if self._waiting else nothing
        self._script.append(f"<< {got!r}")
        assert got == expected, "\n".join([*self._script, f"expected: {expected!r}"])
        return self

    def replies(self) -> list[Reply]:
        """Take the replies of the last event, to look at them piece by piece."""
        taken, self._waiting = self._waiting, []
        return taken

    def _settled(self) -> None:
        assert not self._waiting, "\n".join([*self._script, f"unexpected: {self._waiting!r}"])
