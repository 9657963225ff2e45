"""The gate: opens one exchange per ext_proc stream, and sees to it that each leaves exactly one record.

What lives here: decision ids, the clock, the policy in force, and who hears of records and failures. What must not:
gRPC, body modes, deciding.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from extproc.messages import Opinion
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, DecisionRecord
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.consult import Consultant
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder, Tape
from extproc.runtime.refusals import Refusals, Visit
from extproc.runtime.transports.base import Broken, Deadlines, Metadata
from extproc.runtime.wire import BodyModes, Conversation, ProtocolError
from extproc.session import Session

_log: Final = logging.getLogger(__name__)
_SAID_ONCE_MAX: Final = 256
_SKIPPED_HEADERS: Final = "a header message was skipped"


def new_decision_id() -> str:
    """Make an id that sorts by time and cannot be guessed: milliseconds since 1970, then 64 random bits, in hex."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


class Gate:
    """Serves every stream of one process. ``policy`` may be swapped at any time: open exchanges keep theirs."""

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        metrics: Metrics,
        audit: Callable[[DecisionRecord], None],
        modes: BodyModes | None = None,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = new_decision_id,
        consultant: Consultant | None = None,
    ) -> None:
        self.policy = policy
        self.metrics: Final = metrics
        self._audit: Final = audit
        self._modes: Final = modes
        self._recorder: Final = recorder
        self._clock: Final = clock
        self._new_id: Final = new_id
        self.consultant: Final = Consultant(metrics, self.unsound) if consultant is None else consultant
        self._refusals: Final = Refusals()
        self._said: Final[set[str]] = set()

    def open(self, metadata: Metadata) -> GatedExchange:  # noqa: ARG002 - which policy applies will depend on it
        """Begin an exchange under the policy in force."""
        policy, decision_id = self.policy, self._new_id()
        tape = None if self._recorder is None else self._recorder.tape(policy, decision_id, self._modes, self._clock)
        visit = Visit(self._refusals, policy.retries, self._clock)
        if tape is None:
            session = Session(policy, decision_id, self._clock, visit.cooling)
        else:
            session = Session(policy, decision_id, tape.clock, tape.noting(visit.cooling))
            tape.opened()
        exchange = GatedExchange(self, Conversation(session, self._modes), policy, decision_id, tape, visit)
        self.metrics.stream_opened()
        return exchange

    def stream_failed(self, broken: Broken) -> None:
        """Count a failed stream, and say where the bug is if one did it."""
        self.metrics.stream_failed(broken.why)
        if broken.why == "internal":
            self.crashed(broken.__cause__ or broken)

    def crashed(self, error: BaseException) -> None:
        """Count a bug and name its place, once. The error's own text stays unsaid: it may quote a prompt."""
        self.metrics.internal_error()
        self.say_once(f"internal error: {type(error).__name__} at {_place(error)}")

    def unsound(self, detector: str, error: BaseException) -> None:
        """Count a bug in the client of an external detector and name its place, once."""
        self.metrics.internal_error()
        self.say_once(f"detector {detector}: {type(error).__name__} at {_place(error)}")

    def misconfigured(self, why: str) -> None:
        """Count a gateway that hides what it should show, and say so, once."""
        self.metrics.misconfigured(why)
        self.say_once(f"refusing: {why}")

    def over(self, record: DecisionRecord) -> None:
        """An exchange is over."""
        self.metrics.exchange_over(record)
        self._audit(record)

    def say_once(self, line: str) -> None:
        """Log a line the first time only: a client can cause it as often as it likes."""
        if line not in self._said and len(self._said) < _SAID_ONCE_MAX:
            self._said.add(line)
            _log.error("%s (said once, counted in the metrics)", line)


