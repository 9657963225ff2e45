"""A toy LLM API for the tests of the body filter: one frame a line, nothing to do with JSON.

``0 content hel`` is text; ``0 call 0 name args`` a piece of a tool call; ``0 close`` ends a choice; ``end`` ends the
answer; ``-`` is a barrier with no choice (a comment, a usage frame).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.chat import CallDelta, Denial, Edit, Frame, Malformed, TextDelta, ToolCall
from extproc.policy.channel import ChannelScan, Redaction
from extproc.policy.decision import Action, Decision, Finding


class ToyDecoder:
    """Implements ``dialects.base.Decoder``."""

    def __init__(self, streams: bool = True) -> None:
        self.streams = streams
        self._rest = b""

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if end and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        yield from (_frame(line + b"\n") for line in lines)

    def cutoff(self, denial: Denial, closed: frozenset[int] = frozenset()) -> bytes:
        return f"cut {denial.rule} {sorted(closed)}\n".encode()


def _frame(raw: bytes) -> Frame:
    words = raw.decode().rstrip("\n").split(" ")

    def render(edits: Sequence[Edit]) -> bytes:
        values = {edit.path: edit.value for edit in edits}
        out = [str(values.get((at,), word)) for at, word in enumerate(words)]
        return (" ".join(out) + "\n").encode()

    if words[0] == "end":
        return Frame(raw, render, end=True)
    if words[0] == "bad":
        raise Malformed("a bad line")
    if not words[0].isdigit():
        return Frame(raw, render)
    choice = int(words[0])
    choices = frozenset({choice})
    match words[1:]:
        case ["close"]:
            return Frame(raw, render, choices=choices, closes=(choice,))
        case ["call", index, name, arguments]:
            piece = CallDelta(choice, int(index), name.strip("."), arguments, (4,))
            return Frame(raw, render, calls=(piece,), choices=choices)
        case ["id", index, call_id, name, arguments]:
            piece = CallDelta(choice, int(index), name, arguments, (5,), id=call_id)
            return Frame(raw, render, calls=(piece,), choices=choices)
        case ["both", text, copy]:
            deltas = (
                TextDelta((choice, "content"), text, (2,)),
                TextDelta((choice, "logprobs"), copy, (3,), drop=True),
            )
            return Frame(raw, render, deltas=deltas, choices=choices)
        case ["two", text, other]:
            said = (TextDelta((choice, "content"), text, (2,)), TextDelta((choice, "refusal"), other, (3,)))
            return Frame(raw, render, deltas=said, choices=choices)
        case [name, text]:
            delta = TextDelta((choice, name), text, (2,), drop=name == "logprobs")
            return Frame(raw, render, deltas=(delta,), choices=choices)
    raise AssertionError(words)


class WordScan:
    """Redacts every ``SECRET`` and denies every ``EVIL``; holds what may still become one of them.

    A pause lets go of less than four characters: those are a mere beginning, ``SECR`` is more.
    """

    def __init__(self, scope: str) -> None:
        self.settled = 0
        self._scope = scope
        self._text = ""

    def feed(self, text: str, final: bool) -> list[Redaction]:
        self._text += text
        out: list[Redaction] = []
        while self.settled < len(self._text):
            rest = self._text[self.settled :]
            for word, action in (("SECRET", Action.REDACT), ("EVIL", Action.DENY)):
                if rest.startswith(word):
                    end = self.settled + len(word)
                    found = Finding("word", word.lower(), self._scope, action, start=self.settled, end=end)
                    out.append(Redaction(self.settled, end, "[X]", found))
                    self.settled = end
                    break
                if word.startswith(rest) and not final:
                    return out
            else:
                self.settled += 1
        return out

    def pause(self) -> list[Redaction]:
        if len(self._text) - self.settled < 4:
            self.settled = len(self._text)
        return []


class ToyJudge:
    """Implements ``body.Judge``: scans every scope but reasoning, refuses calls to ``rm``, blanks arguments ``KEY``."""

    def open_channel(self, scope: str) -> ChannelScan | None:
        return None if scope == "response.reasoning" else WordScan(scope)

    def reads(self, scope: str) -> bool:
        return scope != "response.reasoning"

    def call(self, call: ToolCall) -> Decision:
        if call.name == "rm":
            return Decision(Action.DENY, denial=Denial("no", "tools", "d"))
        if call.arguments == "KEY":
            return Decision(Action.REDACT, edits=(Edit((), "[X]"),))
        return Decision()

    def unseen(self, kind: str) -> Decision:
        if kind == "video":
            return Decision(Action.DENY, denial=Denial("no", "not_inspected", "d"))
        return Decision()

    def denial(self, finding: Finding) -> Denial:
        return Denial("no", finding.rule, "d")
