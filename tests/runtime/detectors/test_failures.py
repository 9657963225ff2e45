"""Tier 2 is down, slow or wrong: for every kind the policy's word holds, the exchange ends, and coverage says so."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from extproc.runtime._pb import detector_pb2
from extproc.runtime.detectors.http import ANSWER_BYTES_MAX
from tests.runtime.detectors.models import write_model
from tests.runtime.detectors.services import grpc_service
from tests.runtime.transports.streams import run
from tests.support.second_opinions import LIKELY, UNLIKELY, unsure
from tests.support.tier2 import Passage, drip, guard_says, ok, passages, saying, silence, tcp_server

PATIENT: Final = {"timeout_s": 30}
ERROR: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}"
HUGE: Final = b" " * (ANSWER_BYTES_MAX + 1)
NAN: Final = b'{"results": [{"flagged": true, "category_scores": {"jailbreak": NaN}}]}'

HTTP: Final = {
    "never answers": (silence, "timeout"),
    "drips": (drip, "timeout"),
    "hangs up": (saying(b""), "unreachable"),
    "500": (saying(ERROR), "refused"),
    "not HTTP": (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "garbage"),
    "half an answer": (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"), "garbage"),
    "not JSON": (saying(ok(b"<html>")), "garbage"),
    "nested JSON": (saying(ok(b"[" * 100_000)), "garbage"),
    "huge": (saying(ok(HUGE)), "garbage"),
    "another document": (saying(ok(b'{"error": "model not found"}')), "garbage"),
    "null": (saying(ok(b"null")), "garbage"),
}
CHAT: Final = {
    **HTTP,
    "no choice": (saying(ok(b'{"choices": []}')), "garbage"),
    "no text": (saying(ok(guard_says(None))), "garbage"),
    "chatter": (saying(ok(guard_says("The text is safe, I think."))), "garbage"),
    "both": (saying(ok(guard_says("safe\nunsafe"))), "garbage"),
}
MODERATION: Final = {
    **HTTP,
    "NaN": (saying(ok(NAN)), "garbage"),
    "no result": (saying(ok(b'{"results": []}')), "garbage"),
    "two results": (saying(ok(b'{"results": [{"flagged": false}, {"flagged": false}]}')), "garbage"),
    "no such category": (saying(ok(b'{"results": [{"category_scores": {"hate": 0.1}}]}')), "garbage"),
    "a score in words": (saying(ok(b'{"results": [{"category_scores": {"jailbreak": "low"}}]}')), "garbage"),
    "a score of 7": (saying(ok(b'{"results": [{"category_scores": {"jailbreak": 7}}]}')), "garbage"),
}


def http_case(kind: str, talk: Any) -> AbstractAsyncContextManager[dict[str, Any]]:
    @contextlib.asynccontextmanager
    async def detector() -> AsyncIterator[dict[str, Any]]:
        async with tcp_server(talk) as address:
            if kind == "chat":
                yield {"kind": "chat", "url": f"http://{address}/v1/chat/completions", "model": "guard:1", **PATIENT}
            else:
                url = f"http://{address}/v1/moderations"
                yield {"kind": "moderation", "url": url, "categories": ["jailbreak"], **PATIENT}

    return detector()


async def _never(*_: Any) -> Any:
    await asyncio.Event().wait()


async def _breaks(*_: Any) -> Any:
    raise RuntimeError("secret words")


def _scores(*scores: float) -> Any:
    async def scan(*_: Any) -> detector_pb2.ScanResponse:
        return detector_pb2.ScanResponse(scores=scores)

    return scan


GRPC: Final = {
    "never answers": (_never, "timeout"),
    "breaks": (_breaks, "refused"),
    "no score": (_scores(), "garbage"),
    "two scores": (_scores(0.1, 0.1), "garbage"),
    "NaN": (_scores(math.nan), "garbage"),
    "a score of 7": (_scores(7), "garbage"),
    "huge": (_scores(*[0.1] * 20_000), "garbage"),
}


@contextlib.asynccontextmanager
async def _grpc_case(scan: Any) -> AsyncIterator[dict[str, Any]]:
    async with grpc_service(scan) as address:
        yield {"kind": "grpc", "address": address, **PATIENT}


@contextlib.asynccontextmanager
async def _not_grpc() -> AsyncIterator[dict[str, Any]]:
    async with tcp_server(saying(ERROR)) as address:
        yield {"kind": "grpc", "address": address, **PATIENT}


@contextlib.asynccontextmanager
async def _nobody(kind: str) -> AsyncIterator[dict[str, Any]]:
    async with tcp_server(silence) as address:
        pass  # its port is free again
    yield {
        "chat": {"kind": "chat", "url": f"http://{address}/v1/chat/completions", "model": "guard:1"},
        "moderation": {"kind": "moderation", "url": f"http://{address}/v1/moderations"},
        "grpc": {"kind": "grpc", "address": address},
    }[kind] | {"timeout_s": 30}


CASES: Final = [
    *(("chat", name, http_case, ("chat", talk), why) for name, (talk, why) in CHAT.items()),
    *(("moderation", name, http_case, ("moderation", talk), why) for name, (talk, why) in MODERATION.items()),
    *(("grpc", name, _grpc_case, (scan,), why) for name, (scan, why) in GRPC.items()),
    ("grpc", "not gRPC", _not_grpc, (), "unreachable"),
    *((kind, "nobody is there", _nobody, (kind,), "unreachable") for kind in ("chat", "moderation", "grpc")),
]
WORDS: Final = [("deny", LIKELY, 500), ("allow", LIKELY, 0), ("tier1", LIKELY, 403), ("tier1", UNLIKELY, 0)]


def holds(passage: Passage, status: int, why: str) -> None:
    """The policy's word, and the words for it."""
    assert passage.status == status
    assert passage.coverage.startswith('request=partial;skipped="tier2:guard:1";note="tier2: skipped"')
    assert passage.record.not_inspected[0] == "tier2:guard"
    assert passage.record.second_opinions == [f"guard:skipped:{why}"]
    assert passage.counted(f'second_opinions_skipped_total{{detector="guard",why="{why}"}} 1.0')


