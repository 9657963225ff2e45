"""What a transport is, and what it serves. Nothing above this interface knows which transport runs.

The one rule that every transport keeps: a stream that we end with status OK before the exchange is over makes Envoy
pass the rest of it unfiltered, even where it is configured to fail closed. So a transport ends a stream well only after
Envoy ended it; in every other case it fails the stream.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from extproc.messages import Opinion
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.tls import Tls
from extproc.runtime.transports.endpoint import Endpoint

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD: Final = "Process"

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class ListenError(Exception):
    """The endpoint cannot be listened on; ``str()`` says which and why."""


class Broken(Exception):  # noqa: N818 - it says what the stream is
    """The stream must be failed. ``str()`` is fit for Envoy's access log.

    ``why`` counts it: ``over_limit``, ``deadline``, ``protocol``, ``internal`` or ``connection``.
    """

    def __init__(self, why: str, details: str) -> None:
        super().__init__(details)
        self.why = why


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long one exchange may take: from its last request byte to the verdict, in all, and in silence."""

    decide_s: float
    exchange_s: float
    idle_s: float


class Exchange(Protocol):
    """One stream, as a transport sees it. The transport calls ``close`` exactly once, last.

    One thread at a time: ``receive`` may run in another one than the rest, but never beside it, ``overdue`` excepted.
    """

    deadlines: Deadlines

    @property
    def owes_verdict(self) -> bool:
        """Whether the whole request has come and the verdict has not gone."""
        ...

    @property
    def holds_answer(self) -> bool:
        """Whether an answer is under way that is judged when it is whole, which can take long."""
        ...

    def receive(self, message: pb.ProcessingRequest) -> list[pb.ProcessingResponse]:
        """Take a message; return what to send now, in order.

        Raises:
            Broken: fail the stream. Nothing else, whatever goes wrong.
        """
        ...

    def consult(self) -> Coroutine[Any, Any, tuple[Opinion, ...]] | None:
        """What is to be asked elsewhere before the exchange can go on, None for nothing. Asked after each ``receive``.

        Waiting for it ends, may be cancelled, and does not raise.
        """
        ...

    def consulted(self, opinions: tuple[Opinion, ...]) -> list[pb.ProcessingResponse]:
        """Take what ``consult`` came to; return what to send now.

        Raises:
            Broken: fail the stream. Nothing else, whatever goes wrong.
        """
        ...

    def expire(self, what: str) -> list[pb.ProcessingResponse]:
        """Take note of a passed deadline; return what to send now.

        Raises:
            Broken: fail the stream. Nothing else, whatever goes wrong.
        """
        ...

    def overdue(self) -> list[pb.ProcessingResponse]:
        """The verdict deadline passed while ``receive`` still works on it elsewhere: what to send instead of it."""
        ...

    def close(self, reason: str) -> None:
        """Nothing can be sent any more. Never raises."""
        ...


class Handler(Protocol):
    """What a transport serves."""

    def open(self, metadata: Metadata) -> Exchange:
        """A stream begins. ``metadata`` came with the call.

        Raises:
            Broken: fail the stream.
        """
        ...

    def stream_failed(self, broken: Broken) -> None:
        """A stream was failed."""
        ...


class Transport(Protocol):
    """Accepts ext_proc streams. One endpoint each."""

    async def serve(self, handler: Handler, endpoint: Endpoint, tls: Tls | None = None) -> Endpoint:
        """Start listening; return the endpoint with the port that was bound.

        Raises:
            ListenError: it cannot be listened on.
        """
        ...

    async def stop(self, grace_s: float) -> None:
        """Take no more streams, report as not serving, let running ones end within ``grace_s``, fail the rest."""
        ...
