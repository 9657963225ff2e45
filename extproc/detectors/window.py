"""Secrets in running text: what may leave now, what must not, and what cannot be told yet.

What lives here: the scan of one channel, the one clever piece of the core. What must not: rules and shapes (matcher),
markers (secrets), frames or JSON (body).

**The promise.** The text reaches us in pieces cut anywhere, even inside a word, and each piece should leave at once.
Still no character of a secret may leave, and the answer must be the one that the whole text would have given. So this
is not a window that is scanned again and again; it reads the text once, left to right, and is always in one of three
states:

- *idle*: nothing before ``settled`` matters any more, except the few characters that may guard what comes next;
- *holding*: a literal, or the beginning of one, stands at ``settled`` and what follows has not decided it;
- *eating*: a secret has been recognised by its first characters and everything that continues it is dropped.

**Idle is one regular expression search** per piece, over the last ``CONTEXT`` characters and the piece. The pattern is
a guard (anything but a letter or digit, or an escape such as ``\\n`` or ``%3D``, which ends in one) and the trie of all
literals, in which every inner node also accepts the end of the text: a partial literal is a hit, too, and is held.
That is the whole cost of ordinary text, whatever the number of rules.

**A secret is decided at its earliest point, not at its end.** A literal and some twenty characters that look random
commit the place; then one span opens, its marker can leave, and the rest is eaten as it comes. So the memory is bounded
by the longest undecided beginning (a few hundred characters), never by the secret; a key of a megabyte costs nothing.

**Why the cut cannot matter.** Places are taken from left to right. At each, the matcher's answer is a function of the
text from there on that never changes once it is given, and until it is given nothing from that place on leaves. What is
held is looked at again from scratch with the next piece, which costs at most its bounded length. A dead place releases
its own character only; the search goes on behind it, so a secret inside another's false start is found.

The whole-text scan is this same scan fed once. There is no second engine that could disagree.
"""

from __future__ import annotations

from extproc.detectors.base import Span
from extproc.detectors.matcher import CONTEXT, Found, Matcher, Open, Rule


class Window:
    """The scan of one channel (``detectors.base.StreamScan``)."""

    __slots__ = ("_eating", "_kept", "_matcher", "_start", "settled")

    def __init__(self, matcher: Matcher) -> None:
        self.settled = 0
        self._matcher = matcher
        self._kept = "\n"  # context and held text; the channel's start guards like the start of a line
        self._start = 1  # where the held text begins in it
        self._eating: Rule | None = None

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        text = self._kept + text
        if self._eating is None and self._matcher.search(text) is None:
            self._settle(text, len(text))
            return []
        spans: list[Span] = []
        base = self.settled - self._start
        begin = at = self._start
        opens = False
        while True:
            if self._eating is not None:
                at, over = self._eating.tail(text, at, final)
                if at > begin:
                    spans.append(Span(base + begin, base + at, self._eating.id, opens))
                if not over:
                    break
                self._eating = None
            outcome = self._look(text, at, final)
            if isinstance(outcome, int):
                at = outcome
                break
            self._eating, found = outcome
            begin, at, opens = found.start, found.end, True
        self._settle(text, at)
        return spans

    def pause(self) -> list[Span]:
        """Let go of the mere beginning of a literal. See ``detectors.base.StreamScan``."""
        return []

    def _look(self, text: str, at: int, final: bool) -> tuple[Rule, Found] | int:
        """Find the first secret that begins at ``at`` or later; without one, where to hold the text from."""
        matcher = self._matcher
        hit = matcher.search(text, max(at - CONTEXT, 0))
        while hit is not None:
            place = hit.start(1)
            if place >= at:
                outcome = matcher.decide(text, hit, final)
                if outcome is Open.PENDING:
                    return place
                if outcome is not Open.DEAD:
                    return outcome
            hit = matcher.after(text, hit)
        return len(text)

    def _settle(self, text: str, at: int) -> None:
        """Let go of ``text`` before ``at``, all but the context of what follows."""
        keep = max(at - CONTEXT, 0)
        self.settled += at - self._start
        self._kept = text[keep:]
        self._start = at - keep
