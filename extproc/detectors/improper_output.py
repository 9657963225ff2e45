"""Improper output: what a model writes and a browser, a chat window or a terminal would act on.

What lives here: the detector, and the reading of a pack and of a policy's options. What must not: how text is scanned
(output_scan), what counts as a tag, a link, code (markup, links, fences), files and YAML.

A pack is a mapping: ``owasp`` (what every rule maps to unless it says otherwise) and ``rules``. A rule has ``id``,
``title``, ``severity``, optionally ``owasp``, ``match`` and ``pass`` (texts in which it alone must and nothing may be
found), and a ``kind``, each of which may be there once:

- ``elements``: tags, by ``names``, and by ``with_attributes`` those that do nothing without any;
- ``handlers``: attributes that run code (``onclick=``), in any tag;
- ``schemes``: links that run code, by ``schemes``;
- ``images`` and ``links``: addresses of other hosts that carry more than ``bytes`` of data, where the address is
  fetched without a click and where not;
- ``controls``: control characters; ``invisible``: characters that hide text.

Options: ``rules`` (ids; default all), ``allow_hosts`` (``docs.example.com``, ``*.example.org``: their addresses may
carry anything), ``image_bytes`` and ``query_bytes`` in place of the pack's, ``code_blocks`` (``skip``: fenced blocks
and code spans are shown, not run; ``read`` for clients that do not render Markdown), ``verify``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan, Span
from extproc.detectors.links import Addresses, Schemes
from extproc.detectors.markup import NAME_MAX, Elements
from extproc.detectors.output_scan import OutputScan, Settings
from extproc.detectors.pack import SEVERITIES, Fields, PackError, pack_owasp, rule_id, rule_owasp

KINDS: Final = ("elements", "handlers", "schemes", "images", "links", "controls", "invisible")
CODE_BLOCKS: Final = ("skip", "read")

_BYTES_MAX: Final = 512
_NAME: Final = re.compile(rf"[a-z][a-z0-9-]{{0,{NAME_MAX - 2}}}")
_SCHEME: Final = re.compile(r"[a-z]+:[a-z/+]*")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """What people are told of a rule."""

    id: str
    title: str
    severity: str
    owasp: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """One rule of a pack, read. ``names`` are of tags or schemes, ``bare`` of tags that matter with attributes only."""

    entry: Entry
    kind: str
    names: tuple[str, ...]
    bare: tuple[str, ...]
    bytes: int
    match: tuple[str, ...]
    passing: tuple[str, ...]
    fields: Fields


_NOTHING: Final = _Item(Entry("", "", "", ()), "", (), (), 0, (), (), Fields({}))


class ImproperOutputDetector:
    """Finds active content, leaks by link and hidden characters (``detectors.base.StreamDetector``). Immutable."""

    __slots__ = ("_settings", "entries", "name")

    def __init__(self, settings: Settings, entries: Mapping[str, Entry]) -> None:
        self.name = "improper_output"
        self.entries = MappingProxyType(dict(entries))
        self._settings = settings

    def scan(self, text: str) -> Scan:
        """Find everything in one whole text, in order."""
        found: list[Span] = []
        for span in self.stream().feed(text, final=True):
            if span.opens:
                found.append(span)
            else:
                found[-1] = Span(found[-1].start, span.end, span.rule, safe=found[-1].safe)
        matches = tuple(Match(span.start, span.end, span.rule, safe=span.safe) for span in found)
        return Scan(matches, 1.0 if matches else 0.0)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> OutputScan:  # noqa: ARG002 - the request changes nothing
        """Start the scan of one channel."""
        return OutputScan(self._settings)

    def marker(self, rule: str) -> str:
        """Give what takes the place of a span that is not made harmless."""
        return f"[REDACTED:{rule}]"


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> ImproperOutputDetector:
    """Compile a pack. With the option ``verify`` its examples are tried, too, which a test needs and a start does not.

    Raises ``PackError`` at the first bad entry.
    """
    fields = Fields(pack)
    owasp = pack_owasp(fields)
    items = [_read(item, owasp) for item in fields.mappings("rules")]
    fields.close()
    _refuse_doubles(items)
    chosen = Fields(options, ("options",))
    verify = chosen.flag("verify", default=False)
    settings = _settings(chosen, items)
    chosen.close()
    on = set(settings.rules.values())
    detector = ImproperOutputDetector(settings, {item.entry.id: item.entry for item in items if item.entry.id in on})
    if verify:
        for item in items:
            _verify(detector, item)
    return detector


def _settings(options: Fields, items: list[_Item]) -> Settings:
    by_kind = {item.kind: item for item in items}
    ids = [item.entry.id for item in items]
    chosen = options.strings("rules", tuple(ids))
    for index, name in enumerate(chosen):
        if name not in ids:
            raise PackError(("options", "rules", index), f"must be one of {', '.join(sorted(ids))}")
    hosts = options.strings("allow_hosts", ())
    for index, host in enumerate(hosts):
        if not _HOST.fullmatch(host):
            raise PackError(("options", "allow_hosts", index), "must be a host, or '*.' and one")
    elements = by_kind.get("elements", _NOTHING)
    return Settings(
        rules=MappingProxyType({item.kind: item.entry.id for item in items if item.entry.id in chosen}),
        elements=Elements(elements.names, elements.bare),
        schemes=Schemes(by_kind.get("schemes", _NOTHING).names),
        addresses=Addresses(hosts),
        image_bytes=_bytes(options, "image_bytes", by_kind.get("images", _NOTHING).bytes),
        link_bytes=_bytes(options, "query_bytes", by_kind.get("links", _NOTHING).bytes),
        read_code=options.choice("code_blocks", CODE_BLOCKS, "skip") == "read",
    )


def _refuse_doubles(items: list[_Item]) -> None:
    for at, item in enumerate(items):
        for other in items[:at]:
            if item.entry.id == other.entry.id:
                raise item.fields.error("id", "is used twice")
            if item.kind == other.kind:
                raise item.fields.error("kind", "has a rule already")


def _read(fields: Fields, owasp: tuple[str, ...]) -> _Item:
    entry = Entry(
        id=rule_id(fields),
        title=fields.string("title"),
        severity=fields.choice("severity", SEVERITIES),
        owasp=rule_owasp(fields, owasp),
    )
    kind = fields.choice("kind", KINDS)
    names: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    if kind == "elements":
        names = _names(fields, "names", _NAME, "lower-case names of tags")
        bare = _names(fields, "with_attributes", _NAME, "lower-case names of tags")
    elif kind == "schemes":
        names = _names(fields, "schemes", _SCHEME, "schemes such as javascript: or data:text/html")
    size = _bytes(fields, "bytes", None) if kind in ("images", "links") else 0
    match, passing = fields.strings("match"), fields.strings("pass")
    fields.close()
    return _Item(entry, kind, names, bare, size, match, passing, fields)


def _names(fields: Fields, name: str, shape: re.Pattern[str], what: str) -> tuple[str, ...]:
    values = fields.strings(name)
    for index, value in enumerate(values):
        if not shape.fullmatch(value):
            raise PackError((*fields.where, name, index), f"must be {what}")
    return values


def _bytes(fields: Fields, name: str, default: int | None) -> int:
    value = fields.integer(name, default)
    if value > _BYTES_MAX:
        raise fields.error(name, f"must be at most {_BYTES_MAX}")
    return value


def _verify(detector: ImproperOutputDetector, item: _Item) -> None:
    """Try what the pack claims of one rule: its examples."""
    where = item.fields.where
    for index, text in enumerate(item.match):
        if {match.rule for match in detector.scan(text).matches} != {item.entry.id}:
            raise PackError((*where, "match", index), "is not found by this rule alone")
    for index, text in enumerate(item.passing):
        if detector.scan(text).matches:
            raise PackError((*where, "pass", index), "is found, but must not be")
