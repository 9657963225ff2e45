"""Exchanges from recordings, and what a decoder made of an answer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from extproc.chat import CallDelta, Channel, ChatRequest, Denial, Frame, RequestHead
from extproc.dialects import dialect_for
from extproc.dialects.base import Decoder, Dialect
from extproc.strict_json import JsonLimits

LIMITS = JsonLimits()
LIMIT_BYTES = 1 << 20
HEAD = RequestHead("POST", "/")  # for dialects that read nothing there
DENIAL = Denial("Not here: rule X.", "x", "d-1")
_CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One exchange: what was asked, and the answer. ``sent`` are the request's own bytes."""

    name: str
    dialect: Dialect
    request: ChatRequest
    head: RequestHead
    status: int
    content_type: str
    body: bytes
    sent: bytes = b""

    def decoder(self) -> Decoder:
        return self.dialect.decoder(self.request, self.status, self.content_type, LIMIT_BYTES)


def cases(dialect: str = "*") -> list[Case]:
    return [_load(path) for path in sorted(_CASES.glob(f"{dialect}/*.json"))]


def case(name: str) -> Case:
    return _load(_CASES / f"{name}.json")


def _load(path: Path) -> Case:
    recorded = json.loads(path.read_text(encoding="utf-8"))
    request, response = recorded["request"], recorded["response"]
    dialect = dialect_for(request["method"], request["path"].partition("?")[0])
    assert dialect is not None
    body = json.dumps(request["body"]).encode() if request.get("body") is not None else b""
    target, _, query = request["path"].partition("?")
    head = RequestHead(request["method"], target, query, tuple(request.get("headers", {}).items()))
    read = ChatRequest(dialect.name, "m", False, {})  # for answers to something malformed
    if response["status"] < 400:
        read = dialect.read_request(head, body, LIMITS)
    return Case(
        f"{path.parent.name}/{path.stem}",
        dialect,
        read,
        head,
        response["status"],
        next(value for name, value in response["headers"].items() if name.lower() == "content-type"),
        response["body"].encode(),
        body,
    )


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:stop] for start, stop in pairwise(marks)]


def drain(decoder: Decoder, pieces: Sequence[bytes], *, end: bool = True) -> list[Frame]:
    frames: list[Frame] = []
    for piece in pieces:
        frames += decoder.feed(piece, False)
    frames += decoder.feed(b"", end)
    return frames


def raw(frames: Iterable[Frame]) -> bytes:
    return b"".join(frame.raw for frame in frames)


def texts(frames: Iterable[Frame]) -> dict[Channel, str]:
    said: dict[Channel, str] = defaultdict(str)
    for frame in frames:
        for delta in frame.deltas:
            said[delta.channel] += delta.text
    return dict(said)


def calls(frames: Iterable[Frame]) -> dict[tuple[int, int], tuple[str, str]]:
    made: dict[tuple[int, int], tuple[str, str]] = {}
    for frame in frames:
        for piece in frame.calls:
            name, arguments = made.get((piece.choice, piece.index), ("", ""))
            made[piece.choice, piece.index] = (name + piece.name, arguments + piece.arguments)
    return made


def closes(frames: Iterable[Frame]) -> list[int]:
    return [choice for frame in frames for choice in frame.closes]


def summary(frames: Sequence[Frame]) -> tuple[object, ...]:
    """All that must not depend on how the answer was cut."""
    return raw(frames), texts(frames), calls(frames), closes(frames), [frame.end for frame in frames if frame.end]


def events(stream: bytes) -> list[Any]:
    """The documents of a stream of server-sent events, up to [DONE]."""
    data = [event.removeprefix("data: ") for event in stream.decode().split("\n\n") if event]
    assert data[-1] == "[DONE]"
    return [json.loads(event) for event in data[:-1]]


def call_pieces(frames: Iterable[Frame]) -> list[CallDelta]:
    return [piece for frame in frames for piece in frame.calls]
