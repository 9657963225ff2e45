"""A rulebook: all phrases of a pack, and the finding of those that occur in a text.

What lives here: the codes of words, and the order in which phrases are tried. What must not: the language of phrases
(``phrases``), weights, what follows from a rule. What it is made from is plain data, which may be made once and kept.

Every word that a phrase names belongs to the sets of words in which phrases name it. Words that belong to the same sets
are never told apart, so they share one code, and a set of words is a set of codes. What a phrase needs is kept as a bit
for each code: whether a text can have it at all is a few operations on whole numbers.

An expression is compiled when its phrase first could match: most never do, and all of them would take longer to compile
than everything else takes at load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final, Generic, NamedTuple, TypeVar

from extproc.detectors.phrases import BEGINNING, BREAK, OTHER, UNKNOWN_MARK, Atoms, Part, fits
from extproc.detectors.words import BREAKS, LINE, is_unspaced

_FIRST_CODE: Final = 0x3400  # letters, so that one short expression tells codes of words from marks
_MARKS: Final = re.compile(rf"(?:[^\w{BREAK}]|_)+")

# Words that most texts have.
_COMMON_WORDS: Final = """
    the a an of to and in is it you your that this with for as on are be all any my what how can do not no from at by i
    or was will have has me we they one use if then now new only just write say text these
