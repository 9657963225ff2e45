from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.document import PolicyDocument
from extproc.policy.problems import inspect, place, valid_rules, warnings
from tests.policy.fakes import rule


def document(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "test"}, "spec": spec}


def said(data: Any) -> dict[str, str]:
    return {place(problem.where): problem.message for problem in inspect(data)[1]}


def test_a_good_document_has_no_problem() -> None:
    found, problems = inspect(document(rules=[rule("a")]))

    assert isinstance(found, PolicyDocument)
    assert problems == []


def test_all_problems_are_told_at_once_each_at_its_place() -> None:
    data = document(
        limit={},
        models={"alow": []},
        rules=[
            rule("a", "secrts"),
            rule("a", scope=["usr"], action="redac"),
            {"id": "c", "detector": "special_tokens", "scope": ["response.content"], "action": "deny", "when": "x"},
        ],
        refusal={"status": 429},
    )
    data["kind"] = "Polcy"

    assert said(data) == {
        "kind": "must be 'Policy'",
        "spec.limit": 'unknown field "limit"; did you mean "limits"?',
        "spec.models.alow": 'unknown field "alow"; did you mean "allow"?',
        "spec.rules[0].detector": 'unknown detector "secrts"; did you mean "secrets"?',
        "spec.rules[1].id": 'another rule is called "a"',
        "spec.rules[1].scope[0]": 'unknown scope "usr"; did you mean "user"?',
        "spec.rules[1].action": "must be 'flag', 'spotlight', 'neutralise', 'mask', 'redact' or 'deny'",
        "spec.rules[2].scope": 'detector "special_tokens" needs a whole text and cannot read response.content, '
        "which is streamed",
        "spec.rules[2].when": '"when" is not supported by this version',
        "spec.refusal.status": "SDKs send a request again after 429; use one they take for an answer, such as 403",
    }


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        (None, {"": "must be a mapping"}),
        ([], {"": "must be a mapping"}),
        ({"apiVersion": "sluicegate.dev/v1", "spec": None}, {
            "kind": "is missing", "metadata": "is missing", "spec": "must be a mapping",
        }),
        (document(rules={}), {"spec.rules": "must be a list"}),
        (document(rules=[None]), {"spec.rules[0]": "must be a mapping"}),
        (document(rules=[{"id": ["x"]}]), {
            "spec.rules[0].id": "must be text; quote it if it looks like a number",
            "spec.rules[0].detector": "is missing",
            "spec.rules[0].scope": "is missing",
            "spec.rules[0].action": "is missing",
        }),
        (document(tools={"allow": [{"name": "a", "arguments": {}}]}), {
            "spec.tools.allow[0].arguments": '"arguments" is not supported by this version'
        }),
        (document(match={}), {"spec.match": '"match" is not supported by this version'}),
        (document(models={"lock": "x"}), {"spec.models.lock": '"lock" is not supported by this version'}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(data: Any, problems: dict[str, str]) -> None:
    assert said(data) == problems


def test_no_problem_quotes_a_value_of_the_wrong_type() -> None:
    assert "hunter2" not in str(said(document(mode={"hunter2": 1}, limits="hunter2", rules=["hunter2"])))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    plain,
    st.sampled_from(
        [
            "spec",
            "rules",
            "models",
            "tools",
            "limits",
            "metadata",
            "refusal",
            "endpoints",
            "parameters",
            "not_inspected",
        ]
    ),
)
def test_no_data_makes_the_inspection_fail(value: Any, field: str) -> None:
    data = document(**{field: value}) if field not in ("spec", "metadata") else document() | {field: value}
    found, problems = inspect(data)

    assert (found is None) == bool(problems)


def test_the_rules_that_are_right_are_found_among_those_that_are_not() -> None:
    data = document(rules=[rule("a"), rule("b", action="?"), "c", rule("d")])

    assert [(index, found.id) for index, found in valid_rules(data)] == [(0, "a"), (3, "d")]


