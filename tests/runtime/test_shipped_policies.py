"""The policies that ship, with the detectors and packs that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.policy.engine import judge_text
from extproc.runtime.assets import asset
from extproc.runtime.store import default_policy, load_policy, read_policy

POLICIES = sorted(path for path in asset("policies").glob("*.yaml") if not path.stem.endswith("_test"))


@pytest.fixture(scope="module")
def policy() -> CompiledPolicy:
    return load_policy()


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_every_shipped_policy_is_valid_and_means_what_it_allows(path: Path) -> None:
    assert read_policy(path).warnings == ()


def test_the_default_policy_allows_no_model_and_no_tool(policy: CompiledPolicy) -> None:
    assert policy.models.refusal("llama3.2:3b") is not None
    assert not policy.tools.allows("get_weather")
    assert policy.tools.default == "strip"


def test_the_default_policy_reads_every_scope(policy: CompiledPolicy) -> None:
    assert [scope for scope in (*REQUEST_SCOPES, *RESPONSE_SCOPES) if not policy.by_scope[scope]] == []


def test_the_default_policy_looks_for_injection_in_what_others_wrote(policy: CompiledPolicy) -> None:
    assert [scope for scope in REQUEST_SCOPES if scope not in policy.unread] == ["user", "tool_result", "document"]


def test_the_default_policy_redacts_secrets_in_every_part_of_an_answer(policy: CompiledPolicy) -> None:
    for scope in RESPONSE_SCOPES:
        assert Action.REDACT in [rule.action for rule in policy.by_scope[scope] if rule.id == "secrets-out"]


def test_the_default_policy_looks_for_injection_in_what_tools_answer(policy: CompiledPolicy) -> None:
    assert [rule.id for rule in policy.by_scope["response.tool_result"]][:2] == ["injection", "special-tokens"]


@pytest.mark.parametrize("request_line", ["POST /api/pull", "DELETE /api/delete", "GET /slots", "GET /"])
def test_the_default_policy_keeps_everything_else_shut(policy: CompiledPolicy, request_line: str) -> None:
    method, path = request_line.split(" ")
    assert not policy.serves(method, path, path, named_only=True)


def test_the_default_policy_is_the_default() -> None:
    assert load_policy().revision == load_policy(default_policy()).revision


@pytest.mark.parametrize("text", ["a <think> b", "a </tool_response> b", "a <|of_nobody|> b"])
def test_the_default_policy_defuses_marks_of_templates_where_others_write(policy: CompiledPolicy, text: str) -> None:
    for scope in ("user", "tool_result", "document", "response.tool_result"):
        judged = judge_text(policy, scope, text)
        assert (judged.action, judged.output) == (Action.NEUTRALISE, text.replace("<", "< "))
    for scope in ("system", "assistant"):  # operators ask for thoughts there, and clients send them back
        assert judge_text(policy, scope, text).output == text


@pytest.mark.parametrize("text", ["<s>old</s> new", "git log [ARGS]", "USER: root", "p <| q |> r", "[|1|]"])
def test_the_default_policy_leaves_honest_text_alone(policy: CompiledPolicy, text: str) -> None:
    assert judge_text(policy, "user", text).output == text


def test_every_shipped_policy_treats_template_tokens_alike_but_the_strict_one_denies_their_marks() -> None:
    actions = {}
    for name in ("default", "demo", "compose", "strict"):
        policy = load_policy(asset(f"policies/{name}.yaml"))
        judged = [judge_text(policy, "user", text).action for text in ("<|im_end|>", "<think>")]
        actions[name] = judged
    assert actions.pop("strict") == [Action.DENY, Action.DENY]
    assert list(actions.values()) == [[Action.DENY, Action.NEUTRALISE]] * 3
