"""``sluicegate check``: are these policies valid, and what do their rules do. Every problem at once, with its line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extproc.policy.document import RuleDocument, json_schema
from extproc.runtime.store import LoadedPolicy, PolicyErrors, PolicyProblem, Unreadable, read_policy

_COLUMNS = ("RULE", "DETECTOR", "ACTION", "MODE", "OWASP", "SCOPES")


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="policy files")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--json", action="store_true", help="one JSON object per file")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a policy, for editors")


def run(args: argparse.Namespace) -> int:
    """Check each file; 0 if all are valid, 1 if one is not, 2 if one cannot be read or none is named."""
    if args.schema:
        print(json_schema(), end="")
        return 0
    if not args.files:
        print("sluicegate check: name a policy file, or --schema", file=sys.stderr)
        return 2
    return max(_check(path, args.strict, args.json) for path in args.files)


def _check(path: Path, strict: bool, as_json: bool) -> int:
    loaded: LoadedPolicy | None = None
    errors: Sequence[PolicyProblem] = ()
    warnings: Sequence[PolicyProblem] = ()
    failed = 1
    try:
        loaded = read_policy(path)
        errors, warnings = (loaded.warnings, ()) if strict else ((), loaded.warnings)
    except PolicyErrors as wrong:
        errors, failed = wrong.problems, 2 if isinstance(wrong, Unreadable) else 1
    if as_json:
        print(json.dumps(_report(path, loaded, errors, warnings)))
    else:
        _show(path, loaded, errors, warnings)
    return failed if errors else 0


def _show(
    path: Path, loaded: LoadedPolicy | None, errors: Sequence[PolicyProblem], warnings: Sequence[PolicyProblem]
) -> None:
    for problem in errors:
        print(problem, file=sys.stderr)
    for problem in warnings:
        print(f"{problem} (warning)", file=sys.stderr)
    if loaded is None or errors:
        return
    for line in _table([_COLUMNS, *(_row(loaded, rule) for rule in loaded.document.spec.rules)]):
        print(line)
    print(f"{path}: ok, {loaded.policy.revision}")


def _row(loaded: LoadedPolicy, rule: RuleDocument) -> tuple[str, ...]:
    mode = rule.mode or loaded.document.spec.mode
    return (rule.id, rule.detector, rule.action, mode, " ".join(rule.owasp), " ".join(rule.scope))


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _report(
    path: Path, loaded: LoadedPolicy | None, errors: Sequence[PolicyProblem], warnings: Sequence[PolicyProblem]
) -> dict[str, Any]:
    spec = None if loaded is None else loaded.document.spec
    return {
        "file": str(path),
        "ok": not errors,
        "revision": loaded.policy.revision if loaded else None,
        "rules": []
        if spec is None
        else [{**rule.model_dump(by_alias=True), "mode": rule.mode or spec.mode} for rule in spec.rules],
        "errors": [_as_json(problem) for problem in errors],
        "warnings": [_as_json(problem) for problem in warnings],
    }


def _as_json(problem: PolicyProblem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("file", "line", "column", "where", "message")}