def test_what_is_allowed_but_hardly_meant_is_a_warning() -> None:
    spec = {
        "on_unknown": "allow",
        "tools": {"default": "allow"},
        "models": {"allow": ["*"]},
        "rules": [rule("a"), rule("b", owasp=["LLM01:2025"])],
    }
    found = warnings(PolicyDocument.model_validate(document(**spec)))

    assert [place(problem.where) for problem in found] == [
        "spec.rules[0]",
        "spec.on_unknown",
        "spec.tools.default",
        "spec.models.allow",
    ]


def test_a_policy_that_means_what_it_allows_has_no_warning() -> None:
    spec = {"models": {"allow": ["a:1"]}, "rules": [rule("a", owasp=["LLM01:2025"])]}

    assert warnings(PolicyDocument.model_validate(document(**spec))) == []


@pytest.mark.parametrize(("scope", "warned"), [(["user"], True), (["user", "assistant"], False), (["document"], False)])
def test_a_mask_on_what_the_user_says_alone_is_a_warning(scope: list[str], warned: bool) -> None:
    masks = rule("a", owasp=["LLM02:2025"], action="mask", scope=scope)
    found = warnings(PolicyDocument.model_validate(document(models={"allow": ["a:1"]}, rules=[masks])))

    assert [place(problem.where) for problem in found] == ["spec.rules[0].scope"] * warned


@pytest.mark.parametrize(
    ("entry", "pinned", "warned"),
    [
        ("*:latest", True, True),
        ("team/*:latest", True, True),
        ("*:latest", False, False),
        ("llama*", True, False),
        ("llama:*", True, False),
        ("llama:latest", True, False),
        ("*:cloud", False, True),
        ("gpt-oss:*-cloud", True, True),
        ("gpt-oss:20b-cloud", True, False),
    ],
)
def test_a_pattern_that_admits_nothing_is_a_warning(entry: str, pinned: bool, warned: bool) -> None:
    models = {"allow": ["a:1", entry], "pinned": pinned}
    found = warnings(PolicyDocument.model_validate(document(models=models)))

    assert [place(problem.where) for problem in found] == ["spec.models.allow[1]"] * warned


def warned(**spec: Any) -> dict[str, str]:
    found, problems = inspect(document(**spec))
    assert found is not None, problems
    return {place(problem.where): problem.message for problem in warnings(found)}


@pytest.mark.parametrize("alias", ["/v1/chat/completions", "/api/chat"])
def test_an_alias_may_not_take_the_path_of_an_api(alias: str) -> None:
    problems = said(document(endpoints={"aliases": {alias: "/api/generate"}}))

    assert problems == {f"spec.endpoints.aliases.{alias}": f'"{alias}" is the path of an API that is guarded'}


def test_an_alias_that_leads_to_no_api_is_a_warning() -> None:
    aliases = {"/chat": "/v1/chat/completions", "/other": "/nowhere", "/again": "/chat"}

    assert warned(endpoints={"aliases": aliases}) == {
        "spec.endpoints.aliases./other": '"/nowhere" is no API that is guarded',
        "spec.endpoints.aliases./again": '"/chat" is no API that is guarded',
    }


def test_a_parameters_name_that_is_nearly_a_known_one_is_a_warning() -> None:
    parameters = {"max_token": "deny", "temperature": "deny", "our_own": "allow", "chat_templat*": "deny"}

    assert warned(parameters=parameters) == {
        "spec.parameters.max_token": 'no well-known parameter is called "max_token"; did you mean "max_tokens"?'
    }


def test_to_allow_every_parameter_is_a_warning() -> None:
    assert warned(on_unknown_parameter="allow", parameters={"*": "allow"}) == {
        "spec.on_unknown_parameter": "parameters that nobody has judged reach the upstream",
        "spec.parameters.*": "every parameter may be set, also those that are refused by default",
    }
    assert warned(parameters={"*": "deny", "guided_*": "allow"}) == {}


def test_the_fields_of_a_section_in_a_mapping_are_known() -> None:
    assert said(document(parameters={"a": {"maxx": 1}, "b": {"max_item": 1}}, not_inspected={"imgae": "deny"})) == {
        "spec.parameters.a.maxx": 'unknown field "maxx"; did you mean "max"?',
        "spec.parameters.b.max_item": 'unknown field "max_item"; did you mean "max_items"?',
        "spec.not_inspected.imgae": 'unknown field "imgae"; did you mean "image"?',
    }
