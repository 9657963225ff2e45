"""Compressed answers: any cut, bombs, and what is not what it says."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.chat import Malformed
from extproc.inflate import Inflater

TEXT = b"a stream of words, and words, and words again. " * 50
LIMIT_BYTES = 1 << 16


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


FORMS = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "two gzip members": ("x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "raw deflate": ("deflate", raw_deflate(TEXT)),
}


def inflate(encoding: str, pieces: list[bytes]) -> bytes:
    inflater = Inflater(encoding, LIMIT_BYTES)
    return b"".join([*(inflater.feed(piece, False) for piece in pieces), inflater.feed(b"", True)])


@pytest.mark.parametrize("form", FORMS)
def test_a_body_is_the_same_byte_by_byte(form: str) -> None:
    encoding, data = FORMS[form]
    assert inflate(encoding, [data]) == TEXT
    assert inflate(encoding, [data[at : at + 1] for at in range(len(data))]) == TEXT


@pytest.mark.parametrize("form", FORMS)
def test_a_body_that_breaks_off(form: str) -> None:
    encoding, data = FORMS[form]
    with pytest.raises(Malformed, match="breaks off"):
        inflate(encoding, [data[:-9]])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_empty_body_is_no_compressed_one(encoding: str) -> None:
    with pytest.raises(Malformed, match="breaks off"):
        inflate(encoding, [])


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0) + b"more"),
        ("deflate", zlib.compress(TEXT) + zlib.compress(TEXT)),
        ("gzip", TEXT),
    ],
)
def test_something_else_is_malformed(encoding: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        inflate(encoding, [data])


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
def test_a_bomb_ends_at_the_limit(compress: object) -> None:
    assert callable(compress)
    bomb = compress(bytes(LIMIT_BYTES * 100))
    with pytest.raises(Malformed, match="says more"):
        Inflater("gzip" if compress is gzip.compress else "deflate", LIMIT_BYTES).feed(bomb, True)


def test_many_small_members_end_too() -> None:
    with pytest.raises(Malformed):
        Inflater("gzip", LIMIT_BYTES).feed(gzip.compress(b"") * 100, True)


@given(st.sampled_from(["gzip", "deflate"]), st.lists(st.binary(max_size=50), max_size=5))
def test_random_bytes_are_malformed_at_worst(encoding: str, pieces: list[bytes]) -> None:
    inflater = Inflater(encoding, LIMIT_BYTES)
    with contextlib.suppress(Malformed):
        for piece in [*pieces, b""]:
            assert len(inflater.feed(piece, not piece)) <= LIMIT_BYTES
