from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from extproc.chat import REMOVED, ChatRequest, Edit, Json, Text, ToolCall, ToolDefinition
from extproc.dialects.base import Dialect
from extproc.policy import denials, engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Decision
from tests.policy.fakes import WordDetector, policy, rule

DOCUMENT: Mapping[str, Json] = {"messages": [{"content": "my key"}], "tools": [{"name": "a"}, {"name": "b key"}]}
PROMPT = Text("user", "my key", ("messages", 0, "content"), 0)
TOOLS = (ToolDefinition("a", ("tools", 0)), ToolDefinition("b", ("tools", 1)))


class StubDialect:
    """Takes tools out, which is all that judging asks of a dialect."""

    def __init__(self, *, can_strip: bool = True) -> None:
        self.can_strip = can_strip

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:
        return tuple(Edit(tool.path, REMOVED) for tool in request.tools if tool.name in names and self.can_strip)


def judge(compiled: CompiledPolicy, *, can_strip: bool = True, **fields: Any) -> Decision:
    request = replace(ChatRequest("toy", "good:1", stream=False, document=DOCUMENT), **fields)
    return engine.judge_request(compiled, request, cast("Dialect", StubDialect(can_strip=can_strip)), "d1")


def keys(action: str = "redact", **fields: Any) -> CompiledPolicy:
    return policy({"k": WordDetector("key")}, rules=[rule("k", action=action, owasp=["LLM02:2025"])], **fields)


# ---- requests ----


def test_a_request_that_nothing_speaks_against_passes_untouched() -> None:
    assert judge(keys()) == Decision()


def test_a_model_that_is_not_approved_is_denied() -> None:
    decision = judge(policy(), model="evil:1")

    assert decision.action is Action.DENY
    assert decision.denial is not None
    assert (decision.denial.status, decision.denial.code, decision.denial.rule) == (403, "model_not_approved", "models")
    assert decision.denial.message == 'model "evil:1" is not approved'
    assert [(found.rule, found.match) for found in decision.findings] == [("models", "model_not_approved")]


@pytest.mark.parametrize(
    ("parameters", "denied"),
    [
        ({}, False),
        ({"max_tokens": 100, "choices": 2}, False),
        ({"max_tokens": 101}, True),
        ({"max_tokens": -1}, True),
        ({"choices": 3}, True),
        ({"other": 10**9}, False),
    ],
)
def test_what_is_asked_for_is_held_to_the_limits(parameters: dict[str, int], denied: bool) -> None:
    decision = judge(policy(limits={"max_tokens": 100, "choices": 2}), parameters=parameters)

    assert (decision.denial is not None) == denied
    assert decision.denial is None or decision.denial.code == "limit_exceeded"


def test_a_denial_names_each_limit_and_what_it_allows() -> None:
    decision = judge(policy(limits={"max_tokens": 9, "choices": 1}), parameters={"max_tokens": 10, "choices": 2})

    assert decision.denial is not None
    assert decision.denial.message == "max_tokens may be at most 9; choices may be at most 1"


def test_a_request_has_a_limit_of_separate_texts() -> None:
    texts = tuple(Text("user", "key" if index == 3 else "x", ("messages", index)) for index in range(4))

    within = judge(keys(limits={"texts": 4}), texts=texts)
    over = judge(keys(limits={"texts": 3}), texts=texts)
    watched = judge(keys(limits={"texts": 3}, mode="monitor"), texts=texts)

    assert [found.rule for found in within.findings] == ["k"]
    assert over.denial is not None
    assert over.denial.message == "texts may be at most 3"
    assert watched.denial is None
    assert "texts" in watched.not_inspected


def test_what_has_no_limit_may_be_asked_for() -> None:
    assert judge(policy(), parameters={"max_tokens": 10**9}).denial is None


def test_a_tool_that_is_not_allowed_is_stripped() -> None:
    decision = judge(policy(tools={"allow": [{"name": "a"}]}), tools=TOOLS)

    assert decision.edits == (Edit(("tools", 1), REMOVED),)
    assert decision.action is Action.REDACT
    assert [(found.match, found.path) for found in decision.findings] == [("tool_stripped", ("tools", 1))]


def test_a_tool_that_is_not_allowed_is_denied_where_the_policy_says_so() -> None:
    decision = judge(policy(tools={"default": "deny", "allow": [{"name": "a"}]}), tools=TOOLS)

    assert decision.edits == ()
    assert decision.denial is not None
    assert (decision.denial.code, decision.denial.message) == ("tool_not_allowed", 'these tools are not allowed: "b"')


def test_a_tool_that_cannot_be_stripped_is_denied() -> None:
    assert judge(policy(), tools=TOOLS, can_strip=False).action is Action.DENY


