"""Bytes to frames, without I/O: server-sent events, JSON lines, one JSON document, or a whole body.

A framer keeps at most one incomplete frame of at most ``limit_bytes`` and remembers how far it has looked, so a peer
that sends one byte at a time costs no more than one that sends everything at once. What a frame says does not depend
on how the bytes were cut, and the ``raw`` of all pieces is the input, byte for byte.

What lives here: where a frame begins and ends. What must not: what it means.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, Protocol

from extproc.chat import Malformed

_JSON_SPACE: Final = b" \t\r\n"
# A CR at the end of what we have may be half of a CRLF, so it ends nothing yet. One character class in front of both
# alternatives lets the search skip text in bulk.
_BLANK_LINE: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
_EVENT_END: Final = re.compile(rb"[\r\n](?:(?<=\n)(?>\r\n|\n|\r(?!\Z))|(?<=\r)(?>\r\n|\r(?!\Z)))")
_EVENT_END_CHARS: Final = 3
_BLANK_TAIL: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}\Z")
_NEAR_BYTES: Final = 4096  # as far is a plain end looked for: where all events end otherwise, each look is in vain
_SSE_FIELDS: Final = frozenset({b"", b"data", b"event", b"id", b"retry"})  # a comment has no name
_FIELD_BYTES: Final = 256  # of a line that is not data, which is judged whole with its event
_SPACE_RUN: Final = re.compile(rb"[ \t\r\n]*+")
_STRUCTURE: Final = re.compile(rb'["\[\]{}]')
_STRING_RUN: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_BEFORE_ELEMENT: Final = _JSON_SPACE + b"[,"
# What may come next in an array of objects, and what is expected then.
_ARRAY: Final = {
    "start": {ord("["): "first"},
    "first": {ord("{"): "element", ord("]"): "closed"},
    "more": {ord(","): "next", ord("]"): "closed"},
    "next": {ord("{"): "element"},
    "closed": {},
}


class Framer(Protocol):
    """Cuts one body into frames."""

    def feed(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Take the next bytes, give the frames they complete, one by one; with ``end`` nothing is kept.

        Frames before a malformed place come out before it raises. What is not drawn from the iterator is lost.

        Raises:
            Malformed: the bytes cannot be this framing, or a frame is larger than the limit.
        """
        ...

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """What a dialect reads in one of these frames; None for comments and white space.

        Raises:
            Malformed: the bytes cannot be this framing.
        """
        ...


class _Delimited(ABC):
    """What framings have in common whose frames end with a delimiter."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = bytearray()

    def feed(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Take the next bytes, give the frames they complete; with ``end`` what remains is the last frame."""
        buffer: bytes | bytearray = data
        at = searched = 0
        if self._pending:
            searched = len(self._pending)
            self._pending += data
            buffer = self._pending
        size = len(buffer)
        while at < size and (stop := self._next_end(buffer, at, searched)):
            _check_size(stop - at, self._limit_bytes)
            yield bytes(buffer[at:stop])  # no copy where one piece is one event
            at = searched = stop
        _check_size(size - at, self._limit_bytes)
        if end and at < size:
            yield bytes(buffer[at:])
            at = size
        if self._pending:
            del self._pending[:at]
        elif at < size:
            self._pending += buffer[at:]

    @staticmethod
    @abstractmethod
    def payload(raw: bytes) -> bytes | None:
        """What a dialect reads in a frame."""

    @staticmethod
    @abstractmethod
    def _next_end(buffer: bytes | bytearray, at: int, searched: int) -> int:
        """Where the frame at ``at`` ends, 0 if nowhere yet; the bytes before ``searched`` do not complete it."""


class SseFramer(_Delimited):
    """Server-sent events. The payload is the event's data lines, joined; comments and other fields stay in the frame.

    An unknown field, which a lenient client could take for something else, is malformed; a byte order mark makes one.
    So is a long line of a field that is not data, since nobody inspects it; padding does not count.
    """

    @staticmethod
    def _next_end(buffer: bytes | bytearray, at: int, searched: int) -> int:
        if buffer[at] in b"\r\n":
            match = _BLANK_LINE.match(buffer, at)
            return match.end() if match else 0
        start = max(at, searched - _EVENT_END_CHARS)
        stop = buffer.find(b"\n\n", start, start + _NEAR_BYTES)
        if stop >= 0 and buffer.find(b"\r", start, stop) < 0:  # what the pattern would find, at a fraction of its cost
            return stop + 2
        match = _EVENT_END.search(buffer, start)
        return match.end() if match else 0

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """The data of an event.

        Raises:
            Malformed: it has a line that is not a server-sent event's, or a long one that nobody inspects.
        """
        data = []
        for line in raw.splitlines():
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
            elif name not in _SSE_FIELDS:
                raise Malformed("the stream has a line that is not a server-sent event's")
            elif len(value.strip()) > _FIELD_BYTES:
                raise Malformed("the stream has a comment or field that is longer than allowed")
        return b"\n".join(data) if data else None


class LineFramer(_Delimited):
    """JSON lines. Each ends with a line feed, save perhaps the last; a blank line has no payload."""

    @staticmethod
    def _next_end(buffer: bytes | bytearray, at: int, searched: int) -> int:
        return buffer.find(b"\n", max(at, searched)) + 1

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """The line, unless it is blank."""
        return raw if raw.strip(_JSON_SPACE) else None


