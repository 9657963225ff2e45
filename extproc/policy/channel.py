"""All rules of one response scope over one channel of an answer, as the text runs by.

What lives here: streaming scans merged into one list of redactions. What must not: frames, bytes, how a detector scans.

This is the hot path: where one rule reads a scope, the common case, a feed costs what the detector costs. Where several
do, text settles when all of them are done with it, and where they overlap the strictest wins: a deny ends the channel,
a redaction replaces, a note changes nothing. The outcome depends on the text alone, not on how it was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Span, StreamDetector
from extproc.detectors.gathered import Gathered
from extproc.policy.compiler import CompiledPolicy, Rule
from extproc.policy.decision import Action, Finding
from extproc.policy.reading import finding

OnUnsure: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What happens to code points ``[start, end)`` of a channel.

    ``replacement`` takes their place (a marker, or a value that was masked); None leaves the text as it is (a note, of
    no width). ``finding`` comes with the piece that opens a finding; if its action is DENY and it is not monitored, the
    answer ends at ``start``.
    """

    start: int
    end: int
    replacement: str | None = field(repr=False)
    finding: Finding | None = None


class ChannelScan(Protocol):
    """The scan of one channel: owned by one exchange."""

    settled: int
    """Code points from the channel's start whose fate is known: they may leave, edited by the redactions given."""

    def feed(self, text: str, final: bool) -> list[Redaction]:
        """Take the next text; return redactions newly decided: in order, not overlapping, all before ``settled``."""
        ...

    def pause(self) -> list[Redaction]:
        """Another text of the same choice goes on: settle what can be let go. See ``detectors.base.StreamScan``."""
        ...


def open_channel(
    policy: CompiledPolicy,
    scope: str,
    exchange: Exchange = NO_EXCHANGE,
    on_unsure: OnUnsure = lambda _detector: None,
) -> ChannelScan | None:
    """Start the scan of a channel, or return None where no rule reads its scope.

    ``on_unsure`` hears which external detector would be asked about this text if it stood in a request: an answer does
    not wait for others.
    """
    rules = policy.by_scope[scope]
    if not rules:
        return None
    if len(rules) == 1:
        return _OneRule(rules[0], scope, exchange, on_unsure)
    return _SeveralRules(rules, scope, exchange, on_unsure)


class _OneRule:
    """The common case."""

    __slots__ = ("_rule", "_scan", "_scope", "settled")

    def __init__(self, rule: Rule, scope: str, exchange: Exchange, on_unsure: OnUnsure) -> None:
        self.settled = 0
        self._rule: Final = rule
        self._scope: Final = scope
        self._scan: Final = _detector_of(rule, on_unsure).stream(exchange)

    def feed(self, text: str, final: bool) -> list[Redaction]:
        spans = self._scan.feed(text, final)
        self.settled = self._scan.settled
        return self._redactions(spans) if spans else []

    def pause(self) -> list[Redaction]:
        spans = self._scan.pause()
        self.settled = self._scan.settled
        return self._redactions(spans)

    def _redactions(self, spans: list[Span]) -> list[Redaction]:
        rule, scope = self._rule, self._scope
        if not _acts(rule):
            return [_note(rule, scope, span, span.start) for span in spans if span.opens]
        return [_replace(rule, scope, span, span.start, span.end) for span in spans]


