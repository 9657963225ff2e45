"""Parameters by name: defaults, precedence, limits, edits, and the words of a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.chat import REMOVED, ChatRequest, Edit, Json, JsonPath, Parameter, Text, ToolDefinition
from extproc.dialects.base import Dialect
from extproc.dialects.members import UNBOUNDED
from extproc.dialects.settings import read_settings
from extproc.policy import engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Decision
from extproc.policy.parameters import DEFAULTS
from extproc.strict_json import apply
from tests.policy.fakes import WordDetector, policy, rule
from tests.policy.test_engine import StubDialect

KNOWN = {
    **{name: name for name in (*DEFAULTS, "temperature", "stop", "logit_bias", "seed", "lora") if "*" not in name},
    "max_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "options.num_predict": "max_tokens",
    "options.num_ctx": "num_ctx",
}


def asking(document: dict[str, Any], *extra: Parameter, **fields: Any) -> ChatRequest:
    listed = read_settings(document, KNOWN, frozenset({"model", "messages", "tools"}))
    asked = [cast("int", each.value) for each in listed if each.name == "max_tokens" and each.value is not None]
    largest = {"max_tokens": max(UNBOUNDED if value <= 0 else value for value in asked)} if asked else {}
    return ChatRequest(
        "toy", "good:1", stream=False, document=document, settings=(*listed, *extra), parameters=largest, **fields
    )


def judge(compiled: CompiledPolicy, document: dict[str, Any], *extra: Parameter, **fields: Any) -> Decision:
    request = asking(document, *extra, **fields)
    return engine.judge_request(compiled, request, cast("Dialect", StubDialect()), "d1")


def outcome(document: dict[str, Any], *extra: Parameter, **spec: Any) -> Any:
    """What becomes of the document: the edited one, or the message of the refusal."""
    decision = judge(policy(**spec), document, *extra)
    return apply(dict(document), decision.edits) if decision.denial is None else decision.denial.message


# ---- the defaults ----


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_what_is_risky_is_refused_or_taken_out_by_default(name: str) -> None:
    wire = name.replace("*", "x")
    treatment = DEFAULTS[name][0]

    left = outcome({"model": "m"}, Parameter(wire, ("model",), "x"))

    assert left == (f'parameter "{wire}" is not allowed' if treatment == "deny" else {})


def test_a_known_parameter_that_nothing_speaks_of_is_allowed() -> None:
    assert outcome({"temperature": 9, "seed": 1}) == {"temperature": 9, "seed": 1}


@pytest.mark.parametrize(
    ("unknown", "left"),
    [("deny", 'parameter "odd" is not allowed'), ("strip", {"seed": 1}), ("allow", {"odd": {"a": 1}, "seed": 1})],
)
def test_a_parameter_that_its_api_does_not_have(unknown: str, left: Any) -> None:
    assert outcome({"odd": {"a": 1}, "seed": 1}, on_unknown_parameter=unknown) == left


def test_unknown_parameters_are_denied_by_default() -> None:
    decision = judge(policy(), {"odd": 1})

    assert decision.action is Action.DENY
    assert decision.denial is not None
    assert (decision.denial.code, decision.denial.rule) == ("parameter_not_allowed", "parameters")
    assert decision.denial.status == 403
    (found,) = decision.findings
    assert (found.rule, found.match, found.scope, found.path) == ("parameters", "unknown", "parameter", ("odd",))
    assert found.owasp == ("LLM10:2025", "LLM06:2026")


def test_the_defaults_are_for_what_is_unknown_too() -> None:
    unknown = Parameter("guided_regex", ("guided_regex",), "x", known=False)

    assert outcome({"guided_regex": "x"}, unknown, on_unknown_parameter="strip") == (
        'parameter "guided_regex" is not allowed'
    )


@pytest.mark.parametrize("name", ["chat_template", "keep_alive", "odd"])
def test_null_is_absent(name: str) -> None:
    assert outcome({name: None}) == {name: None}


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2),
            "stop": st.lists(st.text(max_size=3), max_size=3) | st.text(max_size=3),
            "seed": st.integers(),
            "max_tokens": st.none() | st.integers(1, 10**6),
            "logit_bias": st.dictionaries(st.text(max_size=3), st.integers(-100, 100), max_size=3),
            "options": st.fixed_dictionaries({}, optional={"num_ctx": st.integers(), "num_predict": st.integers()}),
        },
    )
)
def test_a_policy_that_says_nothing_changes_no_ordinary_request(document: dict[str, Any]) -> None:
    decision = judge(policy(), document)

    assert (decision.edits, decision.denial, decision.findings) == ((), None, ())


@pytest.mark.parametrize("off", [False, "", [], {}])
@pytest.mark.parametrize("name", ["raw", "grammar", "background"])
def test_what_is_switched_off_may_pass_by_default(name: str, off: Json) -> None:
    assert outcome({name: off}) == {name: off}


@pytest.mark.parametrize(("name", "value"), [("id_slot", 0), ("raw", 0), ("lora", [])])
def test_what_only_looks_switched_off_may_not(name: str, value: Json) -> None:
    assert outcome({name: value}) == f'parameter "{name}" is not allowed'


def test_a_policys_own_word_is_for_every_value() -> None:
    assert outcome({"seed": False}, parameters={"seed": "deny"}) == 'parameter "seed" is not allowed'


# ---- names ----


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"guided_*": "strip"}, {}),
        ({"guided_*": "strip", "guided_regex": "allow"}, {"guided_regex": "x"}),
        ({"*": "allow", "guided_*": "strip"}, {}),
        ({"guided_*": "strip", "guided_re*": "allow"}, {"guided_regex": "x"}),
        ({"guided_re*": "allow", "guided_*": "strip"}, {"guided_regex": "x"}),
        ({"guided_????*": "strip", "*": "deny"}, {}),
        ({"Guided_regex": "allow"}, 'parameter "guided_regex" is not allowed'),
    ],
)
def test_an_exact_name_beats_a_glob_and_a_longer_glob_a_shorter_one(parameters: Any, left: Any) -> None:
    assert outcome({"guided_regex": "x"}, parameters=parameters) == left


def test_the_policys_own_word_goes_before_a_default_for_all_names_alike() -> None:
    assert outcome({"grammar": "x", "keep_alive": 1}, parameters={"*": "allow"}) == {"grammar": "x", "keep_alive": 1}


def test_a_list_of_what_is_allowed_can_be_made_of_a_glob() -> None:
    spec = {"parameters": {"*": "deny", "seed": "allow"}}

    assert outcome({"seed": 1}, **spec) == {"seed": 1}
    assert outcome({"temperature": 1}, **spec) == 'parameter "temperature" is not allowed'


def test_a_policy_may_name_what_no_api_has() -> None:
    assert outcome({"odd": 1, "options": {"odd": 2}}, parameters={"odd": "allow", "options.*": "strip"}) == {
        "odd": 1,
        "options": {},
    }


def test_the_same_name_is_judged_apart_where_one_api_knows_it_and_another_does_not() -> None:
    compiled = policy(on_unknown_parameter="deny")
    known, unknown = (Parameter("x", ("x",), 1, known) for known in (True, False))

    assert judge(compiled, {"model": "m"}, known).denial is None
    assert judge(compiled, {"model": "m"}, unknown).denial is not None
    assert judge(compiled, {"model": "m"}, known).denial is None


# ---- limits ----


@pytest.mark.parametrize(
    ("limit", "value", "left"),
    [
        ({"max": 10}, 10, 10),
        ({"max": 10}, 11, "may be at most 10"),
        ({"max": 10, "over": "deny"}, 10.5, "may be at most 10"),
        ({"max": 10, "over": "clamp"}, 11, 10),
        ({"max": 10, "over": "strip"}, 11, REMOVED),
        ({"max": 10, "over": "clamp"}, -1, 10),
        ({"max": 10, "min": -5, "over": "clamp"}, -1, -1),
        ({"max": 10, "min": -5, "over": "clamp"}, -6, -5),
        ({"min": 2}, 1, "must be at least 2"),
        ({"min": 2, "over": "clamp"}, 1, 2),
        ({"min": 2, "over": "strip"}, 1, REMOVED),
        ({"max": 0.5, "over": "clamp"}, 0.7, 0.5),
        ({"max": 10, "over": "clamp"}, 0, 0),
        ({"max": 10, "over": "clamp"}, True, "must be a number"),
        ({"max": 10, "over": "strip"}, "9", "must be a number"),
        ({"max": 10}, None, None),
        ({"max_items": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"max_items": 2}, {"a": 1, "b": 2, "c": 3}, "may have at most 2 items"),
        ({"max_items": 1, "over": "strip"}, ["a", "b"], REMOVED),
        ({"max_items": 1}, "abc", "abc"),
        ({"max_items": 0}, "abc", "may have at most 0 items"),
        ({"max_items": 1}, 5, "must be an object or an array"),
        ({"action": "allow"}, 5, 5),
    ],
)
def test_a_value_is_held_to_its_limits(limit: Any, value: Any, left: Any) -> None:
    found = outcome({"temperature": value}, parameters={"temperature": limit})

    if left is REMOVED:
        assert found == {}
    elif isinstance(left, str) and left != value:
        assert found == f'parameter "temperature" {left}'
    else:
        assert found == {"temperature": left}


def test_every_twin_is_brought_down_by_itself() -> None:
    document = {"max_tokens": 5000, "n_predict": -1, "options": {"num_predict": 0, "num_ctx": 9}}
    spec = {"parameters": {"max_tokens": {"max": 4096, "over": "clamp"}}}

    assert outcome(document, **spec) == {
        "max_tokens": 4096,
        "n_predict": 4096,
        "options": {"num_predict": 4096, "num_ctx": 9},
    }
    assert outcome({"max_tokens": 100, "n_predict": 5000}, **spec) == {"max_tokens": 100, "n_predict": 4096}
    assert outcome({"max_tokens": None}, **spec) == {"max_tokens": None}


def test_whether_a_limit_of_zero_tokens_is_none_is_the_dialects_to_say() -> None:
    compiled = policy(parameters={"max_tokens": {"max": 10}})
    zero = Parameter("max_tokens", ("model",), 0)

    assert judge(compiled, {"model": "m"}, zero).denial is None
    assert judge(compiled, {"max_tokens": 0}).denial is not None


def test_an_unlimited_answer_is_over_the_limit_also_where_there_is_a_least() -> None:
    spec = {"parameters": {"max_tokens": {"min": 1, "max": 10, "over": "clamp"}}}

    assert outcome({"max_tokens": -1}, **spec) == {"max_tokens": 10}


def test_the_limits_of_the_policy_see_what_was_asked_for() -> None:
    spec = {"limits": {"max_tokens": 100}, "parameters": {"max_tokens": {"max": 10, "over": "clamp"}}}

    assert outcome({"max_tokens": 50}, **spec) == {"max_tokens": 10}
    assert outcome({"max_tokens": 500}, **spec) == "max_tokens may be at most 100"


# ---- what is no member of its own ----


def test_a_prefill_can_be_refused_and_taken_out() -> None:
    messages: list[Json] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "my key"}]
    prefill = Parameter("prefill", ("messages", 1), None)
    text = Text("assistant", "my key", ("messages", 1, "content"), 1)
    rules = [rule("k", action="redact", scope=["assistant"])]
    detectors = {"k": WordDetector("key")}

    passed = judge(policy(), {"messages": messages}, prefill)
    refused = judge(policy(parameters={"prefill": "deny"}), {"messages": messages}, prefill)
    stripping = policy(detectors, rules=rules, parameters={"prefill": "strip"})
    stripped = judge(stripping, {"messages": messages}, prefill, texts=(text,))

    assert (passed.denial, passed.edits) == (None, ())
    assert refused.denial is not None
    assert refused.denial.message == 'parameter "prefill" is not allowed'
    assert stripped.edits == (Edit(("messages", 1), REMOVED),)
    assert [found.rule for found in stripped.findings] == ["parameters"]


@pytest.mark.parametrize("parameters", [{"*": "strip"}, {"unknown_*": "strip"}])
def test_a_role_is_never_taken_out(parameters: dict[str, str]) -> None:
    role = Parameter("unknown_role", ("messages", 0, "role"), None)

    assert outcome({"messages": [{"role": "x"}]}, role, parameters=parameters) == (
        'parameter "unknown_role" is not allowed'
    )


def test_the_method_of_a_message_is_never_taken_out() -> None:
    method = Parameter("mcp_method", ("method",), "tools/delete", known=False)

    assert outcome({"method": "tools/delete"}, method, on_unknown_parameter="strip") == (
        'parameter "mcp_method" is not allowed'
    )


@pytest.mark.parametrize("path", [("gone",), ("messages", 3), ("messages", "a"), ("model", "a", "b")])
def test_what_does_not_stand_in_the_document_cannot_be_taken_out(path: JsonPath) -> None:
    assert outcome({"messages": [], "model": "m"}, Parameter("keep_alive", path, 1)) == (
        'parameter "keep_alive" is not allowed'
    )


# ---- the decision ----


def test_a_policy_that_monitors_finds_and_changes_nothing() -> None:
    compiled = policy(mode="monitor", parameters={"max_tokens": {"max": 1, "over": "clamp"}})
    decision = judge(compiled, {"odd": 1, "keep_alive": 1, "max_tokens": 5})

    assert (decision.action, decision.edits, decision.denial) == (Action.FLAG, (), None)
    assert [(found.match, found.action, found.monitored) for found in decision.findings] == [
        ("unknown", Action.DENY, True),
        ("keep_alive", Action.REDACT, True),
        ("max_tokens", Action.REDACT, True),
    ]


def test_what_is_taken_out_or_brought_down_is_found_as_an_edit() -> None:
    compiled = policy(parameters={"max_tokens": {"max": 1, "over": "clamp"}})
    decision = judge(compiled, {"keep_alive": 1, "max_tokens": 5})

    assert decision.action is Action.REDACT
    assert decision.edits == (Edit(("keep_alive",), REMOVED), Edit(("max_tokens",), 1))
    assert [found.match for found in decision.findings] == ["keep_alive", "max_tokens"]


def test_a_refusal_names_parameters_by_what_can_only_be_a_name() -> None:
    assert outcome({"x y": 1}) == "a parameter is not allowed"
    assert outcome({"a": 1, "b\n": 2, "c\n": 3, "raw": True}) == (
        'parameter "a" is not allowed; a parameter is not allowed; parameter "raw" is not allowed'
    )
    assert outcome({f"p{index}": 1 for index in range(20)}).count(";") == 7


def test_a_text_below_what_is_taken_out_is_neither_judged_nor_edited() -> None:
    texts = (Text("parameter", "my key", ("odd", "a", 0)), Text("parameter", "my key", ("seed",)))
    compiled = policy(
        {"k": WordDetector("key")},
        rules=[rule("k", action="redact", scope=["parameter"])],
        on_unknown_parameter="strip",
    )
    decision = judge(compiled, {"odd": {"a": ["my key"]}, "seed": "my key"}, texts=texts)

    assert decision.edits == (Edit(("odd",), REMOVED), Edit(("seed",), "my [KEY]"))


def test_tools_and_parameters_are_taken_out_of_one_document() -> None:
    document: dict[str, Any] = {"tools": [{"name": "a"}, {"name": "b"}], "keep_alive": 5, "model": "m"}
    tools = (ToolDefinition("a", ("tools", 0)), ToolDefinition("b", ("tools", 1)))
    compiled = policy(tools={"allow": [{"name": "b"}]})
    decision = judge(compiled, document, tools=tools)

    assert apply(document, decision.edits) == {"tools": [{"name": "b"}], "model": "m"}


def test_the_memory_of_a_policy_grows_by_known_names_only() -> None:
    compiled = policy(on_unknown_parameter="strip")
    for index in range(50):
        judge(compiled, {f"odd{index}": 1, "seed": 1})

    assert set(compiled.parameters.resolved) == {"seed"}


def test_a_request_has_a_limit_of_parameters() -> None:
    document = {f"odd{index}": index for index in range(5)}
    spec: dict[str, Any] = {"on_unknown_parameter": "strip", "limits": {"texts": 4}}

    assert outcome(document, **spec) == "parameters may be at most 4"
    assert len(judge(policy(mode="monitor", **spec), document).findings) == 5
    assert outcome({"odd": 1, "seed": 2}, **spec) == {"seed": 2}


def test_every_default_says_why() -> None:
    reasons: Mapping[str, tuple[str, str]] = DEFAULTS
    assert all(why and treatment in ("deny", "strip") for treatment, why in reasons.values())
