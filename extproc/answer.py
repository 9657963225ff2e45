"""The answer of one exchange: a dialect's decoder, the policy's judgement, and the filter between them.

What lives here: what a Session needs of its answer, once its headers are known. What must not: the order of events,
HTTP statuses of refusals, body modes.
"""

from __future__ import annotations

from typing import Final

from extproc.body import BodyFilter
from extproc.chat import ChatRequest, Denial, Malformed, ToolCall
from extproc.detectors.base import Exchange
from extproc.dialects.answers import media_type
from extproc.dialects.base import Dialect
from extproc.dialects.beside import ReadsBeside
from extproc.framing import delimiter
from extproc.inflate import Inflater
from extproc.judge import Notes
from extproc.policy import denials, engine
from extproc.policy.channel import ChannelScan, open_channel
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Decision, Finding
from extproc.policy.restoring import restoring
from extproc.policy.second_opinion import TIER
from extproc.policy.unmarking import unmarking

_TAIL_BYTES: Final = 4  # as many can end a frame
_AS_ONE_TEXT: Final = 599  # a status that makes any dialect read the body as one text


class Answer:
    """One answer being filtered. ``streams``: its frames leave one by one; otherwise it is decided whole.

    ``request`` is None for an answer that came before the verdict: Envoy's own, or an upstream's refusal of the
    headers. It is read as one text. ``encoding`` is one of ``inflate.ENCODINGS``, or empty. ``decision`` is the one on
    the request: what was edited in it, what was masked.
    """

    def __init__(
        self,
        dialect: Dialect,
        request: ChatRequest | None,
        status: int,
        content_type: str,
        encoding: str,
        policy: CompiledPolicy,
        decision_id: str,
        decision: Decision,
    ) -> None:
        if request is None:
            request, status = ChatRequest(dialect.name, model="", stream=False, document={}), _AS_ONE_TEXT
        decoder = dialect.decoder(request, status, content_type, policy.limits.response_bytes)
        self._media_type: Final = media_type(content_type)
        events = decoder.streams and self._media_type == "text/event-stream"
        self._decoder: Final = ReadsBeside(decoder) if events else decoder
        judge = _Judge(policy, _exchange(request, decision), decision_id, decision)
        self._tail = b""  # the end of what left
        self._inflater: Final = Inflater(encoding, policy.limits.response_bytes) if encoding else None
        self._judge: Final = judge
        self._filter: Final = BodyFilter(self._decoder, judge, policy.limits.held_bytes)
        self._policy: Final = policy
        self._decision_id: Final = decision_id
        self.streams: Final = self._decoder.streams

    def feed(self, data: bytes, end: bool) -> tuple[bytes, Denial | None]:
        """Take the next bytes; return those that may leave, and why nothing after them may, if so."""
        if self._inflater is not None:
            try:
                data = self._inflater.feed(data, end)
            except Malformed as why:
                return b"", denials.unreadable_answer(self._policy, str(why), self._decision_id)
        out = self._filter.feed(data, end)
        self._tail = (self._tail + out[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if self._filter.broken:
            return out, denials.unreadable_answer(self._policy, self._filter.broken, self._decision_id)
        return out, self._filter.cut

    def cutoff(self, denial: Denial) -> bytes:
        """The last frames that end this answer visibly and well-formed; for a document, a whole one."""
        end = self._decoder.cutoff(denial, self._filter.closed, self._filter.steps)
        return delimiter(self._media_type, self._tail) + end if end and self.streams else end

    @property
    def notes(self) -> Notes:
        """What was found so far, in order of discovery, and what was read and what was not."""
        return self._filter.notes

    @property
    def unsure(self) -> list[str]:
        """One entry of the record's ``not_inspected`` for each text that nobody was asked about, though a rule was
        not sure."""
        return self._judge.unsure

    @property
    def held_bytes_max(self) -> int:
        """The most bytes that ever waited for a decision."""
        return self._filter.held_bytes_max


class _Judge:
    """The policy as one exchange's BodyFilter asks it."""

    def __init__(self, policy: CompiledPolicy, exchange: Exchange, decision_id: str, decision: Decision) -> None:
        self._policy: Final = policy
        self._exchange: Final = exchange
        self._decision_id: Final = decision_id
        self._masks: Final = decision.masks
        self._marks: Final = decision.marks
        self.unsure: Final[list[str]] = []  # of each text on which a request would have had a second opinion

    def open_channel(self, scope: str) -> ChannelScan | None:
        rules = open_channel(self._policy, scope, self._exchange, self._on_unsure)
        return unmarking(restoring(rules, scope, self._masks), self._marks)

    def reads(self, scope: str) -> bool:
        return bool(self._policy.by_scope[scope])

    def _on_unsure(self, detector: str) -> None:
        self.unsure.append(f"{TIER}:{detector}")

    def call(self, call: ToolCall) -> Decision:
        return engine.judge_call(self._policy, call, self._decision_id, self._masks, self._exchange, self._marks)

    def unseen(self, kind: str) -> Decision:
        return engine.judge_unseen(self._policy, kind, self._decision_id)

    def denial(self, finding: Finding) -> Denial:
        return engine.finding_denied(self._policy, finding, self._decision_id, in_answer=True)


def _exchange(request: ChatRequest, decision: Decision) -> Exchange:
    """What the model was told, which is what it can repeat: placeholders and markers, not what they stand for."""
    edited = {edit.path: edit.value for edit in decision.edits if edit.place == "at"}
    told = (edited.get(text.path, text.text) for text in request.texts if text.scope == "system")
    return Exchange(tuple(text for text in told if isinstance(text, str)))
