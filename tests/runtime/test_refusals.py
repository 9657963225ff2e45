"""The memory of refusals: who is in it, for how long, and what one exchange adds to it."""

from __future__ import annotations

from extproc.policy.decision import Action, Finding
from extproc.policy.retries import Retries
from extproc.runtime.refusals import Refusals, Visit
from tests.support.retries import retries_policy

REFUSED = (Finding("injection", "attack", "user", Action.DENY),)
CLOSE = (Finding("retries", "too_many_refusals", "user", Action.DENY),)


def _retries() -> Retries:
    retries = retries_policy().retries
    assert retries is not None
    return retries


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _refuse(memory: Refusals, consumer: str, clock: Clock, findings: tuple[Finding, ...] = REFUSED) -> bool:
    """One exchange of this consumer; say whether it met the cooldown."""
    visit = Visit(memory, _retries(), clock)
    cooling = visit.cooling(consumer)
    visit.over(findings)
    return cooling


def test_it_remembers_the_last_refusals_of_each_consumer() -> None:
    memory = Refusals()
    alice, bob = memory.fingerprint("alice"), memory.fingerprint("bob")
    for now in (1.0, 2.0, 3.0):
        memory.add(alice, now, keep=2)
    assert (memory.times(alice), memory.times(bob), len(memory)) == ((2.0, 3.0), (), 1)


def test_whoever_was_refused_longest_ago_is_forgotten_first() -> None:
    memory = Refusals(consumers_max=2)
    alice, bob, carol = map(memory.fingerprint, ("alice", "bob", "carol"))
    for now, consumer in enumerate((alice, bob, alice, carol)):
        memory.add(consumer, float(now), keep=3)
    assert (memory.times(alice), memory.times(bob), memory.times(carol)) == ((0.0, 2.0), (), (3.0,))
    assert len(memory) == 2


def test_a_fingerprint_means_nothing_to_another_process() -> None:
    memory = Refusals()
    assert memory.fingerprint("alice") == memory.fingerprint("alice")
    assert memory.fingerprint("alice") != memory.fingerprint("alicf")
    assert memory.fingerprint("alice") != Refusals().fingerprint("alice")
    assert b"alice" not in memory.fingerprint("alice")
    assert len(memory.fingerprint("\udcff" * 10_000)) == 16


def test_after_enough_refusals_a_consumer_cools_down_and_no_other_does() -> None:
    memory, clock = Refusals(), Clock()
    assert [_refuse(memory, "alice", clock) for _ in range(3)] == [False, False, True]
    assert not _refuse(memory, "bob", clock)


def test_refusals_for_the_cooldown_do_not_prolong_it_but_those_of_rules_do() -> None:
    memory, clock = Refusals(), Clock()
    _refuse(memory, "alice", clock)
    _refuse(memory, "alice", clock)
    clock.now += 49
    assert _refuse(memory, "alice", clock, CLOSE)
    clock.now += 1
    assert not _refuse(memory, "alice", clock, CLOSE)
    clock.now += 40  # the window still holds one
    _refuse(memory, "alice", clock)
    assert _refuse(memory, "alice", clock, ())


def test_a_window_that_is_over_is_over() -> None:
    memory, clock = Refusals(), Clock()
    _refuse(memory, "alice", clock)
    clock.now += 101
    _refuse(memory, "alice", clock)
    assert not _refuse(memory, "alice", clock, ())


def test_nobody_is_remembered_by_no_name_nor_without_a_policy_for_it() -> None:
    memory, clock = Refusals(), Clock()
    assert [_refuse(memory, "", clock) for _ in range(4)] == [False] * 4
    visit = Visit(memory, None, clock)
    assert not visit.cooling("alice")
    visit.over(REFUSED)
    unasked = Visit(memory, _retries(), clock)  # it ended before a verdict
    unasked.over(REFUSED)
    assert len(memory) == 0
