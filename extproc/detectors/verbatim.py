"""Known text found again in running text, word for word or letter for letter, whatever dress it comes in.

What lives here: what a word and a letter are once case and mark-up are gone, runs of words that another text has too,
short texts found in full. What must not: what makes text worth hiding, rules, markers (``hidden_context``).

Both searches tell two things after each piece of text: the intervals that they found, and ``hold``, the first place at
which an interval that they do not know yet may begin. Intervals are a function of the text alone; ``hold`` never
lies behind the start of a later interval.

**Words.** Punctuation, spaces, line breaks, quotes, bullets, headings and code fences stand between words, like ``_``
and a backslash with the letter of its escape. Asterisks, backticks, tildes, apostrophes and invisible characters stand
inside them and are dropped. A number such as ``1.`` or ``2)`` is taken for that of a list and skipped. Each character
of a script without spaces is a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from extproc.detectors.lookalikes import LOOKALIKES, read

LEAD: Final = 3
"""Words of a run that have left before it can be told from ordinary prose. A run has more."""
MOST_WORDS: Final = 32_768
"""Words of a known text that are looked for."""

Interval: TypeAlias = tuple[int, int]
"""Code points ``[start, end)`` of a channel."""
Gram: TypeAlias = tuple[str, ...]

_GAP_MAX: Final = 32  # code points between two letters of a short text
_SHOWN: Final = 4  # letters of a short text that say which it is
_SHORT: Final = 32  # a word with no more code points is not too long, whatever they are
_NUMBER_MAX: Final = 3  # digits of a list's number
_NUMBER_ENDS: Final = frozenset(".):\\\u3001\uff0e\uff09")
_TABLE_LIMIT: Final = 20_000  # remembered code points; a sender may use all 1.1 million of them

_INVISIBLE: Final = (
    "\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_DRESS: Final = rf"*`~'\xb4\u02bb\u02bc\u2018\u2019\u201b\u2032\u0300-\u036f{_INVISIBLE}"
# Thai to Khmer, Kana, Han. Korean is written with spaces.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_BETWEEN: Final = (
    r"\x00-/:-@\[-`{-\xbf\xd7\xf7\u060c\u061b\u061f\u0964\u0965\u2000-\u2bff\u3000-\u3004\u3008-\u303f"
    r"\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\U0001f000-\U0001faff"
)
_LETTER: Final = rf"(?:[0-9A-Za-z]|[^{_BETWEEN}{_DRESS}{_UNSPACED}])"
_INNER: Final = rf"(?:[0-9A-Za-z]{{1,16}}+|[{_DRESS}]|{_LETTER}){{0,31}}+"  # so no word has more than 513 code points
_WORD: Final = re.compile(rf"{_LETTER}(?<!\\[nrt]){_INNER}|[{_UNSPACED}]")
_UNSPACED_WORD: Final = re.compile(f"[{_UNSPACED}]")


class _Letters(dict[int, str]):
    """What letters a code point is read as, in one case, as a table for ``str.translate``: none, one or several."""

    def __missing__(self, point: int) -> str:
        reading = "" if 0xE0000 <= point <= 0xE0FFF else read(chr(point)).casefold().translate(LOOKALIKES)
        letters = "".join(char for char in reading if char.isalnum() or unicodedata.category(char)[0] == "M")
        if len(self) < _TABLE_LIMIT:
            self[point] = letters
        return letters


_LETTERS: Final = _Letters()


def _plain(word: str) -> str:
    return word.lower() if word.isascii() and word.isalnum() else word.translate(_LETTERS)


def _counts(word: str, text: str, stop: int) -> bool:
    """Say whether a short word is one: not mere dress, nor the number of a list's item, told by what stands after."""
    return bool(word) and not (word.isdigit() and stop < len(text) and text[stop] in _NUMBER_ENDS)


def words_of(text: str) -> Iterator[str]:
    """Give the words of a whole text as they are compared."""
    for match in _WORD.finditer(text):
        word = _plain(match[0])
        if len(word) > _NUMBER_MAX or _counts(word, text, match.end()):
            yield word


def letters_of(text: str) -> str:
    """Give the letters and digits of a whole text as they are compared."""
    return text.translate(_LETTERS)


# ---- words ----


def grams(words: Sequence[str], size: int) -> set[Gram]:
    """All runs of ``size`` words."""
    return set(zip(*(words[start:] for start in range(size)), strict=False))