"""
_COMMON: Final = frozenset(_COMMON_WORDS.split())

R = TypeVar("R")


class Codes(dict[str, str]):
    """The code of each token. Those that are named are in the table; the others are found when asked for."""

    def __init__(self, exact: dict[str, str], prefixes: dict[str, str], marks: Iterable[str]) -> None:
        super().__init__(exact)
        self.update(zip(marks, marks, strict=True))
        self.update(dict.fromkeys(BREAKS, BREAK))
        self[LINE] = LINE
        self._prefixes: Final = prefixes
        self._openings: Final = frozenset(prefix[:BEGINNING] for prefix in prefixes)
        self._longest: Final = max(map(len, prefixes), default=0)

    def __missing__(self, token: str) -> str:
        if token[:BEGINNING] in self._openings:
            for length in range(min(len(token), self._longest), BEGINNING - 1, -1):
                prefix = token[:length]
                if prefix in self._prefixes and fits(token, prefix + "*"):
                    return self._prefixes[prefix]
            return OTHER
        return OTHER if token.isalnum() or len(token) > 1 else UNKNOWN_MARK


class Found(NamedTuple, Generic[R]):
    """A rule that occurs: in the tokens ``[start, end)``. ``marks``: of all tokens, else of words and breaks only."""

    rule: R
    start: int
    end: int
    marks: bool


class _Entry(Generic[R]):
    """A phrase of a rule, as codes. ``openings``: codes that a match begins with, and those that can come second."""

    __slots__ = ("_match", "_openings", "_seconds", "_source", "marks", "needs", "order", "rule", "starts")

    def __init__(
        self,
        order: int,
        rule: R,
        source: str,
        marks: bool,
        starts: frozenset[str],
        needs: tuple[int, ...],
        openings: Sequence[tuple[str, str]],
    ) -> None:
        self.order: Final = order
        self.rule: Final = rule
        self.marks: Final = marks
        self.starts: Final = starts
        self.needs: Final = needs
        self._source: Final = source
        self._openings: Final = openings
        self._seconds: dict[str, str] = {}
        self._match: Callable[[str, int], re.Match[str] | None] | None = None

    def search(self, places: _Places) -> re.Match[str] | None:
        """The first match of the first code that it can begin with, in their order."""
        coded = places.coded
        for code in sorted(self.starts & places.codes):  # so that every process reports the same match
            seconds = self._seconds.get(code)
            if seconds is None:
                seconds = self._seconds[code] = "".join([second for first, second in self._openings if code in first])
            # Most phrases fail at the second word: to look at it first costs a tenth of an attempt to match.
            at = (
                [place for place in places[code] if coded[place + 1 : place + 2] in seconds]
                if seconds
                else places[code]
            )
            for place in at:
                if found := self._try(coded, place):
                    return found
        return None

    def _try(self, coded: str, place: int) -> re.Match[str] | None:
        if self._match is None:
            self._match = re.compile(self._source).match
        return self._match(coded, place)


class _Places(dict[str, list[int]]):
    """Where each code stands in a slice, from ``start`` to ``end``, filled as codes are asked for."""

    def __init__(self, coded: str, start: int, end: int) -> None:
        super().__init__()
        self.coded: Final = coded
        self.codes: Final = frozenset(coded)
        self._start: Final = start
        self._end: Final = end

    def __missing__(self, code: str) -> list[int]:
        places: list[int] = []
        place = self.coded.find(code, self._start, self._end)
        while place >= 0:
            places.append(place)
            place = self.coded.find(code, place + 1, self._end)
        self[code] = places
        return places


class Rulebook(Generic[R]):
    """All phrases of some rules. Shared; grows only in what it remembers of tokens and expressions."""

    def __init__(self, compiled: Mapping[str, Any], rules: Sequence[R]) -> None:
        """Take what ``compile_rules`` made of the phrases of these rules."""
        words = {word: code for code, named in compiled["words"].items() for word in named.split()}
        prefixes = {prefix: code for code, named in compiled["prefixes"].items() for prefix in named.split()}
        self.codes: Final = Codes(words, prefixes, compiled["marks"])
        self.unspaced: Final = tuple(compiled["unspaced"].split())
        codes = sorted({*compiled["words"], *compiled["prefixes"], *compiled["marks"], OTHER})
        self._bits: Final = {code: 1 << index for index, code in enumerate(codes)}
        self._of_words: Final[dict[str, dict[int, _Entry[R]]]] = {}
        self._with_marks: Final[dict[str, dict[int, _Entry[R]]]] = {}
        for order, (rule, source, marks, starts, wanted, openings) in enumerate(compiled["phrases"]):
            needs = tuple(sum(map(self._bits.__getitem__, need)) for need in wanted[1:])
            entry = _Entry(order, rules[rule], source, bool(marks), frozenset(starts), needs, openings)
            by_code = self._with_marks if marks else self._of_words
            for code in wanted[0]:
                by_code.setdefault(code, {})[order] = entry

    def code(self, tokens: Iterable[str]) -> tuple[str, str]:
        """The codes of a text's tokens: of all of them, and of words and breaks only."""
        coded = "".join(map(self.codes.__getitem__, tokens))
        return coded, words_of(coded)

    def places_of_words(self, coded: str, start: int) -> list[int]:
        """Where each of them stands among all, from ``start`` on."""
        return [place for place, code in enumerate(coded) if place >= start and (code == BREAK or code.isalnum())]

    def find(self, coded: str, words: str, before: int = 0, behind: int = 0) -> list[Found[R]]:
        """Find the rules that occur, each once, in the codes of a slice of a text.

        No match begins in so many tokens ``before`` it and ``behind``: they are there to be looked back and ahead at.
        """
        found: dict[R, Found[R]] = {}
        end = len(coded) - behind
        last = len(words) - len(words_of(coded[end:])) if behind else len(words)
        marked = _Places(coded, before, end)
        places = _Places(words, len(words_of(coded[:before])) if before else 0, last)
        present = reduce(or_, map(self._bits.__getitem__, marked.codes), 0)
        self._find(places, present, self._of_words, found)
        self._find(marked, present, self._with_marks, found)
        return list(found.values())

    def _find(
        self, places: _Places, present: int, by_code: Mapping[str, dict[int, _Entry[R]]], found: dict[R, Found[R]]
    ) -> None:
        """Find the rules that occur in a slice and were not found yet. ``present``: the bits of its codes."""
        entries: dict[int, _Entry[R]] = {}
        for code in by_code.keys() & places.codes:
            entries.update(by_code[code])
        for order in sorted(entries):  # so that every process reports the same match of a rule
            entry = entries[order]
            if entry.rule in found:
                continue
            for need in entry.needs:
                if not need & present:
                    break
            else:
                if match := entry.search(places):
                    found[entry.rule] = Found(entry.rule, *match.span(), entry.marks)


def words_of(coded: str) -> str:
    """The codes of words and breaks among those of all tokens."""
    return _MARKS.sub("", coded)


def compile_rules(phrases: Sequence[tuple[int, Part]]) -> dict[str, Any]:
    """Compile the phrases of rules, each with the number of its rule, to what a rulebook is made from: plain JSON.

    ``words`` and ``prefixes`` name, for each code, the words that have it; ``unspaced`` the words of scripts without
    spaces. A phrase is its rule, its expression, whether it names marks, the codes that it can begin with, and the
    sets of codes of each of which a text must have one, the rarest first; last come the pairs of codes that it can open
    with, as far as they are known: those that begin it, and those that can come second then.
    """
    coding = _Coding([part for _, part in phrases])
    compiled = []
    for rule, part in phrases:
        wanted = sorted((part.starts, *part.needs), key=_commonness)
        source = "".join(map(coding.source, part.pieces))
        openings = [] if part.marks else list(coding.openings(part))
        compiled.append(
            [rule, source, int(part.marks), coding.chars(part.starts), [*map(coding.chars, wanted)], openings]
        )
    return {
        "words": _by_code((word, code) for word, code in coding.codes_of_words.items() if word[-1] != "*"),
        "prefixes": _by_code((word[:-1], code) for word, code in coding.codes_of_words.items() if word[-1] == "*"),
        "marks": "".join(sorted(coding.marks)),
        "unspaced": " ".join(
            word for word in coding.codes_of_words if word[-1] != "*" and len(word) > 1 and is_unspaced(word)
        ),
        "phrases": compiled,
    }


