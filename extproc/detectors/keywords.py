"""Values that are secret because of the name before them: ``password = "..."``, ``"api_key": ...``, ``--token ...``.

What lives here: how a name is found, and where its value begins and ends. What must not: what a value must look like
(values), which names there are (the pack), pieces of a stream.

A pack's ``keywords`` is a list of kinds of value. A kind has ``id``, ``title``, ``severity``, optionally ``owasp``, and

- ``names``, lower-case words joined by ``_``: ``api_key`` also stands for ``apiKey``, ``API-KEY`` and ``api key``;
- ``check``, what its value must look like;
- optionally ``headers``, texts after which the value comes next, and ``phrases``, words after which a sentence may
  give it.

So there are three ways to a value. A *connector* (``=``, ``:`` or ``>``) with a name before it, in code, configuration,
JSON, YAML, XML and URLs. A *header* or the flag of a command line, ``--name``. A *phrase*: ``The password for the
database is "..."``. The name and all else before the value stay in the text and leave at once; only the value is ever
held, and of it at most ``VALUE_MAX`` characters: then these decide it, and what continues it is eaten like that of any
other secret.

All patterns are bounded. The name before a connector is matched from right to left, in a copy that is reversed, so that
a place costs the same whatever stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from extproc.detectors.matcher import Found, Keyed, Outcome, Pending, Tail
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.shapes import no_tail, run_tail
from extproc.detectors.values import VALUES

LOOKBACK: Final = 72
"""Characters before a connector in which its name may stand."""

VALUE_MAX: Final = 48
"""Characters of a value that decide it, if it has not ended before."""

_WHOLE_WORD_MAX: Final = 4
"""A name of so few letters must be a word of its own; a longer one may end a word, as in ``githubtoken``."""

_PHRASE_MAX: Final = 120

# The class comes first, so that a search skips to it; what stands before is asked of a hit only.
_connector = re.compile(r"[=:>](?<=[a-zA-Z0-9\"'`*\])\\\s][=:>])", re.ASCII).search
# What may stand between a name and its connector: a number, the type of a variable, quotes. Backwards, and forwards.
_CLOSERS: Final = r"[\s\"'`*\[\])\\]{0,6}(?:(?:gnirt[sS]|rts)[\t :&]{1,3})?[0-9]{0,2}"
_CLOSERS_FORWARDS: Final = r"[0-9]{0,2}(?:[\t :&]{1,3}(?:[sS]tring|str))?[\s\"'`*\[\])\\]{0,6}[=:>]"
_BETWEEN: Final = "[-_. ]?"  # the words of a name
# The head of a YAML block and the letters before a string (``b"..."``) belong to it. A sign or letter may also begin a
# value, so it is held as one until what follows is there.
_gap = re.compile(
    r"(?:[\s=:>\"'`*(]|\\[\"'nrt]?|(?<![\"'`])\|(?=[-+\r\n]|\Z)|[-+](?=[\r\n])){0,16}+(?:[bBrRuUN@]{1,2}[\"'`]{1,3})?"
).match
_header_gap = re.compile(r"[ =]{0,2}[\"']?").match
_words = re.compile(r"[\w@.'/: -]*").match
_phrase = re.compile(
    r"(?: [\w@.'/-]{1,24}+){0,8}? (?:(?:is|was)(?:: ?| {1,2})[\"'`*]{0,3}|(?:to|as)(?:: ?| {1,2})[\"'`*]{1,3})"
).match

# Names that end as a secret's and say that theirs is none. Backwards.
_harmless = re.compile(
    f"yek{_BETWEEN}(?:cilbup|elbahsilbup|ycnetopmedi)|nekot{_BETWEEN}(?:txen|egap|noitaunitnoc)",
    re.IGNORECASE | re.ASCII,
).match

_NAME: Final = re.compile(r"[a-z]+(?:_[a-z]+)*")
_QUOTES: Final = "\"'`"
_OPENING: Final = "([{"  # behind an unquoted value they make it a call, an index, a template
_CUT_SHORT: Final = ".."  # somebody shows how a value begins
_TRAILING: Final = ".:"  # the end of a sentence rather than of a value
_BARE: Final = "!#$%+-./0123456789:=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ^_abcdefghijklmnopqrstuvwxyz~"
_QUOTED: Final = _BARE + "&()*,;<>[]{|}"
_bare = re.compile(f"[{re.escape(_BARE)}]{{0,{VALUE_MAX}}}").match
_quoted = re.compile(f"[{re.escape(_QUOTED)}]{{0,{VALUE_MAX}}}").match


@dataclass(frozen=True, slots=True)
class Value:
    """What a finding knows of its rule: the kind of value, and how one that was cut short goes on."""

    id: str
    tail: Tail


class Kind:
    """One kind of value, decided where it begins. Immutable."""

    __slots__ = ("_bare", "_check", "_ended", "_quoted", "id")

    def __init__(self, name: str, check: Callable[[str], bool]) -> None:
        self.id = name
        self._check = check
        self._ended = Value(name, no_tail)
        self._bare = Value(name, run_tail(_BARE))
        self._quoted = Value(name, run_tail(_QUOTED))

    def decide(self, text: str, at: int, final: bool) -> Outcome:
        """Decide the value at ``at``, behind its quote if it has one. The answer needs the character behind it."""
        quoted = text[at - 1] in _QUOTES
        run = _quoted(text, at) if quoted else _bare(text, at)
        end = run.end() if run else at
        if end - at == VALUE_MAX:
            rule = self._quoted if quoted else self._bare
            return Found(rule, at, end, end) if self._check(text[at:end]) else None
        if end == len(text) and not final:
            return Pending(at, end > at)
        if not quoted:
            if text[end : end + 1] in tuple(_OPENING) or text.endswith(_CUT_SHORT, at, end):
                return None
            decided, end = end + 1, at + len(text[at:end].rstrip(_TRAILING))
        else:
            decided = end + 1
        return Found(self._ended, at, end, decided) if end > at and self._check(text[at:end]) else None


def read(fields: Fields) -> tuple[Kind, tuple[str, ...], tuple[Keyed, ...]]:
    """Read what one kind finds, by which names and behind which texts. Raises ``PackError`` at the first bad field."""
    kind = Kind(fields.string("id"), VALUES[fields.choice("check", VALUES)])
    names = fields.strings("names")
    for index, name in enumerate(names):
        if not _NAME.fullmatch(name):
            raise PackError((*fields.where, "names", index), "must be lower-case words joined by '_'")
    flags = tuple(f"--{name.replace('_', '-')}" for name in names)
    return (
        kind,
        names,
        (
            Spoken(kind, (*flags, *fields.strings("headers", ())), phrase=False),
            Spoken(kind, fields.strings("phrases", ()), phrase=True),
        ),
    )


@dataclass(frozen=True, slots=True)
class Spoken:
    """A kind whose value follows a literal (``matcher.Keyed``): at once, or in a sentence where it is a ``phrase``."""

    kind: Kind
    literals: tuple[str, ...]
    phrase: bool
    led: bool = True

    def decide(self, text: str, at: int, after: int, final: bool) -> Outcome:  # noqa: ARG002 - it decides the same
        """Decide the place whose literal ends at ``after``."""
        gap = _phrase(text, after) if self.phrase else _header_gap(text, after)
        if gap is not None and gap.end() < len(text):
            if gap.end() == after:  # a longer word
                return None
            return self.kind.decide(text, gap.end(), final)
        if final:
            return None
        words = _words(text, after) if self.phrase else None
        may_come = words is not None and words.end() == len(text) <= after + _PHRASE_MAX
        return Pending(len(text), False) if gap is not None or may_come else None


class Keywords:
    """All kinds of named values (``matcher.Named``). Immutable, shared by every stream."""

    __slots__ = ("_kinds", "_name", "keyed", "lookback", "pattern", "search")

    def __init__(self, kinds: Iterable[tuple[Kind, tuple[str, ...], tuple[Keyed, ...]]]) -> None:
        kinds = tuple(kinds)
        self.keyed = tuple(rule for _, _, rules in kinds for rule in rules)
        self.lookback = LOOKBACK
        self.search = _connector
        names = {name: kind for kind, names, _ in kinds for name in names}
        self._kinds = {name.replace("_", ""): kind for name, kind in names.items()}
        longest_first = sorted(names, key=len, reverse=True)
        backwards = "|".join(name[::-1].replace("_", _BETWEEN) for name in longest_first)
        self._name = re.compile(f"{_CLOSERS}({backwards})", re.IGNORECASE | re.ASCII).match
        self.pattern = f"(?:{'|'.join(name.replace('_', _BETWEEN) for name in longest_first)}){_CLOSERS_FORWARDS}"
        """What matches up to each connector that has a name before it, whatever the case of its letters."""

    def find(self, text: str, at: int) -> int:
        """Give the first connector from ``at`` on that has a name before it; -1 without one."""
        hit = self.search(text, at)
        while hit is not None:
            place = hit.start()
            if self._named(text, place) is not None:
                return place
            hit = self.search(text, place + 1)
        return -1

    def decide(self, text: str, place: int, final: bool) -> Outcome:
        """Decide the place of the connector at ``place``."""
        kind = self._named(text, place)
        gap = _gap(text, place)
        if kind is None or gap is None:
            return None
        if gap.end() == len(text):
            return None if final else Pending(len(text), False)
        return kind.decide(text, gap.end(), final)

    def _named(self, text: str, place: int) -> Kind | None:
        """Give the kind of the name that ends before ``place``."""
        before = text[max(place - LOOKBACK, 0) : place][::-1]
        match = self._name(before)
        if match is None or _harmless(before, match.start(1)):
            return None
        name = match[1]
        if len(name) <= _WHOLE_WORD_MAX and not _begins_word(text, place - match.end()):
            return None
        return self._kinds.get("".join(filter(str.isalpha, reversed(name))).lower())


def _begins_word(text: str, at: int) -> bool:
    """Say whether a word begins at ``at``: no letter stands before it, or it is the next word of ``camelCase``."""
    before = text[at - 1 : at]
    return not before.isalpha() or (before.islower() and text[at].isupper())
