"""``sluicegate eval``: what detectors make of labelled texts, one or two of them side by side.

Texts are never printed: a text that two detectors judge differently is named by its file and line. The report with
plots needs the extra ``train``; all else runs without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from extproc.chat import Json
from extproc.cli.corpora import PLOTS, add_corpora, missing_extra, progress, rows_of
from extproc.training.corpus import SMALL, CorpusError
from extproc.training.inputs import Unusable, Wanted, candidate
from extproc.training.judging import compare, comparison, figures, judge

_SHOWN: Final = 10  # changed texts of a kind


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    add_corpora(parser)
    parser.add_argument("--against", action="store_true", help="compare with another detector")
    _add_detector(parser, "", "the detector to judge")
    _add_detector(parser, "against-", "the detector to compare it with; each of these means --against, too")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a report with plots into this folder")
    parser.add_argument("--json", action="store_true", help="print JSON, with the place of every text that changed")


def run(args: argparse.Namespace) -> int:
    """Judge; 0 if done, 2 if a corpus, a detector or a folder cannot be used."""
    if args.report and missing_extra("eval --report", PLOTS):
        return 2
    try:
        told = _eval(args)
    except (CorpusError, Unusable) as error:
        print(f"sluicegate eval: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(f"sluicegate eval: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        _show(told)
    if args.report:
        print(f"report: {args.report / 'report.md'}", file=sys.stderr)
    return 0


def _add_detector(parser: argparse.ArgumentParser, prefix: str, title: str) -> None:
    group = parser.add_argument_group(title)
    group.add_argument(f"--{prefix}policy", type=Path, metavar="FILE", help="of a policy (default: the one that ships)")
    group.add_argument(
        f"--{prefix}rule", metavar="ID", help="which of the policy's rules (default: its injection rule)"
    )
    group.add_argument(f"--{prefix}model", type=Path, metavar="FILE", help="a model, with the rules that ship")
    group.add_argument(f"--{prefix}pack", type=Path, metavar="FILE", help="rules, with the model if one is named")
    group.add_argument(
        f"--{prefix}threshold", type=_score, metavar="T", help="flag scores from T on (default: the detector's own)"
    )


def _wanted(args: argparse.Namespace, prefix: str) -> Wanted:
    return Wanted(*(getattr(args, prefix + name) for name in ("policy", "rule", "model", "pack", "threshold")))


def _eval(args: argparse.Namespace) -> dict[str, Json]:
    wanted = [_wanted(args, "")]
    if args.against or _wanted(args, "against_") != Wanted():
        wanted.append(_wanted(args, "against_"))
    candidates = [candidate(each) for each in wanted]
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
    with progress() as tell:
        rows = rows_of(args)
        if not rows:
            raise CorpusError("no texts to judge by")
        judged = [judge(each, rows, tell) for each in candidates]
    told: dict[str, Json] = {"texts": len(rows), "detectors": [figures(rows, each) for each in judged]}
    if len(judged) == 2:  # the second is what there is, the first what may take its place
        told["difference"] = comparison(compare(rows, judged[1], judged[0]))
    if args.report:
        from extproc.training.report import judging_report

        judging_report(args.report, rows, judged, told)
    return told


# ---- tables ------------------------------------------------------------------------------------------------------


def _show(told: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(
        force_terminal=terminal, markup=False, emoji=False, highlight=False, width=None if terminal else 160
    )
    for detector in told["detectors"]:
        table = Table(box=None, pad_edge=False)
        for title in ("SOURCE", "TEXTS", "FLAGGED", "95 %", "SCORE 5 %", "MEDIAN", "95 %", "CPU MS", "95 %"):
            table.add_column(title, justify="left" if title == "SOURCE" else "right", overflow="fold")
        for found in detector["sources"]:
            kind = "attacks" if found["label"] else "others"
            table.add_row(f"{found['source']}, {kind}", *_cells(found), *_measured(found))
        table.add_row("all", f"{told['texts']:,}", "", "", *_measured(detector))
        console.print(detector["name"], style="bold")
        console.print(table)
        console.print(_summary(detector), soft_wrap=True)
        console.print()
    if "difference" in told:
        _show_difference(console, told["difference"], [detector["name"] for detector in told["detectors"]])


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    share, interval = f"{100 * found['share']:.1f} %", f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"
    return f"{found['texts']:,}", share, interval


def _measured(found: Mapping[str, Any]) -> tuple[str, ...]:
    scores = (f"{found['scores'][name]:.2f}" for name in ("p5", "p50", "p95"))
    return (*scores, *(f"{found['cpu_ms'][name]:.2f}" for name in ("median", "p95")))


def _summary(detector: Mapping[str, Any]) -> str:
    threshold = "" if detector["threshold"] is None else f", at {detector['threshold']}"
    shares = (_share(detector["recall"]), _share(detector["false_positives"]))
    if None in (detector["recall"], detector["false_positives"]):
        threshold += f" (an average is of sources of {SMALL} texts or more)"
    return (
        f"every source weighing the same: found {shares[0]}, false positives {shares[1]}{threshold}; "
        f"calibration error {100 * detector['calibration_error']:.1f} %"
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _show_difference(console: Any, difference: Mapping[str, Any], names: Sequence[str]) -> None:
    console.print(f"{names[0]} against {names[1]}", style="bold")
    for name, what in (("recall", "found"), ("false_positives", "false positives")):
        if found := difference[name]:
            value, low, high = (100 * found[part] for part in ("value", "low", "high"))
            console.print(f"{what}: {value:+.2f} points ({low:+.2f} to {high:+.2f})", soft_wrap=True)
    for change, what in (("newly_flagged", "newly flagged"), ("no_longer_flagged", "no longer flagged")):
        for kind in ("attacks", "others"):
            places = difference[change][kind]
            more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
            listed = f": {', '.join(places[:_SHOWN])}{more}" if places else ""
            console.print(f"{what}: {len(places):,} {kind}{listed}", soft_wrap=True)


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be a score from 0 to 1")
    return value