class DocumentFramer:
    """One JSON object or array, which is complete at its last bracket, whether or not the body's end is announced.

    White space after it passes as frames of its own; anything else is malformed.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = bytearray()
        self._scanned = 0
        self._depth = 0
        self._quoted = False
        self._complete = False

    def feed(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Take the next bytes; give the document once it is complete."""
        if not self._complete:
            self._pending += data
            self._complete = self._scan()
            stop = self._scanned if self._complete else len(self._pending)
            _check_size(stop, self._limit_bytes)
            if self._depth and end:
                raise Malformed("the JSON document breaks off")
            if not self._complete and not end:
                return
            data = bytes(self._pending[stop:])
            raw = bytes(self._pending[:stop])
            self._pending.clear()
            if raw:
                yield raw
        if data.strip(_JSON_SPACE):
            raise Malformed("something follows the JSON document")
        if data:
            yield data

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """The document; nothing in white space around it."""
        return raw if raw.strip(_JSON_SPACE) else None

    def _scan(self) -> bool:
        """Look at what has not been looked at; say whether the document is complete, at ``_scanned`` then."""
        pending, at = self._pending, self._scanned
        if not self._depth:
            at = _end_of(_SPACE_RUN, pending, at)
            if at < len(pending) and pending[at] not in b"{[":
                raise Malformed("the body is not a JSON object or array")
        while at < len(pending):
            if self._quoted:
                at = _end_of(_STRING_RUN, pending, at)
                if pending[at : at + 1] != b'"':  # the end, or a backslash without what it escapes
                    break
                self._quoted = False
                at += 1
                continue
            mark = _STRUCTURE.search(pending, at)
            if mark is None:
                at = len(pending)
                break
            at = mark.end()
            self._quoted = mark[0] == b'"'
            self._depth += (mark[0] in b"{[") - (mark[0] in b"}]")
            if not self._depth:
                self._scanned = at
                return True
        self._scanned = at
        return False


class ArrayFramer(DocumentFramer):
    """One JSON array of objects that comes element by element; each element is a frame, with what stands before it.

    The closing bracket is a frame of its own, and so is white space after it. An array that breaks off is malformed.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._state = "start"

    def feed(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Take the next bytes, give the elements they complete."""
        self._pending += data
        while self._pending and (stop := self._next_stop()):
            _check_size(stop, self._limit_bytes)
            raw = bytes(self._pending[:stop])
            del self._pending[:stop]
            yield raw
        _check_size(len(self._pending), self._limit_bytes)
        if end and self._state not in ("start", "closed"):
            raise Malformed("the JSON array breaks off")
        if end and self._pending:  # white space is all there was
            yield bytes(self._pending)
            self._pending.clear()

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """The element; nothing in what only ends the array."""
        element = raw.lstrip(_BEFORE_ELEMENT)
        return element if element.startswith(b"{") else None

    def _next_stop(self) -> int:
        """Where the next frame ends, 0 if nowhere yet. What has been looked at ends at ``_scanned``."""
        pending = self._pending
        while self._state != "element":
            at = _end_of(_SPACE_RUN, pending, self._scanned)
            self._scanned = at
            if at == len(pending):
                break
            state = _ARRAY[self._state].get(pending[at])
            if state is None:
                raise Malformed("the body is not a JSON array of objects")
            self._state = state
            self._scanned = at if state == "element" else at + 1
            if state == "closed":
                break
        if self._state == "element" and self._scan():
            self._state = "more"
        elif self._state != "closed":
            return 0
        stop, self._scanned = self._scanned, 0
        return stop


class BodyFramer:
    """Any bytes: the whole body is one frame, known only at its end."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = bytearray()

    def feed(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Take the next bytes; give the body with ``end``."""
        self._pending += data
        _check_size(len(self._pending), self._limit_bytes)
        if end and self._pending:
            raw = bytes(self._pending)
            self._pending.clear()
            yield raw

    @staticmethod
    def payload(raw: bytes) -> bytes | None:
        """The body."""
        return raw


def delimiter(media_type: str, tail: bytes) -> bytes:
    """What ends the last frame of a stream, if its sender did not, so that another can follow.

    ``tail`` is the end of what left: at least its last four bytes, or all of it.
    """
    if not tail:
        return b""
    if media_type == "text/event-stream":
        return b"" if _BLANK_TAIL.search(tail) else b"\n\n"
    return b"\n" if media_type == "application/x-ndjson" and not tail.endswith(b"\n") else b""


def replace_event_data(raw: bytes, data: bytes) -> bytes:
    """Put other data, of one line, into a server-sent event; its other lines and its line ends stay."""
    lines = []
    for line in raw.splitlines(keepends=True):
        content = line.rstrip(b"\r\n")
        if content.partition(b":")[0] != b"data":
            lines.append(line)
        elif data:
            lines.append(b"data: " + data + line[len(content) :])
            data = b""
    return b"".join(lines)


def replace_line(raw: bytes, document: bytes) -> bytes:
    """Put another document into a JSON line; its line end stays."""
    return document + raw[len(raw.rstrip(_JSON_SPACE)) :]


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise Malformed("the answer has a frame that is larger than allowed")


def _end_of(run: re.Pattern[bytes], data: bytearray, start: int) -> int:
    match = run.match(data, start)
    return match.end() if match else start
