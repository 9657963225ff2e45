"""One direction of an exchange in one body mode: when a reply may go, and what rides on it.

``Duplex`` sends what it is given, at once. ``Lockstep`` owes exactly one reply per message, in order: what may leave
rides on the next reply that is owed, and a chunk that must wait is answered with nothing in its place.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from extproc.messages import Continue, Direction
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.wire.encode import body_reply, headers_reply, set_header, trailers_reply
from extproc.runtime.wire.modes import BodyMode

PIECE_BYTES: Final = 64 * 1024  # the most that Envoy recommends for one streamed_response


class ProtocolError(Exception):
    """The gRPC stream must be failed, so that Envoy breaks the exchange off. ``str()`` is generic."""


class Duplex:
    """FULL_DUPLEX_STREAMED: replies when we like, headers before body before trailers."""

    drops_content_length: Final = True

    def __init__(self, direction: Direction) -> None:
        self._name: Final = direction.value
        self._headers: pb.ProcessingResponse | None = None
        self._held = False
        self._bodiless = False
        self._out: list[pb.ProcessingResponse] = []
        self.headers_left = False

    def owe_headers(self, end: bool) -> None:
        """Envoy sent headers; with ``end`` no body follows them, so none may be sent back."""
        self._bodiless = end

    def owe_body(self, data: bytes, end: bool) -> None:
        """Envoy sent a chunk: nothing is owed for it in this mode."""

    def owe_trailers(self) -> None:
        """Envoy sent trailers: they wait until they are let through."""

    def go_on(self, reply: Continue) -> None:
        """Let the headers through, now or with what follows them."""
        self._headers, self._held = headers_reply(reply), reply.held
        if not self._held:
            self._send_headers()

    def forward(self, data: bytes, end: bool) -> None:
        """Let body bytes through."""
        self._send_headers()
        if self._bodiless:
            return
        pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or ([b""] if end else [])
        for number, piece in enumerate(pieces, 1):
            streamed = pb.StreamedBodyResponse(body=piece, end_of_stream=end and number == len(pieces))
            self._out.append(body_reply(self._name, pb.BodyMutation(streamed_response=streamed)))

    def trailers(self) -> None:
        """Let the trailers through."""
        self._send_headers()
        self._out.append(trailers_reply(self._name))

    def settle(self, over: bool) -> list[pb.ProcessingResponse]:  # noqa: ARG002 - nothing is owed at the end here
        """Return what goes now. ``over``: the Session has said its last word on this exchange."""
        out, self._out = self._out, []
        return out

    def _send_headers(self) -> None:
        if self._headers is not None:
            self._out.append(self._headers)
            self._headers = None
            self.headers_left = True


class Lockstep:
    """STREAMED and BUFFERED: one reply per message, in order; what may leave rides on the replies that are owed."""

    def __init__(self, direction: Direction, mode: BodyMode, withhold: bool) -> None:
        self._name: Final = direction.value
        self._buffered: Final = mode is BodyMode.BUFFERED
        self._can_withhold: Final = withhold and not self._buffered
        # A request's body leaves whole, at the verdict: keep the last reply open, in case only trailers mark its end.
        self._keeps_last: Final = direction is Direction.REQUEST
        self._headers: pb.ProcessingResponse | None = None
        self._headers_owed = False
        self._bodies: deque[tuple[bytes, bool]] = deque()
        self._trailers_owed = False
        self._held = False
        self._ready = bytearray()
        self._ended = False
        self._trailers_ready = False
        self.headers_left = False
        self.drops_content_length = not self._buffered

    def owe_headers(self, end: bool) -> None:
        """Envoy sent headers, and with ``end`` no body follows them."""
        self._headers_owed, self._ended = True, end

    def owe_body(self, data: bytes, end: bool) -> None:
        """Envoy sent a chunk."""
        self._bodies.append((data, end))

    def owe_trailers(self) -> None:
        """Envoy sent trailers."""
        self._trailers_owed = True

    def go_on(self, reply: Continue) -> None:
        """Let the headers through: now, or where this mode can wait, with what follows them."""
        self._headers = headers_reply(reply)
        self._held = reply.held and self._can_withhold

    def forward(self, data: bytes, end: bool) -> None:
        """Let body bytes through with the next reply that is owed."""
        self._held = False
        self._ready += data
        self._ended = self._ended or end

    def trailers(self) -> None:
        """Let the trailers through."""
        self._held = False
        self._trailers_ready = True

    def settle(self, over: bool) -> list[pb.ProcessingResponse]:
        """Pay what can be paid now. ``over``: the Session has said its last word on this exchange.

        Raises:
            ProtocolError: text is left that no reply can carry any more.
        """
        out: list[pb.ProcessingResponse] = []
        if self._headers_owed:
            if self._headers is None or self._held:
                return out
            out.append(self._headers)
            self._headers_owed = False
            self.headers_left = not self._buffered
        said_all = over or self._ended or self._trailers_ready
        while self._bodies and self._may_pay(said_all):
            self._pay_bodies(out)
        if self._trailers_owed and not self._bodies and said_all:
            if self._ready:
                # Every chunk was answered before the trailers came: there is no message left for this text to ride on.
                raise ProtocolError("text is left over behind the trailers; use FULL_DUPLEX_STREAMED")
            out.append(trailers_reply(self._name))
            self._trailers_owed = False
        return out

    def _may_pay(self, said_all: bool) -> bool:
        if said_all:
            return True
        if self._buffered or self._bodies[0][1]:
            return False  # the last message: everything that is still to leave must ride on its reply
        return len(self._bodies) > 1 if self._keeps_last else True

    def _pay_bodies(self, out: list[pb.ProcessingResponse]) -> None:
        """Answer chunks: those that leave as they came with a bare CONTINUE, else the first with all that is ready."""
        owed = b"".join(data for data, _ in self._bodies)
        if self._ready == owed:
            out.extend(body_reply(self._name, None) for _ in self._bodies)
            self._bodies.clear()
        else:
            data, _ = self._bodies.popleft()
            out.append(self._mutation(data))
        self._ready.clear()
        self.headers_left = True

    def _mutation(self, data: bytes) -> pb.ProcessingResponse:
        ready = bytes(self._ready)
        if ready == data:
            return body_reply(self._name, None)
        reply = body_reply(self._name, pb.BodyMutation(body=ready) if ready else pb.BodyMutation(clear_body=True))
        if self._buffered:  # Envoy kept content-length, and answers 500 where it disagrees with the body
            edits = getattr(reply, f"{self._name}_body").response.header_mutation
            set_header(edits, "content-length", str(len(ready)))
        return reply
