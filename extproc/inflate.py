"""Compressed bodies, inflated within a bound. Upstreams are asked to send none; some do it all the same.

What lives here: gzip and deflate, piece by piece. What must not: what the body says. Other encodings have no decoder
in Python's library, and a body that cannot be read is refused.
"""

from __future__ import annotations

import zlib
from typing import Final

from extproc.chat import Malformed

ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS  # what some servers call deflate
_HEAD_BYTES: Final = 2
_MEMBERS_MAX: Final = 64  # of one gzip body; each costs a decoder


class Inflater:
    """Inflates one body. ``limit_bytes``: the most that may come out of one piece; bombs end there."""

    def __init__(self, encoding: str, limit_bytes: int) -> None:
        self._gzip: Final = encoding != "deflate"
        self._limit_bytes: Final = limit_bytes
        self._head = b""
        self._members = 0
        self._decoder: zlib._Decompress | None = None

    def feed(self, data: bytes, end: bool) -> bytes:
        """Take the next piece; return what it says.

        Raises:
            Malformed: it is not in this encoding, says too much, goes on behind its end, or breaks off.
        """
        out: list[bytes] = []
        left = self._limit_bytes
        data = self._head + data
        self._head = b""
        while data:
            if self._decoder is None:
                if len(data) < _HEAD_BYTES and not end:
                    self._head = data
                    break
                self._decoder = self._begin(data)
            piece, data = self._inflate(self._decoder, data, left)
            out.append(piece)
            left -= len(piece)
            if self._decoder.eof:
                self._decoder = None
        if end and (self._decoder is not None or not self._members):
            raise Malformed("the compressed answer breaks off")
        return b"".join(out)

    def _begin(self, data: bytes) -> zlib._Decompress:
        self._members += 1
        if self._members > (_MEMBERS_MAX if self._gzip else 1):
            raise Malformed("something follows the compressed answer")
        if self._gzip:
            return zlib.decompressobj(_GZIP)
        # RFC 1950: the method in the first four bits, and both bytes a multiple of 31.
        is_zlib = len(data) >= _HEAD_BYTES and data[0] & 0x0F == zlib.DEFLATED and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.decompressobj(_ZLIB if is_zlib else _RAW)

    @staticmethod
    def _inflate(decoder: zlib._Decompress, data: bytes, left: int) -> tuple[bytes, bytes]:
        """Inflate as much as may be; return it, and the bytes behind the end of the member."""
        try:
            piece = decoder.decompress(data, left + 1)
        except zlib.error:
            raise Malformed("the compressed answer cannot be read") from None
        if len(piece) > left or decoder.unconsumed_tail:
            raise Malformed("the compressed answer says more than is allowed")
        return piece, decoder.unused_data
