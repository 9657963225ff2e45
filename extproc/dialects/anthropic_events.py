"""Answers of Anthropic's Messages API: the decoder of streams and documents, and the state of a stream's blocks.

What lives here: which blocks were begun and ended, since an event means little without its block. What must not: what
a block says (``anthropic_speech``), how an answer ends (``anthropic_answers``).

The reason to stop closes the choice: no text of the message may follow it, so the last text settles there, before the
event that says the reason leaves. A call is complete with the end of its block.

Steps, for the cut-off: ``("message", n)`` begun, with n blocks in it; ``("start", index, type)`` and
``("stop", index)`` of blocks; ``("reason",)`` why it stopped; ``("ended",)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from extproc.chat import CallDelta, ChatRequest, Denial, Frame, Json, Malformed, Step
from extproc.dialects.answers import event_render, line_render, plain_frame
from extproc.dialects.anthropic_answers import answer_head, ended, error, whole_answer
from extproc.dialects.anthropic_speech import Speech, is_call, read_event, read_message
from extproc.dialects.members import Members
from extproc.dialects.templates import Reading, Templates
from extproc.framing import DocumentFramer, Framer, SseFramer
from extproc.strict_json import read_answer

_BLOCKS_MAX: Final = 1024  # of one stream: each costs memory until its end
_PIECE: Final = {"text_delta": {"type", "text"}, "thinking_delta": {"type", "thinking"}}
_EVENT: Final = {"type", "index", "delta"}
_CHOICE: Final = frozenset({0})
_NOTHING_VARIES: Final = ""


class MessageDecoder:
    """Reads one answer, as a stream or as a document."""

    def __init__(self, request: ChatRequest, limit_bytes: int, *, streams: bool) -> None:
        self.streams = streams
        self._request = request
        self._framer: Framer = SseFramer(limit_bytes) if streams else DocumentFramer(limit_bytes)
        self._templates = Templates(self._read, _NOTHING_VARIES)
        self._told: set[str] = set()  # steps that come once
        self._given = 0  # blocks that were in the message from the start
        self._blocks: dict[int, str] = {}  # the types of all that were begun
        self._open: set[int] = set()

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        """Take the next bytes, give the frames completed by them."""
        for raw in self._framer.feed(data, end):
            yield self._templates.frame(raw) or self._frame(raw)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the last events: a visible notice, an end of all open blocks, ``refusal``, and the end."""
        head = answer_head(self._request.model, denial)
        if not self.streams:
            return whole_answer(head, denial.message)
        return ended(head, f"\n\n[{denial.message}]", steps)

    def _frame(self, raw: bytes) -> Frame:
        frame, event = self._read(raw)
        if not self.streams or not isinstance(event, dict):
            return frame
        if _is_piece(event):
            self._templates.learn(frame, event)
            return frame
        steps = self._step(event, frame)
        calls = frame.calls
        if steps and steps[0][0] == "stop" and "reason" not in self._told and is_call(self._blocks[int(steps[0][1])]):
            calls = (CallDelta(0, int(steps[0][1]), "", "", (), whole=True),)
        return frame._replace(calls=calls, steps=steps)

    def _read(self, raw: bytes) -> Reading:
        """Read a frame as far as it can be read without those before it."""
        payload = self._framer.payload(raw)
        if payload is None or (self.streams and payload.strip() == b"[DONE]"):  # which some bridges say
            return plain_frame(raw), None
        answer = read_answer(payload)
        speech = Speech()
        if not self.streams:
            read_message(speech, answer, ())
            frame = Frame(raw, line_render(raw, answer), closes=(0,), end=True)
        else:
            _check_name(raw, answer)
            read_event(speech, answer)
            frame = Frame(raw, event_render(raw, answer), choices=_CHOICE, closes=speech.closes, end=speech.end)
        unread = tuple(speech.not_inspected)
        return frame._replace(deltas=tuple(speech.deltas), calls=tuple(speech.calls), not_inspected=unread), answer

    # ---- the state of a stream ----

    def _step(self, event: Members, frame: Frame) -> tuple[Step, ...]:
        """Take an event in; say what a client has seen with it.

        Raises:
            Malformed: it does not follow from those before.
        """
        match event.get("type"):
            case "message_start":
                return self._begin(event.get("message"))
            case "content_block_start":
                return self._start(_index(event), event.get("content_block"))
            case "content_block_delta" if frame.calls:
                self._check_piece(_index(event))
            case "content_block_stop" if _index(event) in self._open:
                self._open.remove(_index(event))
                return (("stop", _index(event)),)
            case "message_delta" if frame.closes:
                return self._once("reason")
            case "message_stop":
                return self._once("ended")
        return ()

    def _begin(self, message: Json) -> tuple[Step, ...]:
        if not self._once("message"):
            raise Malformed("the answer begins twice")
        content = message.get("content") if isinstance(message, dict) else None
        self._given = len(content) if isinstance(content, list) else 0
        return (("message", self._given),)

    def _once(self, name: str) -> tuple[Step, ...]:
        if name in self._told:
            return ()
        self._told.add(name)
        return ((name,),)

    def _start(self, index: int, block: Json) -> tuple[Step, ...]:
        if index in self._blocks or len(self._blocks) >= _BLOCKS_MAX:
            raise Malformed("the answer has more blocks than allowed, or two of the same index")
        kind = block.get("type") if isinstance(block, dict) else None
        kind = kind if isinstance(kind, str) else ""
        # Clients append blocks, and then look for the arguments' block by its index.
        if is_call(kind) and index != self._given + len(self._blocks):
            raise Malformed("the answer has a call whose block is out of order")
        self._blocks[index] = kind
        self._open.add(index)
        return (("start", index, kind),)

    def _check_piece(self, index: int) -> None:
        if index not in self._open or not is_call(self._blocks[index]) or "reason" in self._told:
            raise Malformed("the answer has arguments that belong to no call")


class CountDecoder(MessageDecoder):
    """Reads the document that says how many tokens a request has. All else in it is text."""

    def __init__(self, request: ChatRequest, limit_bytes: int) -> None:
        super().__init__(request, limit_bytes, streams=False)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset(), steps: Sequence[Step] = ()) -> bytes:  # noqa: ARG002
        """Phrase the error: a number has no place for a message."""
        return error(denial)


def _check_name(raw: bytes, event: Json) -> None:
    """Some clients go by an event's name, others by its document's type.

    Raises:
        Malformed: they differ. Some servers name no type where they report an error.
    """
    kind = event.get("type", "error") if isinstance(event, dict) else None
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name == b"event" and value.strip().decode("utf-8", "replace") != kind:
            raise Malformed("the answer has an event whose name is not its type")


def _is_piece(event: Members) -> bool:
    """Whether an event is a plain piece of text, which means the same wherever it comes."""
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or event.keys() != _EVENT or not isinstance(delta, dict):
        return False
    kind = delta.get("type")
    return isinstance(kind, str) and delta.keys() == _PIECE.get(kind)


def _index(event: Members) -> int:
    index = event.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Malformed("the answer has an 'index' that is not one")
    return index
