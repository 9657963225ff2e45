"""The body of an answer: bytes in, the bytes that may leave out. ``BodyFilter.feed(data, end) -> bytes``.

What lives here: the text of each channel mapped back to the frames that carried it, and the gathering of tool calls.
 What must not: body modes, JSON, API names, policy rules.

A frame leaves whole, when all text in it is settled and all tool calls that it carries a piece of are allowed
(``release`` keeps the order). A frame that was not edited leaves as the very bytes that came.

Text is edited where it sat: a finding that spans several deltas puts its marker where it begins and empties the rest.

A text that waits for no more than the end of a word must not hold up another. So where a choice begins to speak on
other channels, or to call a tool, those that it leaves are asked to let go (``ChannelScan.pause``). Channels that speak
in one and the same frame never pause each other. Frames with nothing but copies (logprobs) say nothing new, so they
pause none; a copy is let go with its original, where the choice goes on without it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import (
    CHANNEL_SCOPES,
    CallDelta,
    Channel,
    Denial,
    Edit,
    Frame,
    Json,
    Malformed,
    Step,
    TextDelta,
    ToolCall,
)
from extproc.dialects.base import Decoder
from extproc.judge import ALONE_MAX, Judge, Notes
from extproc.policy.channel import ChannelScan, Redaction
from extproc.policy.decision import Action
from extproc.policy.reading import ARGUMENTS
from extproc.release import Held, ReleaseQueue
from extproc.strict_json import read_answer

_REMEMBERED: Final = 256  # as many short texts that stand alone, such as the id in every frame, are judged once


class _Cut(Exception):  # noqa: N818 - an outcome that unwinds to ``feed``, not an error
    """The answer ends here by policy."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.rule)
        self.denial = denial


@dataclass(slots=True)
class _Placement:
    """Where one delta's text lies in its channel: code points ``[start, end)``."""

    held: Held
    delta: int
    start: int
    end: int


@dataclass(slots=True, eq=False)
class _Choice:
    """One choice: its channels, also those beside it, and which of them spoke last (None for a call)."""

    texts: dict[Channel, _Text] = field(default_factory=dict)
    speaking: frozenset[Channel | None] = frozenset()


@dataclass(slots=True, eq=False)
class _Text:
    """One channel: its scan if any rule reads it, how much was fed, and the deltas that are not settled yet."""

    scan: ChannelScan | None
    choice: _Choice
    alone: frozenset[Channel | None]
    fed: int = 0
    final: bool = False
    again: bool = False  # it says once more what was said before
    waiting: deque[_Placement] = field(default_factory=deque)


