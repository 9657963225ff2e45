"""What ``train`` and ``eval`` have in common: corpora, saying how far they are, and saying what is not installed.

What lives here: the reading of corpora as arguments name them, progress. What must not: training, judging, tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from extproc.training.corpus import CorpusError, Row, read_corpus

Tell: TypeAlias = Callable[[str, int, int], None]

PLOTS: Final = ("numpy", "scipy", "sklearn", "matplotlib")
"""The modules of the extra ``train``."""


def add_corpora(parser: argparse.ArgumentParser) -> None:
    """Name the arguments that say which texts are read."""
    parser.add_argument(
        "corpus",
        nargs="+",
        type=Path,
        metavar="CORPUS",
        help='JSONL files of {"text", "label", "source"?}, label 1 for attacks, also gzipped; or folders of them',
    )
    parser.add_argument(
        "--without", nargs="+", action="extend", default=[], metavar="SOURCE", help="leave these sources out"
    )


def rows_of(args: argparse.Namespace) -> list[Row]:
    """Read the corpora that the arguments name.

    Raises:
        CorpusError: a file, a line or a name is wrong.
    """
    rows = read_corpus(args.corpus)
    sources_exist(rows, args.without, "--without")
    left_out = frozenset(args.without)
    return [row for row in rows if row.source not in left_out]


def sources_exist(rows: Sequence[Row], named: Iterable[str], option: str) -> None:
    """See that texts of each named source are there: a misspelt one must not slip in or out.

    Raises:
        CorpusError: one is not there.
    """
    sources = {row.source for row in rows}
    if unknown := sorted(set(named) - sources):
        raise CorpusError(f"{option}: no texts of the source {unknown[0]!r}; there are {', '.join(sorted(sources))}")


def missing_extra(verb: str, needed: Iterable[str]) -> bool:
    """Say what is not installed of what a verb needs, if anything is not."""
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        print(f"sluicegate {verb} needs {', '.join(missing)}: pip install 'sluicegate[train]'", file=sys.stderr)
    return bool(missing)


@contextmanager
def progress() -> Iterator[Tell]:
    """Show how far a step is on stderr: a bar on a terminal, elsewhere a line for each step that is done."""
    if not sys.stderr.isatty():
        yield _tell_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("reading corpora", total=None)
        yield lambda what, done, total: shown.update(task, description=what, completed=done, total=total)


def _tell_line(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"{what}: {total:,} done", file=sys.stderr)