def _by_code(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    named: dict[str, list[str]] = {}
    for word, code in pairs:
        named.setdefault(code, []).append(word)
    return {code: " ".join(words) for code, words in sorted(named.items())}


class _Coding:
    """Which code each word has; ``marks`` are their own."""

    def __init__(self, parts: Sequence[Part]) -> None:
        sets = list(dict.fromkeys(piece for part in parts for piece in part.pieces if isinstance(piece, frozenset)))
        homes: dict[str, set[int]] = {}
        for index, words in enumerate(sets):
            for atom in words:
                homes.setdefault(atom, set()).add(index)
        prefixes = {atom[:-1]: atom for atom in homes if atom[-1] == "*"}
        # Neighbours in order have most sets in common: a set is then a few ranges, which are short and fast to compile.
        signatures = {atom: tuple(sorted(_all_homes(atom, homes, prefixes))) for atom in sorted(homes)}
        ordered = sorted(set(signatures.values()))
        code_of = {signature: chr(_FIRST_CODE + index) for index, signature in enumerate(ordered)}
        self._chars: Final = {atom: code_of[signature] for atom, signature in signatures.items()}
        members: list[list[str]] = [[] for _ in sets]
        for signature, code in code_of.items():
            for home in signature:
                members[home].append(code)
        self._codes_of: Final = dict(zip(sets, map("".join, members), strict=True))
        self.codes_of_words: Final = self._chars
        self.marks: Final = {mark for part in parts for mark in _marks(part)} | {BREAK, LINE, UNKNOWN_MARK}

    def source(self, piece: str | Atoms) -> str:
        """A piece of an expression over codes."""
        if isinstance(piece, str):
            return piece
        codes = self._codes_of[piece]
        return codes if len(codes) == 1 else f"[{''.join(_ranges(codes))}]"

    def chars(self, atoms: Atoms) -> str:
        """The codes that words of a set can have; marks are their own."""
        if atoms in self._codes_of:
            return self._codes_of[atoms]
        every: set[str] = set()
        for atom in atoms:
            every.update(self._codes_of.get(frozenset({atom})) or self._chars.get(atom, atom))
        for words, codes in self._codes_of.items():
            if words < atoms:
                every.update(codes)
        return "".join(sorted(every))

    def openings(self, part: Part) -> Iterator[list[str]]:
        """How a match of a phrase can begin, where its first code decides on the second."""
        free = {code for opening in part.openings if not opening.second for code in self.chars(opening.first)}
        for opening in part.openings:
            first = "".join(code for code in self.chars(opening.first) if code not in free)
            if first:
                yield [first, self.chars(opening.second)]


def _commonness(words: Atoms) -> tuple[int, int]:
    """Sort key: what few texts have comes first, so that a phrase is looked at for the rarest thing it needs."""
    return len(words & _COMMON), len(words)


def _all_homes(atom: str, homes: Mapping[str, set[int]], prefixes: Mapping[str, str]) -> set[int]:
    """The sets that have a word: under its own name, and under those of beginnings that it has."""
    found = set(homes[atom])
    plain = atom.rstrip("*")
    for length in range(1, len(plain) + 1):
        covering = prefixes.get(plain[:length])
        if covering is not None and (atom[-1] == "*" or fits(plain, covering)):
            found |= homes[covering]
    return found


def _marks(part: Part) -> Iterator[str]:
    """The marks that a phrase names: what its sources have escaped, or plain."""
    for piece in part.pieces:
        if isinstance(piece, str) and part.marks:
            yield from (char for char in piece if not char.isalnum() and char not in "\\ ")


def _ranges(codes: str) -> Iterator[str]:
    start = end = codes[0]
    for code in codes[1:]:
        if ord(code) != ord(end) + 1:
            yield start if start == end else f"{start}-{end}"
            start = code
        end = code
    yield start if start == end else f"{start}-{end}"
