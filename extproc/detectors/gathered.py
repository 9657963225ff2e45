"""A detector that needs a whole text, over text that comes in pieces: it waits for the last one.

What lives here: that adapter. What must not: a detector. It is for texts that are whole where they stand (the result of
a tool, a document); running text would be held up to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.detectors.base import NO_EXCHANGE, Detector, Exchange, Scan, Span


class Gathered:
    """A detector as a stream detector whose scans settle nothing before the end."""

    __slots__ = ("_detector", "_on_scan", "name")

    def __init__(self, detector: Detector, on_scan: Callable[[Scan], object] = lambda _scan: None) -> None:
        """``on_scan`` hears what a scan says of its whole text."""
        self.name = detector.name
        self._detector: Final = detector
        self._on_scan: Final = on_scan

    def scan(self, text: str) -> Scan:
        """Look at one whole text."""
        return self._detector.scan(text)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> _GatheredScan:  # noqa: ARG002 - the text is all it knows
        """A fresh scan."""
        return _GatheredScan(self._detector, self._on_scan)

    def marker(self, rule: str) -> str:
        """What takes a span's place that has no harmless form. No rule may redact with such a detector."""
        return f"[REDACTED:{rule}]"


class _GatheredScan:
    __slots__ = ("_detector", "_on_scan", "_texts", "settled")

    def __init__(self, detector: Detector, on_scan: Callable[[Scan], object]) -> None:
        self._on_scan: Final = on_scan
        self.settled = 0
        self._detector: Final = detector
        self._texts: Final[list[str]] = []

    def feed(self, text: str, final: bool) -> list[Span]:
        self._texts.append(text)
        if not final:
            return []
        whole = "".join(self._texts)
        self.settled = len(whole)
        scan = self._detector.scan(whole)
        self._on_scan(scan)
        spans: list[Span] = []
        for match in sorted(scan.matches, key=lambda match: (match.start, match.end)):
            start = max(match.start, spans[-1].end) if spans else match.start
            # A harmless form is that of the whole match.
            safe = match.safe if start == match.start else None
            spans.append(Span(start, max(start, match.end), match.rule, safe=safe))
        return spans

    def pause(self) -> list[Span]:
        return []
