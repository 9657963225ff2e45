"""What the last frames of a stream looked like, so that the next ones need not be read from their first byte.

The chunks of one answer differ in one string: the text. (Some have a second one, a time stamp or padding, that varies
and that nobody reads as long as it is one word.) So a frame that was read in full and says one text, and nothing else
that counts, is kept as a *template*: the bytes before that string and the bytes behind it. A later frame with the very
same bytes around another string is the same document with that string changed, and says the same with that text
changed.

Nothing is taken on trust. A template is made by putting a probe where the text seems to stand and reading the result in
full: only if the document differs from the original in that one string, and the frame in that one text, are those bytes
kept. The string of a later frame is scanned by the JSON reader's own scanner, from quote to quote. Whatever does not
fit, in any way, is read in full, which alone says what is malformed. Edits are made on the full reading, too.

What lives here: that memory. What must not: an API's members, what a frame means.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from extproc.chat import Channel, Edit, Frame, Json, JsonPath, Malformed, TextDelta
from extproc.dialects.answers import says_nothing
from extproc.strict_json import apply, scan_string

_KEPT: Final = 8  # as many choices, or kinds of text, may take turns
_LARGEST_BYTES: Final = 4096  # of a frame that is kept; its text apart, a chunk has some 200 to 400
_PATIENCE: Final = 16  # templates made in vain before no more are made: each costs one more reading
_TEXT: Final = "\u2060probe\u2060"
_VARIED: Final = "varied-0-probe"  # a word that says nothing, as the string in whose place it stands
# Without a closing quote it runs to the end: were one needed, every later quote would look through the rest again.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

Reading: TypeAlias = tuple[Frame, Json]
"""A frame and the document that it carried."""


class _Template(NamedTuple):
    """The text around one or two strings, quotes included. ``between`` is None where there is one."""

    opening: str
    between: str | None
    closing: str
    text_first: bool
    channel: Channel
    path: JsonPath
    choices: frozenset[int] | None
    beside: tuple[TextDelta, ...]


class Templates:
    """The templates of one stream. Owned by its decoder.

    ``read`` reads a frame in full, without remembering it. ``varying`` names a string at the document's top that may
    differ from frame to frame without changing what is said; ``varied`` is its last value in a frame found here.
    """

    __slots__ = ("_known", "_patience", "_read", "_varying", "_varying_place", "varied")

    def __init__(self, read: Callable[[bytes], Reading], varying: str) -> None:
        self.varied: str | None = None
        self._read: Final = read
        self._varying: Final = varying
        self._varying_place: Final = re.compile(rf'"{varying}"[ \t]*+:[ \t]*+"')
        self._known: deque[_Template] = deque(maxlen=_KEPT)
        self._patience = _PATIENCE

    def frame(self, raw: bytes) -> Frame | None:
        """The frame that these bytes are, if they fit a template; None says nothing about them."""
        if not self._known:
            return None
        try:
            text = raw.decode()
            for opening, between, closing, text_first, channel, path, choices, beside in self._known:
                if not text.startswith(opening):
                    continue
                said, at = scan_string(text, len(opening))
                if between is not None:
                    if not text.startswith(between, at - 1):
                        continue
                    other, at = scan_string(text, at - 1 + len(between))
                    said, varied = (said, other) if text_first else (other, said)
                    if not says_nothing(varied):  # someone should read it
                        continue
                if said and text[at - 1 :] == closing:
                    if between is not None:
                        self.varied = varied
                    self._patience = _PATIENCE
                    delta = TextDelta(channel, said, path)
                    return Frame(raw, partial(_edited_later, self._read, raw), (delta, *beside), (), choices)
        except ValueError:  # not UTF-8, or no JSON string: the full reading says what is wrong
            pass
        return None

    def learn(self, frame: Frame, document: Mapping[str, Json]) -> None:
        """Make a template of a frame that was read in full, if it is fit for one."""
        if not frame.deltas or frame.calls or frame.closes or frame.end or not self._patience:
            return
        said, *beside = frame.deltas
        if said.drop or said.alone or said.channel[0] < 0 or not all(delta.alone for delta in beside):
            return
        if len(frame.raw) > _LARGEST_BYTES:
            return
        self._patience -= 1
        try:
            template = self._template(frame, document)
        except UnicodeDecodeError:  # of a comment: what carries text is UTF-8
            return
        if template is not None:
            self._known.appendleft(template)

    def forget(self) -> None:
        """Drop all templates."""
        self._known.clear()

    def _template(self, frame: Frame, document: Mapping[str, Json]) -> _Template | None:
        """The template of a frame with one delta and what stands beside it, if a probe proves it."""
        delta, *beside = frame.deltas
        varied = document.get(self._varying)
        # A probe that is there already would prove nothing.
        if not delta.text or delta.text == _TEXT or varied == _VARIED:
            return None
        raw = frame.raw.decode()
        holes = [(start, stop, _TEXT) for start, stop in _strings_that_say(delta.text, raw)]
        probes = [Edit(delta.path, _TEXT)]
        if isinstance(varied, str):
            holes += [(start, stop, _VARIED) for start, stop in _strings_behind(self._varying_place, raw)]
            probes.append(Edit((self._varying,), _VARIED))
        if len(holes) != len(probes):  # a guess would do, too, since it is proved; but this is rare
            return None
        holes.sort()
        parts = _around(raw, holes)
        probe = "".join(part + hole[2] for part, hole in zip(parts, holes, strict=False)) + parts[-1]
        if not self._proves(probe, frame, document, probes):
            return None
        between = parts[1] if len(holes) > 1 else None
        text_first = holes[0][2] == _TEXT
        return _Template(
            parts[0], between, parts[-1], text_first, delta.channel, delta.path, frame.choices, tuple(beside)
        )

    def _proves(self, probe: str, frame: Frame, document: Mapping[str, Json], edits: Sequence[Edit]) -> bool:
        """Whether the probe reads to the same document with these edits, and to the same frame with this text."""
        try:
            probed, read = self._read(probe.encode())
            expected = apply(dict(document), edits)
        except (Malformed, LookupError):
            return False
        said = frame.deltas[0]._replace(text=_TEXT)
        return read == expected and probed[2:] == ((said, *frame.deltas[1:]), *frame[3:])


def _strings_that_say(text: str, raw: str) -> list[tuple[int, int]]:
    """Where the insides of the JSON strings stand that seem to say ``text``."""
    insides = [(string.start() + 1, string.end() - 1) for string in _STRING.finditer(raw)]
    return [(start, stop) for start, stop in insides if _says(raw, start) == text]


def _strings_behind(place: re.Pattern[str], raw: str) -> list[tuple[int, int]]:
    """Where the insides of the JSON strings stand whose opening quotes end a match."""
    starts = [match.end() for match in place.finditer(raw)]
    return [(start, scan_string(raw, start)[1] - 1) for start in starts if _says(raw, start) is not None]


def _says(raw: str, start: int) -> str | None:
    try:
        return scan_string(raw, start)[0]
    except ValueError:
        return None


def _around(raw: str, holes: Sequence[tuple[int, int, str]]) -> list[str]:
    """The pieces of ``raw`` that lie around the holes."""
    starts = [0, *(stop for _, stop, _ in holes)]
    stops = [*(start for start, _, _ in holes), len(raw)]
    return [raw[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _edited_later(read: Callable[[bytes], Reading], raw: bytes, edits: Sequence[Edit]) -> bytes:
    return read(raw)[0].render(edits) if edits else raw
