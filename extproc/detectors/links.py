"""Where does a link point, and what does it carry? Schemes that run code, and data on its way to another host.

What lives here: the reading of a link's scheme as a browser reads it, and the measure of a web address. What must not:
where in a text a link may stand (output_scan), tags (markup), code (fences).

Both answers are functions of the text from one place on, and ``PENDING`` is the only one that more text may change.
Both look at a bounded number of characters; what is longer counts as found.

**Data** is what a link can carry to whoever owns the host: all of its query and fragment, and in host and path every
long word with a digit in it (Base64, hex, digests, tokens) and every percent escape. Words that read as words are not
counted: a title in a path is no data.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from extproc.detectors.undecided import Open

URL_MAX: Final = 1024
"""Characters of an address after its scheme. A longer one to another host is found, whatever it carries."""

SCHEME_MAX: Final = 128
"""Characters in which a scheme is disguised. What is still undecided then is found."""

_WEB: Final = ("http:", "https:", "//")
_NAMED: Final = {"tab": "\t", "newline": "\n", "colon": ":", "sol": "/", "bsol": "\\", "lt": "<"}
_JUNK: Final = "\t\n\r"  # a browser drops these anywhere in an address
_LEADING: Final = frozenset(map(chr, range(0x21)))  # and these before it
_AUTHORITY_MAX: Final = 256

_entity = re.compile(r"&(?:#x[0-9a-f]{0,64}|#[0-9]{0,64}|[a-z]{0,8})", re.ASCII | re.IGNORECASE).match
_slashes = re.compile(r"[/\\\t\n\r]{0,16}").match
_authority = re.compile(r"[^/\\?#]*").match
_parentheses = re.compile(r"(?<!\\)[()]").finditer
_plain_host = re.compile(r"([a-z0-9-]+(?:\.[a-z0-9-]+)*)\.?(?::[0-9]*)?", re.ASCII | re.IGNORECASE).fullmatch
_carriers = re.compile(r"%[0-9A-Fa-f]{2}|[A-Za-z0-9]{21,}+", re.ASCII).finditer
_unprintable = re.compile(r"[^a-z0-9.-]").sub
_www = re.compile(r"w{3,}\.").sub


SPACE: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What ends an address. Control characters do not: made harmless, they are a part of it."""
PLAIN: Final = re.compile(rf'[^{SPACE}<>"]*+')
"""What continues an address in running text, where parentheses must pair up, ..."""
DESTINATION: Final = re.compile(f"[^{SPACE}]*+")
"""... where only a link can be, ..."""
ANGLE: Final = re.compile(r"(?:[^<>\r\n]++|(?<=\\)[<>])*+")
"""... and between angle brackets."""


class Scheme(enum.Enum):
    """What a link's scheme is, when it is anything."""

    CODE = "code"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Disguise:
    """A scheme found. What is written of it ends at ``end``, behind its colon or its slashes."""

    scheme: Scheme
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """How an address stands: ``strict`` where nothing but a link can, ``spaced`` where one may contain blanks."""

    strict: bool
    spaced: bool


class Schemes:
    """Reads the scheme at one place, through entities, escapes and characters that browsers drop. Immutable."""

    __slots__ = ("_all", "_code")

    def __init__(self, code: Iterable[str]) -> None:
        self._code = tuple(code)
        self._all = (*self._code, *_WEB)

    def read(self, text: str, at: int, place: Place, final: bool) -> Disguise | Open:
        """Read the scheme of the link whose text begins at ``at``, perhaps with white space."""
        seen, begin = "", at
        while at - begin < SCHEME_MAX:
            unit = _unit(text, at, final)
            if unit is None:
                return Open.DEAD if final else Open.PENDING
            character, at = unit
            if character in (_JUNK if seen else _LEADING):
                continue
            seen += character
            if seen in self._all:
                return self._found(seen, text, at, place, final)
            if not any(known.startswith(seen) for known in self._all):
                return Open.DEAD
        return Disguise(Scheme.CODE, at) if place.strict else Open.DEAD

    def _found(self, seen: str, text: str, at: int, place: Place, final: bool) -> Disguise | Open:
        """Tell ``(JavaScript: the basics)`` from a link: a link that is not enclosed goes on without a blank."""
        if seen in _WEB:
            return Disguise(Scheme.WEB, at)
        if not place.spaced and at < len(text) and text[at].isspace():
            return Open.DEAD
        if not place.spaced and at == len(text) and not final:
            return Open.PENDING
        return Disguise(Scheme.CODE, at)


