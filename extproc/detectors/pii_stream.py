"""Personal data in running text: what may leave now, what must not, and what cannot be told yet.

What lives here: the scan of one channel, and e-mail addresses, which alone are found from their middle. What must not:
what a number is (pii_numbers, pii_phones), packs, markers (pii).

There are two kinds of candidates. A *place* is where a number may begin: one search finds it, and text is held only
once a digit, a ``+`` or the like is there. A *word* may become an address when an ``@`` follows, so with the rule for
e-mail the word at the end of the text is always held: that is the price of that rule, and of no other.

**Why the cut cannot matter.** The candidate that begins first is decided first, a word before a place at the same
character. Its decision waits until the text that it needs is there, and meanwhile nothing from it on leaves. A word
that is not finished counts as beginning at its first character, so no number in it is decided before it is known
whether the word is an address. A finding ends its text for all rules; a dead place ends nothing, and the search goes on
behind its first character.

The whole-text scan is this same scan fed once.
"""

from __future__ import annotations

import re
from typing import Final

from extproc.detectors.base import Span
from extproc.detectors.pii_numbers import CONTEXT, NONE, Places

EMAIL: Final = "pii.email"

LOCAL_MAX: Final = 64
"""Characters before an ``@`` that may be an address; of a longer word the last ones."""

DOMAIN_MAX: Final = 255

_LETTER: Final = "0-9A-Za-z\u00c0-\u024f\u0370-\u052f"  # scripts that put spaces between words: others would be held
_OPEN: Final = -2
_WORD: Final = re.compile(rf"(?:.*[^{_LETTER}._+\-])?+", re.DOTALL)
_LEAD: Final = re.compile(
    r"(?:(?<=\\)(?:[nrtbf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|(?<=%)[0-9A-Fa-f]{2})?[._+\-]*+", re.DOTALL
)
_DOMAIN_RUN: Final = re.compile(rf"[{_LETTER}.\-]{{0,{DOMAIN_MAX}}}+")
_LABEL: Final = rf"[{_LETTER}](?:[{_LETTER}\-]{{0,62}}+)"
_DOMAIN: Final = re.compile(
    rf"(?:{_LABEL}\.){{1,8}}(?:xn--[0-9a-z\-]{{2,59}}+|(?![0-9])[^\W0-9_]{{2,24}}+)(?!-?[{_LETTER}])"
)
_FILES: Final = frozenset(  # icon@2x.png
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "bmp", "css", "scss", "js", "ts", "jsx", "tsx", "mjs", "py"}
    | {"rb", "go", "rs", "java", "json", "yaml", "yml", "toml", "md", "txt", "html"}
)
_MUTE: Final = frozenset({"git"})  # git@github.com:owner/name is an address of nobody
_HARMLESS_DIGITS: Final = 7


class EmailRule:
    """What addresses to let through: whole ones, or ``@domain`` for all of a domain; lower case."""

    __slots__ = ("allow",)

    def __init__(self, allow: frozenset[str]) -> None:
        self.allow = allow

    def word(self, text: str, start: int, end: int) -> int:
        """Give where the word that ends at ``end`` begins, not before ``start``; ``end`` where there is none.

        More text moves it to the right, never back.
        """
        low = max(start, end - LOCAL_MAX)
        return _reach(_LEAD, text, _reach(_WORD, text, low, end), end)

    def address(self, text: str, word: int, sign: int, final: bool) -> int:
        """Give the end of the address whose ``@`` is at ``sign``; ``NONE``, or ``_OPEN``."""
        if word == sign:
            return NONE
        end = _reach(_DOMAIN_RUN, text, sign + 1, len(text))
        if end == len(text) and not final:
            return _OPEN
        match = _DOMAIN.match(text, sign + 1, end)
        if match is None:
            return NONE
        local, domain = text[word:sign].lower(), match[0].lower()
        if local in _MUTE or domain.rpartition(".")[2] in _FILES:
            return NONE
        return NONE if f"{local}@{domain}" in self.allow or f"@{domain}" in self.allow else match.end()


class PiiScan:
    """The scan of one channel (``detectors.base.StreamScan``)."""

    __slots__ = ("_email", "_kept", "_places", "_start", "settled")

    def __init__(self, places: Places, email: EmailRule | None) -> None:
        self.settled = 0
        self._places = places
        self._email = email
        self._kept = "\n"  # context and held text; the channel's start guards like the start of a line
        self._start = 1  # where the held text begins in it

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        text = self._kept + text
        spans, at = self._read(text, final)
        self._settle(text, at)
        return spans

    def pause(self) -> list[Span]:
        """Decide what is held as if the text ended, and let it go unless it shows a part of an address or a number."""
        text = self._kept
        if self._start == len(text):
            return []
        spans, at = self._read(text, True)
        rest = max(spans[-1].end + self._start - self.settled if spans else 0, self._start)
        shown = text[rest:]
        if "@" in shown or sum(map(str.isdigit, shown)) >= _HARMLESS_DIGITS:
            at = rest
        self._settle(text, at)
        return spans

    def _read(self, text: str, final: bool) -> tuple[list[Span], int]:
        """Give what is found in the held text, and where to hold the text from."""
        email, search = self._email, self._places.search
        at = self._start
        hit = search(text, at)
        sign = text.find("@", at) if email else -1
        if hit is None and sign < 0:
            return [], email.word(text, at, len(text)) if email and not final else len(text)
        base = self.settled - self._start
        spans: list[Span] = []
        while True:
            word = end = len(text)
            rule = EMAIL
            if email is not None and (sign >= 0 or not final):
                word = email.word(text, at, sign if sign >= 0 else end)
            begin = hit.start() if hit else end
            if word <= begin:
                if sign < 0:
                    return spans, word
                begin, end = word, email.address(text, word, sign, final) if email else NONE
                if end == _OPEN:
                    return spans, begin
                sign = text.find("@", sign + 1 if end == NONE else end)
            else:
                outcome = self._places.judge(text, begin, final)
                if outcome is None:
                    return spans, begin
                end, rule = outcome
                if end == NONE:
                    hit = search(text, begin + 1)
            if end != NONE:
                spans.append(Span(base + begin, base + end, rule))
                at = end
                if hit is not None and hit.start() < at:
                    hit = search(text, at)

    def _settle(self, text: str, at: int) -> None:
        """Let go of ``text`` before ``at``, all but the context of what follows."""
        keep = max(at - CONTEXT, 0)
        self.settled += at - self._start
        self._kept = text[keep:]
        self._start = at - keep


def _reach(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    """Give the end of what the pattern matches at ``at``."""
    match = pattern.match(text, at, end)
    return match.end() if match else at