class Index:
    """The runs of a known text that count as found: ``size`` words, or twice as many where any is a mere character.

    ``ignored`` holds runs of either length that do not count. Building takes linear time. Sets of long runs are made
    when a text first has something in common with this one.
    """

    __slots__ = ("_ignored", "_long", "_short", "_words", "reach", "size", "trigrams")

    def __init__(self, text: str, size: int, ignored: frozenset[Gram] = frozenset()) -> None:
        words = list(islice(words_of(text), MOST_WORDS))
        self._words: Final = words
        self.size: Final = size
        self._ignored: Final = ignored
        self._short: set[Gram] | None = None
        self._long: set[Gram] = set()
        self.trigrams: Final = grams(words, LEAD) if len(words) >= size else set()
        self.reach: Final = 2 * size if not text.isascii() and _UNSPACED_WORD.search(text) else size

    def run_ending(self, words: Gram) -> int:
        """Say how many of the last words, at most ``reach`` of which are given, are a run that is found; 0 if none."""
        if self._short is None:
            self._short = self._runs()
        if len(words) == self.reach and words in self._long:
            return self.reach
        return self.size if words[-self.size :] in self._short else 0

    def _runs(self) -> set[Gram]:
        short = grams(self._words, self.size) - self._ignored
        if self.reach == self.size:
            return short
        mere = {word for word in self._words if _UNSPACED_WORD.match(word)}
        self._long = {run for run in grams(self._words, self.reach) - self._ignored if not mere.isdisjoint(run)}
        return {run for run in short if mere.isdisjoint(run)}


class Runs:
    """Finds the runs of an ``Index`` in one running text. Owned by one channel.

    Only what follows three words that also follow each other in the known text may be a part of a run that is yet to be
    found, so nothing else waits: most of the time one look into a set for every word is all that happens.
    """

    __slots__ = ("_at", "_base", "_chain", "_found", "_index", "_kept", "_one", "_starts", "_two", "hold")

    def __init__(self, index: Index) -> None:
        self.hold = 0
        self._index: Final = index
        self._kept = ""  # the word that is not complete, and the code point before it
        self._at = 0  # where that word begins in it
        self._base = 0  # the place of ``_kept`` in the channel
        self._two = self._one = ""  # the last two words
        # The words from the first that may be in a run, and where they begin: fewer than ``reach``, and none or three.
        self._chain: Final[deque[str]] = deque()
        self._starts: Final[deque[int]] = deque()
        self._found = False  # the last of them ends a run

    def feed(self, text: str, final: bool) -> list[Interval]:
        """Take the next text; return the runs that it completes, but for their first words."""
        if self._goes_on(text) and not final:
            if not self._chain:
                self.hold += len(text)
            self._kept += text
            return []
        text = self._kept + text
        at, end, base = self._at, len(text), self._base
        trigrams, found = self._index.trigrams, []
        two, one = self._two, self._one
        for match in _WORD.finditer(text, at):
            start, stop = match.span()
            if stop == end and not final:
                at = start
                break
            word = _plain(match[0])
            if len(word) <= _NUMBER_MAX and not _counts(word, text, stop):
                continue
            if (two, one, word) in trigrams:
                found += self._extend((two, one, word), base + start, base + stop)
            elif self._chain:
                self._chain.clear()
                self._starts.clear()
                self._found = False
            two, one = one, word
        else:
            at = end
        self._two, self._one = two, one
        if final or not self._chain:
            self.hold = base + end
        elif len(self._starts) > LEAD:
            self.hold = self._starts[LEAD]
        else:
            self.hold = self._starts[-1] if self._found else base + at
        keep = at - 1 if at else 0
        self._kept, self._at, self._base = text[keep:], at - keep, base + keep
        return found

    def pause(self) -> list[Interval]:
        """Take the word at the end for complete, and hold nothing. A run that is not found yet may still be."""
        return self.feed("", final=True)

    def _goes_on(self, text: str) -> bool:
        """Say whether nothing happens but that a word gets longer: half of all feeds, at a third of the price."""
        kept = self._kept
        return self._at < len(kept) <= _SHORT - len(text) and text.isalnum() and text.isascii() and kept.isascii()

    def _extend(self, words: Gram, start: int, end: int) -> list[Interval]:
        """Add the last of three words to the chain; give the run that it completes."""
        chain, starts = self._chain, self._starts
        if not chain:
            chain += words[:-1]
            starts += (start, start)  # never asked for: they lead
        chain.append(words[-1])
        starts.append(start)
        length = self._index.run_ending(tuple(chain)) if len(chain) >= self._index.size else 0
        found: list[Interval] = []
        if length:
            # From where the word before is found, too, so that a leak is one finding however short its runs are.
            found.append((starts[min(len(starts) - length + LEAD, len(starts) - 1 - self._found)], end))
        self._found = length > 0
        if len(chain) == self._index.reach:
            chain.popleft()
            starts.popleft()
        return found


