"""The ext_proc conversation without protobuf: events into a Session, replies out of it.

What lives here: the vocabulary, as frozen dataclasses, and nothing that acts on it. What must not: body modes, gRPC,
and anything an LLM API defines.

A Session always thinks in duplex: any event may yield no reply, one or many. ``runtime.wire`` alone knows how many
messages Envoy is owed in each body mode and spends these replies accordingly.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in order; names lower-case, values decoded as latin-1 so that every byte survives."""


class Direction(enum.Enum):
    """Which half of the HTTP exchange a message belongs to."""

    REQUEST = "request"
    RESPONSE = "response"


# ---- events: what a peer did -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The client's headers. ``end``: no body follows. ``attributes`` are Envoy's (``xds.route_name`` ...)."""

    headers: Headers
    end: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A piece of the client's body, cut wherever the network cut it."""

    data: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class RequestTrailers:
    """The client's trailers: the body is over."""

    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """The upstream's (or an earlier filter's) answer begins."""

    headers: Headers
    end: bool = False


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """A piece of the answer, cut wherever the network cut it."""

    data: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class ResponseTrailers:
    """The answer's trailers: the body is over."""

    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream is gone: the exchange ended, or the client or upstream went away. Nothing can be sent any more."""

    reason: str = "eof"


@dataclass(frozen=True, slots=True)
class Expired:
    """A deadline of the shell's passed while a reply was owed. ``what`` names it (``verdict``, ``exchange``)."""

    what: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The gateway attaches us in a way that hides part of the exchange. ``headers`` are the request's, where seen."""

    why: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Opinion:
    """What came of a Question: a score from 0 to 1, or none, and ``skipped`` says why (one of ``SKIPPED``)."""

    score: float | None = None
    skipped: str = ""


SKIPPED: Final = (
    "timeout",  # no answer in time
    "unreachable",  # nobody is there, or the connection broke
    "refused",  # an answer, but an error
    "garbage",  # an answer that is none
    "over_budget",  # as many questions as the policy allows are under way
    "too_many",  # one request would ask more than the policy allows
    "too_long",  # the text is longer than the policy lets the detector read
    "unanswered",  # the shell has no answer for it
    "error",  # a bug
)
"""Why there is no second opinion. Audit lines, metrics and recordings say so in these words."""


@dataclass(frozen=True, slots=True)
class Consulted:
    """The answers to a Consult, in the order of its questions."""

    opinions: tuple[Opinion, ...]


Event: TypeAlias = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
    | Closed
    | Expired
    | Misconfigured
    | Consulted
)


# ---- replies: what may happen now --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole HTTP answer that we give in the upstream's place."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Continue:
    """The headers of one direction may go on, with these edits.

    ``held`` says: nothing is decided yet, so send them with the first Forward of this direction where the body mode
    allows waiting, and at once only where it does not.
    """

    direction: Direction
    set_headers: Headers = ()
    remove_headers: tuple[str, ...] = ()
    held: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """These bytes of one direction's body may leave now. ``end`` closes the body, even before its sender did."""

    direction: Direction
    data: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class ContinueTrailers:
    """The trailers of one direction may go on."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client with ``http`` instead; the upstream's part is over.

    ``late`` is the body to end with where the response headers have already left and the status cannot change;
    ``None`` means that nothing well-formed exists for that case and the stream must be broken off.
    """

    http: HttpReply
    late: bytes | None = None
    details: str = "policy_denied"


@dataclass(frozen=True, slots=True)
class Abort:
    """Nothing well-formed can be said any more: fail the gRPC stream so that Envoy breaks the exchange off."""

    details: str


@dataclass(frozen=True, slots=True)
class Question:
    """A text that an external detector is asked about. ``detector`` is the policy's name for it."""

    detector: str
    scope: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Consult:
    """Ask these, each with its deadline, and come back with a Consulted. Until then nothing of the request leaves."""

    questions: tuple[Question, ...]


Reply: TypeAlias = Continue | Forward | ContinueTrailers | Refuse | Abort | Consult
