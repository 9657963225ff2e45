"""The development corpora beside the checkout, and their texts as a model's tokenizer cuts them.

What lives here: finding and reading. What must not: measuring. Nothing of the corpora ships (their README says why), so
whoever measures must do without them where they are absent.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ENCODING: Final = "o200k_base"
"""The tokenizer whose cuts are used, as the package ``bpe-openai`` carries it: no download."""


def directory() -> Path | None:
    """Where the secrets corpora are: in ``$SLUICEGATE_DATA``, or in ``shared/data`` beside the checkout."""
    root = os.environ.get("SLUICEGATE_DATA")
    data = Path(root) if root else Path(__file__).parents[3] / "shared" / "data"
    found = data / "secrets" / "dev"
    return found if found.is_dir() else None


def records(name: str) -> Iterator[dict[str, Any]]:
    """The records of one file, such as ``negatives_prose``, with ``text`` and ``rule`` readable.

    Raises:
        FileNotFoundError: the corpora are not here.
    """
    where = directory()
    if where is None:
        raise FileNotFoundError(name)
    with gzip.open(where / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield {**record, "text": record["t"][::-1], "rule": (record.get("r") or "")[::-1]}


def prose(kind: str = "llm_output", characters: int = 1_000_000) -> list[str]:
    """Real texts without secrets, at least so many characters of them."""
    texts: list[str] = []
    size = 0
    for record in records("negatives_prose"):
        if record["cls"] == kind:
            texts.append(record["text"])
            size += len(record["text"])
            if size >= characters:
                break
    return texts


def tokens(text: str) -> list[str]:
    """Cut a text where its tokens end. A token that ends inside a character gives the character to the next one."""
    import codecs

    import bpe_openai

    encoding = bpe_openai.get_encoding(ENCODING)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [decoder.decode(encoding.decode_single_token_bytes(token)) for token in encoding.encode(text)]
    return [piece for piece in pieces if piece]
