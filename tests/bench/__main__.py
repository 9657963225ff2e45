"""What the core costs, as CPU time of one process: a request's verdict, an event of a stream, a megabyte of text.

Compare figures of one run with each other, or two commits on one quiet machine; never two machines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from extproc.messages import RequestBody, ResponseBody, ResponseHeaders
from extproc.policy.channel import open_channel
from tests.support.openai_wire import chat, chunk, said
from tests.support.policies import MODEL, policy
from tests.support.sessions import NDJSON, SSE, compiled, request_headers, session

PROSE = "The quick brown fox jumps over the lazy dog, and then it rests for a while by the river. "
ROUNDS = 7


def best(run: Callable[[], object], per: int, rounds: int = ROUNDS) -> float:
    """The CPU microseconds of one unit, best of several rounds."""
    times = []
    for _ in range(rounds):
        began = time.process_time_ns()
        run()
        times.append(time.process_time_ns() - began)
    return min(times) / per / 1000


def verdicts(length: int, count: int = 200) -> float:
    """Headers and body of a request until it may leave."""
    body = chat((PROSE * (length // len(PROSE) + 1))[:length])

    def run() -> None:
        for _ in range(count):
            exchange = session()
            exchange.receive(request_headers())
            exchange.receive(RequestBody(body, end=True))

    return best(run, count)


def stream_events(text: str | None, count: int = 2000) -> float:
    """One SSE event of a stream: framed, read, scanned, released."""
    words = [f" word{number % 97}" for number in range(count)] if text is None else [text] * count
    pieces = [b"data: " + json.dumps(chunk({"content": word})).encode() + b"\n\n" for word in words]

    def run() -> None:
        exchange = session()
        exchange.receive(request_headers())
        exchange.receive(RequestBody(chat(stream=True), end=True))
        exchange.receive(ResponseHeaders(SSE))
        for piece in pieces:
            exchange.receive(ResponseBody(piece))

    return best(run, count)


def stream_lines(count: int = 2000) -> float:
    """One line of an Ollama stream: framed, read, scanned, released."""
    said = [{"role": "assistant", "content": f" word{number % 97}"} for number in range(count)]
    pieces = [
        json.dumps({"model": MODEL, "created_at": f"2026-01-01T00:00:00.{at}Z", "message": message, "done": False})
        for at, message in enumerate(said)
    ]
    lines = [piece.encode() + b"\n" for piece in pieces]

    def run() -> None:
        exchange = session()
        exchange.receive(request_headers("/api/chat"))
        exchange.receive(RequestBody(chat(stream=True), end=True))
        exchange.receive(ResponseHeaders(NDJSON))
        for line in lines:
            exchange.receive(ResponseBody(line))

    return best(run, count)


def channel_feeds(size: int, count: int = 20_000) -> float:
    """One feed of running text to the rules of an answer's content."""
    text = PROSE * (size * count // len(PROSE) + 1)
    pieces = [text[at : at + size] for at in range(0, size * count, size)]

    def run() -> None:
        scan = open_channel(compiled(policy()), "response.content")
        assert scan is not None
        for piece in pieces:
            scan.feed(piece, False)

    return best(run, count)


def main() -> None:
    """Print the table."""
    table = Table(title="CPU time, best of 7 rounds")
    table.add_column("what")
    table.add_column("µs each", justify="right")
    rows: list[tuple[str, Callable[[], float]]] = [
        ("verdict on a prompt of 80 characters", lambda: verdicts(80)),
        ("verdict on a prompt of 800 characters", lambda: verdicts(800)),
        ("verdict on a prompt of 8,000 characters", lambda: verdicts(8000, 20)),
        ("event of a stream, nothing found", lambda: stream_events(None)),
        ("event of a stream, a line feed and a quote in each", lambda: stream_events('\n"')),
        ("line of an Ollama stream, nothing found", stream_lines),
        ("event of a stream that holds a prefix each time", lambda: stream_events(" gh")),
        ("whole answer of 40 events in one piece", lambda: whole_answers(40)),
        ("feed of 4 characters to the content scan", lambda: channel_feeds(4)),
        ("feed of 200 characters to the content scan", lambda: channel_feeds(200, 2000)),
    ]
    for name, measure in rows:
        table.add_row(name, f"{measure():,.1f}")
    Console().print(table)


def whole_answers(events: int, count: int = 50) -> float:
    """A whole exchange whose answer comes in one piece."""
    wire = said(*(f" word{number}" for number in range(events)))

    def run() -> None:
        for _ in range(count):
            exchange = session()
            exchange.receive(request_headers())
            exchange.receive(RequestBody(chat(stream=True), end=True))
            exchange.receive(ResponseHeaders(SSE))
            exchange.receive(ResponseBody(wire))
            exchange.receive(ResponseBody(b"", end=True))

    return best(run, count)


if __name__ == "__main__":
    main()
