"""What is fuzzed, one case after another from a seed, and what must hold of each.

What lives here: damage that knows the grammar, and the checks. What must not: the clock, processes, files.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from extproc.chat import Malformed
from extproc.dialects.answers import media_type
from extproc.framing import delimiter
from extproc.messages import Abort, Refuse
from tests.dialects import shared
from tests.dialects.shared import SECRET, SENTENCE
from tests.dialects.support import DENIAL, LIMITS, Case, cut, drain, summary
from tests.support.leaks import leaks
from tests.support.sessions import session
from tests.surfaces.matrix import unpacked

NOISE: Final = (
    *(
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\u",
        b"\\ud800",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"data:",
        b"data: ",
        b"event: x\n",
    ),
    *(
        b": c\n",
        b"null",
        b"-1",
        b"1e999",
        b"NaN",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"[DONE]",
        b",",
        b":",
        b'"index":1,',
    ),
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**300, 0.5, 1e308, "", "x", "\ud83d", "\u2028", "\0"),
    *(
        [],
        {},
        [[]],
        [{}],
        {"": ""},
        ["x"],
        {"type": "x"},
        {"index": 0},
        {"text": "x"},
        [1, 2, 3],
        SENTENCE,
        {"a": SENTENCE},
    ),
)
PEAK_BYTES: Final = 64 << 20  # of one case; its input has at most a few hundred KiB


@dataclass(frozen=True)
class Failure:
    """What a case broke. ``data`` is its input."""

    target: str
    seed: int
    what: str
    data: bytes


@dataclass(frozen=True)
class Target:
    """A request reader, or an answer's decoder in one framing, and the exchanges that its cases are made of."""

    name: str
    check: Callable[[Case, bytes, random.Random], str]
    cases: tuple[Case, ...]
    request: bool

    def run(self, seed: int) -> Failure | None:
        """Run the case of this seed."""
        source = random.Random(f"{self.name}/{seed}")
        case = source.choice(self.cases)
        others = [each.sent if self.request else each.body for each in self.cases]
        data = damaged(case, others, source, request=self.request)
        measured = seed % 64 == 0  # measuring takes many times as long
        try:
            if measured:
                tracemalloc.start()
            what = self.check(case, data, source)
            if measured and (peak := tracemalloc.get_traced_memory()[1]) > PEAK_BYTES:
                what = what or f"it took {peak >> 20} MiB"
        except RecursionError:
            what = "RecursionError"
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
        finally:
            tracemalloc.stop()
        return Failure(self.name, seed, what, data) if what else None


def targets() -> list[Target]:
    """All request readers and all decoders."""
    found = []
    for name in shared.NAMES:
        cases = shared.exchanges(name)
        asking = tuple(case for case in cases if case.status < 400)
        if asking:
            found.append(Target(f"{name}/request", check_request, asking, request=True))
        for kind in sorted({media_type(case.content_type) for case in asking}):
            told = tuple(case for case in asking if media_type(case.content_type) == kind)
            found.append(Target(f"{name}/{kind}", check_answer, told, request=False))
    return found


# ---- damage ----------------------------------------------------------------------------------------------------------


def damaged(case: Case, others: Sequence[bytes], source: random.Random, *, request: bool) -> bytes:
    """A body, mostly recorded and then changed in one to three ways; sometimes just noise."""
    data = case.sent if request else case.body
    if source.random() < 0.03:
        return source.randbytes(source.randrange(80))
    for _ in range(source.randint(1, 3)):
        data = source.choice(REQUEST_WAYS if request else ANSWER_WAYS)(case, data, others, source)
    return data


