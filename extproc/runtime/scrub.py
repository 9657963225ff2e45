"""Overwriting secrets in a recorded body, byte for byte, so that every chunk keeps its length and its place.

What lives here: finding the places where a body spells a secret, however its JSON escapes it and however its frames cut
it. What must not: knowledge of any one LLM API, so that a new one is covered from its first recording.

A body is read as it is, with its escapes undone (up to three times over: a tool call's arguments are JSON inside JSON),
and as the texts that its frames spell together: the strings at the same place of successive documents, where a place
counts an ``index`` member rather than the position in a list. What the policy engine's own detector finds there is
overwritten in the bytes it came from. Copies that no detector can read, tokens and their ids, always are.

Whatever cannot be read with certainty is overwritten from end to end.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from extproc.detectors.base import StreamDetector
from extproc.runtime.text_view import FILL, TextView

_UNESCAPE_DEPTH: Final = 3
_STRING: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_STRING_OR_INTEGERS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|\[[\s\d,]*\]', re.DOTALL)
_LINE: Final = re.compile(rb"[^\n]*\n?")
_DATA: Final = b"data:"
_INDEX: Final = re.compile(r"(?:\w+_)?index")
_LOGPROBS: Final = "logprobs"
_LOGPROBS_KEYS: Final = frozenset(
    {"content", "refusal", "token", "tokens", "bytes", "logprob", "token_logprobs", "text_offset", "top_logprobs"}
)
_FILLED: Final = frozenset('x"\r\n')

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A body without its secrets, as long as it was. ``withheld``: it could not be read, all of it is overwritten."""

    body: bytes
    replaced: int = 0
    withheld: bool = False


class Scrubber:
    """Overwrites what any of ``detectors`` finds. Shared; keeps nothing between bodies."""

    def __init__(self, detectors: Sequence[StreamDetector]) -> None:
        self._detectors: Final = tuple(detectors)

    def text(self, text: bytes) -> bytes:
        """Overwrite the secrets of one line of text, such as a header value."""
        return self.body(text, complete=True).body

    def body(self, body: bytes, *, complete: bool) -> Scrubbed:
        """Overwrite the secrets of a body. Where it was cut off, so is what may have been the beginning of one."""
        clean = bytearray(body)
        replaced = 0
        try:
            layout = _lay_out(body, complete)
            layout.overwrite_copies(clean)
            for view, final in layout.views(bytes(clean)):
                for start, end in self._spans(view, final):
                    replaced += view.overwrite(start, end, clean)
            left = any(self._shows(view, final) for view, final in layout.views(bytes(clean)))
        except (_Unreadable, ValueError, RecursionError):
            left = True
        if left:
            return Scrubbed(FILL * len(body), withheld=True)
        return Scrubbed(bytes(clean), replaced)

    def _spans(self, view: TextView, final: bool) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for detector in self._detectors:
            scan = detector.stream()
            spans += [(span.start, span.end) for span in scan.feed(view.text, final)]
            if not final and scan.settled < len(view.text):
                spans.append((scan.settled, len(view.text)))
        return spans

    def _shows(self, view: TextView, final: bool) -> bool:
        """Whether a secret can still be read."""
        return any(not _FILLED.issuperset(view.text[start:end]) for start, end in self._spans(view, final))


class _Unreadable(Exception):  # noqa: N818 - it says what the body is
    """What a body says cannot be told with certainty."""


class _Members(list[tuple[str, Any]]):
    """A JSON object with every member that was written, duplicates included, in order."""


@dataclass(slots=True)
class _Layout:
    """Where a body's documents are, as (start, end, parsed), and its lines of plain SSE data."""

    complete: bool
    documents: list[tuple[int, int, Any]] = field(default_factory=list)
    plain: list[tuple[int, int]] = field(default_factory=list)
    torn_at: int | None = None  # where the line starts that was cut off

    def overwrite_copies(self, body: bytearray) -> None:
        """Fill what repeats a text in a form that no detector reads, and the torn line."""
        for start, end, node in self.documents:
            body[start:end] = _STRING_OR_INTEGERS.sub(_without_integers, bytes(body[start:end]))
            for (first, last), (place, is_key) in zip(_strings(body, start, end), _places(node), strict=True):
                if _LOGPROBS in place and not (is_key and body[first:last].decode() in _LOGPROBS_KEYS):
                    body[first:last] = FILL * (last - first)
        if self.torn_at is not None:
            body[self.torn_at :] = FILL * (len(body) - self.torn_at)

    def views(self, body: bytes) -> Iterator[tuple[TextView, bool]]:
        """Every text to search, and whether nothing follows it."""
        for view in TextView.of(body).readings(_UNESCAPE_DEPTH):
            yield view, True
        for channel in self._channels(body):
            for view in channel.readings(_UNESCAPE_DEPTH):
                yield view, self.complete

    def _channels(self, body: bytes) -> list[TextView]:
        pieces: defaultdict[Place, list[TextView]] = defaultdict(list)
        for start, end, node in self.documents:
            for (first, last), (place, is_key) in zip(_strings(body, start, end), _places(node), strict=True):
                if not is_key:
                    literal = TextView.of(body[first:last], first)
                    piece = literal.unescaped() or literal
                    pieces[place].append(piece)
                    # Also what a whole list spells: one token an element, say.
                    pieces[("*", *(step for step in place if isinstance(step, str)))].append(piece)
        pieces[("data",)] = [TextView.of(body[first:last], first) for first, last in self.plain]
        return [TextView.joined(views) for views in pieces.values()]


def _lay_out(body: bytes, complete: bool) -> _Layout:
    layout = _Layout(complete)
    whole = _parse(body)
    if whole is not None:
        layout.documents.append((0, len(body), whole))
        return layout
    for line in _LINE.finditer(body):
        text = line[0]
        if not complete and not text.endswith(b"\n"):
            layout.torn_at = line.start()
            break
        is_data = text.startswith(_DATA)
        payload = text.removeprefix(_DATA).strip()
        start = body.index(payload, line.start() + (len(_DATA) if is_data else 0))
        end = start + len(payload)
        if payload.startswith((b"{", b"[")) and payload != b"[DONE]":
            node = _parse(payload)
            if node is None:
                raise _Unreadable
            layout.documents.append((start, end, node))
        elif is_data:
            layout.plain.append((start, end))
    return layout


def _parse(data: bytes) -> Any:
    """The JSON document that these bytes are, or None."""
    if not data.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return json.loads(data.decode(), object_pairs_hook=_Members, strict=False)
    except json.JSONDecodeError:
        return None


def _strings(body: bytes | bytearray, start: int, end: int) -> list[tuple[int, int]]:
    """Where the contents of a document's strings are, keys included, in order."""
    return [literal.span(1) for literal in _STRING.finditer(body, start, end)]


def _places(node: Any, place: Place = ()) -> Iterator[tuple[Place, bool]]:
    """The place of every string in a document, and whether it is a key, in the order of ``_strings``."""
    if isinstance(node, str):
        yield place, False
    elif isinstance(node, _Members):
        indexes = tuple(
            value for key, value in node if type(value) is int and (key == "index" or key.endswith("_index"))
        )
        for key, value in node:
            yield (*place, *indexes), True
            yield from _places(value, (*place, *indexes, key))
    elif isinstance(node, list):
        for position, item in enumerate(node):
            numbered = isinstance(item, _Members) and any(key == "index" for key, _ in item)
            yield from _places(item, place if numbered else (*place, position))


def _without_integers(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else re.sub(rb"\d", b"1", found[0])
