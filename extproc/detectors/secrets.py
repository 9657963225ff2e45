"""Secrets: provider tokens, keys and credentials, found in whole texts and in running ones.

What lives here: the detector, and the reading of a pack's rules. What must not: how text is scanned (window), how a place
is decided (matcher), what a shape means (shapes), what a body must look like (checks), files and YAML.

A pack is a mapping: ``owasp`` (what every rule maps to unless it says otherwise), ``alphabets`` (name -> characters, with
ranges such as ``a-z``) and ``rules``. A rule has

- ``id``, ``provider``, ``title``, ``severity``, optionally ``owasp``;
- ``literals``, what makes a place worth a look;
- ``body``, the shape of what follows and nobody may see, and optionally ``lead``, a shape before it that stays in the
  text together with the literal, and ``until``, texts one of which must follow and stay;
- optionally ``check``, ``commit`` (characters of the last run that are enough to decide) and ``tail`` (an alphabet that
  also continues this secret, or ``pem`` for a key block);
- ``match`` and ``pass``, texts in which it must and nothing may be found. Those of ``match`` are written backwards, so
  that a pack does not set off the scanners of the repository it lives in.

There is no upper bound to a token's length: whatever continues a token is a part of it, or one more character would let
it through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import Match, Scan
from extproc.detectors.checks import CHECKS
from extproc.detectors.matcher import Matcher, Rule
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.shapes import Shapes, replaceable
from extproc.detectors.window import Window

SEVERITIES: Final = ("low", "medium", "high", "critical")

_LITERAL_MIN: Final = 2
_LITERAL_MAX: Final = 64
_ID: Final = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_OWASP: Final = re.compile(r"LLM\d\d:20\d\d")


@dataclass(frozen=True, slots=True)
class Entry:
    """What people are told of a rule."""

    id: str
    provider: str
    title: str
    severity: str
    owasp: tuple[str, ...]


class SecretsDetector:
    """Finds secrets (``detectors.base.StreamDetector``). Immutable, shared by every exchange."""

    __slots__ = ("_matcher", "entries", "name")

    def __init__(self, rules: tuple[Rule, ...], entries: Mapping[str, Entry]) -> None:
        self.name = "secrets"
        self.entries = MappingProxyType(dict(entries))
        self._matcher = Matcher(rules)

    def scan(self, text: str) -> Scan:
        """Find every secret in one whole text, in order."""
        spans = self.stream().feed(text, final=True)
        return Scan(tuple(Match(span.start, span.end, span.rule) for span in spans), 1.0 if spans else 0.0)

    def stream(self) -> Window:
        """Start the scan of one channel."""
        return Window(self._matcher)

    def marker(self, rule: str) -> str:
        """Give what takes a secret's place."""
        return f"[REDACTED:{rule}]"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One rule of a pack, read: what is said of it, what it matches, and what must come of it."""

    told: Entry
    rule: Rule
    match: tuple[str, ...]
    passing: tuple[str, ...]
    item: Fields


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> SecretsDetector:
    """Compile a pack. With the option ``verify`` its examples are tried, too, which a test needs and a start does not.

    Raises ``PackError`` at the first bad entry.
    """
    chosen = Fields(options, ("options",))
    verify = chosen.flag("verify", default=False)
    chosen.close()
    fields = Fields(pack)
    shapes = Shapes(fields.mapping("alphabets"))
    owasp = _owasp(fields, ())
    read = [_read(item, shapes, owasp) for item in fields.mappings("rules")]
    fields.close()
    entries: dict[str, Entry] = {}
    for entry in read:
        if entry.told.id in entries:
            raise entry.item.error("id", "is used twice")
        entries[entry.told.id] = entry.told
    detector = SecretsDetector(tuple(entry.rule for entry in read), entries)
    if verify:
        for entry in read:
            _verify(detector, entry)
    return detector


def _read(item: Fields, shapes: Shapes, owasp: tuple[str, ...]) -> _Entry:
    told = Entry(
        id=item.string("id"),
        provider=item.string("provider"),
        title=item.string("title"),
        severity=item.choice("severity", SEVERITIES),
        owasp=_owasp(item, owasp),
    )
    if not _ID.fullmatch(told.id):
        raise item.error("id", "must be lower-case words joined by '-' or '.'")
    lead = shapes.lead(item)
    until = item.strings("until", ())
    body, tail = shapes.body(item, closed=bool(until))
    rule = Rule(
        id=told.id,
        literals=_literals(item, hidden=not lead),
        lead=lead,
        body=body,
        until=until,
        check=CHECKS[item.choice("check", CHECKS, "random")],
        tail=tail,
    )
    match = tuple(text[::-1] for text in item.strings("match"))
    entry = _Entry(told, rule, match, item.strings("pass"), item)
    item.close()
    return entry


def _owasp(fields: Fields, default: tuple[str, ...]) -> tuple[str, ...]:
    values = fields.strings("owasp", default)
    for value in values:
        if not _OWASP.fullmatch(value):
            raise fields.error("owasp", "must list entries such as LLM02:2025")
    return values


def _literals(item: Fields, hidden: bool) -> tuple[str, ...]:
    literals = item.strings("literals")
    for index, literal in enumerate(literals):
        where = (*item.where, "literals", index)
        if not _LITERAL_MIN <= len(literal) <= _LITERAL_MAX:
            raise PackError(where, f"must have {_LITERAL_MIN} to {_LITERAL_MAX} characters")
        if hidden and not replaceable(literal.replace(" ", "")):
            raise PackError(where, "must not use quotes, backslashes or white space but blanks")
        if literal in literals[:index]:
            raise PackError(where, "is there twice")
    if not literals:
        raise item.error("literals", "must not be empty")
    return literals


def _verify(detector: SecretsDetector, entry: _Entry) -> None:
    """Try what the pack claims of one rule: its examples, one for each literal at least, and its marker."""
    item = entry.item
    for index, text in enumerate(entry.match):
        if {match.rule for match in detector.scan(text).matches} != {entry.told.id}:
            raise PackError((*item.where, "match", index), "is not found by this rule alone")
    for index, text in enumerate(entry.passing):
        if detector.scan(text).matches:
            raise PackError((*item.where, "pass", index), "is found, but must not be")
    for index, literal in enumerate(entry.rule.literals):
        if not any(literal in text for text in entry.match):
            raise PackError((*item.where, "literals", index), "has no example in 'match'")
    if not entry.passing:
        raise item.error("pass", "must not be empty")
    if detector.scan(detector.marker(entry.told.id)).matches:
        raise item.error("id", "makes a marker that is found itself")
