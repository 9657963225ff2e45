"""Content that no detector can read."""

from __future__ import annotations

from typing import cast

import pytest

from extproc.chat import UNSEEN, ChatRequest
from extproc.dialects.base import Dialect
from extproc.policy import engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Decision
from extproc.policy.unseen import DEFAULTS
from tests.policy.fakes import policy
from tests.policy.test_engine import StubDialect


def judge(compiled: CompiledPolicy, *kinds: str) -> Decision:
    request = ChatRequest("toy", "good:1", stream=False, document={}, not_inspected=kinds)
    return engine.judge_request(compiled, request, cast("Dialect", StubDialect()), "d1")


@pytest.mark.parametrize("kind", UNSEEN)
def test_every_kind_has_a_default(kind: str) -> None:
    decision = judge(policy(), kind)

    assert decision.action is Action[DEFAULTS[kind].upper()]
    assert decision.not_inspected == (kind,)


@pytest.mark.parametrize("kind", UNSEEN)
@pytest.mark.parametrize("word", ["allow", "flag", "deny"])
def test_a_policy_has_its_own_word_on_every_kind(kind: str, word: str) -> None:
    compiled = policy(not_inspected={kind: word})

    assert judge(compiled, kind).action is Action[word.upper()]
    assert engine.judge_unseen(compiled, kind, "d1").action is Action[word.upper()]


def test_the_policys_default_is_for_the_kinds_that_it_does_not_name() -> None:
    compiled = policy(not_inspected={"default": "deny", "embedding": "flag"})

    assert {kind: action.name for kind, action in compiled.unseen.items()} == {
        **dict.fromkeys(UNSEEN, "DENY"),
        "embedding": "FLAG",
    }


def test_what_is_flagged_passes_with_one_finding_of_its_kind() -> None:
    decision = judge(policy(), "image", "image", "audio")

    assert (decision.action, decision.denial, decision.edits) == (Action.FLAG, None, ())
    assert [(found.rule, found.match, found.action) for found in decision.findings] == [
        ("not_inspected", "image", Action.FLAG),
        ("not_inspected", "audio", Action.FLAG),
    ]
    assert decision.findings[0].owasp == ("LLM01:2025", "LLM01:2026", "LLM02:2025", "LLM02:2026")
    assert decision.not_inspected == ("image", "image", "audio")


def test_what_is_denied_is_refused_by_its_kind() -> None:
    decision = judge(policy(not_inspected={"image": "deny"}), "image", "video", "tokens")

    assert decision.denial is not None
    assert (decision.denial.code, decision.denial.rule) == ("content_not_inspected", "not_inspected")
    assert decision.denial.message == "images and texts as token ids cannot be inspected here"
    assert [found.match for found in decision.findings] == ["image", "video", "tokens"]


def test_a_policy_that_monitors_refuses_nothing() -> None:
    decision = judge(policy(mode="monitor"), "tokens")

    assert (decision.action, decision.denial) == (Action.FLAG, None)
    assert [found.monitored for found in decision.findings] == [True]


def test_an_answers_content_is_judged_alike() -> None:
    compiled = policy(not_inspected={"image": "deny", "audio": "flag", "video": "allow"})
    denied, flagged, passed = (engine.judge_unseen(compiled, kind, "d1") for kind in ("image", "audio", "video"))

    assert denied.denial is not None
    assert denied.denial.message == "images cannot be inspected here"
    assert (flagged.action, flagged.denial) == (Action.FLAG, None)
    assert [found.scope for found in flagged.findings] == ["response.content"]
    assert passed == Decision()
