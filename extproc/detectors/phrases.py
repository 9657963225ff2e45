r"""Phrases: what rules are written in, and their compilation to regular expressions that cannot run away.

What lives here: the small language and its compiler. What must not: rules, weights, texts to look at.

A pack holds no regular expressions. It holds phrases of this language, so that whatever a pack says is linear by
construction, and a phrase that asks for too much is refused when it is loaded:

    word        that word, as ``normalise`` leaves it; an apostrophe or hyphen in it may be missing
    word*       a word that begins so
    a b         then, after a space, quotes, or other punctuation that does not end a sentence
    (a|b c)     one of them; ``(a )?`` may be missing
    @name       one of the phrases of the pack's list of that name
    [3]         up to three words in between, in the same sentence
    [~20]       up to twenty characters in between, in the same line
    !(a|b) c    not one of them here
    <!(a|b)c    not one of them right before; they are plain words
    ^           the start of a line
    \c          the character itself, where it would mean something else

Nothing repeats without a bound, and nothing that repeats contains a repetition that could match differently. So what a
search does at one place of a text is bounded by the ways in which a phrase's gaps can share out what follows, and these
are counted and limited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from extproc.detectors.lookalikes import read
from extproc.detectors.words import INSIDE_WORD, MARK, SPACED_WORD, stems_of_literal

WORK_LIMIT: Final = 128  # ways to share out a text among the gaps of one phrase
_SUFFIX_LIMIT: Final = 12
_SEPARATOR_LIMIT: Final = 5
_GAP_WORD_LIMIT: Final = 24

# What guards the edges of a word stands thousands of times in a pack's regexes, and `re` walks each character class
# code point by code point when it compiles it: these are short or made of categories, and cost next to nothing.
_LATIN: Final = "[0-9a-z]"
_OTHER: Final = r"[^\W_]"
_SUFFIXES: Final = {True: f"{_LATIN}{{0,{_SUFFIX_LIMIT}}}+", False: rf"[\u0370-\u0dff]{{0,{_SUFFIX_LIMIT}}}+"}
_SEPARATOR: Final = rf"[\s,:\"'`*_()\[\]{{}}<>~|/\\#=+،-]{{1,{_SEPARATOR_LIMIT}}}+"
_NO_LETTER: Final = r"[\W_]"
_GAP_WORD: Final = rf"(?:[^\s.!?']{{1,{_GAP_WORD_LIMIT}}}+[\s'][\"'`*_(\[<#-]{{0,3}}+)"  # l'ordre: two words
_GAP_WORD_LONGEST: Final = _GAP_WORD_LIMIT + 4

_NAME: Final = re.compile(r"@([a-z0-9_]+)")
_GAP: Final = re.compile(r"\[(~?)([0-9]{1,3})\]")
_LOOK: Final = re.compile(r"<?!\(")
_SPECIAL: Final = frozenset(" ()|@[]^*\\")


class PhraseError(ValueError):
    """The phrase is not of the language, or asks for too much."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A compiled phrase.

    ``starts`` are what it can begin with: stems, and runs of punctuation. ``needs`` are sets of stems: a text that has
    no stem of one of them cannot match. ``longest`` bounds the length of a match in code points of the normalised text.
    """

    regex: re.Pattern[str]
    starts: frozenset[str]
    needs: tuple[frozenset[str], ...]
    longest: int

    def possible(self, stems: AbstractSet[str]) -> bool:
        """Whether a text with these stems can have the phrase."""
        for need in self.needs:  # noqa: SIM110 - a loop, for its price: it is asked hundreds of times for one text
            if need.isdisjoint(stems):
                return False
        return True


class Part(NamedTuple):
    """A compiled piece of a phrase, or a named list.

    ``starts`` as in a phrase, empty if it can begin with anything. ``opens`` and ``closes`` are the guards that it
    wants where it begins and ends with a letter of a whole word and nothing beside it is certain to be no letter.
    ``separates`` is true of what never touches a letter, ``may_lack`` of what may match nothing, ``looks`` of what
    never matches more than nothing.
    """

    source: str
    needs: tuple[frozenset[str], ...] = ()
    starts: frozenset[str] = frozenset()
    longest: int = 0
    work: int = 1
    may_lack: bool = False
    opens: str = ""
    closes: str = ""
    separates: bool = False
    looks: bool = False

    def guarded(self, *, opens: bool = True, closes: bool = True) -> str:
        """Return the source with the guards that it wants at the edges named."""
        return f"{self.opens if opens else ''}{self.source}{self.closes if closes else ''}"


Lists: TypeAlias = Mapping[str, Part]


def compile_list(phrases: Sequence[str], lists: Lists) -> Part:
    """Compile a named list of phrases, which may use the lists given.

    Raises:
        PhraseError: one of them is not a phrase.
    """
    return _one_of([_Reader(phrase, lists).whole() for phrase in phrases])


def compile_phrase(phrase: str, lists: Lists) -> Phrase:
    """Compile one phrase.

    Raises:
        PhraseError: it is not a phrase, could take too long, or could begin with anything.
    """
    part = _Reader(phrase, lists).whole()
    if part.work > WORK_LIMIT:
        raise PhraseError(f"its gaps can share out a text in {part.work} ways, more than {WORK_LIMIT}")
    if not part.starts or part.may_lack:
        raise PhraseError("it can begin with anything, so it would have to be looked for everywhere")
    needs = tuple(need for need in part.needs if need != part.starts)
    return Phrase(re.compile(part.guarded()), part.starts, needs, part.longest)


def _one_of(alternatives: Sequence[Part]) -> Part:
    needs: tuple[frozenset[str], ...] = ()
    if all(part.needs for part in alternatives):
        needs = (frozenset[str]().union(*(min(part.needs, key=_commonness) for part in alternatives)),)
    opens = _shared(part.opens for part in alternatives)
    closes = _shared(part.closes for part in alternatives)
    sources = (part.guarded(opens=not opens, closes=not closes) for part in alternatives)
    return Part(
        # The longest first: where one is the beginning of another, the match should not stop short.
        f"(?:{'|'.join(sorted(sources, key=len, reverse=True))})",
        needs,
        _any_start(alternatives),
        max(part.longest for part in alternatives),
        max(part.work for part in alternatives),
        opens=opens,
        closes=closes,
    )


def _none_before(words: Sequence[str]) -> Part:
    """Look back for each word and the one character, after ``normalise``, that parts it from what follows."""
    folded = ("".join(map(read, word)).casefold() for word in words)
    behind = (re.escape(word) + (_NO_LETTER if SPACED_WORD.match(word[-1]) else "") for word in folded)
    return Part("".join(f"(?<!{look})" for look in behind), looks=True, may_lack=True)


def _shared(guards: Iterable[str]) -> str:
    """The guard that all want, which is then written once; none if they differ."""
    different = set(guards)
    return different.pop() if len(different) == 1 else ""


def _commonness(need: frozenset[str]) -> tuple[int, int]:
    """Sort key: many stems are met more often than few, short words more often than long ones."""
    return len(need), -min(map(len, need))


def _any_start(parts: Iterable[Part]) -> frozenset[str]:
    """What one of the parts begins with; nothing if one can begin with anything."""
    starts = [part.starts for part in parts]
    return frozenset[str]().union(*starts) if all(starts) else frozenset()


class _Reader:
    """Recursive descent over one phrase."""

    def __init__(self, phrase: str, lists: Lists) -> None:
        self.phrase = phrase
        self.lists = lists
        self.at = 0

    def whole(self) -> Part:
        part = self.sequence()
        if self.at < len(self.phrase):
            raise PhraseError(f"a stray {self.phrase[self.at]}")
        return part

    def sequence(self) -> Part:
        elements = {
            " ": self.separator,
            "(": self.group,
            "@": self.named,
            "[": self.gap,
            "^": self.line_start,
        }
        parts: list[Part] = []
        while (char := self.peek()) and char not in "|)":
            look = _LOOK.match(self.phrase, self.at)
            parts.append(self.look(look[0]) if look else elements.get(char, self.literal)())
        if not parts:
            raise PhraseError("an empty phrase or alternative; write (...)? for what may be missing")
        inner = [False, *(not part.separates for part in parts), False]  # an edge is guarded by a neighbour, or outside
        return Part(
            "".join(
                part.guarded(opens=opens, closes=closes)
                for part, opens, closes in zip(parts, inner, inner[2:], strict=False)
            ),
            tuple(need for part in parts for need in part.needs),
            _any_start(_first_parts(parts)),
            sum(part.longest for part in parts),
            math.prod(part.work for part in parts),
            all(part.may_lack for part in parts),
            parts[0].opens,
            parts[-1].closes,
        )

    def separator(self) -> Part:
        self.at += 1
        following = self.peek()
        if not following or following == " ":
            raise PhraseError("a space with nothing behind it")
        if following == "\\" or not (following.isalnum() or following in "(|)@["):
            return Part(r"\s?", longest=1)  # a separator would take the punctuation that follows
        return Part(_SEPARATOR, longest=_SEPARATOR_LIMIT, separates=True)

    def group(self) -> Part:
        self.refuse_glue()
        part = self.alternatives()
        if self.peek() != "?":
            return part
        self.at += 1
        return Part(
            f"(?:{part.guarded()})?", starts=part.starts, longest=part.longest, work=part.work + 1, may_lack=True
        )

    def alternatives(self) -> Part:
        read_so_far: list[Part] = []
        while not read_so_far or self.peek() == "|":
            self.at += 1
            read_so_far.append(self.sequence())
        if not self.peek():
            raise PhraseError("a group that does not end")
        self.at += 1
        return _one_of(read_so_far)

    def named(self) -> Part:
        self.refuse_glue()
        match = _NAME.match(self.phrase, self.at)
        if not match or match[1] not in self.lists:
            raise PhraseError(f"no list {match[0] if match else '@'} before it")
        self.at = match.end()
        return self.lists[match[1]]

    def gap(self) -> Part:
        match = _GAP.match(self.phrase, self.at)
        if not match:
            raise PhraseError(r"a gap is [3] words or [~20] characters; a bracket is \[")
        self.at = match.end()
        size = int(match[2])
        if match[1]:
            return self.character_gap(size)
        if self.phrase[match.start() - 1 : match.start()] not in " |()?" or self.peek() != " ":
            raise PhraseError("a gap of words stands between spaces")
        self.at += 1
        return Part(f"{_GAP_WORD}{{0,{size}}}?", longest=_GAP_WORD_LONGEST * size, work=size + 1, separates=True)

    def character_gap(self, size: int) -> Part:
        following = self.phrase[self.at : self.at + 2].removeprefix("\\")[:1]
        if following and not following.isalnum() and (following not in _SPECIAL or self.peek() == "\\"):
            # It ends at the first such character, so there is one way to match it.
            return Part(rf"[^\n{re.escape(following)}]{{0,{size}}}+", longest=size)
        return Part(rf"[^\n。]{{0,{size}}}?", longest=size, work=size + 1)

    def look(self, mark: str) -> Part:
        self.at += len(mark) - 1
        start = self.at + 1
        part = self.alternatives()
        if mark == "<!(":
            return _none_before(self.phrase[start : self.at - 1].split("|"))
        spaced = self.phrase[start - 3 : start - 2] == " " == self.peek()
        self.at += spaced  # one separator stands before what is looked for, none behind it
        return Part(f"(?!{part.guarded()})", separates=spaced, looks=True, may_lack=True)

    def line_start(self) -> Part:
        self.at += 1
        return Part("(?m:^)", looks=True, may_lack=True)

    def literal(self) -> Part:
        pieces: list[str] = []
        plain = ""
        while ((char := self.peek()) and char not in _SPECIAL) or char == "\\":
            if _LOOK.match(self.phrase, self.at):
                break
            if inside := INSIDE_WORD.match(self.phrase, self.at):
                pieces.append("'?" if inside[0] == "'" else r"[\s-]?")
                plain += inside[0]
            else:
                self.at += char == "\\"
                if not self.peek():
                    raise PhraseError("a backslash with nothing behind it")
                folded = "".join(map(read, self.peek())).casefold()
                pieces.append(re.escape(folded))
                plain += folded
            self.at += 1
        if not plain:
            raise PhraseError(f"a stray {char}")
        starred = char == "*"
        self.at += starred
        if starred:
            pieces.append(_SUFFIXES[plain[-1].isascii()])
        stems = stems_of_literal(plain, starred=starred)
        mark = MARK.match(plain)
        return Part(
            "".join(pieces),
            (stems,) if stems else (),
            frozenset({mark[0]}) if mark else stems,
            len(plain) + (_SUFFIX_LIMIT if starred else 0),
            opens=f"(?<!{_guard(plain[0])})" if SPACED_WORD.match(plain) else "",
            closes=f"(?!{_guard(plain[-1])})" if not starred and SPACED_WORD.match(plain[-1]) else "",
        )

    def refuse_glue(self) -> None:
        if self.at and SPACED_WORD.match(self.phrase, self.at - 1):
            raise PhraseError("a group or list glued to a word; write the whole words")

    def peek(self) -> str:
        return self.phrase[self.at : self.at + 1]


def _guard(letter: str) -> str:
    """What may not stand beside a word's first or last letter; scripts without spaces may stand beside Latin."""
    return _LATIN if letter.isascii() else _OTHER


def _first_parts(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts with which a sequence can begin."""
    for part in parts:
        if not part.looks:
            yield part
        if not part.may_lack:
            return
