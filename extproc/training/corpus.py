"""Labelled texts: reading them, and their division into folds by source.

What lives here: the rows of a corpus. What must not: features, models, reports.

A corpus is JSON Lines, plain or gzipped: ``{"text": ..., "label": 1 or 0}`` with, if known, ``source``, ``lang`` and
``licence``. The label is 1 for an attack. Without ``source`` the file's name is the source.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEXT_MAX: Final = 6000  # code points of a text that are looked at
FOLDS: Final = 8
SMALL: Final = 100  # texts of a label that a source must have to count in an average over sources


class CorpusError(ValueError):
    """A corpus cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text, and the file and line it is from."""

    text: str
    attack: bool
    source: str
    language: str = ""
    licence: str = ""
    place: str = ""


def read_corpus(paths: Iterable[Path], without: Iterable[str] = ()) -> list[Row]:
    """Read files, and all JSONL files of folders; the sources named by ``without`` are left out.

    Raises:
        CorpusError: a file cannot be read, or a line is not a labelled text.
    """
    left_out = frozenset(without)
    files = [file for path in paths for file in _files(path)]
    return [row for file in files for row in _rows(file) if row.source not in left_out]


def folds_of(rows: Sequence[Row], given: dict[str, int] | None = None) -> dict[str, int]:
    """Put every source into one fold, so that the folds hold about as many texts of either label.

    ``given`` has the folds of sources that are to stay where they are.
    """
    counts = Counter((row.source, row.attack) for row in rows)
    sources = sorted({row.source for row in rows}, key=lambda name: (-counts[name, True] - counts[name, False], name))
    folds = dict(given or {})
    sizes: Counter[tuple[int, bool]] = Counter()
    for name in sources:
        for attack in (True, False):
            if name in folds:
                sizes[folds[name], attack] += counts[name, attack]
    for name in sources:
        if name not in folds:
            main = counts[name, True] >= counts[name, False]
            folds[name] = min(range(FOLDS), key=lambda fold: (sizes[fold, main], fold))
            for attack in (True, False):
                sizes[folds[name], attack] += counts[name, attack]
    return folds


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
    if not found:
        raise CorpusError(f"{path}: no .jsonl or .jsonl.gz file in it")
    return found


def _rows(path: Path) -> Iterator[Row]:
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _row(line, name, f"{path}:{number}")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _row(line: str, name: str, where: str) -> Row:
    try:
        data = json.loads(line)
        text, label = data["text"], data["label"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorpusError(f'{where}: not a JSON object with "text" and "label"') from None
    if not isinstance(text, str) or label not in (0, 1):
        raise CorpusError(f'{where}: "text" must be a string and "label" 1 (an attack) or 0')
    names = (str(data.get(field) or "") for field in ("source", "lang", "licence"))
    source, language, licence = (each.encode("utf-8", "replace").decode() for each in names)
    return Row(text[:TEXT_MAX], bool(label), source or name, language, licence, where)
