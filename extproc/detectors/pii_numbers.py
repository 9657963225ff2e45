"""Numbers that name a person or an account: where one may begin, how far its run goes, and whether it is one.

What lives here: the runs and the finders of cards, IBANs, social security numbers and IP addresses. What must not:
telephone plans (pii_phones), e-mail, pieces of a stream, YAML.

A candidate is a *run*: a bounded stretch of one class of characters behind a guard. It is judged when it has ended or
reached its bound, never before, so the judgement depends on the text alone. A finder sees the run, the one character
behind it and ``CONTEXT`` characters before it, and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

Finder: TypeAlias = Callable[[str, int, int], int]
"""(text, at, end) -> where the finding that begins at ``at`` ends, or ``NONE``. ``[at, end)`` is the run."""

NONE: Final = -1

CONTEXT: Final = 32
"""Characters before a place that may say what a number is: "SSN:", "version"."""

SPACES: Final = " \u00a0\u2009\u202f"
DASHES: Final = r"\-\u2010\u2011\u2012\u2013"

_SEPARATORS: Final = f"{SPACES}{DASHES}./()"
_GUARD: Final = (
    r"(?:(?<![0-9A-Za-z].)|(?<=\\[nrtbf].)|(?<=%[0-9A-Fa-f]{2}.)|(?<=\\x[0-9A-Fa-f]{2}.)|(?<=\\u[0-9A-Fa-f]{4}.))"
)


@dataclass(frozen=True, slots=True)
class Family:
    """Candidates of one class of characters, and the finders that judge them, the strictest first.

    ``first``: the characters that a candidate begins with, as of a regex class. ``rest``: what must follow the first,
    or touch the end of the text, for the place to be worth a look; every finding satisfies it. ``run``: the class of
    the run, of at most ``bound`` characters.
    """

    first: str
    rest: str
    run: str
    bound: int
    finders: tuple[tuple[str, Finder], ...]


class Places:
    """The candidates of all families in one search. Immutable, shared by every stream."""

    __slots__ = ("_by_first", "search")

    def __init__(self, families: Iterable[Family]) -> None:
        families = tuple(families)
        first = "".join(family.first for family in families) or r"^\s\S"
        rest = "|".join(f"(?<=[{family.first}]){family.rest}" for family in families)
        # The first character comes before its guard, so that the search can skip to it by character class.
        self.search: Final = re.compile(f"[{first}]{_GUARD}(?:{rest})", re.DOTALL).search
        runs = [re.compile(f"{family.run}{{1,{family.bound}}}+").match for family in families]
        self._by_first: Final = {
            character: [
                (run, family.finders)
                for run, family in zip(runs, families, strict=True)
                if re.match(f"[{family.first}]", character)
            ]
            for character in map(chr, range(128))
        }

    def judge(self, text: str, at: int, final: bool) -> tuple[int, str] | None:
        """Give the end and the rule of the finding at ``at``, ``(NONE, "")`` if there is none, None if it is open."""
        runs = [(run, finders) for match, finders in self._by_first[text[at]] if (run := match(text, at))]
        if not final and any(run.end() == len(text) for run, _ in runs):
            return None
        for run, finders in runs:
            for rule, find in finders:
                end = find(text, at, run.end())
                if end != NONE:
                    return end, rule
        return NONE, ""


def number_family(finders: tuple[tuple[str, Finder], ...], plus: bool) -> Family:
    """Digits with separators. ``plus``: also behind ``+`` or ``(``, as a telephone number may begin."""
    bound, run = 48, f"[0-9+{_SEPARATORS}]"
    seven_digits = rf"(?:[{_SEPARATORS}]{{0,3}}+[0-9]){{6}}|[0-9]{{0,2}}+(?:\.[0-9]{{1,3}}+){{3}}"
    if plus:
        seven_digits += rf"|(?<=[+(])[+]?(?:[{_SEPARATORS}]{{0,3}}+[0-9]){{7}}"
    return Family("0-9+(" if plus else "0-9", rf"(?:{seven_digits}|{run}{{0,{bound}}}+\Z)", run, bound, finders)


def word_before(words: str) -> Callable[[str, int], bool]:
    """Give a test of the text before a place: is one of the words (a regex) there, close enough to speak of it?"""
    search = re.compile(rf"(?:{words})(?![A-Za-z])[^\n.;]*\Z", re.IGNORECASE).search
    return lambda text, at: search(text[max(at - CONTEXT, 0) : at]) is not None


# ---- Cards

_CARD: Final = re.compile(
    rf"(?:[0-9]{{4}}([{SPACES}{DASHES}])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{3}}(?![0-9]))?+"
    rf"|3[0-9]{{3}}([{SPACES}{DASHES}])[0-9]{{6}}\2[0-9]{{4,5}}+|[0-9]{{13,19}}+)(?![0-9A-Za-z_]|-[0-9])"
)
_ISSUER: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720|220[0-4])[0-9]{12}"  # Mastercard, Mir
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|(?:64[4-9][0-9]|65[0-9]{2}|352[89]|35[3-8][0-9]|60[0-9]{2}|8[12][0-9]{2})[0-9]{12}"  # Discover, JCB, RuPay
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{9,15}"  # Maestro
)


_DOUBLED: Final = str.maketrans("0123456789", "0246813579")  # what doubling adds to the sum: 7 is 14 is 1 + 4


def find_card(text: str, at: int, end: int) -> int:
    """Find a card number: an issuer's range and length, its usual groups, and the check digit."""
    match = _CARD.match(text, at, end + 1)
    if match is None:
        return NONE
    digits = "".join(filter(str.isdigit, match[0]))
    return match.end() if _ISSUER.fullmatch(digits) and luhn_valid(digits) else NONE


def luhn_valid(digits: str) -> bool:
    """Say whether the last digit is the check digit of the others. Hostile text asks this of every number."""
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


# ---- Social security numbers

_SSN: Final = re.compile(
    rf"(?<![0-9][{SPACES}{DASHES}.])(?!000|666|9)[0-9]{{3}}([{SPACES}{DASHES}]?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}"
    rf"(?![0-9A-Za-z_]|[{DASHES}][0-9])"
)
_speaks_of_ssn: Final = word_before(r"\bSSNs?|social[ _-]?security|\bTIN|taxpayer|tax[ _-]?id")


def find_us_ssn(text: str, at: int, end: int) -> int:
    """Find a United States social security number: with dashes anywhere, otherwise where the text speaks of one."""
    match = _SSN.match(text, at, end + 1)
    if match is None or (match[1] in ("", *SPACES) and not _speaks_of_ssn(text, at)):
        return NONE
    return match.end()


# ---- IP addresses

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"
_V4: Final = re.compile(
    rf"(?<![0-9A-Za-z]\.)(?<![A-Za-z]/)(?!0){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z])"
)
_inside_v6: Final = re.compile(r"(?::|[^0-9A-Za-z][0-9A-Fa-f]{1,4}):\Z").search
_speaks_of_version: Final = re.compile(
    r"(?:version|release|firmware|build|section|chapter|\bver\.?|§)[^0-9\n]{0,8}\Z", re.IGNORECASE
)
_PUBLIC_RESOLVERS: Final = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"})

_V6_REST: Final = (
    r"(?:(?:(?<=[23])[0-9A-Fa-f]|(?<=[fF])[cCdDeE])[0-9A-Fa-f]{2}:[0-9A-Fa-f:]"
    r"|(?<=[23])[0-9A-Fa-f]{0,3}+\Z|(?<=[fF])(?:[cCdDeE][0-9A-Fa-f]{0,2}+)?\Z|[0-9A-Fa-f]{3}:\Z)"
)
_V6_BOUND: Final = 46  # a longer run is no address


def ipv4_finder(ignore_private: bool) -> Finder:
    """Find an IPv4 address that may be a host's: not a loopback, a mask, a version or a public resolver."""

    def find(text: str, at: int, end: int) -> int:
        match = _V4.match(text, at, end + 1)
        if match is None or match[0] in _PUBLIC_RESOLVERS:
            return NONE
        if _speaks_of_version.search(text[max(at - CONTEXT, 0) : at]):
            return NONE
        return match.end() if _is_host(ipaddress.IPv4Address(match[0]), ignore_private) else NONE

    return find


def ipv6_family(rule: str, ignore_private: bool) -> Family:
    """IPv6 addresses of hosts, which begin with four digits: global, private (``fc00::/7``), of a link (``fe80::``)."""

    def find(text: str, at: int, end: int) -> int:
        if end - at >= _V6_BOUND or text[end : end + 1].isalnum() or _inside_v6(text[max(at - 6, 0) : at]):
            return NONE
        run = text[at:end]
        stop = end - 1 if run.endswith(":") and not run.endswith("::") else end
        if run.count(":") < 2:
            return NONE
        try:
            address = ipaddress.IPv6Address(text[at:stop])
        except ValueError:
            return NONE
        return stop if _is_host(address, ignore_private) else NONE

    return Family("23fF", _V6_REST, "[0-9A-Fa-f:]", _V6_BOUND, ((rule, find),))


def _is_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address, ignore_private: bool) -> bool:
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_reserved:
        return False
    return not (ignore_private and not address.is_global)


