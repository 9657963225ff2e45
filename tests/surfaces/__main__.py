"""``python -m tests.surfaces``: print the matrix; ``--write`` puts it into ``docs/surfaces.md``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.surfaces.matrix import NONE, Cell, matrix

PAGE: Final = Path(__file__).parents[2] / "docs" / "surfaces.md"
START: Final = "<!-- generated: surfaces -->"
END: Final = "<!-- end: surfaces -->"
COLUMNS: Final = ("field", "direction", "scope", "secret", "injection", "what happens")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the matrix and say what is wrong in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.surfaces", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/surfaces.md")
    parser.add_argument("--only", default="", metavar="NAME", help="print one dialect")
    args = parser.parse_args(argv)
    console = Console()
    with console.status("trying every place"):
        cells = matrix()
    for dialect, rows in groupby(cells, key=lambda cell: cell.dialect):
        if args.only in ("", dialect):
            console.print(_table(dialect, tuple(rows)))
    if args.write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), generated(cells)), encoding="utf-8")
        console.print(f"{PAGE.name} written: {len(cells)} places")
    wrong = [cell for cell in cells if cell.problems]
    for cell in wrong:
        console.print(f"[red]{cell.dialect}[/] {cell.direction} {cell.field}: {'; '.join(cell.problems)}")
    return int(bool(wrong))


def _table(dialect: str, cells: Sequence[Cell]) -> Table:
    """A dialect's places: requests above the line, answers below."""
    table = Table(title=dialect, title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("field", ratio=1, overflow="fold")
    for column in ("scope", "secret and injection", "what happens"):
        table.add_column(column, overflow="fold")
    for cell, following in zip(cells, (*cells[1:], None), strict=True):
        both = cell.secret if cell.injection in (cell.secret, NONE) else f"{cell.secret}, {cell.injection}"
        last = following is not None and following.direction != cell.direction
        style = "red" if cell.problems else None
        table.add_row(cell.field, cell.scope, both, cell.happens, style=style, end_section=last)
    return table


def _row(cell: Cell) -> tuple[str, ...]:
    return (cell.field, cell.direction, cell.scope, cell.secret, cell.injection, cell.happens)


def generated(cells: Sequence[Cell]) -> str:
    """The matrix as Markdown."""
    parts = []
    for dialect, rows in groupby(cells, key=lambda cell: cell.dialect):
        lines = [" | ".join(text.replace("|", "\\|") for text in _row(cell)) for cell in rows]
        head = [" | ".join(COLUMNS), "|".join(["---"] * len(COLUMNS))]
        parts.append("\n".join([f"### {dialect}", "", *(f"| {line} |" for line in [*head, *lines])]))
    return "\n\n".join(parts)


def page(text: str, table: str) -> str:
    """The page with this table between its markers."""
    head, _, rest = text.partition(START)
    return f"{head}{START}\n{table}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(main())