def _flip(_case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        if changed:
            changed[source.randrange(len(changed))] = source.randrange(256)
    return bytes(changed)


def _splice(_case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    at, length = source.randint(0, len(data)), source.choice((0, 0, 1, 3, 20))
    return data[:at] + source.choice(NOISE) + data[at + length :]


def _truncate(_case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    return data[: source.randint(0, len(data))]


def _cross(_case: Case, data: bytes, others: Sequence[bytes], source: random.Random) -> bytes:
    other = source.choice(others)
    start = source.randint(0, len(other))
    return data[: source.randint(0, len(data))] + other[start : source.randint(start, len(other))]


def _nest(_case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    at, depth = source.randint(0, len(data)), source.choice((10, 70, 130, 5000))
    opening, closing = source.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return data[:at] + opening * depth + b"1" + closing * depth + data[at:]


def _rewrite(_case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _splice(_case, data, _others, source)
    return _written(mutated(document, source), source)


def _frames(case: Case, data: bytes, _others: Sequence[bytes], source: random.Random) -> bytes:
    frames = _cut_frames(case, data)
    if not frames:
        return data
    at, to = source.randrange(len(frames)), source.randrange(len(frames))
    way = source.randrange(5)
    if way == 0:
        frames[at], frames[to] = frames[to], frames[at]
    elif way == 1:
        frames.insert(to, frames[at])
    elif way == 2:
        del frames[at]
    elif way == 3:
        frames[at] = frames[at][: source.randint(0, len(frames[at]))]
    else:
        frames = frames[: at + 1] * source.choice((2, 3, 20))
    return b"".join(frames)


def _in_frame(case: Case, data: bytes, others: Sequence[bytes], source: random.Random) -> bytes:
    frames = _cut_frames(case, data)
    if not frames:
        return data
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(frames))
        document, put = unpacked(case, frames[at])
        if document is not None:
            frames[at] = put(mutated(document, source))
    return b"".join(frames)


def _cut_frames(case: Case, data: bytes) -> list[bytes]:
    decoder = case.decoder()
    frames: list[bytes] = []
    try:
        frames.extend(frame.raw for frame in decoder.feed(data, True))
    except Malformed:
        frames.append(data[sum(map(len, frames)) :])
    return frames


REQUEST_WAYS: Final = (_flip, _splice, _truncate, _cross, _nest, _rewrite, _rewrite, _rewrite, _rewrite)
ANSWER_WAYS: Final = (_flip, _splice, _truncate, _cross, _nest, _frames, _frames, _in_frame, _in_frame, _in_frame)


def mutated(document: Any, source: random.Random) -> Any:
    """The document with one to three nodes replaced, removed, renamed, copied elsewhere or made long.

    No secret stands in a name: ``tests.surfaces`` says where those are not read.
    """
    root = [copy.deepcopy(document)]
    for _ in range(source.randint(1, 3)):
        places = list(_places(root))
        holder, key = source.choice(places)
        way = source.randrange(8)
        if way == 0 and holder is not root:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[source.choice(("x_unknown", key.upper() + "x", ""))] = holder.pop(key)
        elif way == 2:
            other, name = source.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = copy.deepcopy(other[name])
        elif way == 3 and isinstance(holder, list) and holder is not root:
            holder[key:key] = [copy.deepcopy(holder[key])] * source.choice((1, 2, 40))
        elif way == 4:
            holder[key] = "word " * source.choice((10, 1000, 20_000))
        elif way == 5 and isinstance(holder, dict):
            holder["x_unknown"] = copy.deepcopy(source.choice(VALUES))
        else:
            holder[key] = copy.deepcopy(source.choice(VALUES))
    return root[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    stack = [value]
    while stack:
        current = stack.pop()
        members = list(current.items()) if isinstance(current, dict) else list(enumerate(current))
        for key, member in members:
            yield current, key
            if isinstance(member, dict | list):
                stack.append(member)


def _written(document: Any, source: random.Random) -> bytes:
    text = json.dumps(document, ensure_ascii=source.random() < 0.5)
    return text.encode("utf-8", source.choice(("backslashreplace", "surrogatepass")))


# ---- what must hold --------------------------------------------------------------------------------------------------


def check_request(case: Case, data: bytes, _source: random.Random) -> str:
    """Say what is wrong with how these bytes are read as a request; nothing if nothing is."""
    with contextlib.suppress(Malformed):
        case.dialect.read_request(case.head, data, LIMITS)
    asked = replace(case, sent=data)
    exchange = session(_REQUESTS)
    replies = shared.ask(exchange, asked)
    if exchange.failure is not None:
        return f"internal error: {type(exchange.failure).__name__}: {exchange.failure}"
    if any(isinstance(reply, Abort) for reply in replies):
        return "aborted"
    said = shared.outcome(exchange, replies)
    if said.refusal is None and (place := leaks(said.request, SECRET)):
        return f"a secret gets out: {place}"
    return ""


def check_answer(case: Case, data: bytes, source: random.Random) -> str:
    """Say what is wrong with how these bytes are read as an answer; nothing if nothing is."""
    pieces = cut(data, [source.randint(0, len(data)) for _ in range(source.choice((1, 5, 60)))])
    if problem := _decoder_problem(case, data, pieces):
        return problem
    outcomes = []
    for parts in ([data], pieces):
        exchange = session(_ANSWERS)
        asked = shared.ask(exchange, case)
        if any(isinstance(reply, Refuse) for reply in asked):
            return f"the request is refused: {exchange._record.reason}"
        replies = shared.answer(exchange, case, parts)
        if exchange.failure is not None:
            return f"internal error: {type(exchange.failure).__name__}: {exchange.failure}"
        said = shared.outcome(exchange, replies)
        outcomes.append(said)
        if place := leaks(said.answer, SECRET):
            return f"a secret gets out: {place}"
    one, other = outcomes
    same = one.answer == other.answer or one.refusal is not None  # of a document that is refused a part may have left
    return "" if same and one.record.reason == other.record.reason else "what leaves depends on the cuts"


def _decoder_problem(case: Case, data: bytes, pieces: Sequence[bytes]) -> str:
    whole, cutoff = _read(case, [data])
    parts, other = _read(case, pieces)
    if (whole, cutoff) != (parts, other):
        return "what is read depends on the cuts"
    return ""


def _read(case: Case, pieces: Sequence[bytes]) -> tuple[object, bytes]:
    """What a decoder makes of a body, and how it would end it: what it raises comes out."""
    decoder = case.decoder()
    frames = []
    broken = False
    try:
        for piece in [*pieces, b""]:
            for frame in decoder.feed(piece, not piece):
                frames.append(frame)
                if frame.render(()) != frame.raw:
                    raise AssertionError("a frame without edits is not its own bytes")
    except Malformed:
        broken = True
    closed = frozenset(choice for frame in frames for choice in frame.closes)
    steps = [step for frame in frames for step in frame.steps]
    end = decoder.cutoff(DENIAL, closed, steps)
    raw = b"".join(frame.raw for frame in frames)
    if decoder.streams and not broken and case.content_type != shared.JSON:
        try:
            drain(case.decoder(), [raw, delimiter(media_type(case.content_type), raw) if end else b"", end])
        except Malformed as why:
            raise AssertionError(f"the cut-off cannot be read: {why}") from None
    said = [frame for frame in frames if frame.deltas or frame.calls] if broken else frames
    return (summary(said), broken), end


_REQUESTS: Final = shared.guarded(rules=shared.rules("deny"))
_ANSWERS: Final = shared.rules_only()