@pytest.mark.parametrize("default", ["strip", "deny"])
def test_a_request_that_runs_a_tool_is_held_to_the_tools_that_are_allowed(default: str) -> None:
    compiled = policy(tools={"default": default, "allow": [{"name": "a"}]})
    allowed = judge(compiled, calls=(ToolCall("a", "{}"),))
    refused = judge(compiled, calls=(ToolCall("a", "{}"), ToolCall("b", "{}")))

    assert (allowed.denial, allowed.findings) == (None, ())
    assert refused.denial is not None
    assert (refused.denial.code, refused.denial.rule) == ("tool_not_allowed", "tools")
    assert refused.denial.message == 'these tools are not allowed: "b"'
    assert [(found.rule, found.match) for found in refused.findings] == [("tools", "tool_not_allowed")]
    assert refused.findings[0].owasp == ("LLM06:2025", "LLM03:2026")


def test_a_tool_that_a_request_runs_is_only_noted_by_a_policy_that_monitors() -> None:
    decision = judge(policy(mode="monitor"), calls=(ToolCall("b", "{}"),))

    assert (decision.denial, [found.monitored for found in decision.findings]) == (None, [True])


def test_the_name_of_such_a_tool_is_not_repeated_where_it_may_be_more() -> None:
    decision = judge(policy(), calls=(ToolCall("b\nsecret", "{}"),))

    assert decision.denial is not None
    assert decision.denial.message == "a tool is not allowed"


def test_every_tool_may_be_run_where_the_policy_allows_all() -> None:
    assert judge(policy(tools={"default": "allow"}), calls=(ToolCall("b", "{}"),)).denial is None


def test_a_request_without_a_model_needs_none() -> None:
    assert judge(policy(), model="", names_model=False).denial is None


def test_a_denial_does_not_repeat_what_may_be_more_than_a_name() -> None:
    decision = judge(policy(tools={"default": "deny"}), tools=(ToolDefinition("a\nb secret", ("tools", 0)),))

    assert decision.denial is not None
    assert decision.denial.message == "a tool is not allowed"


def test_the_texts_of_a_stripped_tool_are_neither_judged_nor_edited() -> None:
    described = Text("tool_definition", "b key", ("tools", 1, "name"))
    rules = [rule("k", scope=["tool_definition"])]
    compiled = policy({"k": WordDetector("key")}, tools={"allow": [{"name": "a"}]}, rules=rules)

    decision = judge(compiled, tools=TOOLS, texts=(described,))

    assert decision.denial is None
    assert [found.rule for found in decision.findings] == ["tools"]


def test_a_text_is_redacted_in_place() -> None:
    decision = judge(keys(), texts=(PROMPT,))

    assert decision.action is Action.REDACT
    assert decision.edits == (Edit(("messages", 0, "content"), "my [KEY]"),)
    (found,) = decision.findings
    assert (found.rule, found.match, found.scope, found.start, found.end) == ("k", "key", "user", 3, 6)
    assert found.owasp == ("LLM02:2025",)


def test_a_finding_that_denies_gives_a_refusal_without_the_text() -> None:
    decision = judge(keys("deny"), texts=(PROMPT,))

    assert decision.denial is not None
    assert decision.denial.message == 'the request was stopped by the rule "k"'
    assert (decision.denial.status, decision.denial.code) == (403, "content_policy_violation")
    assert decision.denial.decision_id == "d1"


def test_a_flag_lets_the_text_pass() -> None:
    decision = judge(keys("flag"), texts=(PROMPT,))

    assert (decision.action, decision.edits, decision.denial) == (Action.FLAG, (), None)


def test_a_denied_request_has_no_edits_and_all_its_findings() -> None:
    decision = judge(keys(), texts=(PROMPT,), model="evil:1", tools=TOOLS)

    assert decision.edits == ()
    assert [found.rule for found in decision.findings] == ["models", "tools", "tools", "k"]
    assert decision.denial is not None
    assert decision.denial.rule == "models"


def test_a_policy_that_monitors_finds_everything_and_changes_nothing() -> None:
    compiled = keys("deny", mode="monitor", limits={"choices": 1}, tools={"default": "deny"})
    decision = judge(compiled, texts=(PROMPT,), model="evil:1", tools=TOOLS, parameters={"choices": 2})

    assert (decision.action, decision.edits, decision.denial) == (Action.FLAG, (), None)
    assert [found.rule for found in decision.findings] == ["models", "limits", "tools", "tools", "k"]
    assert all(found.monitored for found in decision.findings)


def test_a_policy_that_monitors_strips_no_tools() -> None:
    assert judge(policy(mode="monitor"), tools=TOOLS).edits == ()


def test_the_status_of_a_refusal_is_the_policys() -> None:
    decision = judge(policy(refusal={"status": 451}), model="evil:1")

    assert decision.denial is not None
    assert decision.denial.status == 451


def test_the_injection_score_is_the_strongest_of_all_texts() -> None:
    compiled = policy({"i": WordDetector("evil")}, rules=[rule("i", "prompt_injection", action="flag")])
    texts = (Text("user", "evil", ("a",)), Text("document", "evil", ("b",)), Text("user", "fine", ("c",)))

    assert judge(compiled, texts=texts).injection_score == 1.0
    assert judge(compiled, texts=texts[1:]).injection_score == 0.25
    assert judge(compiled, texts=texts[1:2]).injection_score == 0.0


