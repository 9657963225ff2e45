r"""Phrases: what rules are written in, and their compilation to small regular expressions that cannot run away.

What lives here: the language and its compiler. What must not: rules, weights, texts to look at.

A pack holds no regular expressions. It holds phrases of this language, so that whatever a pack says is linear by
construction, and a phrase that asks for too much is refused when it is loaded:

    word        that word, as ``normalise`` leaves it; an apostrophe or hyphen in it may be missing
    word*       a word that begins so
    a b         then, whatever blanks, quotes and marks that end no sentence stand in between
    (a|b c)     one of them; ``(a )?`` may be missing
    @name       one of the phrases of the pack's list of that name
    [3]         up to three words in between, in the same sentence
    [~20]       up to twenty words, or letters of a script without spaces, past ends of sentences too; in a phrase that
                names a mark, up to twenty words and marks of the same line
    !(a|b) c    not one of them here
    <!(a|b)c    not one of them right before; they are plain words
    ^           the start of a line
    \c          the mark itself, where it would mean something else; one that ends a sentence stands for all of these

Phrases are not matched against text but against one code for each of its tokens (``words``): every word that phrases
name has a code, words that stand in the same lists share one, and all other words are alike. So a list of a hundred
words is one small set of characters, and a search over a text is one over a string of a fifth of its length. A phrase
that names a mark is matched against all tokens, any other against words and ends of sentences only.

Nothing repeats without a bound, and nothing that repeats contains a repetition that could match differently. So what a
search does at one place of a text is bounded by the ways in which a phrase's gaps can share out what follows, and these
are counted and limited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from extproc.detectors.lookalikes import read
from extproc.detectors.words import BREAKS, is_unspaced

WORK_LIMIT: Final = 128  # ways to share out a text among the gaps of one phrase
BEGINNING: Final = 2  # letters that words are told apart by, at least
OTHER: Final = "x"
"""The code of a word that no phrase names."""
BREAK: Final = "."
"""The code of what ends a sentence."""
UNKNOWN_MARK: Final = "\0"  # which ``normalise`` leaves none of
"""The code of a mark that no phrase names; the others are their own."""

_SUFFIX_LIMIT: Final = 12
_LEXEME: Final = re.compile(
    r"(?P<space>\s+)|(?P<gap>\[~?[0-9]{1,3}\])|(?P<name>@[a-z0-9_]+)|(?P<look><?!\()|(?P<open>\()"
    r"|(?P<maybe>\)\?)|(?P<close>\))|(?P<bar>\|)|(?P<line>\^)|(?P<escaped>\\.)"
    r"|(?P<word>(?:[^\W_]|(?<=[^\W_])['-](?=[^\W_])|[\u0300-\u0dff\u0e31-\u0e4e])+\*?)|(?P<mark>[^\s@\[\]*\\])"
)
_INSIDE_WORD: Final = re.compile("['-]")
_RUN: Final = re.compile(r"[0-9a-z]+\*?|[^0-9a-z]+")  # a word of letters of several scripts is several tokens

Atoms: TypeAlias = frozenset[str]
"""Words, and beginnings of words with a ``*`` behind, any one of which may stand at a place."""
Piece: TypeAlias = "str | Atoms"
"""A part of a regular expression: its source, or the words of which one is to stand there."""


class PhraseError(ValueError):
    """The phrase is not of the language, or asks for too much."""


class Opening(NamedTuple):
    """How a match can begin: with a word of the first set and then one of the second.

    The second is empty where anything can follow, and where nothing does (``ends``).
    """

    first: Atoms
    second: Atoms = frozenset()
    ends: bool = False


class Part(NamedTuple):
    """A compiled piece of a phrase, a whole one, or a named list.

    ``needs`` are sets of words: a text that has no word of one of them cannot match. ``starts`` are the words that it
    can begin with, and marks; none if it can begin with anything. ``longest`` bounds the tokens of a match. ``marks``:
    it names marks or lines. ``may_lack`` is true of what may match nothing, ``looks`` of what never matches more.
    ``openings`` say more of ``starts``; none where there is no more to say.
    """

    pieces: tuple[Piece, ...]
    needs: tuple[Atoms, ...] = ()
    starts: Atoms = frozenset()
    longest: int = 0
    work: int = 1
    marks: bool = False
    may_lack: bool = False
    looks: bool = False
    openings: tuple[Opening, ...] = ()

    @property
    def one_word(self) -> Atoms | None:
        """The words, where it is nothing but one of several words."""
        only = self.pieces[0] if len(self.pieces) == 1 else None
        return only if isinstance(only, frozenset) else None


Lists: TypeAlias = Mapping[str, Part]


def read_list(phrases: Sequence[str], lists: Lists) -> Part:
    """Read a named list of phrases, which may use the lists given.

    Raises:
        PhraseError: one of them is not a phrase.
    """
    return _one_of([_Reader(phrase, lists).whole() for phrase in phrases])


def read_phrase(phrase: str, lists: Lists) -> Part:
    """Read one phrase.

    Raises:
        PhraseError: it is not a phrase, could take too long, or could begin with anything.
    """
    part = _Reader(phrase, lists).whole()
    if part.work > WORK_LIMIT:
        raise PhraseError(f"its gaps can share out a text in {part.work} ways, more than {WORK_LIMIT}")
    if not part.starts or part.may_lack:
        raise PhraseError("it can begin with anything, so it would have to be looked for everywhere")
    return part._replace(needs=tuple(need for need in part.needs if need != part.starts))


def fits(word: str, atom: str) -> bool:
    """Whether a word is one that an atom stands for."""
    return word == atom or (atom[-1] == "*" and word.startswith(atom[:-1]) and len(word) - len(atom) < _SUFFIX_LIMIT)


def _one_of(alternatives: Sequence[Part]) -> Part:
    """One of several: those of a single word become one set, which is looked up at once."""
    single = frozenset[str]().union(*(part.one_word or () for part in alternatives))
    others = sorted({part.pieces: part for part in alternatives if part.one_word is None}.values(), key=_length)
    pieces: tuple[Piece, ...] = (single,)
    if others:
        # The longest first: where one is the beginning of another, the match should not stop short.
        options = [part.pieces for part in reversed(others)] + ([(single,)] if single else [])
        pieces = _joined(options)
    needs: tuple[Atoms, ...] = ()
    if all(part.needs for part in alternatives):
        needs = (frozenset[str]().union(*(min(part.needs, key=len) for part in alternatives)),)
    return Part(
        pieces,
        needs,
        _any_start(alternatives),
        max(part.longest for part in alternatives),
        max(part.work for part in alternatives),
        any(part.marks for part in alternatives),
        any(part.may_lack for part in alternatives),
        openings=(
            *((Opening(single, ends=True),) if single else ()),
            *(opening for part in others for opening in _openings(part)),
        ),
    )


def _joined(options: Iterable[tuple[Piece, ...]]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for option in options:
        pieces += ("|" if pieces else "(?:", *option)
    return (*pieces, ")")


def _length(part: Part) -> int:
    return part.longest


def _any_start(parts: Iterable[Part]) -> Atoms:
    """What one of the parts begins with; nothing if one can begin with anything."""
    starts = [part.starts for part in parts]
    return frozenset[str]().union(*starts) if all(starts) else frozenset()


def _in_sequence(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    return Part(
        tuple(piece for part in parts for piece in part.pieces),
        tuple(need for part in parts for need in part.needs),
        _any_start(_first_parts(parts)),
        sum(part.longest for part in parts),
        math.prod(part.work for part in parts),
        any(part.marks for part in parts),
        all(part.may_lack for part in parts),
        openings=tuple(_openings_in_sequence(parts)),
    )


def _openings(part: Part) -> tuple[Opening, ...]:
    return part.openings or (Opening(part.starts),)


def _openings_in_sequence(parts: Sequence[Part]) -> Iterator[Opening]:
    """Those of the first part; where that is done after a word, the next ones say how it goes on."""
    first, *rest = [part for part in parts if not part.looks]
    if first.may_lack:
        return
    following = _any_start(_first_parts(rest)) if not all(part.may_lack for part in rest) else frozenset[str]()
    for opening in _openings(first):
        yield opening._replace(second=following, ends=not rest) if opening.ends else opening


def _first_parts(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts with which a sequence can begin."""
    for part in parts:
        if not part.looks:
            yield part
        if not part.may_lack:
            return