class GatedExchange:
    """One stream's conversation; reports its record once and its failures. The transport owns it."""

    __slots__ = (
        "_conversation", "_decision_id", "_failed", "_gate", "_policy", "_reported", "_tape", "_visit", "deadlines",
    )  # fmt: skip

    def __init__(
        self,
        gate: Gate,
        conversation: Conversation,
        policy: CompiledPolicy,
        decision_id: str,
        tape: Tape | None,
        visit: Visit,
    ) -> None:
        limits = policy.limits
        self.deadlines = Deadlines(limits.decide_s, limits.exchange_s, limits.idle_s)
        self._gate: Final = gate
        self._conversation: Final = conversation
        self._policy: Final = policy
        self._decision_id: Final = decision_id
        self._tape: Final = tape
        self._visit: Final = visit
        self._failed = ""
        self._reported = False

    @property
    def owes_verdict(self) -> bool:
        """Whether the whole request has come and the verdict has not gone."""
        return self._conversation.owes_verdict

    @property
    def holds_answer(self) -> bool:
        """Whether an answer is under way that is judged when it is whole."""
        return self._conversation.holds_answer

    def receive(self, message: pb.ProcessingRequest) -> list[pb.ProcessingResponse]:
        """Take a message; return what to send now.

        Raises:
            Broken: fail the stream.
        """
        try:
            replies = self._conversation.receive(message)
        except Exception as error:
            if self._tape is not None:
                self._tape.received(message, None)
            raise self._broken(error) from error
        if self._tape is not None:
            self._tape.received(message, replies)
        if not self._reported and self._conversation.record is not None:
            self._report(self._conversation.record)
        return replies

    def consult(self) -> Coroutine[Any, Any, tuple[Opinion, ...]] | None:
        """What is to be asked elsewhere before the exchange can go on, as work to wait for; None for nothing."""
        questions = self._conversation.take_questions()
        return self._gate.consultant.ask(self._policy.external, questions) if questions else None

    def consulted(self, opinions: tuple[Opinion, ...]) -> list[pb.ProcessingResponse]:
        """Take the answers; return what to send now.

        Raises:
            Broken: fail the stream.
        """
        try:
            replies = self._conversation.consulted(opinions)
        except Exception as error:
            if self._tape is not None:
                self._tape.consulted(opinions, None)
            raise self._broken(error) from error
        if self._tape is not None:
            self._tape.consulted(opinions, replies)
        if not self._reported and self._conversation.record is not None:
            self._report(self._conversation.record)
        return replies

    def expire(self, what: str) -> list[pb.ProcessingResponse]:
        """Take note of a passed deadline; return what to send now.

        Raises:
            Broken: fail the stream.
        """
        try:
            replies = self._conversation.expire(what)
        except Exception as error:
            if self._tape is not None:
                self._tape.expired(what, None)
            raise self._broken(error) from error
        if self._tape is not None:
            self._tape.expired(what, replies)
        if not self._reported and self._conversation.record is not None:
            self._report(self._conversation.record)
        return replies

    def overdue(self) -> list[pb.ProcessingResponse]:
        """Refuse without the verdict that another thread still works on."""
        self._failed = "deadline"
        return self._conversation.overdue()

    def close(self, reason: str) -> None:
        """Nothing can be sent any more: report what was not reported yet. Never raises."""
        try:
            self._conversation.close(reason)
        except Exception as error:
            self._failed = "error"
            self._gate.crashed(error)
        if self._tape is not None:
            self._tape.closed(reason)
        self._gate.metrics.stream_closed()
        if not self._reported:
            self._report(self._conversation.record or self._no_record())

    def _broken(self, error: Exception) -> Broken:
        if isinstance(error, ProtocolError):
            self._failed = "protocol"
            return Broken("protocol", str(error))
        self._failed = "error"
        return Broken("internal", "processor error")

    def _no_record(self) -> DecisionRecord:
        """What to say of an exchange whose session could not even end."""
        self._failed = self._failed or "error"
        return DecisionRecord(self._decision_id, self._policy.name, self._policy.revision)

    def _report(self, record: DecisionRecord) -> None:
        self._reported = True
        if self._failed:
            record.action, record.reason, record.ended = Action.DENY, self._failed, "error"
        if self._conversation.failure is not None:
            self._gate.crashed(self._conversation.failure)
        if self._conversation.misconfigured or "misconfigured" in record.not_inspected:
            self._gate.misconfigured(self._conversation.misconfigured or _SKIPPED_HEADERS)
        self._visit.over(record.findings)
        self._gate.over(record)


def _place(error: BaseException) -> str:
    """The innermost frame, as ``file.py:line``."""
    trace, place = error.__traceback__, "an unknown place"
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