def test_what_nothing_could_read_is_told() -> None:
    compiled = policy(rules=[rule("i", "prompt_injection"), rule("k", scope=["system"])])
    texts = (
        Text("system", "a", ("a",)),
        Text("system", "b", ("b",)),
        Text("user", "c", ("c",)),
        Text("document", "d", ()),
    )

    decision = judge(compiled, texts=texts, not_inspected=("image",))

    assert decision.not_inspected == ("image", "system:prompt_injection", "document")


# ---- tool calls ----


def test_a_call_to_a_tool_that_is_not_allowed_is_denied_whatever_the_default() -> None:
    for default in ("strip", "deny"):
        decision = engine.judge_call(policy(tools={"default": default}), ToolCall("rm", "{}"), "d1")

        assert decision.denial is not None
        assert (decision.denial.rule, decision.denial.code) == ("tools", "tool_not_allowed")


def test_a_call_to_an_allowed_tool_passes() -> None:
    assert engine.judge_call(policy(tools={"allow": [{"name": "get_*"}]}), ToolCall("get_x", "{}"), "d1") == Decision()


def test_a_call_is_let_through_by_a_policy_that_monitors() -> None:
    decision = engine.judge_call(policy(mode="monitor"), ToolCall("rm", "{}"), "d1")

    assert (decision.action, decision.denial) == (Action.FLAG, None)


def calls(action: str) -> CompiledPolicy:
    rules = [rule("k", scope=["response.tool_arguments"], action=action)]
    return policy({"k": WordDetector("key")}, tools={"default": "allow"}, rules=rules)


def test_a_secret_in_a_call_is_redacted_by_one_edit_of_the_whole_arguments() -> None:
    decision = engine.judge_call(calls("redact"), ToolCall("f", '{"a": "k\\u0065y"}'), "d1")

    assert decision.action is Action.REDACT
    assert decision.edits == (Edit((), '{"a": "[KEY]"}'),)


def test_a_secret_in_a_call_may_deny_it() -> None:
    decision = engine.judge_call(calls("deny"), ToolCall("f", '{"a": "key"}'), "d1")

    assert decision.denial is not None
    assert decision.denial.message == 'the answer was stopped by the rule "k"'


# ---- single texts ----


@pytest.mark.parametrize(
    ("action", "became", "output"),
    [("flag", Action.FLAG, "my key"), ("redact", Action.REDACT, "my [KEY]"), ("deny", Action.DENY, None)],
)
def test_a_text_is_judged_as_if_it_had_come_alone(action: str, became: Action, output: str | None) -> None:
    judged = engine.judge_text(keys(action), "user", "my key")

    assert (judged.action, judged.output, judged.score) == (became, output, None)
    assert [(found.rule, found.start, found.end) for found in judged.findings] == [("k", 3, 6)]


def test_a_text_that_is_clean_leaves_as_it_is() -> None:
    judged = engine.judge_text(keys("deny"), "user", "hello")

    assert (judged.action, judged.output, judged.findings) == (Action.ALLOW, "hello", ())


def test_tool_arguments_are_judged_as_json() -> None:
    judged = engine.judge_text(calls("redact"), "response.tool_arguments", '{"a": "k\\u0065y"}')

    assert judged.output == '{"a": "[KEY]"}'


def test_there_is_no_judging_in_a_scope_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        engine.judge_text(keys(), "nobody", "x")


# ---- the words of a refusal ----


def test_each_refusal_has_its_status_and_code() -> None:
    compiled = policy()
    refused = [
        engine.unknown_endpoint(compiled, "POST", "/api/pull", "d1"),
        denials.malformed(compiled, "duplicate key", "d1"),
        denials.too_large(compiled, "d1"),
        denials.failure(compiled, "KeyError: hunter2", "d1"),
        denials.unreadable_answer(compiled, "it is compressed", "d1"),
        denials.misconfigured(compiled, "set the body modes", "d1"),
    ]

    assert [(denial.status, denial.code, denial.message) for denial in refused] == [
        (403, "endpoint_not_allowed", "POST /api/pull is not allowed here"),
        (400, "invalid_request", "duplicate key"),
        (413, "request_too_large", "the request is larger than 2097152 bytes"),
        (500, "policy_error", "the request could not be checked"),
        (502, "policy_error", "the answer could not be checked: it is compressed"),
        (500, "policy_error", "the gateway is misconfigured: set the body modes"),
    ]


@pytest.mark.parametrize("path", ["/a\nb", "/<script>", "/" + "x" * 100])
def test_a_path_that_may_be_more_than_a_path_is_not_repeated(path: str) -> None:
    assert engine.unknown_endpoint(policy(), "GET", path, "d1").message == "this endpoint is not allowed here"
