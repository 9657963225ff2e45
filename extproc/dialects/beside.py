"""What a server-sent event says beside its data: comments, ids, event names. No dialect gives those a meaning.

What lives here: reading such lines as one text that stands alone, and taking them out where a rule edits it. What must
not: data, which is the dialect's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from extproc.chat import Denial, Edit, Frame, JsonPath, Malformed, Step, TextDelta
from extproc.dialects.answers import Render, aside
from extproc.dialects.base import Decoder
from extproc.dialects.untrusted import NAME

_PLACE: Final[JsonPath] = ("lines beside the data",)
_NAME_LINE: Final = re.compile(rb"event: ?[a-z_./]{1,48}\n")


class ReadsBeside:
    """A decoder of server-sent events whose frames also say what stands beside their data."""

    streams = True

    def __init__(self, decoder: Decoder) -> None:
        self._decoder: Final = decoder

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        for frame in self._decoder.feed(data, end):
            yield frame if _is_plain(frame.raw) else _read(frame)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:
        """Phrase the end as the dialect does."""
        return self._decoder.cutoff(denial, closed, steps)


def _is_plain(raw: bytes) -> bool:
    """Whether an event is what nearly all are: one line of data, perhaps behind a name of words."""
    end, at, start = len(raw) - 2, raw.find(b"\n"), 0
    if at != end:
        name = _NAME_LINE.match(raw)
        start = name.end() if name else 0
        at = raw.find(b"\n", start)
    return at == end and raw.startswith(b"data:", start) and raw.endswith(b"\n\n") and raw.find(b"\r") < 0


def _read(frame: Frame) -> Frame:
    lines = [line for line in _lines_beside(frame.raw) if not NAME.fullmatch(line)]
    if not lines:
        return frame
    delta = TextDelta((aside(0), "body"), "\n".join(lines), _PLACE, alone=True)
    return frame._replace(deltas=(*frame.deltas, delta), render=partial(_without, frame.render))


def _lines_beside(raw: bytes) -> Iterator[str]:
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name != b"data" and value:
            try:
                yield value.decode().strip()
            except UnicodeDecodeError:
                raise Malformed("the answer is not valid UTF-8") from None


def _without(render: Render, edits: Sequence[Edit]) -> bytes:
    """An event, edited; if what stands beside its data is edited, that goes."""
    raw = render([edit for edit in edits if edit.path != _PLACE])
    if all(edit.path != _PLACE for edit in edits):
        return raw
    lines = raw.splitlines(keepends=True)
    return b"".join(line for line in lines if line.startswith(b"data") or not line.strip(b"\r\n"))