# ---- IBAN


def iban_family(rule: str) -> Family:
    """Two letters, two digits and what its country's plan says, with a space or a dash after every fourth character.

    Raises:
        ImportError: python-stdnum is not there.
    """
    from stdnum import iban, numdb

    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    plans = numdb.get("iban")
    shapes: dict[str, re.Pattern[str]] = {}
    for country in (first + second for first in letters for second in letters):
        bban = plans.info(country)[0][1].get("bban", "")
        if bban:
            groups, odd = divmod(4 + sum(map(int, re.findall(r"[0-9]+", bban))), 4)
            tail = f"[{SPACES}{DASHES}]?[0-9A-Z]{{{odd}}}" if odd else ""
            shapes[country] = re.compile(
                f"[0-9A-Z]{{4}}(?:[{SPACES}{DASHES}]?[0-9A-Z]{{4}}){{{groups - 1}}}{tail}(?![0-9A-Za-z])"
            )

    def find(text: str, at: int, end: int) -> int:
        shape = shapes.get(text[at : at + 2])
        match = shape.match(text, at, end + 1) if shape else None
        if match is None:
            return NONE
        compact = "".join(filter(str.isalnum, match[0]))
        return match.end() if iban.is_valid(compact, check_country=False) else NONE

    first = "".join(sorted({country[0] for country in shapes}))
    rest = rf"(?:\Z|[A-Z](?:\Z|[0-9](?:\Z|[0-9](?:\Z|[{SPACES}{DASHES}]?(?:\Z|[0-9A-Z])))))"
    return Family(first, rest, f"[0-9A-Z{SPACES}{DASHES}]", 48, ((rule, find),))
