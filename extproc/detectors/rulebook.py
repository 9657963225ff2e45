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
from typing import Any, Final, Generic, NamedTuple, TypeVar

from extproc.detectors.memo import Memo
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


class Codes(Memo):
    """The code of each token, filled as tokens turn up."""

    def __init__(self, exact: dict[str, str], prefixes: dict[str, str], marks: Iterable[str]) -> None:
        super().__init__({**exact, **{mark: mark for mark in marks}, **dict.fromkeys(BREAKS, BREAK), LINE: LINE})
        self._prefixes: Final = prefixes
        self._openings: Final = frozenset(prefix[:BEGINNING] for prefix in prefixes)
        self._longest: Final = max(map(len, prefixes), default=0)

    def _look_up(self, token: str) -> str:
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
    """A phrase of a rule, as codes."""

    __slots__ = ("_match", "_source", "marks", "needs", "order", "rule", "starts")

    def __init__(
        self, order: int, rule: R, source: str, marks: bool, starts: frozenset[str], needs: tuple[int, ...]
    ) -> None:
        self.order: Final = order
        self.rule: Final = rule
        self.marks: Final = marks
        self.starts: Final = starts
        self.needs: Final = needs
        self._source: Final = source
        self._match: Callable[[str, int], re.Match[str] | None] | None = None

    def search(self, coded: str, places: _Places) -> re.Match[str] | None:
        """The first match of the first code that it can begin with, in their order."""
        match = self._match
        if match is None:
            match = self._match = re.compile(self._source).match
        for code in sorted(self.starts & places.codes):  # so that every process reports the same match
            for place in places[code]:
                if found := match(coded, place):
                    return found
        return None


class _Places(dict[str, list[int]]):
    """Where each code stands in a slice, from ``start`` to ``end``, filled as codes are asked for."""

    def __init__(self, coded: str, start: int, end: int) -> None:
        super().__init__()
        self.codes: Final = frozenset(coded)
        self._coded: Final = coded
        self._start: Final = start
        self._end: Final = end

    def __missing__(self, code: str) -> list[int]:
        places: list[int] = []
        place = self._coded.find(code, self._start, self._end)
        while place >= 0:
            places.append(place)
            place = self._coded.find(code, place + 1, self._end)
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
        self._by_code: Final[dict[str, list[_Entry[R]]]] = {}
        for order, (rule, source, marks, starts, wanted) in enumerate(compiled["phrases"]):
            needs = tuple(sum(map(self._bits.__getitem__, need)) for need in wanted[1:])
            entry = _Entry(order, rules[rule], source, bool(marks), frozenset(starts), needs)
            for code in wanted[0]:
                self._by_code.setdefault(code, []).append(entry)

    def code(self, tokens: Iterable[str]) -> tuple[str, str]:
        """The codes of a text's tokens: of all of them, and of words and breaks only."""
        coded = "".join(map(self.codes.__getitem__, tokens))
        return coded, self.words_of(coded)

    def words_of(self, coded: str) -> str:
        """The codes of words and breaks among those of all tokens."""
        return _MARKS.sub("", coded)

    def places_of_words(self, coded: str, start: int) -> list[int]:
        """Where each of them stands among all, from ``start`` on."""
        return [place for place in range(start, len(coded)) if not _MARKS.match(coded[place])]

    def find(self, coded: str, words: str, before: int = 0, behind: int = 0) -> list[Found[R]]:
        """Find the rules that occur, each once, in the codes of a slice of a text.

        No match begins in so many tokens ``before`` it and ``behind``: they are there to be looked back and ahead at.
        """
        present = 0
        entries: dict[int, _Entry[R]] = {}
        end = len(coded) - behind
        marked = _Places(coded, before, end)
        words_behind = len(self.words_of(coded[end:])) if behind else 0
        places = _Places(words, len(self.words_of(coded[:before])) if before else 0, len(words) - words_behind)
        for code in marked.codes:
            present |= self._bits[code]
            for entry in self._by_code.get(code, ()):
                entries[entry.order] = entry
        found: dict[R, Found[R]] = {}
        for order in sorted(entries):  # so that every process reports the same match of a rule
            entry = entries[order]
            if entry.rule in found:
                continue
            for need in entry.needs:
                if not need & present:
                    break
            else:
                match = entry.search(coded, marked) if entry.marks else entry.search(words, places)
                if match:
                    found[entry.rule] = Found(entry.rule, *match.span(), entry.marks)
        return list(found.values())


def compile_rules(phrases: Sequence[tuple[int, Part]]) -> dict[str, Any]:
    """Compile the phrases of rules, each with the number of its rule, to what a rulebook is made from: plain JSON.

    ``words`` and ``prefixes`` name, for each code, the words that have it; ``unspaced`` the words of scripts without
    spaces. A phrase is its rule, its expression, whether it names marks, the codes that it can begin with, and the
    sets of codes of each of which a text must have one, the rarest first.
    """
    coding = _Coding([part for _, part in phrases])
    compiled = []
    for rule, part in phrases:
        wanted = sorted((part.starts, *part.needs), key=_commonness)
        source = "".join(map(coding.source, part.pieces))
        compiled.append([rule, source, int(part.marks), coding.chars(part.starts), [*map(coding.chars, wanted)]])
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
