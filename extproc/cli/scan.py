"""``sluicegate scan``: texts through a policy's detectors, without a gateway.

One text gives a readable view, or an object with ``--json``. JSONL of ``{"id", "text"}`` gives one line each, in the
order of the input and as soon as it is known: ``{"id", "action", "score", "findings", "output"}``. Offsets are code
points of the text, ``output`` is what would leave (null: nothing), ``score`` is the injection score (null: no such rule
read the text). A line that cannot be read gives ``{"id", "line", "error"}``, the others go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from io import FileIO
from pathlib import Path

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.policy.engine import TextJudgement, judge_text
from extproc.runtime.bulk_scan import Work, report, scan_lines
from extproc.runtime.store import PolicyErrors, default_policy, load_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.add_argument("text", nargs="?", help='the text, or "-" to read it from standard input')
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy file (default: the one that ships)")
    parser.add_argument("--scope", choices=(*REQUEST_SCOPES, *RESPONSE_SCOPES), default="user", help="whose text it is")
    parser.add_argument("--jsonl", metavar="FILE", help='lines of {"id", "text"}, or "-" for standard input')
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Scan one text or many."""
    if (args.text is None) == (args.jsonl is None):
        print('sluicegate scan: give a text or --jsonl, and one of them ("-" is standard input)', file=sys.stderr)
        return 2
    try:
        path = args.policy or default_policy()
        policy = load_policy(path)
        if args.jsonl is None:
            return _scan_text(policy, args.scope, args.text, args.json)
        return _scan_lines(policy, Work(path, args.scope), args.jsonl, args.jobs or _cores())
    except PolicyErrors as errors:
        print(errors, file=sys.stderr)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(f"sluicegate scan: {error}", file=sys.stderr)
    return 2


# ---- one text ----------------------------------------------------------------------------------------------------


def _scan_text(policy: CompiledPolicy, scope: str, text: str, as_json: bool) -> int:
    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="replace")
    judged = judge_text(policy, scope, text)
    if as_json:
        print(json.dumps(report(None, judged)))
    else:
        _show(policy, scope, judged)
    return 0


def _show(policy: CompiledPolicy, scope: str, judged: TextJudgement) -> None:
    """Print a readable view. Of the text itself only what a redaction left of it is shown."""
    from rich.console import Console
    from rich.table import Table

    console = Console(force_terminal=sys.stdout.isatty(), markup=False, emoji=False, highlight=False)
    style = {Action.ALLOW: "green", Action.DENY: "red"}
    score = "" if judged.score is None else f", injection score {judged.score:.2f}"
    console.print(judged.action.name.lower(), style=style.get(judged.action, "yellow"), end="")
    console.print(f" by policy {policy.name}, scope {scope}{score}")
    if judged.findings:
        table = Table(box=None, pad_edge=False)
        for title in ("RULE", "MATCH", "FROM", "TO", "ACTION", "SCORE"):
            table.add_column(title, overflow="fold")
        for found in judged.findings:
            action = found.action.name.lower() + (" (monitored)" if found.monitored else "")
            table.add_row(found.rule, found.match, str(found.start), str(found.end), action, f"{found.score:.2f}")
        console.print(table)
    if Action.SPOTLIGHT <= judged.action <= Action.REDACT and judged.output is not None:
        console.print("leaves as:", style="bold")
        console.print(_visible(judged.output), soft_wrap=True)


def _visible(text: str) -> str:
    """Keep a text from steering the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


# ---- many texts --------------------------------------------------------------------------------------------------


def _scan_lines(policy: CompiledPolicy, work: Work, name: str, jobs: int) -> int:
    bad_lines = 0
    with _open(name) as source, contextlib.closing(scan_lines(work, policy, source, jobs)) as results:
        for done in results:
            sys.stdout.write(done.output)
            sys.stdout.flush()
            bad_lines += done.bad_lines
    return 1 if bad_lines else 0


def _open(name: str) -> FileIO:
    return FileIO(sys.stdin.fileno(), closefd=False) if name == "-" else FileIO(name)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
