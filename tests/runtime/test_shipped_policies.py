"""The policies that ship, with the detectors and packs that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
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
