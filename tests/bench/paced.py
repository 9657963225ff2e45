"""Tokens, 50 a second, through a real Envoy: what redaction adds to the first, and when each one leaves.

Two chains stand side by side, the same but for the policy: one redacts answers, the other has no rule that reads them.
Requests alternate between them, so a slow moment of the machine falls on both. Upstream and client share one clock.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import httpx
import yaml

from tests.bench import corpora
from tests.support.gateway import Gateway
from tests.support.openai_wire import PATH, chat, chunk
from tests.support.policies import policy

TOKENS_PER_SECOND: Final = 50
TOKENS: Final = 60
_FIRSTS: Final = 200  # requests through each chain for the first token alone: it differs by less than it varies
_PROSE: Final = (
    "The quick answer is that it depends on what you measure, and where. A gateway sees every byte once, in order, "
    "so it can decide early; a log reader sees all of it, but too late. Ask yourself which of the two you need today. "
)


@dataclass(slots=True)
class Paced:
    """What was measured. Times are in milliseconds; ``late`` are tokens whose text left after the third one came."""

    first_plain: float
    first_redacted: float
    delay_p50: float
    delay_p99: float
    late: int
    tokens: int

    @property
    def added_first(self) -> float:
        """What redaction adds to the first token, at the median."""
        return self.first_redacted - self.first_plain


@dataclass(slots=True)
class _Upstream:
    """Says the given words to whoever asks, one every 20 ms, and notes when."""

    words: Sequence[str]
    sent: list[float] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answers, args=(connection,), daemon=True).start()

    def _answers(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as reader:
            while _read_request(reader):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.sent.clear()
        begin = time.perf_counter()
        for number, word in enumerate(self.words):
            time.sleep(max(begin + number / TOKENS_PER_SECOND - time.perf_counter(), 0))
            self.sent.append(time.perf_counter())
            connection.sendall(_framed(chunk({"content": word})))
        connection.sendall(_framed(chunk({}, "stop")) + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def measure(requests: int, words: Sequence[str] | None = None) -> Paced:
    """Ask both chains for a first token, then run ``requests`` whole streams through the redacting one. Needs Envoy."""
    upstream = _Upstream(words or _words())
    threading.Thread(target=upstream.serve, daemon=True).start()
    firsts: dict[bool, list[float]] = {False: [], True: []}
    delays: list[float] = []
    late = 0
    with Gateway(upstream.url, _without_answer_rules()) as plain, Gateway(upstream.url, policy()) as redacting:
        said, upstream.words = upstream.words, upstream.words[:1]
        for number in range(_FIRSTS + 1):
            ways = ((False, plain), (True, redacting))
            for redacts, gate in ways if number % 2 else reversed(ways):
                began, arrived = _ask(gate, upstream.words)
                if number:  # the first ones open connections
                    firsts[redacts].append((arrived[0] - began) * 1000)
        upstream.words = said
        for _ in range(requests):
            _, arrived = _ask(redacting, upstream.words)
            delays += [(there - here) * 1000 for here, there in zip(upstream.sent, arrived, strict=True)]
            late += sum(there > third for there, third in zip(arrived, upstream.sent[3:], strict=False))
    upstream.listener.close()
    delays.sort()
    return Paced(
        first_plain=median(firsts[False]),
        first_redacted=median(firsts[True]),
        delay_p50=median(delays),
        delay_p99=delays[int(len(delays) * 0.99)],
        late=late,
        tokens=len(delays),
    )


def _ask(gate: Gateway, words: Sequence[str]) -> tuple[float, list[float]]:
    """When the request began, and when each token's text was whole at the client."""
    ends: list[int] = []
    for word in words:
        ends.append((ends[-1] if ends else 0) + len(word))
    arrived: list[float] = []
    got = 0
    with httpx.Client(timeout=60) as client:
        began = time.perf_counter()
        with client.stream("POST", gate.url() + PATH, content=chat(stream=True)) as answer:
            for text in _texts(answer):
                got += len(text)
                now = time.perf_counter()
                while len(arrived) < len(ends) and got >= ends[len(arrived)]:
                    arrived.append(now)
    return began, arrived


def _texts(answer: httpx.Response) -> Iterator[str]:
    for line in answer.iter_lines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                yield choice["delta"].get("content") or ""


def _words() -> list[str]:
    """Real prose as tokens, where the corpora are here."""
    text = "".join(corpora.prose(characters=20_000)) if corpora.directory() else _PROSE * 3
    return corpora.tokens(text)[:TOKENS]


def _without_answer_rules() -> str:
    document = yaml.safe_load(policy())
    rules = document["spec"]["rules"]
    document["spec"]["rules"] = [rule for rule in rules if not any("response." in scope for scope in rule["scope"])]
    return yaml.safe_dump(document, sort_keys=False)


def _framed(document: object) -> bytes:
    return _chunked(b"data: " + json.dumps(document).encode() + b"\n\n")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _read_request(reader: object) -> bool:
    """Read one request; false at the end of the connection."""
    length, chunked = 0, False
    line = reader.readline()  # type: ignore[attr-defined]
    if not line:
        return False
    while (line := reader.readline().lower()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        chunked |= line.startswith(b"transfer-encoding:")
    if chunked:
        while size := int(reader.readline() or b"0", 16):  # type: ignore[attr-defined]
            reader.read(size + 2)  # type: ignore[attr-defined]
        reader.readline()  # type: ignore[attr-defined]
    else:
        reader.read(length)  # type: ignore[attr-defined]
    return True