class _SeveralRules:
    """Merges the scans of several rules. A span that is not settled by all of them waits in ``_pending``."""

    __slots__ = ("_covered", "_pending", "_rules", "_scans", "_scope", "settled")

    def __init__(self, rules: tuple[Rule, ...], scope: str, exchange: Exchange, on_unsure: OnUnsure) -> None:
        self.settled = 0
        self._scope: Final = scope
        self._rules: Final = rules
        self._scans: Final = [(rule, _detector_of(rule, on_unsure).stream(exchange)) for rule in rules]
        self._pending: list[tuple[Rule, Span]] = []
        self._covered = 0  # the end of the last piece that was replaced

    def feed(self, text: str, final: bool) -> list[Redaction]:
        for rule, scan in self._scans:
            self._pending += [(rule, span) for span in scan.feed(text, final)]
        return self._ready()

    def pause(self) -> list[Redaction]:
        for rule, scan in self._scans:
            self._pending += [(rule, span) for span in scan.pause()]
        return self._ready()

    def _ready(self) -> list[Redaction]:
        """Take what all rules are done with."""
        pending = self._pending
        settled = min(scan.settled for _, scan in self._scans)
        if not pending:
            self.settled = settled
            return []
        self.settled = settled = _before_harmless(pending, settled)
        ready = [(rule, span) for rule, span in pending if span.start < settled]
        self._pending = [(rule, span) for rule, span in pending if span.start >= settled]
        for at, (rule, span) in enumerate(ready):
            if span.end > settled:
                ready[at] = (rule, replace(span, end=settled))
                self._pending.append((rule, Span(settled, span.end, span.rule, opens=False)))
        # At one place what goes on comes before what begins, and rules come in their order: no cut changes that.
        ready.sort(key=lambda entry: (entry[1].start, entry[1].opens, self._rules.index(entry[0])))
        return self._merge(_unless_taken(ready))

    def _merge(self, ready: list[tuple[Rule, Span]]) -> list[Redaction]:
        wall = next(((rule, span) for rule, span in ready if _denies(rule)), None)
        before = ready if wall is None else [entry for entry in ready if entry[1].start < wall[1].start]
        out = [piece for rule, span in before if (piece := self._piece(rule, span, wall)) is not None]
        if wall is not None:
            out.append(_replace(wall[0], self._scope, wall[1], wall[1].start, wall[1].end))
        return out

    def _piece(self, rule: Rule, span: Span, wall: tuple[Rule, Span] | None) -> Redaction | None:
        """What is left to do for a span beside those before it and the deny after it."""
        start = max(span.start, self._covered)
        end = span.end if wall is None else min(span.end, wall[1].start)
        if not _acts(rule) or start >= end:
            return _note(rule, self._scope, span, start) if span.opens else None
        self._covered = end
        if start == span.start:
            return _replace(rule, self._scope, span, start, end)
        return Redaction(start, end, "", _finding(rule, self._scope, span) if span.opens else None)


def _before_harmless(pending: list[tuple[Rule, Span]], settled: int) -> int:
    """Where text settles so that no harmless form is in the middle: it repeats text that another rule may take out."""
    for rule, span in sorted(pending, key=lambda entry: entry[1].start, reverse=True):
        if span.safe is not None and rule.action is Action.NEUTRALISE and span.start < settled < span.end:
            settled = span.start
    return settled


def _unless_taken(ready: list[tuple[Rule, Span]]) -> list[tuple[Rule, Span]]:
    """The spans, in order, without their harmless form where another rule changes a part of the text."""
    out = list(ready)
    for together in _overlapping(ready):
        if len({(ready[at][1].start, ready[at][1].end, ready[at][1].safe) for at in together}) > 1:
            for at in together:
                out[at] = (ready[at][0], replace(ready[at][1], safe=None))
    return out


def _overlapping(ready: list[tuple[Rule, Span]]) -> list[list[int]]:
    """The indexes of the spans that something is done about; those that overlap are together."""
    groups: list[list[int]] = []
    end = 0
    for at, (rule, span) in enumerate(ready):
        if _acts(rule):
            if groups and span.start < end:
                groups[-1].append(at)
            else:
                groups.append([at])
            end = max(end, span.end)
    return groups


def _acts(rule: Rule) -> bool:
    return rule.action >= Action.NEUTRALISE and not rule.monitored


def _denies(rule: Rule) -> bool:
    return rule.action is Action.DENY and not rule.monitored


def _replace(rule: Rule, scope: str, span: Span, start: int, end: int) -> Redaction:
    if not span.opens:
        return Redaction(start, end, "")
    return Redaction(start, end, _instead(rule, span), _finding(rule, scope, span))


def _instead(rule: Rule, span: Span) -> str:
    """What takes a span's place. One that cannot be made harmless is redacted."""
    if rule.action is Action.NEUTRALISE and span.safe is not None:
        return span.safe
    return _detector_of(rule).marker(span.rule)


def _note(rule: Rule, scope: str, span: Span, at: int) -> Redaction:
    return Redaction(at, at, None, _finding(rule, scope, span))


def _finding(rule: Rule, scope: str, span: Span) -> Finding:
    return finding(rule, scope, Match(span.start, span.end, span.rule))


def _detector_of(rule: Rule, on_unsure: OnUnsure = lambda _detector: None) -> StreamDetector:
    if rule.stream is not None:
        return rule.stream
    second = rule.second
    if second is None:
        return Gathered(rule.detector)
    return Gathered(rule.detector, lambda scan: on_unsure(second.detector) if second.wanted(scan.score) else None)
