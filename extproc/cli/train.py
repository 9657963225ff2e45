"""``sluicegate train``: labelled texts in, a model file and a report out.

The same texts, options and seed give the same file, byte by byte. What was found is told in a table, or with ``--json``
as the model's card. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from extproc.cli.corpora import PLOTS, add_corpora, missing_extra, progress, rows_of, sources_exist
from extproc.detectors.pack import PackError
from extproc.training.corpus import CorpusError
from extproc.training.inputs import Unusable, read_concepts, read_folds, read_licences, read_pack

_HIGHEST: Final = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    add_corpora(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where the model goes")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a report with plots into this folder")
    parser.add_argument(
        "--evaluate-only",
        nargs="+",
        action="extend",
        default=[],
        metavar="SOURCE",
        help="judge by these sources, but train nothing on them",
    )
    parser.add_argument(
        "--hard",
        nargs="+",
        action="extend",
        default=[],
        metavar="SOURCE",
        help="texts of these sources look like attacks; those that are none are counted apart",
    )
    parser.add_argument(
        "--false-positives",
        type=_rate,
        default=0.005,
        metavar="SHARE",
        help="the share of harmless texts that the threshold may flag, every source weighing the same",
    )
    parser.add_argument("--pack", type=Path, metavar="FILE", help="rules beside the model (default: those that ship)")
    parser.add_argument("--concepts", type=Path, metavar="FILE", help="words by concept (default: those that ship)")
    parser.add_argument(
        "--folds", type=Path, metavar="FILE", help="JSON of {source: fold} for sources that belong together"
    )
    parser.add_argument("--licences", type=Path, metavar="FILE", help="JSON of {source: licence}, for the card")
    parser.add_argument("--name", metavar="NAME", help="the model's name (default: the file's)")
    parser.add_argument("--date", type=_date, metavar="DATE", help="the card's date (default: today)")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything that is drawn")
    parser.add_argument("--json", action="store_true", help="print the model's card as JSON")


def run(args: argparse.Namespace) -> int:
    """Train; 0 if a model was written, 2 if the texts do not do or a file cannot be used."""
    if missing_extra("train", PLOTS if args.report else PLOTS[:3]):
        return 2
    try:
        model = _train(args)
    except (CorpusError, Unusable) as error:
        print(f"sluicegate train: {error}", file=sys.stderr)
        return 2
    except PackError as error:
        print(f"sluicegate train: {args.pack or 'the pack that ships'}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(f"sluicegate train: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(json.dumps(model["card"], ensure_ascii=False)) if args.json else _show(args, model)
    return 0


def _train(args: argparse.Namespace) -> Mapping[str, Any]:
    from extproc.training.card import card_of
    from extproc.training.model import flat_concepts, written
    from extproc.training.study import Task, final_model, study

    if not args.output.parent.is_dir() or args.output.is_dir():  # known before minutes of training
        raise Unusable(f"{args.output}: must be a file in a folder that is there")
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
    pack = read_pack(args.pack)
    concepts = flat_concepts(read_concepts(args.concepts))
    folds, licences = read_folds(args.folds), read_licences(args.licences)
    with progress() as tell:
        rows = rows_of(args)
        for option in ("evaluate_only", "hard"):
            sources_exist(rows, getattr(args, option), f"--{option.replace('_', '-')}")
        task = Task(rows, pack, concepts, frozenset(args.evaluate_only), folds, args.false_positives, args.seed)
        studied = study(task, tell)
        card = card_of(task, studied, args.date or _today(), licences, args.hard)
        model = final_model(task, studied, args.name or args.output.stem, card)
    _write(args.output, written(model))
    if args.report:
        from extproc.training.report import training_report

        training_report(args.report, task, studied, model)
    return model


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: a server may be watching it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105 - nothing else is a rename over what is there


def _show(args: argparse.Namespace, model: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    width = None if terminal else 160
    console = Console(force_terminal=terminal, markup=False, emoji=False, highlight=False, width=width)
    metrics = model["card"]["metrics"]
    table = Table(box=None, pad_edge=False)
    for title in ("FALSE POSITIVES", "FOUND %", "FOUND* %", "FALSE POSITIVES* %"):
        table.add_column(title, justify="right")
    for rate, found in metrics["recall"].items():
        nested = metrics["nested"][rate]
        table.add_row(rate, *(_figure(each) for each in (found, nested["recall"], nested["false_positives"])))
    console.print(table)
    console.print("* with thresholds from other sources: what to expect. In brackets 95 % intervals.", soft_wrap=True)
    if hard := metrics.get("hard_others"):
        console.print(f"flagged of {hard['texts']:,} hard texts that are no attacks: {_figure(hard)} %", soft_wrap=True)
    weights = sum(len(features.split("\n")) for features in model["weights"].values())
    size = args.output.stat().st_size / 1000
    console.print(
        f"calibration error {100 * metrics['calibration_error']:.1f} %, threshold {model['threshold']:.3f}, "
        f"{weights:,} weights, {size:,.0f} kB: {args.output}",
        soft_wrap=True,
    )
    if args.report:
        console.print(f"report: {args.report / 'report.md'}", soft_wrap=True)


def _figure(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _HIGHEST:
        raise argparse.ArgumentTypeError(f"must be a share above 0 and up to {_HIGHEST}, such as 0.005")
    return value


def _date(text: str) -> str:
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date such as 2026-01-31") from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError("must be a whole number from 0 on, below 2**32")
    return int(text)
