"""Secrets: provider tokens, keys and credentials, found in whole texts and in running ones.

What lives here: the detector, and the reading of a pack's rules. What must not: how text is scanned (window), how a
place is decided (matcher), what a shape means (shapes), what a body must look like (checks), files and YAML.

A pack is a mapping: ``owasp`` (what every rule maps to unless it says otherwise), ``providers`` (name -> link to where
it says what its secrets are), ``alphabets`` (name -> characters, with ranges such as ``a-z``) and ``rules``. A rule has

- ``id``, ``provider``, ``title``, ``severity``, optionally ``owasp``;
- ``literals``, what makes a place worth a look; a rule may do without if its body begins with a run of letters and
  digits and a quoted text (``digit{8,10} ':A'``), which costs ordinary text more than a literal does;
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

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from extproc.chat import Json
from extproc.detectors import keywords
from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan
from extproc.detectors.bulk import BULK_MIN
from extproc.detectors.checks import CHECKS
from extproc.detectors.keywords import Keywords
from extproc.detectors.matcher import Matcher, Rule, Step
from extproc.detectors.pack import SEVERITIES, Fields, PackError, pack_owasp, rule_id, rule_owasp
from extproc.detectors.shapes import Shapes, replaceable
from extproc.detectors.window import Window

_NAMED: Final = "any"  # who gives out what only its name makes a secret
_LITERAL_MIN: Final = 2
_LITERAL_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """What people are told of a rule."""

    id: str
    provider: str
    title: str
    severity: str
    owasp: tuple[str, ...]
    docs: str = ""


class SecretsDetector:
    """Finds secrets (``detectors.base.StreamDetector``). Immutable, shared by every exchange."""

    __slots__ = ("_matcher", "entries", "name")

    def __init__(self, rules: tuple[Rule, ...], named: Keywords | None, entries: Mapping[str, Entry]) -> None:
        self.name = "secrets"
        self.entries = MappingProxyType(dict(entries))
        self._matcher = Matcher(rules, named)

    def scan(self, text: str) -> Scan:
        """Find every secret in one whole text, in order."""
        window = self.stream()
        spans = window.whole(text) if len(text) >= BULK_MIN else window.feed(text, final=True)
        return Scan(tuple(Match(span.start, span.end, span.rule) for span in spans), 1.0 if spans else 0.0)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> Window:  # noqa: ARG002 - a secret is one in any exchange
        """Start the scan of one channel."""
        return Window(self._matcher)

    def marker(self, rule: str) -> str:
        """Give what takes a secret's place."""
        return f"[REDACTED:{rule}]"


@dataclass(frozen=True, slots=True)
class _Item:
    """One rule of a pack, read: what people are told, what it finds, its examples, and where it stands."""

    entry: Entry
    rule: Rule
    match: tuple[str, ...]
    passing: tuple[str, ...]
    fields: Fields


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> SecretsDetector:
    """Compile a pack. With the option ``verify`` its examples are tried, too, which a test needs and a start does not.

    Raises ``PackError`` at the first bad entry.
    """
    chosen = Fields(options, ("options",))
    verify = chosen.flag("verify", default=False)
    chosen.close()
    fields = Fields(pack)
    shapes = Shapes(fields.mapping("alphabets"))
    owasp = pack_owasp(fields)
    docs = _docs(fields.mapping("providers"))
    items = [_read(item, shapes, owasp, docs) for item in fields.mappings("rules")]
    entries: dict[str, Entry] = {}
    for item in items:
        _enter(entries, item.entry, item.fields)
    kinds = []
    for kind in fields.mappings("keywords") if "keywords" in fields else ():
        _enter(entries, _entry(kind, _NAMED, owasp, docs), kind)
        kinds.append(keywords.read(kind))
        kind.close()
    fields.close()
    detector = SecretsDetector(tuple(item.rule for item in items), Keywords(kinds) if kinds else None, entries)
    if verify:
        for item in items:
            _verify(detector, item)
    return detector


def _enter(entries: dict[str, Entry], entry: Entry, fields: Fields) -> None:
    if entry.id in entries:
        raise fields.error("id", "is used twice")
    entries[entry.id] = entry


def _entry(fields: Fields, provider: str, owasp: tuple[str, ...], docs: Mapping[str, str]) -> Entry:
    """Read what people are told of a rule or of a kind of named value."""
    return Entry(
        id=rule_id(fields),
        provider=provider,
        title=fields.string("title"),
        severity=fields.choice("severity", SEVERITIES),
        owasp=rule_owasp(fields, owasp),
        docs=docs.get(provider, ""),
    )


def _docs(providers: Fields) -> dict[str, str]:
    """Read where each provider says what its secrets are."""
    docs = {name: providers.string(name) for name in providers.names()}
    for name, link in docs.items():
        if not link.startswith("https://"):
            raise providers.error(name, "must be a link: https://...")
    return docs


def _read(fields: Fields, shapes: Shapes, owasp: tuple[str, ...], docs: Mapping[str, str]) -> _Item:
    entry = _entry(fields, fields.string("provider"), owasp, docs)
    lead = shapes.lead(fields)
    until = fields.strings("until", ())
    body, tail = shapes.body(fields, closed=bool(until))
    rule = Rule(
        id=entry.id,
        literals=_literals(fields, hidden=not lead) if "literals" in fields else _no_literals(fields, lead, body),
        lead=lead,
        body=body,
        until=until,
        check=CHECKS[fields.choice("check", CHECKS, "random")],
        tail=tail,
    )
    match = tuple(text[::-1] for text in fields.strings("match"))
    item = _Item(entry, rule, match, fields.strings("pass"), fields)
    fields.close()
    return item


def _literals(fields: Fields, hidden: bool) -> tuple[str, ...]:
    literals = fields.strings("literals")
    if not literals:
        raise fields.error("literals", "must not be empty")
    for index, literal in enumerate(literals):
        where = (*fields.where, "literals", index)
        if not _LITERAL_MIN <= len(literal) <= _LITERAL_MAX:
            raise PackError(where, f"must have {_LITERAL_MIN} to {_LITERAL_MAX} characters")
        if hidden and not replaceable(literal.replace(" ", "")):
            raise PackError(where, "must not use quotes, backslashes or white space but blanks")
        if literal in literals[:index]:
            raise PackError(where, "is there twice")
    return literals


def _no_literals(fields: Fields, lead: tuple[Step, ...], body: tuple[Step, ...]) -> tuple[str, ...]:
    """Allow a rule to do without literals if its body begins with a run of letters and digits and a quoted text."""
    if lead or len(body) < 3 or not body[0].unit[1:-1].isalnum() or not body[1].least == body[1].most == 1:
        raise fields.error("literals", "is required unless the body begins with a run of letters and a quoted text")
    return ()


def _verify(detector: SecretsDetector, item: _Item) -> None:
    """Try what the pack claims of one rule: its examples, one for each literal at least, and its marker."""
    where = item.fields.where
    for index, text in enumerate(item.match):
        if {match.rule for match in detector.scan(text).matches} != {item.entry.id}:
            raise PackError((*where, "match", index), "is not found by this rule alone")
    for index, text in enumerate(item.passing):
        if detector.scan(text).matches:
            raise PackError((*where, "pass", index), "is found, but must not be")
    for index, literal in enumerate(item.rule.literals):
        if not any(literal in text for text in item.match):
            raise PackError((*where, "literals", index), "has no example in 'match'")
    if not item.passing:
        raise item.fields.error("pass", "must not be empty")
    if detector.scan(detector.marker(item.entry.id)).matches:
        raise item.fields.error("id", "makes a marker that is found itself")
