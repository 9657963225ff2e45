"""The development corpus of secrets: where it is, and its records as they are meant to be read.

What lives here: files and records. What must not: detectors, figures.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
GENERATED = "llm_gen"
"""The source of the positives that were made for the corpus; those of the other sources are fixtures of scanners."""


@dataclass(frozen=True, slots=True)
class Record:
    """One text. ``secret`` is the code points ``[start, end)`` of what nobody may see, if there is anything."""

    id: str
    kind: str
    source: str
    rule: str
    text: str
    secret: tuple[int, int] | None

    @property
    def generated(self) -> bool:
        """Whether the text was made for the corpus, in the shapes of what a model answers."""
        return self.source == GENERATED


def secrets_corpus() -> Path | None:
    """The folder of the corpus: in ``SLUICEGATE_DATA``, or in ``shared`` beside the checkout; nothing where absent."""
    return next((path for path in data_folders("secrets/dev") if _holds(path)), None)


def data_folders(name: str) -> tuple[Path, ...]:
    """Where a corpus may be, by its name below ``data``."""
    named = os.environ.get("SLUICEGATE_DATA")
    base = Path(named) if named else CHECKOUT.parent / "shared"
    return base / "data" / name, base / name, base


def positives(folder: Path) -> list[Record]:
    """Texts with one secret each: kinds token, jwt, pem and context (known by the words beside it only)."""
    return list(_records(folder / "positives.jsonl.gz"))


def negatives(folder: Path) -> list[Record]:
    """Texts without a secret: kinds hard, placeholder and rule_fp, and prose of kinds llm_output and docs_code."""
    return [*_records(folder / "negatives.jsonl.gz"), *_records(folder / "negatives_prose.jsonl.gz")]


def _holds(path: Path) -> bool:
    return (path / "positives.jsonl.gz").is_file()


def _records(path: Path) -> Iterator[Record]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield _record(json.loads(line))


def _record(line: dict[str, Any]) -> Record:
    """Texts and rule names are stored backwards, so that no scanner takes the corpus for real."""
    spans = [(start, end) for start, end in line["spans"]]
    return Record(line["id"], line["cls"], line["src"], line["r"][::-1], line["t"][::-1], spans[0] if spans else None)
