"""What the filter of an answer asks of the policy, and what it notes for the record.

What lives here: that interface, and the notes. What must not: frames, bytes, deciding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from extproc.chat import Denial, ToolCall
from extproc.policy.channel import ChannelScan
from extproc.policy.decision import Decision, Finding

ALONE_MAX: Final = 50_000
"""The most texts of one frame that stand alone: each costs some 0.1 ms, and nothing else runs meanwhile."""


class Judge(Protocol):
    """What the filter asks of the policy, for one exchange."""

    def open_channel(self, scope: str) -> ChannelScan | None:
        """A scan of one response scope, or None where there is nothing to do in it."""
        ...

    def reads(self, scope: str) -> bool:
        """Whether any rule reads a response scope."""
        ...

    def call(self, call: ToolCall) -> Decision:
        """Decide on a complete tool call."""
        ...

    def unseen(self, kind: str) -> Decision:
        """Decide on something that no detector can read (``chat.UNSEEN``)."""
        ...

    def denial(self, finding: Finding) -> Denial:
        """Phrase the refusal for a finding that denies."""
        ...


@dataclass(slots=True)
class Notes:
    """What was found in an answer, what rules read of it, and what none did.

    ``inspected`` has the scope of each text and call that a rule read; ``not_inspected`` that of each text that none
    did, and the kind of each thing that no detector can read (``chat.UNSEEN``).
    """

    findings: list[Finding] = field(default_factory=list)
    inspected: list[str] = field(default_factory=list)
    not_inspected: list[str] = field(default_factory=list)
    _known: set[tuple[str, str, str]] = field(default_factory=set)
    _opened: set[str] = field(default_factory=set)

    def found(self, finding: Finding, *, again: bool) -> None:
        """Note a finding; one in what was said before counts once, wherever that stood."""
        what = (finding.rule, finding.match, finding.scope)
        if not again or what not in self._known:
            self.findings.append(finding)
            self._known.add(what)

    def opened(self, scope: str, *, read: bool, again: bool) -> None:
        """Note that a text begins, and whether any rule reads it; what repeats another counts where none was said."""
        if again and scope in self._opened:
            return
        self._opened.add(scope)
        (self.inspected if read else self.not_inspected).append(scope)

    def unseen(self, kind: str, findings: Sequence[Finding]) -> None:
        """Note something that no detector can read."""
        self.not_inspected.append(kind)
        self.findings += findings
