"""Asking external detectors: deadlines, budgets, and what is remembered of their answers.

What lives here: everything that is the same for all kinds. What must not: how one is asked (detectors), what an answer
means (``policy.second_opinion``).

An answer comes within the detector's ``timeout_s``, waiting included, or there is none: whoever asks never hangs. What
is remembered is a score under a keyed fingerprint of the text, never the text; the key is this process's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from extproc.messages import Opinion, Question
from extproc.policy.external import ExternalDetector
from extproc.runtime.detectors import Client, DetectorError, Unanswered, connect
from extproc.runtime.metrics import Metrics


class Consultant:
    """Asks the external detectors of policies, for one process. Lives in one event loop.

    ``on_bug`` hears of a detector that fails as none should, with its name and the error.
    """

    def __init__(
        self,
        metrics: Metrics,
        on_bug: Callable[[str, BaseException], object] = lambda _name, _error: None,
        connect: Callable[[ExternalDetector], Client] = connect,
    ) -> None:
        self._metrics: Final = metrics
        self._on_bug: Final = on_bug
        self._connect: Final = connect
        self._desks: dict[str, _Desk] = {}
        self._leaving: dict[str, _Desk] = {}  # of the policy before: exchanges under way still ask them
        self._background: Final[set[asyncio.Task[None]]] = set()

    async def start(self, external: Mapping[str, ExternalDetector]) -> None:
        """Have the detectors of the first policy ready.

        Raises:
            DetectorError: one of them cannot work; says which.
        """
        for name, document in external.items():
            try:
                await self._desk(name, document).client.start()
            except DetectorError as error:
                raise DetectorError(error.field, f"spec.detectors.{name}.{error.field}: {error}") from None

    def use(self, external: Mapping[str, ExternalDetector]) -> None:
        """Another policy is in force: get its detectors ready beside, and let go of those of two policies ago."""
        wanted = {_key(name, document) for name, document in external.items()}
        known = self._desks
        gone = [desk for key, desk in self._leaving.items() if key not in wanted]
        kept = {key: desk for key, desk in (self._leaving | known).items() if key in wanted}
        self._leaving = {key: desk for key, desk in known.items() if key not in wanted}
        self._desks = kept
        for desk in gone:
            self._beside(desk.client.close())
        for name, document in external.items():
            self._beside(self._ready(name, document))

    async def ask(self, external: Mapping[str, ExternalDetector], questions: Sequence[Question]) -> tuple[Opinion, ...]:
        """Ask all of them at once; an Opinion for each, in order. Takes no longer than the slowest ``timeout_s``."""
        desks = (self._desk(question.detector, external[question.detector]) for question in questions)
        asked = [desk.ask(question) for desk, question in zip(desks, questions, strict=True)]
        return tuple(await asyncio.gather(*asked))

    async def close(self) -> None:
        """Let go of everything."""
        for task in self._background:
            task.cancel()
        for desk in (*self._desks.values(), *self._leaving.values()):
            await desk.client.close()

    def _desk(self, name: str, document: ExternalDetector) -> _Desk:
        key = _key(name, document)
        desk = self._desks.get(key) or self._leaving.get(key)
        if desk is None:
            desk = self._desks[key] = _Desk(name, document, self._connect(document), self._metrics, self._on_bug)
        return desk

    async def _ready(self, name: str, document: ExternalDetector) -> None:
        try:
            await self._desk(name, document).client.start()
        except Exception as error:  # its questions are skipped, and say so
            self._on_bug(name, error)

    def _beside(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _key(name: str, document: ExternalDetector) -> str:
    return f"{name} {document.model_dump_json()}"


class _Desk:
    """One external detector: who waits for it, and what it said before."""

    def __init__(
        self,
        name: str,
        document: ExternalDetector,
        client: Client,
        metrics: Metrics,
        on_bug: Callable[[str, BaseException], object],
    ) -> None:
        self.client: Final = client
        self._name: Final = name
        self._document: Final = document
        self._metrics: Final = metrics
        self._on_bug: Final = on_bug
        self._slots: Final = asyncio.Semaphore(document.concurrency)
        self._under_way = 0
        self._answers: Final = _Remembered(document.cache)

    async def ask(self, question: Question) -> Opinion:
        """Ask, unless the answer is known or there is no room for the question. Never raises."""
        document = self._document
        known = self._answers.get(question)
        if known is not None:
            self._metrics.second_opinion(self._name, "cached")
            return Opinion(known)
        if len(question.text) > document.max_chars:
            return self._skipped("too_long")
        if self._under_way >= document.budget:
            return self._skipped("over_budget")
        self._under_way += 1
        self._metrics.second_opinion(self._name, "asked")
        try:
            async with asyncio.timeout(document.timeout_s), self._slots:
                score = await self.client.ask(question.scope, question.text)
        except TimeoutError:
            return self._skipped("timeout")
        except Unanswered as unanswered:
            return self._skipped(unanswered.why)
        except Exception as error:
            self._on_bug(self._name, error)
            return self._skipped("error")
        finally:
            self._under_way -= 1
        if not 0 <= score <= 1:  # NaN is not between them
            return self._skipped("garbage")
        self._metrics.second_opinion(self._name, "answered")
        self._answers.put(question, score)
        return Opinion(score)

    def _skipped(self, why: str) -> Opinion:
        self._metrics.second_opinion_skipped(self._name, why)
        return Opinion(skipped=why)


class _Remembered:
    """The last scores, by keyed fingerprints of what was asked."""

    def __init__(self, count_max: int) -> None:
        self._count_max: Final = count_max
        self._key: Final = secrets.token_bytes(32)
        self._scores: Final[OrderedDict[bytes, float]] = OrderedDict()

    def get(self, question: Question) -> float | None:
        fingerprint = self._fingerprint(question)
        score = self._scores.get(fingerprint)
        if score is not None:
            self._scores.move_to_end(fingerprint)
        return score

    def put(self, question: Question, score: float) -> None:
        self._scores[self._fingerprint(question)] = score
        while len(self._scores) > self._count_max:
            self._scores.popitem(last=False)

    def _fingerprint(self, question: Question) -> bytes:
        said = f"{question.scope}\0{question.text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()
