"""Improper output in running text: what may leave now, what must be made harmless, what cannot be told yet.

What lives here: the scan of one channel. What must not: what a link carries (links), what a tag is (markup), what is
code (fences), packs and options (improper_output).

One regular expression search per piece finds the next character that may matter; which characters those are depends on
the state: in running text, in a code span that is not closed yet, in a tag, in fenced code. Each has a handler that
decides the place, as a function of the text from there on, or waits for more.

Dangers are made harmless in place, so little is ever held: a tag at its name, a handler at its name, a scheme at its
colon; only an address waits until it ends or carries too much, at most ``links.URL_MAX`` characters.

**Code is skipped only where it certainly is code.** A fenced block is known by its first line. A code span is one only
if it is closed, so something found behind a backtick waits for the closing one, at most ``code_text.SPAN_MAX``.

After a pause, text may have left that turns out to begin something. Then what is left of it is a finding: the place is
still judged as a whole, and ``safe`` is None, so that a marker breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from extproc.detectors import code_text, links, markup, output_places, unseen
from extproc.detectors.base import Span
from extproc.detectors.code_text import Code
from extproc.detectors.links import Addresses, Disguise, Place, Scheme, Schemes
from extproc.detectors.undecided import Open

_BLANK: Final = "about:blank#"
"""In place of a scheme that runs code: an empty page, to every reader of links."""
_IMAGE_REACH: Final = 1024
"""Characters behind ``![`` or ``]:`` in which an address is taken for one that is fetched without a click."""

_opening = re.compile(r"[(:][\t-\r ]{0,32}+(<?)").match
_scheme = re.compile(r"https?:|www\.|://|[/\\]{2}", re.ASCII | re.IGNORECASE).match
_line_break = re.compile(r"[\r\n]").search
_MANY_LINES: Final = (markup.DOUBLE_VALUE, markup.SINGLE_VALUE)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a policy asks for. ``rules`` gives the id for each kind that is on; limits are bytes."""

    rules: Mapping[str, str]
    elements: markup.Elements
    schemes: Schemes
    addresses: Addresses
    image_bytes: int
    link_bytes: int
    read_code: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """What must not leave: ``[start, end)``, and what may continue it."""

    kind: str
    start: int
    end: int
    safe: str
    tail: re.Pattern[str] | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Wait:
    """More text is needed, and what stands before ``hold`` may leave meanwhile."""

    hold: int


_Outcome: TypeAlias = _Found | _Wait | int
"""A number is where to go on."""

_SILENT: Final = frozenset({"line", "tick"})  # what waits without holding anything that could do harm