_GLUE: Final = Part(("['-]?",), looks=True, may_lack=True)
_PLAIN: Final = frozenset({"(?:", "|", ")", *_GLUE.pieces})


class _Reader:
    """Recursive descent over one phrase."""

    def __init__(self, phrase: str, lists: Lists) -> None:
        self.lists = lists
        self.lexemes = list(_lexemes(phrase))
        self.at = 0
        self.refuse_glue()

    def refuse_glue(self) -> None:
        """Letters that touch are one word: a group or a list cannot be a part of it."""
        letters = False
        looks: list[bool] = []
        for kind, text in self.lexemes:
            if kind in ("open", "look"):
                looks.append(kind == "look")
                letters = letters and kind == "open"
            elif kind in ("close", "maybe"):
                letters = letters and not (looks and looks.pop())
            elif kind in ("word", "name"):
                starts = self.lists[text[1:]].starts if text[1:] in self.lists else {text}
                unspaced = any(map(is_unspaced, starts))
                if letters and not unspaced:
                    raise PhraseError("a group or list glued to a word; write the whole words")
                letters = not unspaced
            else:
                letters = False

    def whole(self) -> Part:
        part = self.sequence()
        if self.at < len(self.lexemes):
            raise PhraseError(f"a stray {self.lexemes[self.at][1]}")
        return part

    def sequence(self) -> Part:
        parts: list[Part] = []
        spaced = False
        while (kind := self.peek()) not in ("", "bar", "close", "maybe"):
            if kind == "space":
                self.at += 1
                spaced = True
            else:
                parts.append(getattr(self, f"_{kind}")())
        if not parts:
            if spaced and self.at > 1:
                return Part(("",), may_lack=True)  # nothing but a blank, where the others are marks
            raise PhraseError("an empty phrase or alternative; write (...)? for what may be missing")
        return _in_sequence(parts)

    def peek(self) -> str:
        return self.lexemes[self.at][0] if self.at < len(self.lexemes) else ""

    def take(self) -> str:
        self.at += 1
        return self.lexemes[self.at - 1][1]

    def _open(self) -> Part:
        part = self.alternatives()
        if self.take() == ")":
            return part
        pieces = ("(?:", *part.pieces, ")?")
        return Part(pieces, (), part.starts, part.longest, part.work + 1, part.marks, may_lack=True)

    def alternatives(self) -> Part:
        """Read them, from the bracket before to the one behind, which is left to take."""
        parts: list[Part] = []
        while not parts or self.peek() == "bar":
            self.at += 1
            parts.append(self.sequence())
        if not self.peek():
            raise PhraseError("a group that does not end")
        return _one_of(parts)

    def _name(self) -> Part:
        name = self.take()
        if name[1:] not in self.lists:
            raise PhraseError(f"no list {name} before it")
        return self.lists[name[1:]]

    def _gap(self) -> Part:
        text = self.take().strip("[]")
        size = int(text.lstrip("~"))
        if text[0] != "~":
            return Part((f"[^{BREAK}]{{0,{size}}}?",), longest=size, work=size + 1, may_lack=True)
        if self.peek() in ("mark", "escaped"):
            # It ends at the first such mark, so there is one way to match it.
            mark = re.escape(_mark_code(self.lexemes[self.at][1]))
            return Part((rf"[^\n{mark}]{{0,{size}}}+",), longest=size, marks=True, may_lack=True)
        return Part((rf"[^\n]{{0,{size}}}?",), longest=size, work=size + 1, may_lack=True)

    def _look(self) -> Part:
        behind = self.take()[0] == "<"
        self.at -= 1
        part = self.alternatives()
        self.at += 1
        if not behind:
            return Part(("(?!", *part.pieces, ")"), marks=part.marks, looks=True, may_lack=True)
        if part.longest > 2 or not {piece for piece in part.pieces if isinstance(piece, str)} <= _PLAIN:
            raise PhraseError("only plain words can be looked back for")
        return Part(tuple(_none_before(part)), looks=True, may_lack=True)

    def _line(self) -> Part:
        self.at += 1
        return Part(("(?m:^)",), marks=True, looks=True, may_lack=True)

    def _escaped(self) -> Part:
        return self._mark()

    def _mark(self) -> Part:
        code = _mark_code(self.take())
        return Part((re.escape(code),), (), frozenset({code}), 1, marks=True)

    def _word(self) -> Part:
        text = self.take()
        folded = text if text.isascii() and text.islower() else "".join(map(read, text)).casefold()
        split = _INSIDE_WORD.split(folded)
        if len(split) == 1:
            return _tokens(folded)
        apart = [part for piece in split for part in (_GLUE, _tokens(piece))][1:]
        return _one_of([_tokens("".join(split)), _in_sequence(apart)])


