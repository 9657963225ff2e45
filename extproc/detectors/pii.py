"""Personal data: addresses and numbers that name a person or an account (OWASP LLM02). Off unless a policy asks for it.

What lives here: the detector, its options, the reading of a pack. What must not: how text is scanned (pii_stream), what
a number is (pii_numbers, pii_phones), files and YAML.

A pack says what people are told of each rule and tries it; what a rule finds is code. It is a mapping: ``owasp`` (what
every rule maps to unless it says otherwise) and ``rules``. A rule has ``id`` (one of ``RULES``; a finding is reported
as ``pii.<id>``), ``title``, ``severity``, optionally ``owasp``, ``hold`` (what it costs a stream), ``match`` and
``pass``, texts in which it must and nothing may be found. Those of ``match`` are written backwards.

Options of a policy's rule:

- ``rules``: the ids to use; all of the pack if absent;
- ``phone_regions``: countries (``US``, ``DE``) whose national numbers are found beside international ones;
- ``email_allow``: addresses, or ``@domain``, that may appear;
- ``ignore_private_ips``: leave private and link-local addresses alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan
from extproc.detectors.pack import SEVERITIES, Fields, PackError
from extproc.detectors.pii_numbers import (
    Family,
    Finder,
    Places,
    find_card,
    find_us_ssn,
    iban_family,
    ipv4_finder,
    ipv6_family,
    number_family,
)
from extproc.detectors.pii_phones import phone_finder
from extproc.detectors.pii_stream import EmailRule, PiiScan

RULES: Final = ("iban", "credit_card", "us_ssn", "ip", "phone", "email")
"""The rules there are. Of two that fit at one place the first wins; an address goes before a number."""


_EXTRA: Final = "needs libraries that are not installed: pip install 'sluicegate[pii]'"


@dataclass(frozen=True, slots=True)
class Entry:
    """What people are told of a rule."""

    id: str
    title: str
    severity: str
    owasp: tuple[str, ...]
    hold: str


class PiiDetector:
    """Finds personal data (``detectors.base.StreamDetector``). Immutable, shared by every exchange."""

    __slots__ = ("_email", "_places", "entries", "name")

    def __init__(self, families: tuple[Family, ...], email: EmailRule | None, entries: Mapping[str, Entry]) -> None:
        self.name = "pii"
        self.entries = MappingProxyType(dict(entries))
        self._places = Places(families)
        self._email = email

    def scan(self, text: str) -> Scan:
        """Find all personal data in one whole text, in order."""
        spans = self.stream().feed(text, final=True)
        return Scan(tuple(Match(span.start, span.end, span.rule) for span in spans), 1.0 if spans else 0.0)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> PiiScan:  # noqa: ARG002 - the same in any exchange
        """Start the scan of one channel."""
        return PiiScan(self._places, self._email)

    def marker(self, rule: str) -> str:
        """Give what takes a finding's place."""
        return f"[REDACTED:{rule}]"


@dataclass(frozen=True, slots=True)
class _Item:
    """One rule of a pack, read: what people are told, its examples, and where it stands."""

    entry: Entry
    match: tuple[str, ...]
    passing: tuple[str, ...]
    fields: Fields


@dataclass(frozen=True, slots=True)
class _Options:
    rules: tuple[str, ...]
    regions: tuple[str, ...]
    allow: frozenset[str]
    ignore_private_ips: bool
    verify: bool
    fields: Fields


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> PiiDetector:
    """Build the chosen rules of a pack. With the option ``verify`` their examples are tried, too.

    Raises:
        PackError: naming the place of what is wrong, in the pack or below ``options``; also where a chosen rule needs
            a library that is not installed.
    """
    fields = Fields(pack)
    owasp = fields.strings("owasp", ())
    items: dict[str, _Item] = {}
    for member in fields.mappings("rules"):
        item = _read(member, owasp)
        if item.entry.id in items:
            raise member.error("id", "is used twice")
        items[item.entry.id] = item
    fields.close()
    chosen = _options(Fields(options, ("options",)), tuple(items))
    entries = {f"pii.{rule}": items[rule].entry for rule in chosen.rules}
    detector = PiiDetector(_families(chosen), EmailRule(chosen.allow) if "email" in chosen.rules else None, entries)
    if chosen.verify:
        for rule in chosen.rules:
            _verify(detector, items[rule])
    return detector


