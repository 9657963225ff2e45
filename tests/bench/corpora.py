"""The prose of the development corpora, and texts as a model's tokenizer cuts them.

What lives here: choosing and cutting. What must not: measuring, and where the corpora are (``tests.eval.corpus``).
Nothing of them ships (their README says why), so whoever measures must do without them where they are absent.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from tests.eval import corpus

ENCODING: Final = "o200k_base"
"""The tokenizer whose cuts are used, as the package ``bpe-openai`` carries it: no download."""


def directory() -> Path | None:
    """Where the secrets corpora are, if they are here."""
    return corpus.secrets_corpus()


def prose(kind: str = "llm_output", characters: int = 1_000_000) -> list[str]:
    """Real texts without secrets, at least so many characters of them.

    Raises:
        FileNotFoundError: the corpora are not here.
    """
    folder = directory()
    if folder is None:
        raise FileNotFoundError("the development corpora are not here")
    texts: list[str] = []
    size = 0
    for record in corpus.negatives(folder):
        if record.kind == kind and size < characters:
            texts.append(record.text)
            size += len(record.text)
    return texts


def tokens(text: str) -> list[str]:
    """Cut a text where its tokens end. A token that ends inside a character gives the character to the next one."""
    import bpe_openai

    encoding = bpe_openai.get_encoding(ENCODING)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [decoder.decode(encoding.decode_single_token_bytes(token)) for token in encoding.encode(text)]
    return [piece for piece in pieces if piece]
