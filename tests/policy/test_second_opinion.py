"""What a second opinion, or none, makes of what a rule found."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from extproc.chat import ChatRequest, Text
from extproc.dialects.base import Dialect
from extproc.messages import Opinion, Question
from extproc.policy import engine
from extproc.policy.decision import Action, Decision
from extproc.policy.engine import Pending
from tests.support.policies import MODEL
from tests.support.second_opinions import CHAT, CLEAN, LIKELY, SURE, UNLIKELY, document, unsure

NO_ANSWERS = [Opinion(skipped="timeout"), Opinion(), Opinion(skipped="no such word"), None]
NO_SCORES = [math.nan, math.inf, -0.1, 1.5]


def user(*texts: str, scope: str = "user") -> tuple[Text, ...]:
    return tuple(Text(scope, text, ("messages", at, "content"), at) for at, text in enumerate(texts))


def judge(policy: Any, *texts: Text) -> Decision | Pending:
    request = ChatRequest("openai.chat", MODEL, False, {}, texts)
    return engine.judge_request(policy, request, cast("Dialect", None), "d1")


def pending(policy: Any, *texts: Text) -> Pending:
    judged = judge(policy, *texts)
    assert isinstance(judged, Pending)
    return judged


def asked(policy: Any, *texts: Text) -> list[str]:
    return [question.text for question in pending(policy, *texts).questions]


class TestWhoIsAsked:
    def test_above_the_band_tier_1_denies_without_asking(self) -> None:
        judged = judge(unsure(), *user(SURE))
        assert isinstance(judged, Decision)
        assert (judged.action, judged.denial is not None) == (Action.DENY, True)

    def test_below_it_a_text_passes(self) -> None:
        judged = judge(unsure(), *user(CLEAN))
        assert isinstance(judged, Decision)
        assert (judged.action, judged.not_inspected, judged.second_opinions) == (Action.ALLOW, (), ())

    def test_in_it_and_at_its_ends_it_is_asked_about(self) -> None:
        policy = unsure()
        for text in (LIKELY, UNLIKELY, "[0.25]", "[0.75]"):
            assert pending(policy, *user(text)).questions == (Question("guard", "user", text),)

    def test_what_is_refused_anyway_asks_nobody_and_says_so(self) -> None:
        judged = judge(unsure(), *user(SURE), *user(LIKELY, scope="document"))
        assert isinstance(judged, Decision)
        assert judged.second_opinions == ("guard:not_asked",)
        assert judged.not_inspected == ()

    def test_one_consult_has_all_questions_of_a_request_each_once(self) -> None:
        texts = (*user(UNLIKELY), *user(UNLIKELY + " a", UNLIKELY, scope="document"))
        questions = pending(unsure(), *texts).questions
        assert [(each.scope, each.text) for each in questions] == [
            ("user", UNLIKELY), ("document", UNLIKELY + " a"), ("document", UNLIKELY),
        ]  # fmt: skip

    def test_a_request_asks_no_more_than_it_may_and_the_most_suspicious_first(self) -> None:
        policy = unsure({**CHAT, "per_request": 2})
        first = pending(policy, *user("[0.3]", "[0.7]", "[0.5]", scope="document"))
        assert [question.text for question in first.questions] == ["[0.7]", "[0.5]"]
        decision = engine.conclude(first, [Opinion(0.0), Opinion(0.0)])
        assert decision.not_inspected == ("tier2:guard",)
        assert sorted(decision.second_opinions) == ["guard:cleared", "guard:cleared", "guard:skipped:too_many"]

    def test_neighbouring_user_texts_are_asked_about_together_too(self) -> None:
        assert asked(unsure(), *user(UNLIKELY, CLEAN)) == [UNLIKELY, f"{UNLIKELY}\n{CLEAN}"]

    def test_what_only_comes_about_where_texts_meet_is_asked_about(self) -> None:
        parts = tuple(Text("document", text, ("d", at), 0) for at, text in enumerate(("[0.", "6]")))
        first = pending(unsure(), *parts)
        assert [question.text for question in first.questions] == [LIKELY]
        assert engine.conclude(first, [Opinion(0.9)]).action is Action.DENY
        assert engine.conclude(first, [Opinion(0.1)]).action is Action.ALLOW


class TestWhatAnAnswerDoes:
    @pytest.mark.parametrize("text", [LIKELY, UNLIKELY])
    def test_at_its_threshold_the_finding_stands_whatever_tier_1_says(self, text: str) -> None:
        decision = engine.conclude(pending(unsure(), *user(text)), [Opinion(0.5)])
        (found,) = decision.findings
        assert (found.rule, found.match, found.score) == ("injection", "second_opinion", 0.5)
        assert (found.start, found.end, found.path) == (0, len(text), ("messages", 0, "content"))
        assert decision.denial is not None
        assert (decision.denial.rule, decision.denial.status) == ("injection", 403)
        assert decision.second_opinions == ("guard:confirmed",)

    @pytest.mark.parametrize("text", [LIKELY, UNLIKELY])
    def test_below_it_there_is_none_whatever_tier_1_says(self, text: str) -> None:
        decision = engine.conclude(pending(unsure(), *user(text)), [Opinion(0.49)])
        assert (decision.action, decision.findings, decision.not_inspected) == (Action.ALLOW, (), ())
        assert decision.second_opinions == ("guard:cleared",)
        assert decision.injection_score == float(text.strip("[]"))

    def test_the_threshold_is_the_detectors_own(self) -> None:
        first = pending(unsure({**CHAT, "threshold": 0.9}), *user(LIKELY))
        assert engine.conclude(first, [Opinion(0.89)]).action is Action.ALLOW
        assert engine.conclude(first, [Opinion(0.9)]).action is Action.DENY

    def test_answers_belong_to_the_questions_in_their_order(self) -> None:
        first = pending(unsure(), *user("a [0.6]", "b [0.5]", scope="document"))
        decision = engine.conclude(first, [Opinion(0.0), Opinion(1.0)])
        assert [found.path for found in decision.findings] == [("messages", 1, "content")]


class TestNoAnswer:
    @pytest.mark.parametrize("opinion", [*NO_ANSWERS, *map(Opinion, NO_SCORES)], ids=str)
    @pytest.mark.parametrize("text", [LIKELY, UNLIKELY])
    @pytest.mark.parametrize("on_timeout", ["deny", "allow", "tier1"])
    def test_the_policys_word_holds_and_is_said(self, on_timeout: str, text: str, opinion: Opinion | None) -> None:
        answers = [] if opinion is None else [opinion]
        decision = engine.conclude(pending(unsure(on_timeout=on_timeout), *user(text)), answers)
        found = {"deny": ["second_opinion_missing"], "allow": [], "tier1": ["score"] if text == LIKELY else []}
        assert [each.match for each in decision.findings] == found[on_timeout]
        assert (decision.denial is not None) == bool(found[on_timeout])
        assert decision.not_inspected == ("tier2:guard",)
        (said,) = decision.second_opinions
        assert said.startswith("guard:skipped:")

    def test_deny_refuses_as_a_failure_of_ours_and_names_the_rule(self) -> None:
        decision = engine.conclude(pending(unsure(on_timeout="deny"), *user(UNLIKELY)), [])
        assert decision.denial is not None
        assert (decision.denial.rule, decision.denial.status, decision.denial.code) == (
            "injection", 500, "policy_error",
        )  # fmt: skip

    @pytest.mark.parametrize("where", ["rule", "policy"])
    @pytest.mark.parametrize("on_timeout", ["deny", "allow", "tier1"])
    def test_monitor_mode_asks_records_and_refuses_nothing(self, on_timeout: str, where: str) -> None:
        spec: dict[str, Any] = {"rule": {"mode": "monitor"}} if where == "rule" else {"mode": "monitor"}
        first = pending(unsure(on_timeout=on_timeout, **spec), *user(LIKELY))
        for opinion in (Opinion(1.0), Opinion(skipped="timeout")):
            decision = engine.conclude(first, [opinion])
            assert decision.denial is None
            assert all(found.monitored for found in decision.findings)


def test_a_rule_that_flags_flags_what_is_confirmed() -> None:
    first = pending(unsure(rule={"action": "flag"}), *user(UNLIKELY))
    assert engine.conclude(first, [Opinion(1.0)]).action is Action.FLAG


def test_a_single_text_is_judged_by_tier_1_alone() -> None:
    judged = engine.judge_text(unsure(), "user", LIKELY)
    assert [found.match for found in judged.findings] == ["score"]


def test_concluding_again_gives_the_same_decision() -> None:
    first = pending(unsure(), *user(LIKELY, UNLIKELY))
    answers = [Opinion(0.2), Opinion(0.7), Opinion(skipped="timeout")]
    assert engine.conclude(first, answers) == engine.conclude(first, answers)


def test_the_document_of_these_tests_is_one_of_a_policy() -> None:
    assert document()["spec"]["rules"][0]["second_opinion"]["from"] == "guard"