def _mark_code(lexeme: str) -> str:
    mark = lexeme[-1]
    if mark.isalnum():
        raise PhraseError(f"{lexeme} is no mark")
    return BREAK if mark in BREAKS else mark


def _tokens(letters: str) -> Part:
    return _in_sequence(list(map(_word_part, _RUN.findall(letters))))


def _word_part(word: str) -> Part:
    if word[-1] == "*" and len(word) <= BEGINNING:
        raise PhraseError(f"{word} is too short a beginning")
    if word[-1] == "*" and is_unspaced(word):
        word = word[:-1]  # where words run on, each stands for its beginning
    atoms = frozenset({word})
    return Part((atoms,), (atoms,), atoms, 1, openings=(Opening(atoms, ends=True),))


def _none_before(part: Part) -> Iterator[Piece]:
    """Look back for each alternative; they are of one word or of two."""
    option: list[Piece] = []
    for piece in (*part.pieces, "|"):
        if piece in _PLAIN - {"|"}:
            continue
        if piece != "|":
            option.append(piece)
        elif option:
            yield from ("(?<!", *option, ")")
            option = []


def _lexemes(phrase: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(phrase):
        match = _LEXEME.match(phrase, at)
        if match is None:
            what = "a backslash with nothing behind it" if phrase[at] == "\\" else f"a stray {phrase[at]}"
            hint = r"; a gap is [3] words or [~20] tokens; a bracket is \[" if phrase[at] in "[]" else ""
            raise PhraseError(f"{what}{hint}")
        assert match.lastgroup is not None
        yield match.lastgroup, match[0]
        at = match.end()
