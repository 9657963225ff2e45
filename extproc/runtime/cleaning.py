"""What of a recorded stream may be kept: headers by allowlist, bodies without secrets, nothing else of the traffic.

What lives here: building the clean events anew, so that a field nobody thought of cannot slip through. What must not:
finding secrets in a body (scrub), files, replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.struct_pb2 import Struct

from extproc.messages import SKIPPED, Direction
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.scrub import Scrubbed, Scrubber
from extproc.runtime.text_view import FILL

_HEADERS_KEPT: Final = frozenset(
    {
        ":method", ":scheme", ":status", "accept", "accept-encoding", "connection", "content-encoding",
        "content-length", "content-type", "expect", "te", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_ATTRIBUTES_KEPT: Final = "xds."  # names of routes and clusters; the others speak of the client


def cleaned(recording: rec.Recording, scrubber: Scrubber) -> rec.Recording:
    """The same recording without secrets, clients' headers and replies. Every body keeps its length and its cuts."""
    clean = rec.Recording()
    clean.CopyFrom(recording)
    del clean.entries[:]
    bodies = {direction: _Body(recording, direction, scrubber) for direction in Direction}
    for entry in recording.entries:
        kept = clean.entries.add(offset_us=entry.offset_us, clock_s=entry.clock_s, cooling=entry.cooling)
        kind = entry.WhichOneof("event")
        if kind == "received":
            kept.received.CopyFrom(_message(entry.received, bodies, scrubber))
        elif kind == "consulted":
            for opinion in entry.consulted.opinions:
                score = opinion.score if opinion.HasField("score") else None
                kept.consulted.opinions.add(score=score, skipped=opinion.skipped if opinion.skipped in SKIPPED else "")
        elif kind == "expired":
            kept.expired = entry.expired
        else:
            kept.closed = entry.closed
    clean.secrets_replaced = sum(body.scrubbed.replaced for body in bodies.values())
    clean.bodies_withheld = sum(body.scrubbed.withheld for body in bodies.values())
    return clean


class _Body:
    """One direction's body: cleaned as a whole, given back in the pieces in which it came."""

    def __init__(self, recording: rec.Recording, direction: Direction, scrubber: Scrubber) -> None:
        pieces, complete, encoded = [], False, False
        for entry in recording.entries:
            message = entry.received
            kind = message.WhichOneof("request")
            if kind == f"{direction.value}_body":
                body = getattr(message, kind)
                pieces.append(body.body)
                complete = complete or body.end_of_stream
            elif kind == f"{direction.value}_headers":
                encoded = _is_encoded(getattr(message, kind).headers)
            elif kind == f"{direction.value}_trailers":
                complete = True
        whole = b"".join(pieces)
        # What is compressed cannot be read for secrets.
        self.scrubbed = (
            Scrubbed(FILL * len(whole), withheld=bool(whole)) if encoded else scrubber.body(whole, complete=complete)
        )
        self._at = 0

    def next(self, size_bytes: int) -> bytes:
        """The next ``size_bytes`` of the clean body."""
        piece = self.scrubbed.body[self._at : self._at + size_bytes]
        self._at += size_bytes
        return piece


def _message(
    message: pb.ProcessingRequest, bodies: Mapping[Direction, _Body], scrubber: Scrubber
) -> pb.ProcessingRequest:
    clean = pb.ProcessingRequest(observability_mode=message.observability_mode)
    if message.HasField("protocol_config"):
        clean.protocol_config.CopyFrom(message.protocol_config)
        clean.protocol_config.DiscardUnknownFields()
    for name, struct in message.attributes.items():
        _copy_attributes(struct, clean.attributes[name])
    kind = message.WhichOneof("request")
    if kind is None:
        return clean
    before, after = getattr(message, kind), getattr(clean, kind)
    after.SetInParent()
    if isinstance(before, pb.HttpBody):
        after.body = bodies[Direction(kind.partition("_")[0])].next(len(before.body))
        after.end_of_stream = before.end_of_stream
    elif isinstance(before, pb.HttpHeaders):
        after.end_of_stream = before.end_of_stream
        _copy_headers(before.headers, after.headers, scrubber)
    else:
        _copy_headers(before.trailers, after.trailers, scrubber)
    return clean


def _copy_headers(before: pb.HeaderMap, after: pb.HeaderMap, scrubber: Scrubber) -> None:
    """Every name; the values of the allowlist, the path without its query, and of all others the length."""
    for header in before.headers:
        value = header.raw_value or header.value.encode()
        if header.key == ":path":
            path, mark, query = value.partition(b"?")
            value = scrubber.text(path) + mark + FILL * len(query)
        else:
            value = scrubber.text(value) if header.key in _HEADERS_KEPT else FILL * len(value)
        after.headers.add(key=header.key, raw_value=value)


def _copy_attributes(before: Struct, after: Struct) -> None:
    for name, value in before.fields.items():
        if name.startswith(_ATTRIBUTES_KEPT) and value.WhichOneof("kind") == "string_value":
            after.fields[name].string_value = value.string_value


def _is_encoded(headers: pb.HeaderMap) -> bool:
    return any(
        header.key == "content-encoding" and (header.raw_value or header.value.encode()).lower() != b"identity"
        for header in headers.headers
    )
