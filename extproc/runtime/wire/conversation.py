"""One ext_proc stream: messages of Envoy in, replies for Envoy out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from extproc.coverage import counted
from extproc.messages import (
    Abort,
    Closed,
    Consult,
    Consulted,
    Continue,
    ContinueTrailers,
    Direction,
    Event,
    Expired,
    Forward,
    Headers,
    Misconfigured,
    Opinion,
    Question,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.policy.decision import DecisionRecord
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.wire.encode import immediate
from extproc.runtime.wire.modes import BodyMode, BodyModes
from extproc.runtime.wire.sides import Duplex, Lockstep, ProtocolError
from extproc.session import Session

ATTRIBUTES: Final = "envoy.filters.http.ext_proc"
METADATA_NAMESPACE: Final = "sluicegate"
NAME_LENGTH: Final = 128  # of what a client named, as far as it goes into metadata


class Conversation:
    """One ext_proc stream: messages of Envoy in, replies for Envoy out. Owns its Session; single-threaded.

    ``modes`` are what to assume where Envoy does not announce them (``--body-modes``), None to refuse then.
    """

    def __init__(self, session: Session, modes: BodyModes | None) -> None:
        self.record: DecisionRecord | None = None
        self.misconfigured = ""  # why, once it was found so
        self._session: Final = session
        self._modes = modes
        self._sides: dict[Direction, Duplex | Lockstep] = {}
        self._observing = False
        self._request_ended = False
        self._refused = False
        self._metadata_sent = False
        self._questions: tuple[Question, ...] = ()

    @property
    def owes_verdict(self) -> bool:
        """Whether the whole request has come and the verdict has not gone."""
        return self._request_ended and self._session.gathering

    @property
    def holds_answer(self) -> bool:
        """Whether an answer is under way that is judged when it is whole."""
        return self._session.holds_answer

    @property
    def finished(self) -> bool:
        """Whether the exchange is over for us: nothing that still comes can leave unread."""
        return self.record is not None

    @property
    def failure(self) -> BaseException | None:
        """The exception that became ``on_error``, for the log of the process; its text may quote traffic."""
        return self._session.failure

    def receive(self, message: pb.ProcessingRequest) -> list[pb.ProcessingResponse]:
        """Take one message; return the replies to send now, in order.

        Raises:
            ProtocolError: fail the stream with a gRPC error.
        """
        event = self._read(message)
        if not self._sides:
            event = self._begin(message, event)
        if not self._observing:  # no reply is owed there
            event = self._owe(event)
        return self._spend(self._session.receive(event))

    def take_questions(self) -> tuple[Question, ...]:
        """Take what is to be asked elsewhere before the exchange can go on; ``consulted`` takes the answers."""
        questions, self._questions = self._questions, ()
        return questions

    def consulted(self, opinions: tuple[Opinion, ...]) -> list[pb.ProcessingResponse]:
        """Take the answers; return the replies to send now. Answers that come too late lead to none.

        Raises:
            ProtocolError: fail the stream with a gRPC error.
        """
        return self._spend(self._session.receive(Consulted(opinions)))

    def expire(self, what: str) -> list[pb.ProcessingResponse]:
        """A deadline passed: return what ends the exchange.

        Raises:
            ProtocolError: fail the stream with a gRPC error.
        """
        return self._spend(self._session.receive(Expired(what)))

    def overdue(self) -> list[pb.ProcessingResponse]:
        """The verdict deadline passed while another thread works on the verdict: refuse without it.

        Nothing that this other thread still says leaves.
        """
        self._refused = True
        return [immediate(self._session.overdue())]

    def close(self, reason: str) -> None:
        """The stream is gone. Nothing can be sent any more; the record is complete after this."""
        self._session.receive(Closed(reason))
        self._take_record()

    # ---- in ----

    def _begin(self, message: pb.ProcessingRequest, event: Event) -> Event:
        """The first message: learn the body modes, or refuse a gateway that would hide bodies from us."""
        self._observing = message.observability_mode
        why = ""
        try:
            if message.HasField("protocol_config"):
                self._modes = BodyModes.announced(message.protocol_config)
            elif self._modes is None and not self._observing:
                why = "the gateway does not announce its body modes; name them with --body-modes"
        except ValueError as unguardable:
            why = str(unguardable)
        modes = self._modes or BodyModes(BodyMode.STREAMED, BodyMode.STREAMED)
        for direction, mode in ((Direction.REQUEST, modes.request), (Direction.RESPONSE, modes.response)):
            duplex = mode is BodyMode.FULL_DUPLEX_STREAMED
            self._sides[direction] = Duplex(direction) if duplex else Lockstep(direction, mode, modes.withhold)
        if why:
            self.misconfigured = why
            return Misconfigured(why, event.headers if isinstance(event, RequestHeaders) else ())
        return event

    def _read(self, message: pb.ProcessingRequest) -> Event:
        kind = message.WhichOneof("request")
        if kind == "request_headers":
            headers = message.request_headers
            return RequestHeaders(_headers(headers.headers), headers.end_of_stream, _attributes(message.attributes))
        if kind == "request_body":
            return RequestBody(message.request_body.body, message.request_body.end_of_stream)
        if kind == "response_body":
            return ResponseBody(message.response_body.body, message.response_body.end_of_stream)
        if kind == "response_headers":
            return ResponseHeaders(_headers(message.response_headers.headers), message.response_headers.end_of_stream)
        if kind == "request_trailers":
            return RequestTrailers(_headers(message.request_trailers.trailers))
        if kind == "response_trailers":
            return ResponseTrailers(_headers(message.response_trailers.trailers))
        raise ProtocolError("a message of a kind that is not known")

    def _owe(self, event: Event) -> Event:
        """Note what Envoy is owed for this message; a BUFFERED body is whole, whatever its flag says."""
        match event:
            case RequestBody(end=False) if self._modes is not None and self._modes.request is BodyMode.BUFFERED:
                return self._owe(RequestBody(event.data, end=True))
            case ResponseBody(end=False) if self._modes is not None and self._modes.response is BodyMode.BUFFERED:
                return self._owe(ResponseBody(event.data, end=True))
            case RequestHeaders():
                self._sides[Direction.REQUEST].owe_headers(event.end)
                self._request_ended = event.end
            case RequestBody():
                self._sides[Direction.REQUEST].owe_body(event.data, event.end)
                self._request_ended = event.end
            case RequestTrailers():
                self._sides[Direction.REQUEST].owe_trailers()
                self._request_ended = True
            case ResponseHeaders():
                self._sides[Direction.RESPONSE].owe_headers(event.end)
            case ResponseBody():
                self._sides[Direction.RESPONSE].owe_body(event.data, event.end)
            case ResponseTrailers():
                self._sides[Direction.RESPONSE].owe_trailers()
            case _:
                pass
        return event

    # ---- out ----

    def _spend(self, replies: Sequence[Reply]) -> list[pb.ProcessingResponse]:
        self._take_record()
        self._questions = tuple(q for reply in replies if isinstance(reply, Consult) for q in reply.questions)
        if self._observing or self._refused:
            return []
        out: list[pb.ProcessingResponse] = []
        for reply in replies:
            match reply:
                case Continue():
                    self._sides[reply.direction].go_on(self._with_length(reply))
                case Forward():
                    self._sides[reply.direction].forward(reply.data, reply.end)
                case ContinueTrailers():
                    self._sides[reply.direction].trailers()
                case Refuse():
                    self._refuse(reply, out)
                case Consult():
                    pass  # not for Envoy
                case Abort():
                    raise ProtocolError(reply.details)
        if not self._refused and self._sides:
            for side in self._sides.values():
                out += side.settle(self.finished)
        self._add_metadata(out)
        return out

    def _refuse(self, reply: Refuse, out: list[pb.ProcessingResponse]) -> None:
        response = self._sides.get(Direction.RESPONSE)  # none before the first message
        if response is None or not response.headers_left:
            out.append(immediate(reply))
            self._refused = True
        elif reply.late is not None:
            response.forward(reply.late, end=True)
        else:
            raise ProtocolError(reply.details)

    def _with_length(self, reply: Continue) -> Continue:
        """Outside BUFFERED Envoy sends no content-length; say so too, for a filter that was told to keep it."""
        if not self._sides[reply.direction].drops_content_length:
            return reply
        return Continue(reply.direction, reply.set_headers, (*reply.remove_headers, "content-length"), reply.held)

    def _take_record(self) -> None:
        for record in self._session.records():
            self.record = record

    def _add_metadata(self, out: list[pb.ProcessingResponse]) -> None:
        if self.record is None or self._metadata_sent or not out:
            return
        self._metadata_sent = True
        record = self.record
        rules = sorted({finding.rule for finding in record.findings})
        out[-1].dynamic_metadata.update(
            {
                METADATA_NAMESPACE: {
                    "decision_id": record.decision_id,
                    "policy": record.policy,
                    "revision": record.revision,
                    "dialect": record.dialect,
                    "model": record.model[:NAME_LENGTH],
                    "action": record.action.name.lower(),
                    "reason": record.reason,
                    "ended": record.ended,
                    "rules": rules,
                    "inspected": counted(record.inspected),
                    "not_inspected": counted(record.not_inspected),
                }
            }
        )


def _headers(fields: pb.HeaderMap) -> Headers:
    return tuple((field.key, (field.raw_value or field.value.encode()).decode("latin-1")) for field in fields.headers)


def _attributes(attributes: Mapping[str, object]) -> dict[str, str]:
    struct = attributes.get(ATTRIBUTES)
    return {} if struct is None else {str(key): str(value) for key, value in dict(struct).items()}  # type: ignore[call-overload]
