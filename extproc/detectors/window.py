"""Secrets in running text: what may leave now, what must not, and what cannot be told yet.

What lives here: the scan of one channel, the one clever piece of the core. What must not: rules and shapes (matcher),
markers (secrets), frames or JSON (body).

**The promise.** The text reaches us in pieces cut anywhere, even inside a word, and each piece should leave at once.
Still no character of a secret may leave, and the answer must be the one that the whole text would have given. So this
is not a window that is scanned again and again; it reads the text once, left to right, and is always in one of three
states:

- *idle*: nothing before ``settled`` matters any more, except the few characters that may guard what comes next;
- *looking*: a literal, the beginning of one or a name stands somewhere, and what follows has not decided it;
- *eating*: a secret has been recognised by its first characters and everything that continues it is dropped.

**Idle is one regular expression search** per piece (``triggers``), over the guard and the piece. That is the whole cost
of ordinary text, whatever the number of rules; named values add a search for one character class.

**What is held begins where a secret may begin**, not at the place that made us look. A literal that is a part of its
secret is held from its first character. The name, scheme or keyword of a *led* rule stays in the text, so it leaves at
once and only what may be the value is held; the scan remembers where to resume. So looking may hold nothing at all.

**A secret is decided at its earliest point, not at its end.** A literal and some twenty characters that look random
commit the place; then one span opens, its marker can leave, and the rest is eaten as it comes. So the memory is bounded
by the longest undecided beginning (a few hundred characters), never by the secret; a key of a megabyte costs nothing.

**Why the cut cannot matter.** At each place the matcher's answer is a function of the text from there on that never
changes once it is given. Of all places the one whose secret begins first has its way; of two that begin together a
rule's goes before a mere name's, and the later place before the other (the token itself, not the word before it). Until
that place is decided nothing from its beginning on leaves, even if others are, and a place whose secret can only begin
behind it need not be looked at. Once a secret is found, places within it are done with. What is undecided is looked at
again from scratch with the next piece, which costs at most its bounded length. A dead place releases its own character
only; the search goes on behind it, so a secret inside another's false start is found.

**A pause** lets go of mere literals: what has shown no character of its own. The place stays open, so the rest of it is
found when it comes, and only public characters have left.

The whole-text scan is this same scan fed once. There is no second engine that could disagree.
"""

from __future__ import annotations

from typing import Final

from extproc.detectors.base import Span
from extproc.detectors.matcher import NAMED, Finds, Found, Matcher, Pending
from extproc.detectors.triggers import CONTEXT, Cursor, guard_of

_START: Final = "\n"
"""What a channel's start guards like: the start of a line."""


class Window:
    """The scan of one channel (``detectors.base.StreamScan``)."""

    __slots__ = (
        "_begun",
        "_eating",
        "_guard",
        "_idle",
        "_kept",
        "_lookback",
        "_matcher",
        "_resume",
        "_search",
        "_search_named",
        "_start",
        "settled",
    )

    def __init__(self, matcher: Matcher) -> None:
        self.settled = 0
        self._matcher: Final = matcher
        self._search: Final = matcher.search
        self._begun: Final = matcher.begun
        self._search_named: Final = matcher.search_named
        self._lookback: Final = matcher.lookback
        self._idle = True  # nothing is being eaten, and no place before ``_start`` is open
        self._eating: Finds | None = None
        self._kept = _START  # context, open places and held text
        self._start = 1  # where the text that has not settled begins in it
        self._resume = 1  # where the first open place is in it, if that is before
        self._guard = 0  # where a search of it must begin

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        text = self._kept + text
        if self._idle:
            at = len(text)
            hit = self._search(text, self._guard)
            if hit is not None:
                at = hit.start(1) if hit.end() == at and (hit[1] in self._begun or hit[2] == "") and not final else -1
            if at >= self._start and (self._search_named is None or self._search_named(text, self._start) is None):
                # Ordinary text, at most with the beginning of a literal at its end: ``_advance`` would do the same.
                self.settled += at - self._start
                keep = at - self._lookback if at > self._lookback else 0
                self._kept = kept = text[keep:]
                self._start = self._resume = at = at - keep
                self._guard = at - 1 if "\\" not in kept and "%" not in kept else max(at - CONTEXT, 0)
                return []
        return self._advance(text, final, pausing=False)

    def whole(self, text: str) -> list[Span]:
        """Take all of a large text at once: the same as ``feed`` as its only and final piece, but faster."""
        return self._advance(self._kept + text, final=True, pausing=False)

    def pause(self) -> list[Span]:
        """Let go of the mere beginning of a literal. See ``detectors.base.StreamScan``."""
        return self._advance(self._kept, final=False, pausing=True)

    def _advance(self, text: str, final: bool, pausing: bool) -> list[Span]:
        """Go on as far as can be told in ``text``, which is what was kept and what is new."""
        spans: list[Span] = []
        base = self.settled - self._start
        begin = at = self._start
        resume = self._resume
        places = self._matcher.places(text, final)
        opens = False
        while True:
            if self._eating is not None:
                at, over = self._eating.tail(text, at, final)
                if at > begin:
                    spans.append(Span(base + begin, base + at, self._eating.id, opens))
                if not over:
                    break
                self._eating, resume = None, at
            found, hold, resume = self._look(text, places, resume, final, pausing)
            if found is None:
                at = max(at, hold)  # a pause may have let go of more
                break
            self._eating = found.rule
            begin, at, opens = max(found.start, at), found.end, True
        self._settle(text, at, min(resume, at) if self._eating is None else at)
        return spans

    def _look(self, text: str, places: Cursor, at: int, final: bool, pausing: bool) -> tuple[Found | None, int, int]:
        """Find the secret that begins first, of the places from ``at`` on.

        Without one, give where to hold the text from and where the first place is that is still open.
        """
        first: Found | None = None
        limit = resume = len(text)
        by_name = True  # what is at ``limit``
        place, kind = places.seek(at)
        while place <= limit:
            outcome = self._matcher.decide(text, place, kind, final)
            if outcome is not None:
                start, found = outcome.start, outcome if isinstance(outcome, Found) else None
                resume = min(resume, place)  # a finding may have to wait for another place to be decided
                if isinstance(outcome, Pending) and pausing and not outcome.begun:
                    start = len(text)
                if start < limit or (start == limit and (by_name or kind != NAMED)):
                    first, limit, by_name = found, start, kind == NAMED
            place, kind = places.seek(place + 1)
        return first, limit, resume

    def _settle(self, text: str, at: int, resume: int) -> None:
        """Let go of ``text`` before ``at``, all but the context of what is open from ``resume`` on."""
        keep = max(resume - self._lookback, 0)
        self.settled += at - self._start
        self._kept = text[keep:]
        self._start = at - keep
        self._resume = resume - keep
        self._idle = self._eating is None and resume == at
        self._guard = guard_of(self._kept, self._resume)