@dataclass(slots=True)
class _Call:
    """A tool call that is still being gathered."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    pieces: list[tuple[Held, CallDelta]] = field(default_factory=list)


class BodyFilter:
    """Filters one answer. Owned by one Session; call ``feed`` until ``end``, then look at ``notes``."""

    def __init__(self, decoder: Decoder, judge: Judge, held_bytes: int) -> None:
        self.notes: Final = Notes()
        self.cut: Denial | None = None  # why the policy ended the answer
        self.broken = ""  # why the answer cannot be read on: malformed, or too much of it held
        self.closed: frozenset[int] = frozenset()
        self.steps: list[Step] = []  # of the frames that have left
        self.held_bytes_max = 0
        self._decoder: Final = decoder
        self._judge: Final = judge
        self._limit: Final = held_bytes
        self._queue: Final = ReleaseQueue()
        self._edited: set[int] = set()  # choices in which something was edited: no copy of their text leaves any more
        self._texts: dict[Channel, _Text] = {}
        self._judged: dict[tuple[str, str], bool] = {}  # short texts that stood alone: whether nothing was found
        self._choices: dict[int, _Choice] = {}
        self._calls: dict[tuple[int, int], _Call] = {}

    def feed(self, data: bytes, end: bool) -> bytes:
        """Take the next bytes of the body and return the bytes that may leave now.

        What is returned in total, and in what order, depends on the bytes alone, never on how they were cut. Once
        ``cut`` or ``broken`` is set, what is returned still leaves, but nothing after it may.
        """
        out: list[bytes] = []
        try:
            for frame in self._decoder.feed(data, end):
                if self._queue.waiting or not self._take_alone(frame, out):
                    self._take(frame)
                    self._release(out)
                    self._check_held()
            if end:
                self._finish(None)
                self._release(out)
        except _Cut as cut:
            self.cut = cut.denial
            self._release(out)
        except Malformed as why:
            self.broken = str(why)
        return b"".join(out)

    def _check_held(self) -> None:
        self.held_bytes_max = max(self.held_bytes_max, self._queue.held_bytes)
        if self._decoder.streams and self._queue.cost_bytes > self._limit:
            raise Malformed("too much of it waits for a decision")

    # ---- a frame comes in ----

    def _take_alone(self, frame: Frame, out: list[bytes]) -> bool:
        """Take a frame that nothing is ahead of and that says no more than one new text; False leaves it to ``_take``.

        It is what nearly all frames are, and does what ``_take`` and the queue would do, without them.
        """
        deltas = frame.deltas
        if frame.calls or frame.closes or frame.end or frame.steps or frame.not_inspected:
            return False
        if len(deltas) > 1 and not all(self._is_clean(delta) and not delta.drop for delta in deltas[1:]):
            return False
        if deltas:
            channel, said, _, drop, alone, _ = deltas[0]
            text = self._texts.get(channel)
            if text is None or text.final or drop or alone or not said:
                return False
            text.choice.speaking = text.alone
            scan = text.scan
            if scan is not None:
                text.fed = fed = text.fed + len(said)
                redactions = scan.feed(said, False)
                if redactions or scan.settled < fed:
                    text.waiting.append(_Placement(self._queue.add(frame, texts=1), 0, fed - len(said), fed))
                    self._apply(text, scan, redactions)
                    self._release(out)
                    self._check_held()
                    return True
        out.append(frame.raw)
        return True

    def _take(self, frame: Frame) -> None:
        if len(frame.deltas) > ALONE_MAX and sum(delta.alone for delta in frame.deltas) > ALONE_MAX:
            raise Malformed("it has too many texts")
        for kind in frame.not_inspected:
            self._take_unseen(kind)
        self._pause_others(frame)
        held = self._queue.add(frame)
        for index, delta in enumerate(frame.deltas):
            self._take_text(held, index, delta)
        for piece in frame.calls:
            self._take_call(held, piece)
        for choice in frame.closes:
            self._finish(choice)
        if frame.end:
            self._finish(None)

    def _take_unseen(self, kind: str) -> None:
        """Something that no detector can read: it leaves with its frame, unless the policy says otherwise."""
        decision = self._judge.unseen(kind)
        self.notes.unseen(kind, decision.findings)
        if decision.denial is not None:
            raise _Cut(decision.denial)

    def _pause_others(self, frame: Frame) -> None:
        """Where a choice goes on elsewhere than before, ask the texts that it leaves to let go of what they can."""
        speaking: dict[int, set[Channel | None]] = {_number(piece.choice): {None} for piece in frame.calls}
        for channel, text, _, drop, alone, _ in frame.deltas:
            if text and not drop and not alone:
                speaking.setdefault(_choice(channel), set())
        for channel, text, _, _, alone, _ in frame.deltas:
            if text and not alone and _choice(channel) in speaking:
                speaking[_choice(channel)].add(channel)
        for number, channels in speaking.items():
            choice = self._choice_of(number)
            if choice.speaking == channels:
                continue
            choice.speaking = frozenset(channels)
            for channel, waits in choice.texts.items():
                if waits.waiting and channel not in channels and waits.scan is not None:
                    self._apply(waits, waits.scan, waits.scan.pause())

    def _take_text(self, held: Held, index: int, delta: TextDelta) -> None:
        if delta.alone:
            self._take_alone_text(held, index, delta)
            return
        text = self._text_of(delta.channel, again=delta.again)
        if text.scan is None:
            return
        if text.final:
            if delta.text:
                raise Malformed("text after the end of its choice")
            return
        start = text.fed
        text.fed += len(delta.text)
        text.waiting.append(_Placement(held, index, start, text.fed))
        held.texts += 1
        self._apply(text, text.scan, text.scan.feed(delta.text, False))

    def _is_clean(self, delta: TextDelta) -> bool:
        """Whether a text stands alone, and stood so before without a finding."""
        return delta.alone and self._judged.get((delta.channel[1], delta.text), False)

    def _take_alone_text(self, held: Held, index: int, delta: TextDelta) -> None:
        """Judge a text that is whole: what is found in it is settled before the frame leaves."""
        if self._is_clean(delta):
            return
        scan = self._open(delta.channel, again=delta.again)
        if scan is None:
            return
        text = _Text(scan, self._choice_of(_choice(delta.channel)), frozenset(), fed=len(delta.text), final=True)
        text.waiting.append(_Placement(held, index, 0, text.fed))
        held.texts += 1
        redactions = scan.feed(delta.text, True)
        if len(delta.text) <= _REMEMBERED and len(self._judged) < _REMEMBERED:
            self._judged[delta.channel[1], delta.text] = not redactions
        self._apply(text, scan, redactions, again=delta.again)

    def _text_of(self, channel: Channel, *, again: bool = False) -> _Text:
        text = self._texts.get(channel)
        if text is None:
            choice = self._choice_of(_choice(channel))
            text = _Text(self._open(channel, again=again), choice, frozenset({channel}), again=again)
            self._texts[channel] = choice.texts[channel] = text
        return text

    def _open(self, channel: Channel, *, again: bool = False) -> ChannelScan | None:
        scope = CHANNEL_SCOPES[channel[1]]
        scan = self._judge.open_channel(scope)
        self.notes.opened(scope, read=self._judge.reads(scope), again=again)
        return scan

    def _choice_of(self, number: int) -> _Choice:
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Choice()
        return choice

    def _take_call(self, held: Held, piece: CallDelta) -> None:
        key = (piece.choice, piece.index)
        call = self._calls.get(key)
        if call is not None and piece.id and call.id not in ("", piece.id):
            self._decide_call(key)  # some servers give every call the same index; a new id begins a new call
            call = None
        if call is None:
            call = self._calls[key] = _Call()
        call.id = call.id or piece.id
        if piece.name:
            if call.name not in ("", piece.name):  # clients disagree on which of two names would run
                raise Malformed("a tool call is named twice")
            call.name = piece.name
        call.arguments += piece.arguments
        call.pieces.append((held, piece))
        held.calls += 1
        if piece.whole:
            self._decide_call(key)

    def _finish(self, choice: int | None) -> None:
        """Nothing more comes for this choice (None: for any): settle its texts, decide its calls."""
        texts = self._texts if choice is None else self._choice_of(choice).texts
        for channel, text in texts.items():
            if text.scan is not None and not text.final and choice in (None, channel[0]):
                text.final = True
                self._apply(text, text.scan, text.scan.feed("", True))
        for key in [key for key in self._calls if choice in (None, key[0])]:
            self._decide_call(key)

    # ---- decisions ----

    def _apply(self, text: _Text, scan: ChannelScan, redactions: list[Redaction], *, again: bool = False) -> None:
        for redaction in redactions:
            found = redaction.finding
            if found is not None:
                self.notes.found(found, again=again or text.again)
                if found.action is Action.DENY and not found.monitored:
                    self._settle(text, redaction.start)
                    raise _Cut(self._judge.denial(found))
            if redaction.replacement is not None:
                self._place(text, redaction.start, redaction.end, redaction.replacement)
        self._settle(text, scan.settled)

    @staticmethod
    def _settle(text: _Text, settled: int) -> None:
        waiting = text.waiting
        while waiting and waiting[0].end <= settled:
            waiting.popleft().held.texts -= 1

    @staticmethod
    def _place(text: _Text, start: int, end: int, replacement: str) -> None:
        """Note an edit with each delta that it touches: the replacement with the first, nothing with the rest."""
        for placement in text.waiting:
            if placement.start >= end:
                return
            if placement.end <= start:
                continue
            cut = (max(start - placement.start, 0), min(end, placement.end) - placement.start, replacement)
            placement.held.pieces.setdefault(placement.delta, []).append(cut)
            replacement = ""

    def _decide_call(self, key: tuple[int, int]) -> None:
        call = self._calls.pop(key)
        decision = self._judge.call(ToolCall(call.name, call.arguments, choice=key[0], index=key[1]))
        again = all(piece.again for _, piece in call.pieces)
        if not again:
            self.notes.inspected.append(ARGUMENTS)
        for found in decision.findings:
            self.notes.found(found, again=again)
        if decision.denial is not None:
            raise _Cut(decision.denial)
        arguments = next((edit.value for edit in decision.edits if edit.path == ()), None)
        carries = any(piece.arguments for _, piece in call.pieces)
        for held, piece in call.pieces:
            self._queue.decided(held)
            if isinstance(arguments, str) and (piece.arguments or not carries):
                value: Json = read_answer(arguments.encode()) if piece.structured else arguments
                held.edits.append(Edit(piece.arguments_path, value))
                arguments = ""  # the first piece carries it all

    # ---- frames go out ----

    def _release(self, out: list[bytes]) -> None:
        for held in self._queue.release():
            out.append(self._render(held))
            frame = held.frame
            if frame.closes:
                self.closed = self.closed.union(frame.closes)
            self.steps += frame.steps

    def _render(self, held: Held) -> bytes:
        frame = held.frame
        if held.pieces or held.edits:
            self._edited.update(_choice(frame.deltas[index].channel) for index in held.pieces)
            self._edited.update(_number(piece.choice) for piece in frame.calls if held.edits)
        elif not self._edited:
            return frame.raw
        edits = list(held.edits)
        for index, delta in enumerate(frame.deltas):
            pieces = held.pieces.get(index)
            if delta.drop:
                # A copy of edited text (its tokens, their ids) goes as a whole, also where its own scan saw nothing.
                if pieces or _choice(delta.channel) in self._edited:
                    edits.append(Edit(delta.path, None))
            elif pieces:
                edits.append(Edit(delta.path, _rewrite(delta.text, pieces)))
        return frame.render(edits) if edits else frame.raw


def _choice(channel: Channel) -> int:
    """The choice that a channel belongs to."""
    return _number(channel[0])


def _number(choice: int) -> int:
    """A choice's own number; what stands beside a choice's texts has its complement."""
    return choice if choice >= 0 else ~choice


def _rewrite(text: str, pieces: list[tuple[int, int, str]]) -> str:
    """Replace ``[start, end)`` pieces, which are in order and do not overlap."""
    out: list[str] = []
    at = 0
    for start, end, replacement in pieces:
        out += (text[at:start], replacement)
        at = end
    out.append(text[at:])
    return "".join(out)
