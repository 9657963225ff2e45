"""How a known value may be spelt: as it is, and in the encodings that people and programs put it in.

What lives here: the spellings of one value, and which characters of each are fixed by which bytes. What must not: how a
text is searched, what a value is called, where values come from.

A spelling holds only characters that depend on the value alone. That matters for Base64, where a value inside a larger
text may begin at any of three offsets of a group, and shares its first and last character with its neighbours.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final, TypeAlias

_BASE64: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_URL_SAFE: Final = str.maketrans("+/", "-_")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")
# What percent-encoders leave besides, and what they make of a blank: RFC 3986, paths, encodeURIComponent, encodeURI,
# forms in browsers and forms elsewhere, with and without the slash.
_PERCENT: Final = (
    (_UNRESERVED, "%20"),
    (_UNRESERVED | {"/"}, "%20"),
    (_UNRESERVED | set("!'()*"), "%20"),
    (_UNRESERVED | set("!'()*;,/?:@&=+$#"), "%20"),
    ((_UNRESERVED | {"*"}) - {"~"}, "+"),
    (_UNRESERVED, "+"),
    (_UNRESERVED | {"/"}, "+"),
)
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", '"': '\\"', "\\": "\\\\"}
_HTML: Final = frozenset("&<>'")


_Write: TypeAlias = Callable[[str], str]
"""How a character of a text is written."""


@dataclass(frozen=True, slots=True, repr=False)
class Spelling:
    """One way to write a value.

    ``begins[i]`` and ``ends[i]`` are offsets into ``text``: the characters ``[begins[i], ends[j])`` depend on the bytes
    ``[i, j)`` of the value alone. ``edge`` holds what may follow the last of them in this encoding, one character that
    the value's last bits share with what comes next; ``wraps``: programs break its lines.
    """

    text: str
    begins: Sequence[int]
    ends: Sequence[int]
    edge: str = ""
    wraps: bool = False


def spellings(data: bytes) -> list[Spelling]:
    """Give every spelling of a value, each text once, the plain one first. Those that add nothing are left out."""
    found: dict[str, Spelling] = {}
    for spelling in _all(data):
        found.setdefault(spelling.text, spelling)
    return list(found.values())


def _all(data: bytes) -> Iterator[Spelling]:
    text = decoded(data)
    if text is not None:
        for write in _WRITTEN:
            yield _by_character(text, write)
    for shift in range(3):
        yield from _in_base64(data, shift)
    for digits in (data.hex(), data.hex().upper()):
        yield Spelling(digits, range(0, len(digits) + 1, 2), range(0, len(digits) + 1, 2))
    for kept, blank in _PERCENT:
        for form in ("%%%02X", "%%%02x"):
            yield _joined(_in_percent(byte, kept, blank, form) for byte in data)


def decoded(data: bytes) -> str | None:
    """Give the text of a value; None where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _by_character(text: str, write: _Write) -> Spelling:
    return _joined(piece for character in text for piece in _per_byte(character, write(character)))


def _per_byte(character: str, written: str) -> list[str]:
    """A character belongs to its first byte; the others add nothing."""
    return [written, *[""] * (len(character.encode()) - 1)]


def _joined(pieces: Iterable[str]) -> Spelling:
    each = list(pieces)
    offsets = tuple(accumulate(map(len, each), initial=0))
    return Spelling("".join(each), offsets, offsets)


def _in_json(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    return _code(character) if character < " " else character


def _code(character: str, form: str = "04x") -> str:
    """Write a character as its UTF-16 code, two of them where it takes two."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):{form}}" for at in range(0, len(units), 2))


def _in_json_for_html(character: str) -> str:
    return _code(character) if character in _HTML else _in_json(character)


def _in_ascii_json(character: str, form: str = "04x") -> str:
    return _in_json(character) if character.isascii() else _code(character, form)


def _slash_escaped(write: _Write) -> _Write:
    return lambda character: "\\/" if character == "/" else write(character)


def _unix_lines(write: _Write) -> _Write:
    return lambda character: "" if character == "\r" else write(character)


def _plain(character: str) -> str:
    return character


_JSON: Final[tuple[_Write, ...]] = (_in_json, _in_json_for_html, _in_ascii_json, partial(_in_ascii_json, form="04X"))
# As it is; with the escapes of JSON, which differ for HTML and for ASCII; some escape the slash, too.
_WRITTEN: Final = (_plain, _unix_lines(_plain), *_JSON, _unix_lines(_in_json), *map(_slash_escaped, _JSON))


def _in_percent(byte: int, kept: frozenset[str], blank: str, form: str) -> str:
    character = chr(byte)
    if character in kept:
        return character
    return blank if character == " " else form % byte


def _in_base64(data: bytes, shift: int) -> Iterator[Spelling]:
    """Both alphabets, for a value that begins ``shift`` bytes into a group of three."""
    stream = base64.b64encode(bytes(shift) + data).decode()
    bits = [8 * (shift + at) for at in range(len(data) + 1)]
    first, last = -(-bits[0] // 6), bits[-1] // 6
    spare = bits[-1] % 6  # how many bits of the value the next character begins with
    low = _BASE64.index(stream[last]) if spare else 0
    edge = _BASE64[low : low + (1 << (6 - spare))] if spare else ""
    begins = [-(-bit // 6) - first for bit in bits]
    ends = [bit // 6 - first for bit in bits]
    core = stream[first:last]
    yield Spelling(core, begins, ends, edge, wraps=True)
    yield Spelling(core.translate(_URL_SAFE), begins, ends, edge.translate(_URL_SAFE), wraps=True)