def _unit(text: str, at: int, final: bool) -> tuple[str, int] | None:
    """Read one character of a link as a browser sees it, and where the next begins; None where the text ends."""
    if at == len(text):
        return None
    character = text[at]
    if character not in "&\\":
        return character.lower(), at + 1
    if character == "\\":
        following = text[at + 1 : at + 2]
        if not following and not final:
            return None
        if not following or following in "/\\" or following.isalnum() or following.isspace():
            return "/", at + 1
        return following, at + 2
    entity = _entity(text, at)
    end = entity.end() if entity else at + 1
    if end == len(text) and not final:
        return None
    return _decode(text[at + 1 : end].lower()), end + text.startswith(";", end)


def _decode(entity: str) -> str:
    """Give the character that an entity stands for, as far as a scheme could contain it."""
    if not entity.startswith("#"):
        return _NAMED.get(entity, "&")
    digits = entity[2:] if entity.startswith("#x") else entity[1:]
    code = int(digits, 16 if entity.startswith("#x") else 10) if digits else 0
    return chr(code).lower() if code < 128 else "&"


# ---- data ----


@dataclass(frozen=True, slots=True)
class Laden:
    """An address that carries too much: it goes to ``host`` and reaches ``end``, with ``depth`` parentheses open."""

    host: str
    end: int
    depth: int


class Addresses:
    """Measures web addresses. Immutable."""

    __slots__ = ("_hosts", "_suffixes")

    def __init__(self, allowed: Iterable[str]) -> None:
        hosts = [host.lower() for host in allowed]
        self._hosts = frozenset(host for host in hosts if not host.startswith("*."))
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*."))

    def measure(self, text: str, at: int, stop: re.Pattern[str], limits: tuple[int, int], final: bool) -> Laden | Open:
        """Judge the address whose scheme ends at ``at``: does it carry too much to a host not allowed?

        ``limits``: bytes that may be sent when it is fetched, and bytes with the fragment, which a page there can read.
        """
        end, depth, over = walk(text, at, stop, 0, at + URL_MAX)
        full = end - at >= URL_MAX
        done = over or full or final
        authority = _authority(text, _end(_slashes(text, at, end)), end)
        here = _end(authority)
        if here == end and not done:
            return Open.PENDING
        host = authority[0] if authority else ""
        if self._allows(host):
            return Open.DEAD
        if full or len(host) > _AUTHORITY_MAX or _exceeds(text[at:end], here - at, limits):
            return Laden(_shown(host), end, depth)
        return Open.DEAD if done else Open.PENDING

    def _allows(self, host: str) -> bool:
        plain = _plain_host(host)
        name = plain[1].lower() if plain else ""
        return name in self._hosts or name.endswith(self._suffixes)


def walk(text: str, at: int, stop: re.Pattern[str], depth: int, limit: int) -> tuple[int, int, bool]:
    """Go along an address from ``at``, no further than ``limit``, with ``depth`` parentheses open.

    Returns the offset reached, the parentheses open there, and whether the address ends there.
    """
    end = _end(stop.match(text, at, limit))
    if stop is PLAIN or stop is DESTINATION:
        for mark in _parentheses(text, at, end):
            if mark[0] == "(":
                depth += 1
            elif not depth:
                return mark.start(), depth, True
            else:
                depth -= 1
    return end, depth, end < min(len(text), limit)


def _exceeds(address: str, path: int, limits: tuple[int, int]) -> bool:
    """Say whether an address, whose path begins at ``path``, carries too much. More text never makes it less."""
    sent, _, fragment = address.partition("#")
    # An entity may stand for a question mark.
    query = min(place for place in (sent.find("?", path), sent.find("&"), len(sent)) if place >= 0)
    carried = [found[0] for found in _carriers(sent, 0, query)]
    load = sum(1 if word[0] == "%" else len(word) for word in carried if not word.isalpha())
    load += _size(sent[query + 1 :])
    return load > limits[0] or load + _size(fragment) > limits[1]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _shown(host: str) -> str:
    """The host as it may be shown: the writer of the link chose it. It must not be taken for an address again."""
    return _www("", _unprintable("", host.rpartition("@")[2].lower()))[:64]


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "the pattern matches the empty text"
    return match.end()
