"""One place, one decision: what is found, what is dead, what cannot be told yet."""

from __future__ import annotations

from extproc.detectors.checks import Check, anything
from extproc.detectors.matcher import PATIENCE, Found, Matcher, Outcome, Pending, Rule, Step


def step(chars: str, least: int, most: int) -> Step:
    return Step(f"[{chars}]", least, most)


def ends(_text: str, at: int, _final: bool) -> tuple[int, bool]:
    return at, True


def rule(
    *literals: str,
    name: str = "r",
    lead: tuple[Step, ...] = (),
    body: tuple[Step, ...] = (step("a-zA-Z0-9", 8, 8 + PATIENCE),),
    until: tuple[str, ...] = (),
    check: Check = anything,
) -> Rule:
    return Rule(name, literals, lead, body, until, check, ends)


def decide(rule: Rule, text: str, final: bool = False) -> tuple[int, int, int] | Pending | None:
    """Where the rule finds something, ``(start, end, decided)``, or what it says instead."""
    outcome = rule.decide(text, 0, len(rule.literals[0]), final)
    if isinstance(outcome, Found):
        assert outcome.rule is rule
        return outcome.start, outcome.end, outcome.decided
    return outcome


def test_a_step_is_compiled_when_it_is_first_used() -> None:
    digits = step("0-9", 1, 3)
    assert digits.end("12345", 0) == 3
    assert digits.end("a12345", 1) == 4
    assert digits.end("abc", 1) == 1


def test_a_body_commits_at_its_least_length_whatever_follows() -> None:
    assert decide(rule("k_"), "k_abcdefgh") == (0, 10, 10)
    assert decide(rule("k_"), "k_abcdefghijk etc") == (0, 10, 10)


def test_a_body_that_is_too_short_is_pending_until_something_ends_it() -> None:
    assert decide(rule("k_"), "k_abcdefg") == Pending(0, begun=True)
    assert decide(rule("k_"), "k_") == Pending(0, begun=False)
    assert decide(rule("k_"), "k_abcdefg ") is None
    assert decide(rule("k_"), "k_abcdefg", final=True) is None


def test_a_failing_check_is_asked_again_further_on_and_where_the_run_ends() -> None:
    checked = rule("k_", check=lambda body: "1" in body)
    assert decide(checked, "k_aaaaaaaa1bcdefg") == (0, 14, 14)
    assert decide(checked, "k_aaaaaaaa1b") == Pending(0, begun=True)
    assert decide(checked, "k_aaaaaaaa1b ") == (0, 12, 13)
    assert decide(checked, "k_aaaaaaaa1b", final=True) == (0, 12, 13)


def test_a_check_that_keeps_failing_is_believed_in_the_end() -> None:
    assert decide(rule("k_", check=lambda body: "1" in body), "k_" + "a" * (8 + PATIENCE - 1)) == Pending(0, True)
    assert decide(rule("k_", check=lambda body: "1" in body), "k_" + "a" * (8 + PATIENCE)) is None


def test_a_lead_stays_in_the_text() -> None:
    led = rule("k", lead=(step(" =", 1, 3),))
    assert decide(led, "k = abcdefgh") == (4, 12, 12)
    assert decide(led, "k ") == Pending(2, begun=False)
    assert decide(led, "k = ab") == Pending(4, begun=True)
    assert decide(led, "kabcdefgh ") is None


def test_all_steps_of_a_body_are_hidden() -> None:
    body = (step("0-9", 2, 4), step("-", 1, 1), step("a-z", 3, 3 + PATIENCE))
    assert decide(rule("k", body=body), "k12-abc") == (0, 7, 7)
    assert decide(rule("k", body=body), "k12345-abc") is None
    assert decide(rule("k", body=body), "k1-") is None


def test_what_must_follow_stays_and_is_waited_for() -> None:
    closed = rule("k", body=(step("a-z", 2, 6),), until=("@", "::"))
    assert decide(closed, "kabc@") == (0, 4, 5)
    assert decide(closed, "kabc::") == (0, 4, 6)
    assert decide(closed, "kabc") == Pending(0, begun=True)
    assert decide(closed, "kabc:") == Pending(0, begun=True)
    assert decide(closed, "kabc:", final=True) is None
    assert decide(closed, "kabc:x") is None
    assert decide(closed, "ka@") is None
    assert decide(closed, "kabcdefg@") is None


def judge(matcher: Matcher, text: str, final: bool = False) -> str | Pending | None:
    """What is at the first place of the text: the id of the rule that finds something, or what is said instead."""
    place, kind = matcher.places(text).seek(1)
    assert place < len(text)
    outcome: Outcome = matcher.decide(text, place, kind, final)
    return outcome.rule.id if isinstance(outcome, Found) else outcome


def test_of_several_rules_the_one_that_needs_least_text_wins() -> None:
    short = rule("sk-", name="short", body=(step("a-z-", 12, 12 + PATIENCE),))
    long = rule("sk-proj-", name="long", body=(step("a-z-", 4, 4 + PATIENCE),))
    assert judge(Matcher([short, long]), " sk-proj-abcdefghij") == "long"
    assert judge(Matcher([short, long]), " sk-live-abcdefghij") == "short"
    assert judge(Matcher([long, short]), " sk-proj-abc") == Pending(1, begun=True)


def test_of_equals_the_first_in_the_pack_wins() -> None:
    assert judge(Matcher([rule("k_", name="one"), rule("k_", name="two")]), " k_abcdefgh") == "one"


def test_a_shorter_literal_waits_for_the_longer_one_only_while_it_may_come() -> None:
    matcher = Matcher([rule("k_", body=(step("0-9", 2, 2 + PATIENCE),)), rule("k_live_")])
    assert judge(matcher, " k_li") == Pending(1, begun=False)
    assert judge(matcher, " k_li", final=True) is None
    assert judge(matcher, " k_lix") is None
    assert judge(matcher, " k_12") == "r"


def test_a_pending_rule_outlives_a_dead_one() -> None:
    digits = rule("k_", name="digits", body=(step("0-9", 4, 4 + PATIENCE),))
    letters = rule("k_", name="letters", body=(step("a-z", 4, 4 + PATIENCE),))
    assert judge(Matcher([digits, letters]), " k_ab") == Pending(1, begun=True)
    assert judge(Matcher([digits, letters]), " k_ab ") is None


def test_a_literal_begun_is_pending_and_hides_only_if_it_is_a_part_of_its_secret() -> None:
    led = rule("key", name="led", lead=(step(" =", 1, 3),))
    assert judge(Matcher([rule("k_live_")]), " k_li") == Pending(1, begun=False)
    assert judge(Matcher([rule("k_live_")]), " k_liv") == Pending(1, begun=False)
    assert judge(Matcher([led]), " ke") == Pending(3, begun=False)
    assert judge(Matcher([led, rule("ke_")]), " ke") == Pending(1, begun=False)
    assert judge(Matcher([rule("keyword", lead=(step(" ", 1, 1),))]), " keywo") == Pending(6, begun=False)
    assert judge(Matcher([rule("keyword")]), " keywo", final=True) is None


def test_a_place_where_nothing_stands_is_none() -> None:
    assert Matcher([rule("key_")]).decide(" nothing", 1, 0, False) is None
