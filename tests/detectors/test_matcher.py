"""One place, one decision: what is found, what is dead, what cannot be told yet."""

from __future__ import annotations

import re

import pytest

from extproc.detectors.checks import Check, anything
from extproc.detectors.matcher import PATIENCE, Found, Matcher, Open, Rule, Step


def step(chars: str, least: int, most: int) -> Step:
    return Step(re.compile(f"[{chars}]{{0,{most}}}").match, least)


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


def decide(rule: Rule, text: str, final: bool = False) -> Found | Open:
    return rule.decide(text, 0, len(rule.literals[0]), final)


def test_a_body_commits_at_its_least_length_whatever_follows() -> None:
    assert decide(rule("k_"), "k_abcdefgh") == Found(0, 10, 10)
    assert decide(rule("k_"), "k_abcdefghijk etc") == Found(0, 10, 10)


def test_a_body_that_is_too_short_is_pending_until_something_ends_it() -> None:
    assert decide(rule("k_"), "k_abcdefg") is Open.PENDING
    assert decide(rule("k_"), "k_abcdefg ") is Open.DEAD
    assert decide(rule("k_"), "k_abcdefg", final=True) is Open.DEAD


def test_a_failing_check_is_asked_again_further_on_and_where_the_run_ends() -> None:
    checked = rule("k_", check=lambda body: "1" in body)
    assert decide(checked, "k_aaaaaaaa1bcdefg") == Found(0, 14, 14)
    assert decide(checked, "k_aaaaaaaa1b") is Open.PENDING
    assert decide(checked, "k_aaaaaaaa1b ") == Found(0, 12, 13)
    assert decide(checked, "k_aaaaaaaa1b", final=True) == Found(0, 12, 13)


def test_a_check_that_keeps_failing_is_believed_in_the_end() -> None:
    assert decide(rule("k_", check=lambda body: "1" in body), "k_" + "a" * (8 + PATIENCE - 1)) is Open.PENDING
    assert decide(rule("k_", check=lambda body: "1" in body), "k_" + "a" * (8 + PATIENCE)) is Open.DEAD


def test_a_lead_stays_in_the_text() -> None:
    led = rule("k", lead=(step(" =", 1, 3),))
    assert decide(led, "k = abcdefgh") == Found(4, 12, 12)
    assert decide(led, "k ") is Open.PENDING
    assert decide(led, "kabcdefgh ") is Open.DEAD


def test_all_steps_of_a_body_are_hidden() -> None:
    body = (step("0-9", 2, 4), step("-", 1, 1), step("a-z", 3, 3 + PATIENCE))
    assert decide(rule("k", body=body), "k12-abc") == Found(0, 7, 7)
    assert decide(rule("k", body=body), "k12345-abc") is Open.DEAD
    assert decide(rule("k", body=body), "k1-") is Open.DEAD


def test_what_must_follow_stays_and_is_waited_for() -> None:
    closed = rule("k", body=(step("a-z", 2, 6),), until=("@", "::"))
    assert decide(closed, "kabc@") == Found(0, 4, 5)
    assert decide(closed, "kabc::") == Found(0, 4, 6)
    assert decide(closed, "kabc") is Open.PENDING
    assert decide(closed, "kabc:") is Open.PENDING
    assert decide(closed, "kabc:", final=True) is Open.DEAD
    assert decide(closed, "kabc:x") is Open.DEAD
    assert decide(closed, "ka@") is Open.DEAD
    assert decide(closed, "kabcdefg@") is Open.DEAD


def places(matcher: Matcher, text: str) -> list[int]:
    found, hit = [], matcher.search(text)
    while hit:
        found.append(hit.start(1))
        hit = matcher.after(text, hit)
    return found


@pytest.mark.parametrize(
    "before", [" ", "\n", '"', "=", "_", "-", "é", "\\n", "\\t", "\\\\n", "%3D", "%20", "\\x3d", "\\u003d", "/"]
)
def test_a_literal_is_found_behind_anything_that_is_no_letter_or_digit(before: str) -> None:
    assert places(Matcher([rule("key_")]), f" {before}key_") == [1 + len(before)]


@pytest.mark.parametrize("before", ["a", "Z", "7", "n", "\\q", "3D", "%G1", "\\u3d"])
def test_a_literal_within_a_word_is_not_a_place(before: str) -> None:
    assert places(Matcher([rule("key_")]), f" {before}key_ ") == []


def test_an_escape_may_guard_two_places() -> None:
    assert places(Matcher([rule("npm_"), rule("pm_")]), " \\npm_") == [2, 3]


def test_the_search_goes_on_behind_a_dead_place_even_within_it() -> None:
    assert places(Matcher([rule("key_")]), " key_key_ -key_") == [1, 5, 11]


def test_a_literal_begun_where_the_text_ends_is_a_place() -> None:
    matcher = Matcher([rule("key_")])
    assert places(matcher, " ke") == [1]
    assert places(matcher, " ke ") == []


def judge(matcher: Matcher, text: str, final: bool = False) -> str | Open:
    hit = matcher.search(text)
    assert hit is not None
    outcome = matcher.decide(text, hit, final)
    return outcome if isinstance(outcome, Open) else outcome[0].id


def test_of_several_rules_the_one_that_needs_least_text_wins() -> None:
    short = rule("sk-", name="short", body=(step("a-z-", 12, 12 + PATIENCE),))
    long = rule("sk-proj-", name="long", body=(step("a-z-", 4, 4 + PATIENCE),))
    assert judge(Matcher([short, long]), " sk-proj-abcdefghij") == "long"
    assert judge(Matcher([short, long]), " sk-live-abcdefghij") == "short"
    assert judge(Matcher([long, short]), " sk-proj-abc") is Open.PENDING


def test_of_equals_the_first_in_the_pack_wins() -> None:
    assert judge(Matcher([rule("k_", name="one"), rule("k_", name="two")]), " k_abcdefgh") == "one"


def test_a_shorter_literal_waits_for_the_longer_one_only_while_it_may_come() -> None:
    matcher = Matcher([rule("k_", body=(step("0-9", 2, 2 + PATIENCE),)), rule("k_live_")])
    assert judge(matcher, " k_li") is Open.PENDING
    assert judge(matcher, " k_li", final=True) is Open.DEAD
    assert judge(matcher, " k_lix") is Open.DEAD
    assert judge(matcher, " k_12") == "r"


def test_a_pending_rule_outlives_a_dead_one() -> None:
    digits = rule("k_", name="digits", body=(step("0-9", 4, 4 + PATIENCE),))
    letters = rule("k_", name="letters", body=(step("a-z", 4, 4 + PATIENCE),))
    assert judge(Matcher([digits, letters]), " k_ab") is Open.PENDING
    assert judge(Matcher([digits, letters]), " k_ab ") is Open.DEAD
