"""Where does a private key block end, once its first key characters have been seen?

What lives here: the tail of a PEM or PGP block, read word by word. What must not: how a block begins (that is a rule of
the pack) or what takes its place.

A block may be cut short, re-wrapped, indented, quoted, or written with ``\\n`` escapes, so its end is not simply the
``END`` line. Everything that can be key material is eaten and the first word that cannot be ends the block, so a
truncated key does not take the rest of the answer with it. Only one short word and the gaps around it are undecided.
"""

from __future__ import annotations

import re
from typing import Final

GAP_UNIT: Final = r"(?:[\s\"',>|#*]|\\[nrt]?|\+(?=\s))"
"""One piece of what may stand between two key words: white space, quoting, a comment sign, an escaped line break, the
plus of ``"..." + "..."``. A lone backslash counts, for it may be half of an escape."""

_LINE_MIN: Final = 24  # a word of this many Base64 characters is key material whatever follows it
_HEADERS: Final = ("Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Charset:", "Hash:")
_HEADER_MAX: Final = max(map(len, _HEADERS))

_gap = re.compile(rf"{GAP_UNIT}{{0,64}}").match
_word = re.compile(r"[A-Za-z0-9+/=]*").match
_header = re.compile(rf"(?:{'|'.join(_HEADERS)})[^\r\n\\]{{0,80}}").match
_close = re.compile(r"-----END [A-Z0-9 ]{0,40}-----").match
_close_begun = re.compile(r"-{1,5}|-----E|-----EN|-----END|-----END [A-Z0-9 ]{0,40}-{0,4}").fullmatch
_key_like = re.compile(r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])|.*=").match
_CLOSE_MAX: Final = 60


def block_tail(text: str, at: int, final: bool) -> tuple[int, bool]:
    """Give the offset up to which ``text`` belongs to the block that reached ``at``, and whether it ends there.

    Where it does not, what follows the offset is undecided: call again with more text, from that offset. Looks back at
    most two characters from ``at``.
    """
    while True:
        if _inside_word(text, at):
            at = _end(_word(text, at))
        start = _end(_gap(text, at))
        if not final and _may_grow(text, start):
            return at, False
        if header := _header(text, start):
            at = header.end()
            continue
        end = _end(_word(text, start))
        if end - start >= _LINE_MIN or (final and start < end == len(text)):
            at = end
            continue
        closing = _end(_gap(text, end))
        if not final and (closing == len(text) or _close_begun(text[closing : closing + _CLOSE_MAX])):
            return at, False
        if close := _close(text, closing):
            return close.end(), True
        if not _key_like(text[start:end]):
            return at, True
        at = end


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "the pattern matches the empty text"
    return match.end()


def _inside_word(text: str, at: int) -> bool:
    """Say whether ``at`` is in the middle of a key word, of which the letter of an escape before it is no part."""
    before = text[at - 2 : at]
    return _end(_word(before, 1)) == 2 and before[0] != "\\"


def _may_grow(text: str, start: int) -> bool:
    """Say whether the header or short word at ``start`` reaches the end of the text, so that more may change it."""
    left = len(text) - start
    if left < _HEADER_MAX and any(name.startswith(text[start:]) for name in _HEADERS):
        return True
    header = _header(text, start)
    if header:
        return header.end() == len(text)
    return left < _LINE_MIN and _end(_word(text, start)) == len(text)