@pytest.mark.parametrize(("on_timeout", "text", "status"), WORDS, ids=["deny", "allow", "tier1-finds", "tier1-passes"])
@pytest.mark.parametrize(
    ("detector", "why"),
    [pytest.param((make, arguments), why, id=f"{kind}: {name}") for kind, name, make, arguments, why in CASES],
)
def test_the_policys_word_holds_and_the_exchange_ends(
    detector: Any, why: str, on_timeout: str, text: str, status: int
) -> None:
    make, arguments = detector

    async def test() -> None:
        async with make(*arguments) as guard:
            hurried = {**guard, "timeout_s": 0.1} if why == "timeout" else guard
            (passage,) = await passages(unsure(hurried, on_timeout), text)
        holds(passage, status, why)

    run(test())


# ---- the model in this process -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_timeout", "text", "status"), WORDS, ids=["deny", "allow", "tier1-finds", "tier1-passes"])
class TestOnnx:
    def test_a_score_that_is_none(self, tmp_path: Path, on_timeout: str, text: str, status: int) -> None:
        guard = write_model(tmp_path, weight=math.nan)

        async def test() -> None:
            (passage,) = await passages(unsure(guard, on_timeout), text)
            holds(passage, status, "garbage")

        run(test())

    def test_a_model_that_takes_too_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_timeout: str, text: str, status: int
    ) -> None:
        released = threading.Event()

        def score(_model: object, _text: str) -> float:
            released.wait(30)
            return 0.0

        policy = unsure({**write_model(tmp_path), "timeout_s": 0.1}, on_timeout)

        async def test() -> None:
            monkeypatch.setattr("extproc.runtime.detectors.onnx_model._Model._try", lambda _model: None)
            monkeypatch.setattr("extproc.runtime.detectors.onnx_model._Model.score", score)
            try:
                (passage,) = await passages(policy, text)
            finally:
                released.set()
            holds(passage, status, "timeout")

        run(test())

    def test_a_bug(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, on_timeout: str, text: str, status: int
    ) -> None:
        def score(_model: object, _text: str) -> float:
            raise ValueError("secret words")

        policy = unsure(write_model(tmp_path), on_timeout)

        async def test() -> None:
            monkeypatch.setattr("extproc.runtime.detectors.onnx_model._Model._try", lambda _model: None)
            monkeypatch.setattr("extproc.runtime.detectors.onnx_model._Model.score", score)
            (passage,) = await passages(policy, text)
            holds(passage, status, "error")

        run(test())
        assert "detector guard: ValueError at " in caplog.text
        assert "secret words" not in caplog.text


def test_a_detector_that_is_slow_does_not_hold_up_the_exchanges_of_others() -> None:
    async def test() -> None:
        release = asyncio.Event()

        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(ok(guard_says("safe")))
            await writer.drain()

        async with http_case("chat", talk) as guard:
            policy = unsure(guard, "deny")
            slow = asyncio.create_task(passages(policy, LIKELY))
            (quick,) = await passages(policy, "hello")
            assert not slow.done()
            release.set()
            (late,) = await slow
        assert (quick.record.second_opinions, late.record.second_opinions) == ([], ["guard:cleared"])

    run(test())
