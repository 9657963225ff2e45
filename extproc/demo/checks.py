"""What must be true of one exchange: the client's side, the upstream's side and the gate's audit line, side by side.

A check reads one observation and yields complaints; none means as expected. Checks compare what the client saw with
what the upstream itself saw and said, never with the gate's word alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.demo import scripts
from extproc.demo.clients import Seen
from extproc.demo.gate import Audit
from extproc.demo.phrasing import Said, said
from extproc.demo.scripts import ALLOWED_TOOL, FORBIDDEN_TOOL
from extproc.demo.standin import Exchange

_MARKER: Final = r"\[REDACTED:[^\]\s]+\]"
_KEY_PIECE_CHARS: Final = 6


@dataclass(frozen=True, slots=True)
class Observation:
    """One exchange through the gate: the client's side, the upstream's side, and the gate's audit line."""

    seen: Seen
    reached: tuple[Exchange, ...]
    audit: Audit | None
    key: str

    @property
    def said(self) -> Said:
        """What the upstream answered, if anything reached it."""
        return said(bytes(self.reached[-1].answer)) if self.reached else Said()

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that the audit line names, and the reason of a denial."""
        audit = self.audit or {"findings": (), "reason": ""}
        names = [*(finding["rule"] for finding in audit["findings"]), audit["reason"]]
        return tuple(dict.fromkeys(name for name in names if name))


Check: TypeAlias = Callable[[Observation], Iterator[str]]


def _audited(observation: Observation, action: str, rule: str = "") -> Iterator[str]:
    if observation.audit is None:
        yield "the audit log has no line for this exchange"
        return
    if observation.audit["action"] != action:
        yield f"the audit log says {observation.audit['action']}, not {action}"
    if rule and rule not in observation.rules:
        yield f"the audit log does not name {rule}"


def _answered(observation: Observation) -> Iterator[str]:
    seen = observation.seen
    if seen.refused:
        yield f"the client got {seen.error} {seen.status}: {seen.text}"
    if not observation.reached:
        yield "the upstream saw no request"
    yield from (exchange.failure for exchange in observation.reached if exchange.failure)


def unchanged(observation: Observation) -> Iterator[str]:
    """The client gets what the upstream said, word for word, and nothing is found."""
    yield from _answered(observation)
    if not observation.seen.text or observation.seen.text != observation.said.text:
        yield "the client's text is not the upstream's"
    yield from _audited(observation, "allow")


def refused(rule: str, error: str, status: int = 403, code: str = "") -> Check:
    """The client's own exception with our message, and the upstream never saw the request."""

    def check(observation: Observation) -> Iterator[str]:
        seen = observation.seen
        if (seen.error, seen.status) != (error, status):
            yield f"the client got {seen.error or 'an answer'} {seen.status}, not {error} {status}"
        if code and seen.code != code:
            yield f"the error's code is {seen.code or 'missing'}, not {code}"
        if not seen.text:
            yield "the error says nothing"
        if observation.reached:
            yield "the upstream saw the request"
        yield from _audited(observation, "deny", rule)

    return check


def redacted(rule: str) -> Check:
    """The key is gone whole, a marker stands in its place, and the text around it is intact."""

    def check(observation: Observation) -> Iterator[str]:
        yield from _answered(observation)
        text, key = observation.seen.text, observation.key
        if key not in observation.said.text:
            yield "the upstream did not leak the key"
        pieces = {key[at : at + _KEY_PIECE_CHARS] for at in range(len(key) - _KEY_PIECE_CHARS + 1)}
        if any(piece in text for piece in pieces):
            yield "a piece of the key reached the client"
        expected = re.escape(scripts.BEFORE_KEY) + _MARKER + re.escape(scripts.AFTER_KEY)
        if not re.fullmatch(expected, text):
            yield "the text around the key is not intact"
        yield from _audited(observation, "redact", rule)

    return check


def stripped(rule: str) -> Check:
    """The upstream saw the allowed tool only, and the answer is its."""

    def check(observation: Observation) -> Iterator[str]:
        yield from _answered(observation)
        for exchange in observation.reached:
            if exchange.declared_tools() != (ALLOWED_TOOL,):
                yield f"the upstream saw the tools {', '.join(exchange.declared_tools())}"
        if observation.seen.calls != (ALLOWED_TOOL,):
            yield "the call to the allowed tool did not arrive"
        yield from _audited(observation, "redact", rule)

    return check


def cut_off(rule: str) -> Check:
    """The call never leaves, what was said before it does, and the stream ends as the API defines."""

    def check(observation: Observation) -> Iterator[str]:
        yield from _answered(observation)
        seen, upstream = observation.seen, observation.said
        if FORBIDDEN_TOOL not in upstream.calls:
            yield "the upstream did not call the tool"
        if seen.calls:
            yield f"the client got a call to {', '.join(seen.calls)}"
        if not seen.text.startswith(upstream.text) or seen.text == upstream.text:
            yield "the client got no notice after the text"
        if seen.finish != "content_filter":
            yield f"the stream ended with {seen.finish or 'nothing'}, not content_filter"
        yield from _audited(observation, "deny", rule)

    return check
