"""What the secrets detector finds in the development corpus, counted.

What lives here: the rule of counting, and tallies. What must not: printing, arguments.

A secret counts as found only if it is covered **whole**: every character of it lies in some finding. What stands at the
ends of the span that a fixture marks and is no part of a secret, white space, quotes, line breaks also as escapes,
is taken off before. A finding in a text without a secret is a false one, except in ``rule_fp``: most of those are near
misses, such as a token one character short, which it does no harm to redact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extproc.detectors.base import Detector, Match
from tests.eval.corpus import Record

KINDS = ("token", "jwt", "pem", "context")
CATALOGUES = ("gitleaks", "betterleaks")
"""Where the pack's formats were taken from, apart from the providers' own documents."""

_EDGE = re.compile(r"^(?:[\s\"'`]|\\[nrt])+|(?:[\s\"'`;,]|\\[nrt])+$")
_TABLE = "rules_table.json"


@dataclass(slots=True)
class Tally:
    """Secrets found whole, of how many, and the records in which one was not."""

    found: int = 0
    total: int = 0
    missed: list[tuple[Record, tuple[Match, ...]]] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """Recall; 100 of nothing."""
        return 100 * self.found / self.total if self.total else 100.0


@dataclass(frozen=True, slots=True)
class FalseFinding:
    """A finding in a text without a secret."""

    record: Record
    match: Match


@dataclass(slots=True)
class Negatives:
    """One kind of text without secrets: records, code points, false findings."""

    records: int = 0
    characters: int = 0
    findings: list[FalseFinding] = field(default_factory=list)

    @property
    def per_million(self) -> float:
        """False findings per million code points."""
        return 1e6 * len(self.findings) / self.characters if self.characters else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """``recall`` by (kind, "fixtures" | "generated"), ``sources`` by (kind, source), ``negatives`` by kind."""

    recall: Mapping[tuple[str, str], Tally]
    sources: Mapping[tuple[str, str], Tally]
    negatives: Mapping[str, Negatives]


def measure(detector: Detector, positives: Iterable[Record], negatives: Iterable[Record]) -> Report:
    """Scan every record once."""
    recall: dict[tuple[str, str], Tally] = {}
    sources: dict[tuple[str, str], Tally] = {}
    for record in positives:
        matches = detector.scan(record.text).matches
        found = whole(record, matches)
        made = "generated" if record.generated else "fixtures"
        for tally in (
            recall.setdefault((record.kind, made), Tally()),
            sources.setdefault((record.kind, record.source), Tally()),
        ):
            tally.total += 1
            tally.found += found
            if not found:
                tally.missed.append((record, matches))
    return Report(recall, sources, _false_findings(detector, negatives))


def whole(record: Record, matches: Sequence[Match]) -> bool:
    """Say whether findings cover all of the record's secret."""
    start, end = trimmed(record)
    for match in matches:
        if match.start <= start < match.end:
            start = match.end
    return start >= end


def trimmed(record: Record) -> tuple[int, int]:
    """Give the secret's span without quotes and line breaks at its ends."""
    assert record.secret is not None, "a positive has a secret"
    start, end = record.secret
    secret = record.text[start:end]
    for edge in _EDGE.finditer(secret):
        if edge.start() == 0:
            start += edge.end()
        else:
            end -= len(secret) - edge.start()
    return start, end


def _false_findings(detector: Detector, negatives: Iterable[Record]) -> dict[str, Negatives]:
    kinds: dict[str, Negatives] = {}
    for record in negatives:
        kind = kinds.setdefault(record.kind, Negatives())
        kind.records += 1
        kind.characters += len(record.text)
        kind.findings += [FalseFinding(record, match) for match in detector.scan(record.text).matches]
    return kinds


def rules_not_from(catalogue: str, pack: Mapping[str, Any], corpus: Path, records: Iterable[Record]) -> set[str]:
    """Name the pack's rules whose formats were not taken from a catalogue.

    The table of formats beside the corpus does not say which catalogue an entry is from, so an entry is of each one
    that has fixtures of that name, and of both where none has. A rule with a literal of the table is from there.
    """
    names = {(record.source, _base(record.rule)) for record in records}
    drawn: set[str] = set()
    for entry in json.loads((corpus.parent / _TABLE).read_text(encoding="utf-8")):
        known = {name for name in CATALOGUES if (name, _base(entry["id"])) in names}
        if catalogue in known or not known:
            drawn.update(entry.get("lits", [entry["lit"]]))
    return {rule["id"] for rule in pack["rules"] if drawn.isdisjoint(rule.get("literals", ()))}


def _base(rule: str) -> str:
    return re.sub(r"\.\d+$", "", rule)