# ---- letters ----


class Phrases:
    """Short texts to be found in full, letter for letter, whatever stands between the letters. Immutable.

    The letters make an automaton (Aho-Corasick): a state is the longest beginning of a phrase that the text ends in.
    """

    __slots__ = ("depths", "fails", "finds", "first", "steps")

    def __init__(self, phrases: Iterable[str]) -> None:
        self.steps: Final[list[dict[str, int]]] = [{}]
        self.depths: Final = [0]  # letters
        self.fails: Final = [0]  # the longest proper end of a state that is a state
        self.finds: Final = [0]  # letters of the longest phrase that a state ends in
        for phrase in phrases:
            self._add(letters_of(phrase))
        self._connect()
        initials = "".join(self.steps[0])
        self.first: Final = re.compile(rf"[{re.escape(initials + initials.upper())}\x80-\U0010ffff]")

    def _add(self, letters: str) -> None:
        state = 0
        for letter in letters:
            if letter not in self.steps[state]:
                self.steps[state][letter] = len(self.steps)
                self.steps.append({})
                self.depths.append(self.depths[state] + 1)
                self.fails.append(0)
                self.finds.append(0)
            state = self.steps[state][letter]
        self.finds[state] = self.depths[state]

    def _connect(self) -> None:
        queue = deque(self.steps[0].values())
        while queue:
            state = queue.popleft()
            for letter, after in self.steps[state].items():
                self.fails[after] = self.step(self.fails[state], letter)
                self.finds[after] = max(self.finds[after], self.finds[self.fails[after]])
                queue.append(after)

    def step(self, state: int, letter: str) -> int:
        """The state after one more letter."""
        while state and letter not in self.steps[state]:
            state = self.fails[state]
        return self.steps[state].get(letter, 0)


class PhraseSearch:
    """Finds ``Phrases`` in one running text. Owned by one channel."""

    __slots__ = ("_fed", "_gap", "_phrases", "_starts", "_state", "hold")

    def __init__(self, phrases: Phrases) -> None:
        self.hold = 0
        self._phrases: Final = phrases
        self._fed = 0
        self._state = 0
        self._starts: Final[deque[int]] = deque()  # where the state's letters stand
        self._gap = 0  # code points since the last of them

    def feed(self, text: str, final: bool) -> list[Interval]:
        """Take the next text; return the phrases that it completes."""
        found: list[Interval] = []
        at, base = 0, self._fed
        self._fed += len(text)
        while at < len(text):
            if not self._state:
                match = self._phrases.first.search(text, at)
                if match is None:
                    break
                at = match.start()
            self._take(text[at], base + at, found)
            at += 1
        self.hold = self._starts[0] if self._state and not final else self._fed
        return found

    def pause(self) -> list[Interval]:
        """Let go of a phrase's beginning unless it has ``_SHOWN`` letters. It may still be found."""
        if len(self._starts) < _SHOWN:
            self.hold = self._fed
        return []

    def _take(self, char: str, at: int, found: list[Interval]) -> None:
        letters = _LETTERS[ord(char)]
        if not letters:
            self._gap += 1
            if self._gap > _GAP_MAX:
                self._move(0)
            return
        self._gap = 0
        for letter in letters:
            state = self._phrases.step(self._state, letter)
            self._starts.append(at)
            self._move(state)
            if length := self._phrases.finds[state]:
                found.append((self._starts[-length], at + 1))
                if not self._phrases.steps[state]:
                    self._move(self._phrases.fails[state])

    def _move(self, state: int) -> None:
        self._state = state
        while len(self._starts) > self._phrases.depths[state]:
            self._starts.popleft()
