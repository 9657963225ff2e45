"""Driving a streaming scan as its contract says, whatever it looks for."""

from __future__ import annotations

from itertools import pairwise

from extproc.detectors.base import Span, StreamScan

Finding = tuple[int, int, str]


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at these places, counted round and round."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def join(found: list[Finding], span: Span) -> None:
    """Add a span: as a finding of its own, or to the one that it continues."""
    if span.opens:
        assert not found or found[-1][1] <= span.start
        found.append((span.start, span.end, span.rule))
        return
    start, end, rule = found[-1]
    assert (end, rule) == (span.start, span.rule)
    found[-1] = (start, span.end, rule)


def drive(scan: StreamScan, pieces: list[str], held_max: int | None = None) -> list[Finding]:
    """Feed the pieces, check the contract at every step, and give the findings, each with its continuations."""
    found: list[Finding] = []
    fed = settled = 0
    for number, piece in enumerate(pieces, 1):
        spans = scan.feed(piece, number == len(pieces))
        fed += len(piece)
        assert settled <= scan.settled <= fed
        assert held_max is None or fed - scan.settled <= held_max
        for span in spans:
            assert settled <= span.start < span.end <= scan.settled
            join(found, span)
        settled = scan.settled
    assert settled == fed
    return found
