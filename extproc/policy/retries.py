"""Refused requests that are tried again with small changes: who asks, which refusals count, when it is too much.

What lives here: the pure part. What must not: the memory of earlier refusals (the shell's), the judging (``engine``).

During the cooldown a consumer's requests are refused from a lower injection score on. What scores less passes, so that
nobody who shares the consumer's name is locked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.chat import REQUEST_SCOPES
from extproc.messages import Headers
from extproc.policy.decision import UNHEARD, Action, Finding
from extproc.policy.section import RetriesDocument

OWASP: Final = ("LLM01:2025", "LLM01:2026", "LLM10:2025", "LLM06:2026")
_ADDRESS: Final = "source.address"

Cooling: TypeAlias = Callable[[str], bool]
"""Says whether a consumer is in its cooldown. The empty name is nobody's."""


def never_cooling(_consumer: str) -> bool:
    """The memory of a process that keeps none."""
    return False


@dataclass(frozen=True, slots=True)
class Retries:
    """``spec.retries``. ``rules`` are those whose refusals count; ``enforced``: only what they acted on does."""

    source: str
    name: str
    refusals: int
    window_s: float
    cooldown_s: float
    score: float
    rules: frozenset[str]
    enforced: bool

    def consumer(self, headers: Headers, attributes: Mapping[str, str]) -> str:
        """Who asks, or nothing where that is not said. Of several fields the last counts: gateways append theirs."""
        if self.source == "header":
            return dict(headers).get(self.name, "")
        value = attributes.get(self.name, "")
        return _host(value) if self.name == _ADDRESS else value

    def counts(self, findings: Iterable[Finding]) -> bool:
        """Whether these findings are a refusal that counts. Under a monitored policy it is one that would have been."""
        return any(
            found.rule in self.rules
            and found.action is Action.DENY
            and found.scope in REQUEST_SCOPES
            and found.match != UNHEARD  # nobody found anything there
            and not (found.monitored and self.enforced)
            for found in findings
        )

    def cooling(self, refused_at: Sequence[float], now: float) -> bool:
        """Whether the cooldown runs, after refusals at these times, oldest first."""
        last = refused_at[-self.refusals :]
        enough = len(last) == self.refusals and last[-1] - last[0] <= self.window_s
        return enough and now - last[-1] < self.cooldown_s


def compile_retries(said: RetriesDocument | None, rules: Iterable[str], enforced: bool) -> Retries | None:
    """Compile the section. ``rules`` are the ids of those that give the injection score."""
    if said is None:
        return None
    source, _, name = said.consumer.partition(":")
    return Retries(source, name, said.refusals, said.window_s, said.cooldown_s, said.score, frozenset(rules), enforced)


def _host(address: str) -> str:
    """An address without its port, which is another one for each connection."""
    host, _, port = address.rpartition(":")
    return host if host and port.isdecimal() else address