class OutputScan:
    """The scan of one channel (``detectors.base.StreamScan``)."""

    def __init__(self, settings: Settings) -> None:
        self.settled = 0
        self._settings = settings
        self._kept = "\n"  # what is looked at again with the next piece; the channel begins like a line
        self._at = 0  # where the look goes on in it
        self._start = 1  # where the text begins in it that has not left
        self._base = -1  # offset in the channel of its first character
        self._code = Code(read=settings.read_code)
        self._look: output_places.Search = output_places.IN_TEXT
        self._state = markup.OUTSIDE
        self._anchor = False  # the tag that we may be in is a plain link
        self._image = -_IMAGE_REACH - 1  # offset in the channel of the last sign of an image
        self._tail: re.Pattern[str] | None = None  # what continues the finding that was not over
        self._depth = 0
        self._eaten = ""  # its kind

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text; return the spans that it decides. See ``detectors.base.StreamScan``."""
        text = self._kept + text
        if self._tail is None and self._look(text, self._at) is None:
            size = len(text)
            self.settled = self._base + size
            self._base += size - 1
            self._kept = text[-1]
            self._at = self._start = 1
            return []
        spans: list[Span] = []
        at = self._at
        while True:
            if self._tail is not None:
                at = self._eat(text, at, spans)
            hit = self._look(text, at)
            if hit is None:
                at = hold = len(text)
                break
            outcome = self._decide(hit, text, final)
            if isinstance(outcome, _Wait):
                at, hold = hit.start(), outcome.hold
                break
            at = self._go_on(outcome, text, spans)
        self._keep(text, at, hold)
        return spans

    def pause(self) -> list[Span]:
        """Judge what is held as if the text ended. It leaves, but is judged again with what follows it."""
        text, at, spans = self._kept, self._at, list[Span]()
        # What code is, is only ever trusted less, so only this may have to be looked at again.
        before = self._state, self._anchor, self._image
        while self._tail is None and (hit := self._look(text, at)) is not None and hit.lastgroup not in _SILENT:
            outcome = self._decide(hit, text, final=True)
            assert not isinstance(outcome, _Wait), "nothing waits for more than the end"
            sure = self._at == at and isinstance(outcome, _Found)
            at = self._go_on(outcome, text, spans)
            if self._tail is not None:
                at = self._eat(text, at, spans)
            if sure:
                self._at, before = at, (self._state, self._anchor, self._image)
        if self._at < at:
            self._state, self._anchor, self._image, self._tail = *before, None
            self._turn()
        self._keep(text, self._at, len(text))
        return spans

    def _keep(self, text: str, at: int, hold: int) -> None:
        """Let go of ``text`` before ``hold``. What is looked at again stays, and the one character before it."""
        keep = max(at - 1, 0)
        hold = max(hold, self._start)  # after a pause, what waits may have left in part
        self.settled = self._base + hold
        self._base += keep
        self._kept = text[keep:]
        self._at = at - keep
        self._start = hold - keep

    def _decide(self, hit: re.Match[str], text: str, final: bool) -> _Outcome:
        assert hit.lastgroup is not None, "every branch of the pattern is a named group"
        if self._code.links:
            self._code.passes(text, hit.start())
        outcome = _HANDLERS[hit.lastgroup](self, text, hit.start(), final)
        self._turn()
        return outcome

    def _turn(self) -> None:
        """Look for what matters in the state that we are in."""
        if self._code.fenced:
            self._look = output_places.IN_CODE
        elif self._state:
            self._look = output_places.IN_TAG
        elif self._code.links:
            self._look = output_places.IN_LINK
        else:
            self._look = output_places.IN_SPAN if self._code.undecided else output_places.IN_TEXT

    def _go_on(self, outcome: _Found | int, text: str, spans: list[Span]) -> int:
        """Take a finding down, unless its rule is off. Returns where to go on."""
        if isinstance(outcome, int):
            return outcome
        if outcome.tail in _MANY_LINES or _line_break(text, outcome.start, outcome.end):
            self._code.lose()  # lines go by unread
        start = max(outcome.start, self._start)
        rule = self._settings.rules.get(outcome.kind)
        if rule is not None and start < outcome.end:
            safe = outcome.safe if start == outcome.start else None
            spans.append(Span(self._base + start, self._base + outcome.end, rule, safe=safe))
        self._tail, self._depth, self._eaten = outcome.tail, outcome.depth, outcome.kind
        return outcome.end

    def _eat(self, text: str, at: int, spans: list[Span]) -> int:
        """Drop what continues a finding."""
        assert self._tail is not None, "called only where something may continue"
        end, self._depth, over = links.walk(text, at, self._tail, self._depth, len(text))
        rule = self._settings.rules.get(self._eaten)
        if end > at and rule is not None:
            spans.append(Span(self._base + at, self._base + end, rule, opens=False))
        if over:
            self._tail = None
        return end

    # ---- code ----

    def _line(self, text: str, at: int, final: bool) -> _Outcome:
        end = self._code.line(text, at, bool(self._state), final)
        return _Wait(len(text) - text.endswith("<")) if end is None else end

    def _tick_run(self, text: str, at: int, final: bool) -> _Outcome:
        end = self._code.backticks(text, at, bool(self._state), final)
        return _Wait(len(text)) if end is None else end

    def _cell(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        self._code.cell()
        return at + 1

    def _skip(self, text: str, at: int, final: bool) -> _Outcome | None:
        """Go past a place in a code span; None if it is in none."""
        inside = self._code.covers(text, at, self._base, final)
        if inside is None:
            return _Wait(at)
        return at + 1 if inside else None

    # ---- what nobody sees ----

    def _control(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        run = unseen.control(text, at)
        return _Found("controls", at, run.end, run.safe, unseen.CONTROL_RUN)

    def _invisible(self, text: str, at: int, final: bool) -> _Outcome:
        run = unseen.invisible(text, at, final)
        if isinstance(run, unseen.Run):
            return _Found("invisible", at, run.end, run.safe, unseen.INVISIBLE_RUN)
        return _Wait(at) if isinstance(run, Open) else run

    # ---- tags ----

    def _tag(self, text: str, at: int, final: bool) -> _Outcome:
        if (skipped := self._skip(text, at, final)) is not None:
            return skipped
        following = text[at + 1 : at + 2]
        if not following:
            return at + 1 if final else _Wait(at)
        if following in "!?":
            self._code.lose()
            return at + 1
        name = self._settings.elements.read(text, at + 1, final)
        if isinstance(name, Open):
            return _Wait(at)
        self._state |= markup.BARE
        self._anchor = name == "a"
        if markup.is_raw(name):
            self._code.lose()
        if name in self._settings.elements.active:
            end = at + 1 + len(name)
            return _Found("elements", at, end, "&lt;" + text[at + 1 : end])
        scheme = self._settings.schemes.read(text, at + 1, Place(strict=False, spaced=True), final)
        if scheme is Open.PENDING:
            return _Wait(at)
        if isinstance(scheme, Disguise) and scheme.scheme is Scheme.CODE:
            return _Found("schemes", at + 1, scheme.end, _BLANK)
        return at + 1

    def _close(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        self._state &= ~markup.BARE
        return at + 1

    def _quote(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        self._state = markup.quoted(self._state, text[at])
        return at + 1

    def _equals(self, text: str, at: int, final: bool) -> _Outcome:
        where = markup.value(text, at, final)
        if where is None:
            return _Wait(at)
        start, mark = where
        state = self._state
        if mark == "?":
            state |= markup.DOUBLE | markup.SINGLE
        elif mark:
            state = markup.opened(state, mark)
        outcome = self._destination(text, start, Place(strict=True, spaced=True), markup.value_end(state), final)
        if outcome is None:
            return _Wait(at)
        self._state = state
        if _line_break(text, at, start):
            self._code.lose()  # lines go by unread
        return outcome

    def _attribute(self, text: str, at: int, final: bool) -> _Outcome:
        end = markup.handler(text, at, final)
        if end is Open.PENDING:
            return _Wait(at)
        return at + 1 if isinstance(end, Open) else _Found("handlers", at, end, "data-" + text[at:end])

    # ---- links ----

    def _picture(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        self._image = self._base + at
        return at + 1

    def _definition(self, text: str, at: int, final: bool) -> _Outcome:
        if (skipped := self._skip(text, at, final)) is not None:
            return skipped
        self._image = self._base + at
        outcome = self._opened(text, at, True, final)
        if not isinstance(outcome, _Wait):
            self._code.define()
        return outcome

    def _link(self, text: str, at: int, final: bool) -> _Outcome:
        if (skipped := self._skip(text, at, final)) is not None:
            return skipped
        strict = text[at - 1] == "]"
        outcome = self._opened(text, at, strict, final)
        if strict and not isinstance(outcome, _Wait):
            self._code.link(code_text.DESTINATION)
        return outcome

    def _part(self, text: str, at: int, final: bool) -> _Outcome:  # noqa: ARG002 - as every handler
        return at + 1

    def _opened(self, text: str, at: int, strict: bool, final: bool) -> _Outcome:
        """Judge what stands behind the parenthesis or the colon at ``at``. ``strict``: it can be nothing but a link."""
        opening = _opening(text, at)
        assert opening is not None, "called at a parenthesis or a colon"
        if opening.end() == len(text):
            return at + 1 if final else _Wait(at)
        angle = bool(opening[1])
        stop = links.ANGLE if angle else links.DESTINATION if strict else links.PLAIN
        outcome = self._destination(text, opening.end(), Place(strict, spaced=angle), stop, final)
        if outcome is None:
            return _Wait(at)
        if isinstance(outcome, int):
            return at + 1
        if _line_break(text, at, outcome.start):
            self._code.lose()
        return outcome

    def _destination(self, text: str, at: int, place: Place, stop: re.Pattern[str], final: bool) -> _Found | int | None:
        """Judge what stands where a link must: its scheme, then what it carries. None if not yet known."""
        scheme = self._settings.schemes.read(text, at, place, final)
        if scheme is Open.PENDING:
            return None
        if not isinstance(scheme, Disguise):
            return at
        if scheme.scheme is Scheme.CODE:
            return _Found("schemes", at, scheme.end, _BLANK)
        return self._measure(text, at, scheme.end, stop, final)

    def _address(self, text: str, at: int, final: bool) -> _Outcome:
        if (skipped := self._skip(text, at, final)) is not None:
            return skipped
        scheme = _scheme(text, at)
        if scheme is None:
            return at + 1 if final else _Wait(at)
        if not self._state:
            self._code.link(code_text.ADDRESS)
        stop = links.ANGLE if text[at - 1] == "<" else markup.value_end(self._state) if self._state else links.PLAIN
        outcome = self._measure(text, at, at if text[at] in "wW" else scheme.end(), stop, final)
        if outcome is None:
            return _Wait(at)
        return scheme.end() if isinstance(outcome, int) else outcome

    def _measure(self, text: str, start: int, at: int, stop: re.Pattern[str], final: bool) -> _Found | int | None:
        """Judge what an address carries. None if not yet known."""
        near = self._base + start - self._image <= _IMAGE_REACH
        fetched = near or (self._state and not self._anchor and text[start - 1] != "<")
        kind, limit = ("images", self._settings.image_bytes) if fetched else ("links", self._settings.link_bytes)
        if kind not in self._settings.rules:
            return at
        most = max(limit, self._settings.link_bytes)
        laden = self._settings.addresses.measure(text, at, stop, (limit, most), final)
        if isinstance(laden, Open):
            return None if laden is Open.PENDING else at
        safe = f"(link removed: {laden.host})" if laden.host else "(link removed)"
        return _Found(kind, start, laden.end, safe, stop, laden.depth)


_HANDLERS: Final[Mapping[str, Callable[[OutputScan, str, int, bool], _Outcome]]] = {
    "line": OutputScan._line,
    "control": OutputScan._control,
    "invisible": OutputScan._invisible,
    "tag": OutputScan._tag,
    "tick": OutputScan._tick_run,
    "cell": OutputScan._cell,
    "image": OutputScan._picture,
    "definition": OutputScan._definition,
    "link": OutputScan._link,
    "address": OutputScan._address,
    "rest": OutputScan._address,
    "relative": OutputScan._address,
    "part": OutputScan._part,
    "close": OutputScan._close,
    "quote": OutputScan._quote,
    "equals": OutputScan._equals,
    "handler": OutputScan._attribute,
}
