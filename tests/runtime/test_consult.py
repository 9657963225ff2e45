"""Asking external detectors: deadlines, budgets, what is remembered, and whose clients live how long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from extproc.messages import Opinion, Question
from extproc.policy.external import ChatDetector, ExternalDetector
from extproc.runtime.consult import Consultant
from extproc.runtime.detectors import DetectorError, Unanswered
from extproc.runtime.metrics import Metrics
from tests.runtime.transports.streams import run
from tests.support.second_opinions import CHAT

NEVER_S: Final = 60.0


class Client:
    """Answers with what ``answer`` makes of a text; remembers what it was asked and whether it was closed."""

    def __init__(self, answer: Callable[[str], Awaitable[float]]) -> None:
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self.started = self.closed = 0
        self.cannot_start: Exception | None = None
        self._answer = answer

    async def start(self) -> None:
        self.started += 1
        if self.cannot_start is not None:
            raise self.cannot_start

    async def ask(self, _scope: str, text: str) -> float:
        self.asked.append(text)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self._answer(text)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed += 1


async def at_once(_text: str) -> float:
    return 0.25


async def never(_text: str) -> float:
    await asyncio.Event().wait()
    return 0.0


def section(**fields: Any) -> dict[str, ExternalDetector]:
    return {"guard": ChatDetector.model_validate({**CHAT, "timeout_s": NEVER_S, **fields})}


def questions(*texts: str) -> list[Question]:
    return [Question("guard", "user", text) for text in texts]


def consultant(client: Client, **options: Any) -> tuple[Consultant, Metrics]:
    metrics = Metrics()
    return Consultant(metrics, connect=lambda _document: client, **options), metrics


def counted(metrics: Metrics, sample: str) -> bool:
    return f"sluicegate_{sample}\n".encode() in metrics.render()


def test_answers_come_in_the_order_of_their_questions() -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def answer(text: str) -> float:
        await gates[text].wait()
        gates["a"].set()
        return {"a": 0.1, "b": 0.2}[text]

    async def test() -> None:
        asking, _ = consultant(Client(answer))
        gates["b"].set()  # the second is answered first
        assert await asking.ask(section(), questions("a", "b")) == (Opinion(0.1), Opinion(0.2))

    run(test())


def test_no_more_are_asked_at_a_time_than_the_policy_says_and_the_others_wait() -> None:
    async def answer(_text: str) -> float:
        await asyncio.sleep(0)
        return 0.25

    async def test() -> None:
        client = Client(answer)
        asking, _ = consultant(client)
        opinions = await asking.ask(section(concurrency=3), questions(*map(str, range(20))))
        assert opinions == (Opinion(0.25),) * 20
        assert client.most == 3

    run(test())


def test_over_the_budget_nobody_is_asked() -> None:
    async def test() -> None:
        client = Client(never)
        asking, metrics = consultant(client)
        external = section(budget=2, timeout_s=0.05)
        opinions = await asking.ask(external, questions("a", "b", "c"))
        assert [opinion.skipped for opinion in opinions] == ["timeout", "timeout", "over_budget"]
        assert client.asked == ["a", "b"]
        assert counted(metrics, 'second_opinions_skipped_total{detector="guard",why="over_budget"} 1.0')
        assert (await asking.ask(external, questions("d")))[0].skipped == "timeout"  # there is room again

    run(test())


def test_waiting_for_a_turn_counts_towards_the_deadline() -> None:
    async def test() -> None:
        client = Client(never)
        asking, _ = consultant(client)
        opinions = await asking.ask(section(concurrency=1, timeout_s=0.05), questions("a", "b"))
        assert [opinion.skipped for opinion in opinions] == ["timeout", "timeout"]
        assert client.most == 1

    run(test())


def test_who_stops_waiting_makes_room() -> None:
    async def test() -> None:
        client = Client(never)
        asking, _ = consultant(client)
        external = section(budget=1)
        waiting = asyncio.create_task(asking.ask(external, questions("a")))
        while not client.asked:  # noqa: ASYNC110 - it is asked in this very loop
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert client.under_way == 0
        assert (await asking.ask(section(budget=1, timeout_s=0.01), questions("b")))[0].skipped == "timeout"

    run(test())


def test_a_text_that_is_too_long_is_not_asked_about() -> None:
    async def test() -> None:
        client = Client(at_once)
        asking, _ = consultant(client)
        opinions = await asking.ask(section(max_chars=3), questions("abc", "abcd"))
        assert opinions == (Opinion(0.25), Opinion(skipped="too_long"))
        assert client.asked == ["abc"]

    run(test())


class TestWhatIsRemembered:
    def asked(self, *texts: str, answer: Callable[[str], Awaitable[float]] = at_once, **fields: Any) -> list[str]:
        client = Client(answer)

        async def test() -> None:
            asking, _ = consultant(client)
            for text in texts:
                await asking.ask(section(**fields), questions(text))

        run(test())
        return client.asked

    def test_what_was_answered_is_not_asked_again(self) -> None:
        assert self.asked("a", "b", "a", "a") == ["a", "b"]

    def test_the_one_that_was_not_used_for_longest_is_forgotten(self) -> None:
        assert self.asked("a", "b", "a", "c", "a", "b", cache=2) == ["a", "b", "c", "b"]

    def test_without_a_cache_nothing_is(self) -> None:
        assert self.asked("a", "a", cache=0) == ["a", "a"]

    def test_what_was_not_answered_is_not(self) -> None:
        async def refuses(_text: str) -> float:
            raise Unanswered("refused")

        assert self.asked("a", "a", answer=refuses) == ["a", "a"]

    def test_no_text_is_kept_only_keyed_fingerprints(self) -> None:
        async def test() -> None:
            kept = []
            for _ in range(2):
                asking, _metrics = consultant(Client(at_once))
                await asking.ask(section(), questions("secret words"))
                (desk,) = asking._desks.values()
                kept += list(desk._answers._scores)
            assert kept[0] != kept[1]
            assert {len(each) for each in kept} == {16}

        run(test())

    def test_scopes_are_told_apart(self) -> None:
        async def test() -> None:
            client = Client(at_once)
            asking, _ = consultant(client)
            await asking.ask(section(), [Question("guard", scope, "a") for scope in ("user", "document")])
            assert client.asked == ["a", "a"]

        run(test())


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.5, 2.0])
def test_a_score_that_is_none_is_no_answer(score: float) -> None:
    async def answer(_text: str) -> float:
        return score

    async def test() -> None:
        asking, metrics = consultant(Client(answer))
        assert await asking.ask(section(), questions("a")) == (Opinion(skipped="garbage"),)
        assert not counted(metrics, 'second_opinions_total{detector="guard",outcome="answered"} 1.0')

    run(test())


def test_a_bug_in_a_client_is_no_answer_and_is_told() -> None:
    told: list[tuple[str, BaseException]] = []

    async def answer(_text: str) -> float:
        raise ZeroDivisionError

    async def test() -> None:
        asking, _ = consultant(Client(answer), on_bug=lambda name, error: told.append((name, error)))
        assert await asking.ask(section(), questions("a")) == (Opinion(skipped="error"),)

    run(test())
    assert [(name, type(error)) for name, error in told] == [("guard", ZeroDivisionError)]


class TestPoliciesThatChange:
    def made(self) -> tuple[Consultant, list[Client], list[str]]:
        clients: list[Client] = []
        told: list[str] = []

        def connect(_document: ExternalDetector) -> Client:
            clients.append(Client(at_once))
            return clients[-1]

        on_bug = lambda name, _error: told.append(name)  # noqa: E731
        return Consultant(Metrics(), on_bug, connect), clients, told

    def test_a_detector_that_stays_keeps_its_client_and_what_it_said(self) -> None:
        async def test() -> None:
            asking, clients, _ = self.made()
            await asking.ask(section(), questions("a"))
            asking.use(section())
            await asking.ask(section(), questions("a"))
            await asking.close()
            (client,) = clients
            assert (client.asked, client.closed) == (["a"], 1)

        run(test())

    def test_exchanges_under_way_may_ask_the_one_before_and_later_it_is_closed(self) -> None:
        async def test() -> None:
            asking, clients, _ = self.made()
            await asking.start(section())
            asking.use(section(threshold=0.9))
            assert await asking.ask(section(), questions("a")) == (Opinion(0.25),)
            assert clients[0].closed == 0
            asking.use(section(threshold=0.8))
            await asyncio.gather(*asking._background)
            assert [(client.started, client.closed) for client in clients] == [(1, 1), (1, 0), (1, 0)]
            await asking.close()

        run(test())

    def test_one_that_cannot_start_is_told_and_the_policy_stays_in_force(self) -> None:
        async def test() -> None:
            asking, clients, told = self.made()
            await asking.ask(section(), questions("a"))
            clients[0].cannot_start = DetectorError("model", "is wrong")
            asking.use(section())
            await asyncio.gather(*asking._background)
            assert told == ["guard"]
            with pytest.raises(DetectorError, match=r"spec\.detectors\.guard\.model: is wrong"):
                await asking.start(section())
            await asking.close()

        run(test())
