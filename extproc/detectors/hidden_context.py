"""Hidden context: an answer that repeats what the client was not shown (OWASP LLM07:2025, system prompt leakage).

What lives here: the detector, its options, and how what is found becomes spans. What must not: how text is compared
and searched (``verbatim``).

Two things are found. A *run* is ``words`` words in a row of the exchange's system texts; its first three have left by
then, because ordinary prose shares three words with any text. A *canary* is a text of the policy that no answer has a
reason to contain; it is found in full, and nothing of it leaves. The spans are the union of all that is found: where
intervals overlap they are one finding, under the rule of the one that begins first.

The system texts are joined, since a leak does not stop between them. Text that stands alone has no exchange, so only
canaries are found in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final, Protocol

from extproc.chat import Json
from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan, Span, StreamScan
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.verbatim import (
    Gram,
    Index,
    Interval,
    Phrases,
    PhraseSearch,
    Runs,
    grams,
    letters_of,
    words_of,
)

CANARY: Final = "hidden_context.canary"
SYSTEM: Final = "hidden_context.system"

_RULES: Final = (CANARY, SYSTEM)  # by rank: where both begin at one place, it is a canary
_WORDS: Final = 8
_WORDS_MIN: Final = 4
_WORDS_MAX: Final = 32
_CANARY_MIN: Final = 6
_CANARY_MAX: Final = 256
_INDEXES: Final = 4  # system prompts whose index is kept: most exchanges of a deployment have the same few


class HiddenContextDetector:
    """Finds system texts and canaries in answers (``detectors.base.StreamDetector``). Shared by every exchange."""

    __slots__ = ("_index", "_phrases", "name")

    def __init__(self, words: int, canaries: tuple[str, ...], ignore: tuple[str, ...]) -> None:
        ignored: set[Gram] = set()
        for text in ignore:
            spoken = list(words_of(text))
            ignored |= grams(spoken, words) | grams(spoken, 2 * words)
        skipped = frozenset(ignored)
        self.name = "hidden_context"
        self._phrases = Phrases(canaries) if canaries else None
        self._index = lru_cache(_INDEXES)(lambda system: Index("\n".join(system), words, skipped))

    def scan(self, text: str) -> Scan:
        """Find every canary in one whole text, in order."""
        spans = self.stream().feed(text, final=True)
        return Scan(tuple(Match(span.start, span.end, span.rule) for span in spans), 1.0 if spans else 0.0)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> StreamScan:
        """Start the scan of one channel. The index of the system texts is built here, unless it is known."""
        searches: list[tuple[int, _Search]] = []
        if self._phrases is not None:
            searches.append((_RULES.index(CANARY), PhraseSearch(self._phrases)))
        if exchange.system:
            index = self._index(exchange.system)
            if index.trigrams:
                searches.append((_RULES.index(SYSTEM), Runs(index)))
        return _Union(tuple(searches)) if searches else _Nothing()

    def marker(self, rule: str) -> str:
        """Give what takes a span's place."""
        return _marker(rule)


class _Search(Protocol):
    hold: int

    def feed(self, text: str, final: bool) -> list[Interval]: ...

    def pause(self) -> list[Interval]: ...


class _Nothing:
    """Nothing is hidden in this exchange."""

    __slots__ = ("settled",)

    def __init__(self) -> None:
        self.settled = 0

    def feed(self, text: str, final: bool) -> list[Span]:  # noqa: ARG002 - there is nothing to wait for
        self.settled += len(text)
        return []

    def pause(self) -> list[Span]:
        return []


class _Union:
    """What several searches find in one channel, as spans (``detectors.base.StreamScan``).

    An interval waits until no search can find one that begins before it; so intervals come in order of their starts,
    whatever the order in which they were found, and each either continues the finding before it or opens one.
    """

    __slots__ = ("_done", "_pending", "_rule", "_searches", "settled")

    def __init__(self, searches: tuple[tuple[int, _Search], ...]) -> None:
        self.settled = 0
        self._searches: Final = searches  # by rank, at least one
        self._pending: list[tuple[int, int, int]] = []  # start, rank, end
        self._done = 0  # the end of the last span
        self._rule = ""  # its rule

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        hold = -1
        for rank, search in self._searches:
            if found := search.feed(text, final):
                self._pending += [(start, rank, end) for start, end in found]
            if search.hold < hold or hold < 0:
                hold = search.hold
        if self._pending:
            return self._decide(hold)
        if hold > self.settled:
            self.settled = hold
        return []

    def pause(self) -> list[Span]:
        """Let go of what is not found yet, but for most of a canary. See ``detectors.base.StreamScan``."""
        for rank, search in self._searches:
            self._pending += [(start, rank, end) for start, end in search.pause()]
        return self._decide(min(search.hold for _, search in self._searches))

    def _decide(self, hold: int) -> list[Span]:
        spans: list[Span] = []
        self._pending.sort()
        ready = 0
        for start, rank, end in self._pending:
            # At one place the lower rank comes first, so a higher one waits for it.
            if any(search.hold < start + (lower < rank) for lower, search in self._searches):
                break
            ready += 1
            self._add(start, rank, end, spans)
        del self._pending[:ready]
        self.settled = max(self.settled, hold, self._done)
        return spans

    def _add(self, start: int, rank: int, end: int, spans: list[Span]) -> None:
        if end <= max(self._done, self.settled):
            return
        opens = start >= self._done or self.settled > self._done  # after a pause a part of it may have left
        if opens:
            self._rule = _RULES[rank]
        if spans and not opens:
            spans[-1] = replace(spans[-1], end=end)
        else:
            spans.append(Span(max(start, self._done, self.settled), end, self._rule, opens))
        self._done = end


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> HiddenContextDetector:
    """Compile the options ``words``, ``canaries`` and ``ignore``. There is no pack.

    Raises:
        PackError: an option is wrong, at the place that it names.
    """
    Fields(pack).close()
    fields = Fields(options, ("options",))
    words = fields.integer("words", _WORDS, minimum=_WORDS_MIN)
    if words > _WORDS_MAX:
        raise fields.error("words", f"must be at most {_WORDS_MAX}")
    canaries = fields.strings("canaries", ())
    ignore = fields.strings("ignore", ())
    fields.close()
    for at, canary in enumerate(canaries):
        letters = letters_of(canary)
        if not _CANARY_MIN <= len(letters) <= _CANARY_MAX:
            raise _bad_canary(fields, at, f"must have {_CANARY_MIN} to {_CANARY_MAX} letters and digits")
        if any(letters in letters_of(_marker(rule)) for rule in _RULES):
            raise _bad_canary(fields, at, "is a part of what takes its place")
    return HiddenContextDetector(words, canaries, ignore)


def _bad_canary(fields: Fields, at: int, message: str) -> PackError:
    return PackError((*fields.where, "canaries", at), message)


def _marker(rule: str) -> str:
    return f"[REDACTED:{rule}]"