def _read(fields: Fields, owasp: tuple[str, ...]) -> _Item:
    entry = Entry(
        id=fields.choice("id", RULES),
        title=fields.string("title"),
        severity=fields.choice("severity", SEVERITIES),
        owasp=fields.strings("owasp", owasp),
        hold=fields.string("hold"),
    )
    if not entry.owasp:
        raise fields.error("owasp", "must be given here or for the whole pack")
    match = tuple(text[::-1] for text in fields.strings("match"))
    item = _Item(entry, match, fields.strings("pass"), fields)
    fields.close()
    return item


def _options(fields: Fields, known: tuple[str, ...]) -> _Options:
    rules = fields.strings("rules", known)
    for index, rule in enumerate(rules):
        if rule not in known:
            raise PackError((*fields.where, "rules", index), f"must be one of {', '.join(known)}")
    if not rules:
        raise fields.error("rules", "must not be empty")
    allow = fields.strings("email_allow", ())
    for index, text in enumerate(allow):
        if text.count("@") != 1 or text.endswith("@"):
            raise PackError((*fields.where, "email_allow", index), "must be an address or '@domain'")
    options = _Options(
        rules=tuple(rule for rule in RULES if rule in rules),
        regions=fields.strings("phone_regions", ("US",)),
        allow=frozenset(text.lower() for text in allow),
        ignore_private_ips=fields.flag("ignore_private_ips", default=False),
        verify=fields.flag("verify", default=False),
        fields=fields,
    )
    fields.close()
    return options


def _families(options: _Options) -> tuple[Family, ...]:
    """Give the candidates of the chosen rules, those of the longer form first."""
    families: list[Family] = []
    numbers: list[tuple[str, Finder]] = []
    for rule in options.rules:
        name = f"pii.{rule}"
        try:
            if rule == "iban":
                families.append(iban_family(name))
            elif rule == "credit_card":
                numbers.append((name, find_card))
            elif rule == "us_ssn":
                numbers.append((name, find_us_ssn))
            elif rule == "ip":
                families.append(ipv6_family(name, options.ignore_private_ips))
                numbers.append((name, ipv4_finder(options.ignore_private_ips)))
            elif rule == "phone":
                numbers.append((name, _phones(options)))
        except ImportError:
            raise options.fields.error("rules", f"{rule}: {_EXTRA}") from None
    if numbers:
        families.append(number_family(tuple(numbers), plus="phone" in options.rules))
    return tuple(families)


def _phones(options: _Options) -> Finder:
    try:
        return phone_finder(options.regions)
    except KeyError as error:
        where = (*options.fields.where, "phone_regions", options.regions.index(error.args[0]))
        raise PackError(where, "must be a country of the telephone plans, such as US or DE") from None


def _verify(detector: PiiDetector, item: _Item) -> None:
    """Try the examples of one rule, and its marker."""
    rule, where = f"pii.{item.entry.id}", item.fields.where
    for name, texts in (("match", item.match), ("pass", item.passing)):
        if not texts:
            raise item.fields.error(name, "must not be empty")
    for index, text in enumerate(item.match):
        if {match.rule for match in detector.scan(text).matches} != {rule}:
            raise PackError((*where, "match", index), "is not found by this rule alone")
    for index, text in enumerate((*item.passing, detector.marker(rule))):
        if detector.scan(text).matches:
            raise PackError((*where, "pass", index), "is found, but must not be")
