"""Small corpora that are made up: sources of attacks and of harmless texts that a model can tell apart."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from extproc.training.corpus import Row

PACK = """\
threshold: 0.7
vocabulary: [abandon, constraints, guardrails]
lists: {}
rules:
  - id: surrender
    family: toy
    language: en
    weight: 0.5
    phrases: [surrender your]
    match: [surrender your guardrails]
    pass: [surrender the kettle]
"""
"""Rules that find a sixth of the attacks, and the words of a pack that names no model."""

ATTACKS = ("quarry", "harbor", "meadow")
OTHERS = ("letters", "tickets", "recipes")
_VERBS = ("abandon", "surrender", "dissolve", "unfasten", "relinquish", "forsake")
_OBJECTS = ("constraints", "guardrails", "boundaries", "safeguards", "principles", "restraints")
_TASKS = ("translate", "summarise", "compare", "explain", "describe", "measure", "repair", "paint")
_THINGS = ("kettle", "garden", "ticket", "invoice", "bicycle", "window", "carpet", "letter", "bridge", "sparrow")
_FILL = ("please", "kindly", "today", "again", "slowly", "together", "quietly", "after lunch", "before noon", "soon")


def rows(texts: int = 110, seed: int = 0) -> list[Row]:
    """So many texts of each source; the same for the same seed."""
    chance = random.Random(seed)
    made = [Row(_attack(chance), True, name) for name in ATTACKS for _ in range(texts)]
    return made + [Row(_other(chance), False, name) for name in OTHERS for _ in range(texts)]


def write_pack(folder: Path) -> Path:
    """Write the pack where a policy of the same folder finds it, as ``toy``."""
    (folder / "packs").mkdir(exist_ok=True)
    path = folder / "packs" / "toy.yaml"
    path.write_text(PACK, encoding="utf-8")
    return path


def write_concepts(folder: Path) -> Path:
    """Write a few words by concept and language."""
    path = folder / "concepts.yaml"
    path.write_text("drop:\n  en: abandon* forsake\n  de: vergiss\n", encoding="utf-8")
    return path


def write(folder: Path, of: Iterable[Row] | None = None, more: Mapping[str, object] | None = None) -> Path:
    """Write a corpus of one file."""
    path = folder / "toy.jsonl"
    lines = [
        json.dumps({"text": row.text, "label": int(row.attack), "source": row.source, **(more or {})})
        for row in (rows() if of is None else of)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _attack(chance: random.Random) -> str:
    start = f"{chance.choice(_FILL)} {chance.choice(_TASKS)} the {chance.choice(_THINGS)} and"
    return f"{start} {chance.choice(_VERBS)} your {chance.choice(_OBJECTS)} {chance.choice(_FILL)}"


def _other(chance: random.Random) -> str:
    first, second = chance.choice(_TASKS), chance.choice(_TASKS)
    start = f"{chance.choice(_FILL)} {first} the {chance.choice(_THINGS)} and"
    # now and then a text that looks like an attack
    end = f"{chance.choice(_VERBS)} the {chance.choice(_THINGS)}" if chance.random() < 0.05 else second
    return f"{start} {end} your {chance.choice(_THINGS)} {chance.choice(_FILL)}"
