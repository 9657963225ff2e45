"""One HTTP exchange, from its first header to its record. The heart of the house.

What lives here: the handlers of its events. Which of them answers which event in which state is a table of its own
(transitions). What must not: I/O, body modes, protobuf, JSON shapes, rules.

The shell feeds events in the order in which Envoy sent them and gets replies back; it never looks at the state.
``receive`` never raises for anything that a peer can send: a pair missing from the table, a body that cannot be read, a
bug in a detector all end in ``_fail``, the only place where a failure becomes ``on_error``. No event is ever answered
by default: what the table does not name is refused.

The upstream sees nothing of a request before the verdict, wherever the body mode allows that: the request's headers
are ``Continue(held=True)`` and leave with the first Forward. An answer that is one JSON document is held the same way,
so it can still become an error status; an answer that is a stream starts at once and can only be cut.

Exactly one DecisionRecord comes out of each Session, when the exchange is over for us, however it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from extproc import coverage
from extproc.answer import Answer
from extproc.chat import ChatRequest, Denial, Malformed, RequestHead
from extproc.dialects import refusal_for
from extproc.dialects.base import Dialect
from extproc.inflate import ENCODINGS
from extproc.intake import take_in
from extproc.messages import (
    Abort,
    Closed,
    Consult,
    Consulted,
    Continue,
    ContinueTrailers,
    Direction,
    Event,
    Forward,
    Misconfigured,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
)
from extproc.policy import denials, engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Decision, DecisionRecord
from extproc.policy.retries import Cooling, never_cooling
from extproc.refusal import DECISION_HEADER, phrase, refuse
from extproc.strict_json import JsonLimits, apply, dump
from extproc.target import encoding_of, status_of
from extproc.transitions import TABLE, State

_KNOWN_QUERIES: Final = frozenset({"", "alt=sse", "beta=true"})  # what SDKs say there, which is no text
_REQUEST: Final = Direction.REQUEST
_RESPONSE: Final = Direction.RESPONSE


Handler: TypeAlias = Callable[["Session", Event], list[Reply]]


class Session:
    """One exchange over one ext_proc stream. Single-threaded; owns no I/O.

    ``now`` gives seconds from any fixed point, ``decision_id`` names the exchange, and ``cooling`` says whether too
    much of a consumer's was refused lately: all are inputs, so that a recording replays to the same bytes.
    """

    def __init__(
        self, policy: CompiledPolicy, decision_id: str, now: Callable[[], float], cooling: Cooling = never_cooling
    ) -> None:
        self.state = State.START
        self.failure: BaseException | None = None  # for the shell's log; never sent anywhere
        self._policy: Final = policy
        self._now: Final = now
        self._cooling: Final = cooling
        self._started: Final = now()
        self._record = DecisionRecord(decision_id=decision_id, policy=policy.name, revision=policy.revision)
        self._finished: list[DecisionRecord] = []
        self._head = RequestHead("", "")
        self._dialect: Dialect | None = None
        self._request: ChatRequest | None = None
        self._body = bytearray()
        self._trailers = False  # the request ends with trailers
        self._pending: engine.Pending | None = None
        self._judged = False
        self._decision = Decision()  # on the request
        self._answer: Answer | None = None
        self._decided_at = self._started

    # ---- the interface ----

    def receive(self, event: Event) -> list[Reply]:
        """Take one event; return what may happen now. Never raises for anything that a peer can send."""
        row = TRANSITIONS.get((self.state, type(event)))
        if row is None:
            return self._fail(f"unexpected {type(event).__name__} while {self.state.value}")
        handler, leads_to = row
        try:
            replies = handler(self, event)
            assert self.state in leads_to
        except Exception as error:  # the one place where a failure becomes on_error
            self.failure = error
            return self._fail("internal error")
        return replies

    def overdue(self) -> Refuse:
        """The refusal for a verdict that takes too long. It changes nothing here, so another thread may ask for it."""
        return self._refusal(denials.failure(self._policy, "the verdict deadline passed", self._record.decision_id))

    def records(self) -> list[DecisionRecord]:
        """Take the exchange's record: empty until it is over, then one, once."""
        records, self._finished = self._finished, []
        return records

    @property
    def gathering(self) -> bool:
        """Whether the verdict on the request is still out."""
        return self.state is State.GATHER or self.state is State.CONSULT

    @property
    def holds_answer(self) -> bool:
        """Whether an answer is under way that is judged when it is whole."""
        return self.state is State.ANSWER and self._answer is not None and not self._answer.streams

    # ---- the request ----

    def _on_request_headers(self, event: Event) -> list[Reply]:
        assert isinstance(event, RequestHeaders)
        record, policy = self._record, self._policy
        intake = take_in(policy, event.headers, record.decision_id)
        record.method, record.path, record.attributes = intake.head.method, intake.path, dict(event.attributes)
        self._head, self._dialect = intake.head, intake.dialect
        record.dialect = "" if intake.dialect is None else intake.dialect.name
        if intake.denial is not None:
            return self._refuse(intake.denial)
        if self._dialect is None:
            record.not_inspected.append("endpoint")
            self.state = State.RELAY
            return [Continue(_REQUEST), *([Forward(_REQUEST, b"", end=True)] if event.end else [])]
        self.state = State.GATHER
        going_on = Continue(_REQUEST, set_headers=(("accept-encoding", "identity"),), held=True)
        return [going_on, *self._decide(None)] if event.end else [going_on]

    def _on_request_body(self, event: Event) -> list[Reply]:
        assert isinstance(event, RequestBody)
        if len(self._body) + len(event.data) > self._policy.limits.request_bytes:
            return self._refuse(denials.too_large(self._policy, self._record.decision_id))
        self._body += event.data
        return self._decide(event) if event.end else []

    def _decide(self, last: Event | None) -> list[Reply]:
        """The whole request is here: read it, judge it, let it through or refuse it."""
        assert self._dialect is not None
        policy, record = self._policy, self._record
        self._decided_at = self._now()  # so far, when it began
        self._trailers = isinstance(last, RequestTrailers)
        record.request_bytes = len(self._body)
        limits = JsonLimits(depth=policy.limits.json_depth)
        try:
            request = self._dialect.read_request(self._head, bytes(self._body), limits)
        except Malformed as why:
            return self._refuse(denials.malformed(policy, str(why), record.decision_id))
        if self._head.query not in _KNOWN_QUERIES:
            request = replace(request, not_inspected=(*request.not_inspected, "query"))
        self._request, record.model, record.stream = request, request.model, request.stream
        who = None if policy.retries is None else policy.retries.consumer(self._head.headers, record.attributes)
        cooling = who is not None and self._cooling(who)
        judged = engine.judge_request(policy, request, self._dialect, record.decision_id, cooling)
        if isinstance(judged, Decision):
            return self._decided(judged)
        self._pending, self.state = judged, State.CONSULT
        return [Consult(judged.questions)]

    def _on_consulted(self, event: Event) -> list[Reply]:
        assert isinstance(event, Consulted)
        assert self._pending is not None
        pending, self._pending = self._pending, None
        return self._decided(engine.conclude(pending, event.opinions))

    def _on_trailers_meanwhile(self, _event: Event) -> list[Reply]:
        self._trailers = True
        return []

    def _decided(self, decision: Decision) -> list[Reply]:
        """There is a verdict on the request: let it through or refuse it."""
        assert self._request is not None
        record, body = self._record, bytes(self._body)
        self._decision, self._judged = decision, True
        self._body.clear()
        began, self._decided_at = self._decided_at, self._now()
        record.decide_s = self._decided_at - began
        record.findings += decision.findings
        record.inspected += decision.inspected
        record.not_inspected += decision.not_inspected
        record.second_opinions += decision.second_opinions
        record.action, record.injection_score = decision.action, decision.injection_score
        if decision.denial is not None:
            return self._refuse(decision.denial)
        if decision.edits:
            body = dump(apply(dict(self._request.document), decision.edits))
        self.state = State.AWAIT
        if self._trailers:
            return [Forward(_REQUEST, body), ContinueTrailers(_REQUEST)]
        return [Forward(_REQUEST, body, end=True)]

    # ---- the answer ----

    def _on_answer(self, event: Event) -> list[Reply]:
        assert isinstance(event, ResponseHeaders)
        assert self._dialect is not None
        record, policy = self._record, self._policy
        fields, going_on = self._answer_begins(event)
        if event.end:
            self._finish("complete")
            return [going_on, Forward(_RESPONSE, b"", end=True)]
        encoding = encoding_of(event.headers)
        if encoding and encoding not in ENCODINGS:
            return self._refuse(denials.unreadable_answer(policy, "the answer is compressed", record.decision_id))
        request, decision = self._request if self._judged else None, self._decision
        kind = fields.get("content-type", "")
        self._answer = Answer(
            self._dialect, request, record.status, kind, encoding, policy, record.decision_id, decision
        )
        self.state = State.ANSWER
        inflated = ("content-encoding",) if encoding else ()
        return [replace(going_on, remove_headers=inflated, held=not self._answer.streams)]

    def _answer_begins(self, event: ResponseHeaders) -> tuple[dict[str, str], Continue]:
        fields = dict(event.headers)
        self._record.status = status_of(fields)
        spoken_for = coverage.header(self._policy, self._record, judged=self._judged, answers=True)
        return fields, Continue(_RESPONSE, set_headers=((DECISION_HEADER, self._record.decision_id), spoken_for))

    def _on_answer_body(self, event: Event) -> list[Reply]:
        assert isinstance(event, ResponseBody)
        self._record.response_bytes += len(event.data)
        return self._filtered(event.data, event.end, ())

    def _on_answer_trailers(self, _event: Event) -> list[Reply]:
        return self._filtered(b"", True, (ContinueTrailers(_RESPONSE),))

    def _filtered(self, data: bytes, end: bool, after: tuple[Reply, ...]) -> list[Reply]:
        assert self._answer is not None
        out, denial = self._answer.feed(data, end)
        if denial is not None:
            return self._cut(out, denial)
        if out and not self._record.first_byte_s:
            self._record.first_byte_s = self._now() - self._decided_at
        if not end:
            return [Forward(_RESPONSE, out)] if out else []
        self._finish("complete")
        return [Forward(_RESPONSE, out, end=not after), *after]

    def _cut(self, out: bytes, denial: Denial) -> list[Reply]:
        """End a running answer; one that is still held whole is replaced by a refusal instead."""
        assert self._answer is not None
        if not self._answer.streams:
            return self._refuse(denial)
        last_frames = self._answer.cutoff(denial)
        self._record.cut = True
        self._deny(denial, "cut")
        return [Forward(_RESPONSE, out + last_frames, end=True)]

    # ---- exchanges that we do not read ----

    def _on_foreign_answer(self, event: Event) -> list[Reply]:
        """An earlier filter, or Envoy itself, answered before we saw a request."""
        self._record.not_inspected.append("foreign_answer")
        return self._on_relayed_headers(event)

    def _on_relayed_headers(self, event: Event) -> list[Reply]:
        assert isinstance(event, ResponseHeaders)
        self.state = State.RELAY
        _, going_on = self._answer_begins(event)
        if not event.end:
            return [going_on]
        self._finish("relayed")
        return [going_on, Forward(_RESPONSE, b"", end=True)]

    def _on_relayed_request_body(self, event: Event) -> list[Reply]:
        assert isinstance(event, RequestBody)
        self._record.request_bytes += len(event.data)
        return [Forward(_REQUEST, event.data, event.end)]

    def _on_relayed_body(self, event: Event) -> list[Reply]:
        assert isinstance(event, ResponseBody)
        self._record.response_bytes += len(event.data)
        if event.end:
            self._finish("relayed")
        return [Forward(_RESPONSE, event.data, event.end)]

    def _on_relayed_trailers(self, _event: Event) -> list[Reply]:
        self._finish("relayed")
        return [ContinueTrailers(_RESPONSE)]

    # ---- ends ----

    def _pass_request_trailers(self, _event: Event) -> list[Reply]:
        return [ContinueTrailers(_REQUEST)]

    def _swallow(self, _event: Event) -> list[Reply]:
        return []

    def _on_closed(self, event: Event) -> list[Reply]:
        self._record.reason = event.reason if isinstance(event, Closed) else ""
        self._finish("closed")
        return []

    def _on_expired(self, _event: Event) -> list[Reply]:
        return self._fail("a deadline passed")

    def _on_misconfigured(self, event: Event) -> list[Reply]:
        assert isinstance(event, Misconfigured)
        fields = dict(event.headers)
        self._record.method, self._record.path = fields.get(":method", ""), fields.get(":path", "").partition("?")[0]
        self._record.not_inspected.append("misconfigured")
        return self._refuse(denials.misconfigured(self._policy, event.why, self._record.decision_id))

    def _on_skipped_headers(self, _: Event) -> list[Reply]:
        return self._on_misconfigured(Misconfigured("a header message was skipped; set the header modes to SEND"))

    def _fail(self, what: str) -> list[Reply]:
        """Turn any failure into ``on_error``: a refusal, a cut, or a break where nothing well-formed is left."""
        denial = denials.failure(self._policy, what, self._record.decision_id)
        try:
            if self._answer is not None:
                return self._cut(b"", denial)
            if self.state is not State.RELAY or not self._record.status:
                return self._refuse(denial)
        except Exception as error:  # phrasing the failure failed too
            self.failure = error
        self._deny(denial, "error")
        return [Abort("policy_error")]

    def _refuse(self, denial: Denial) -> list[Reply]:
        """Answer in the upstream's place."""
        refusal = self._refusal(denial)
        self._record.status = refusal.http.status
        self._deny(denial, "refused")
        return [refusal]

    def _refusal(self, denial: Denial) -> Refuse:
        late = None if self._answer is None else self._answer.cutoff(denial)
        covered = coverage.header(self._policy, self._record, judged=self._judged, answers=False)
        if self._dialect is None:
            return refuse(denial, refusal_for(self._record.path, denial), late, covered)
        as_message = self._policy.refusal_style == "message" and denial.status < 500
        return refuse(denial, phrase(denial, self._dialect, self._request, as_message=as_message), late, covered)

    def _deny(self, denial: Denial, ended: str) -> None:
        self._record.action = Action.DENY
        self._record.reason = denial.rule
        self._finish(ended)

    def _finish(self, ended: str) -> None:
        self._body.clear()
        if self._pending is not None:  # it ends without them
            self._record.not_inspected += self._pending.not_inspected
        if self._answer is not None:
            notes = self._answer.notes
            self._record.findings += notes.findings
            self._record.inspected += notes.inspected
            self._record.not_inspected += (*notes.not_inspected, *self._answer.unsure)
            self._record.held_bytes_max = self._answer.held_bytes_max
        acted = (finding.action for finding in self._record.findings if not finding.monitored)
        self._record.action = max(self._record.action, *acted, Action.ALLOW)
        self._record.ended = ended
        self._record.total_s = self._now() - self._started
        self._finished.append(self._record)
        self.state = State.OVER


TRANSITIONS: Final[Mapping[tuple[State, type], tuple[Handler, frozenset[State]]]] = MappingProxyType(
    {pair: (getattr(Session, handler), leads_to) for pair, (handler, leads_to) in TABLE.items()}
)
"""The table with the handlers themselves in it."""
