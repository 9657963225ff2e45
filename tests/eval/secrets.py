"""``python -m tests.eval.secrets``: how good the shipped secrets pack is, on the development corpus.

Recall counts secrets that are covered whole, see ``tests.eval.quality``. The corpus never ships; it is looked for in
``SLUICEGATE_DATA``, then in ``shared`` beside the checkout, and where it is absent the exit code is 2.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from extproc.detectors import secrets
from extproc.runtime.yaml_source import read_yaml
from tests.eval import corpus, gaps, quality

PACK = corpus.CHECKOUT / "policies/packs/secrets.yaml"
_PROSE = ("llm_output", "docs_code")


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval.secrets", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--misses", action="store_true", help="list records of misses and of false findings")
    parser.add_argument("--show", action="store_true", help="as --misses, with the texts; they are fakes")
    parser.add_argument("--pack", type=Path, default=PACK, metavar="FILE", help="another pack")
    args = parser.parse_args(argv)
    folder = corpus.secrets_corpus()
    if folder is None:
        print("no corpus: set SLUICEGATE_DATA to the folder that holds data/secrets", file=sys.stderr)
        return 2
    pack = read_yaml(args.pack.read_text(encoding="utf-8")).data
    positives, negatives = corpus.positives(folder), corpus.negatives(folder)
    console = Console(stderr=args.json)
    detector = secrets.build(pack, {})
    report = quality.measure(
        detector, positives, track(negatives, "scanning", console=console, transient=True, disable=args.json)
    )
    left_out = {name: _recall_without(name, pack, folder, positives, negatives) for name in quality.CATALOGUES}
    if args.json:
        print(json.dumps(as_json(report, left_out, detector), indent=2))
        return 0
    console.print(_recall(report), _reasons(report), _sources(report, left_out), _false(report))
    console.print(
        f"{len(detector.entries)} rules, {len(_providers(detector))} providers, {args.pack.stat().st_size} bytes"
    )
    if args.misses or args.show:
        _list(console, report, args.show)
    return 0


def _recall_without(
    catalogue: str,
    pack: Mapping[str, Any],
    folder: Path,
    positives: list[corpus.Record],
    negatives: list[corpus.Record],
) -> quality.Report:
    """Measure the fixtures of a catalogue with those rules alone whose formats were not taken from it."""
    kept = quality.rules_not_from(catalogue, pack, folder, [*positives, *negatives])
    smaller = {**copy.copy(pack), "rules": [rule for rule in pack["rules"] if rule["id"] in kept]}
    return quality.measure(secrets.build(smaller, {}), [r for r in positives if r.source == catalogue], ())


def as_json(
    report: quality.Report, left_out: Mapping[str, quality.Report], detector: secrets.SecretsDetector
) -> dict[str, Any]:
    """Give the figures as plain data."""
    return {
        "rules": len(detector.entries),
        "providers": len(_providers(detector)),
        "recall": {" ".join(key): _tally(tally) for key, tally in sorted(report.recall.items())},
        "sources": {" ".join(key): _tally(tally) for key, tally in sorted(report.sources.items())},
        "left_out": {
            " ".join(key): _tally(tally) for part in left_out.values() for key, tally in sorted(part.sources.items())
        },
        "reasons": Counter(
            gaps.reason(record) or "not known"
            for key, tally in report.recall.items()
            for record, _ in tally.missed
            if key[0] != "context"
        ),
        "false": {
            kind: {"texts": found.records, "findings": len(found.findings), "per_million": round(found.per_million, 3)}
            for kind, found in report.negatives.items()
        },
    }


def _tally(tally: quality.Tally) -> dict[str, float]:
    return {"found": tally.found, "total": tally.total, "percent": round(tally.percent, 1)}


def _providers(detector: secrets.SecretsDetector) -> set[str]:
    return {entry.provider for entry in detector.entries.values()}


# ---- tables ------------------------------------------------------------------------------------------------------


def _recall(report: quality.Report) -> Table:
    table = Table("kind", title="Secrets covered whole", title_justify="left")
    for column in ("fixtures", "%", "LLM-shaped", "%"):
        table.add_column(column, justify="right")
    for kind in quality.KINDS:
        cells = []
        for made in ("fixtures", "generated"):
            tally = report.recall.get((kind, made), quality.Tally())
            cells += [f"{tally.found}/{tally.total}", f"{tally.percent:.1f}"]
        table.add_row(kind, *cells)
    return table


def _reasons(report: quality.Report) -> Table:
    table = Table("reason", title="Why tokens, JWTs and PEM blocks are missed", title_justify="left")
    table.add_column("misses", justify="right")
    missed = [record for key, tally in report.recall.items() if key[0] != "context" for record, _ in tally.missed]
    for reason, count in Counter(gaps.reason(record) or "not known" for record in missed).most_common():
        table.add_row(reason, str(count))
    return table


def _sources(report: quality.Report, left_out: Mapping[str, quality.Report]) -> Table:
    table = Table("kind", "source", title="By source, and without the rules drawn from it", title_justify="left")
    for column in ("found", "%", "without its rules", "%"):
        table.add_column(column, justify="right")
    for kind in quality.KINDS:
        for (of, source), tally in sorted(report.sources.items()):
            if of == kind:
                without = left_out[source].sources[kind, source] if source in left_out else tally
                cells = [f"{part.found}/{part.total}" for part in (tally, without)]
                table.add_row(kind, source, cells[0], f"{tally.percent:.1f}", cells[1], f"{without.percent:.1f}")
    return table


def _false(report: quality.Report) -> Table:
    table = Table("kind", title="Findings in texts without a secret", title_justify="left")
    for column in ("texts", "findings", "per MB"):
        table.add_column(column, justify="right")
    for kind, found in sorted(report.negatives.items()):
        name = f"{kind} (not counted)" if kind == "rule_fp" else kind
        table.add_row(
            name, str(found.records), str(len(found.findings)), f"{found.per_million:.2f}" if kind in _PROSE else ""
        )
    return table


def _list(console: Console, report: quality.Report, show: bool) -> None:
    """List misses and false findings; the texts only where asked for."""
    for key, tally in sorted(report.recall.items()):
        if key[0] == "context":
            continue
        for record, matches in tally.missed:
            found = " ".join(f"{match.start}-{match.end}:{match.rule}" for match in matches) or "nothing"
            start, end = quality.trimmed(record)
            line = f"missed {record.kind} {record.id} {record.source} {record.rule} {start}-{end}, found {found}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if show:
                console.print(f"    {record.text!r}", markup=False, highlight=False, soft_wrap=True)
    for kind, negatives in sorted(report.negatives.items()):
        for false in negatives.findings if kind != "rule_fp" else ():
            line = f"false {kind} {false.record.id} {false.match.rule} {false.match.start}-{false.match.end}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if show:
                around = false.record.text[max(false.match.start - 30, 0) : false.match.end + 30]
                console.print(f"    {around!r}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
