from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from extproc.policy.document import PolicyDocument, json_schema
from extproc.policy.problems import inspect
from extproc.runtime.assets import asset
from tests.policy.fakes import rule


def document(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "test"}, "spec": spec}


def only_problem(**spec: Any) -> tuple[tuple[str | int, ...], str]:
    _, problems = inspect(document(**spec))
    assert len(problems) == 1, problems
    return problems[0].where, problems[0].message


def test_an_empty_spec_denies_everything() -> None:
    spec = PolicyDocument.model_validate(document()).spec

    assert (spec.mode, spec.on_error, spec.on_unknown) == ("enforce", "deny", "deny")
    assert (spec.models.allow, spec.models.pinned) == ([], True)
    assert (spec.tools.allow, spec.tools.default) == ([], "strip")
    assert spec.endpoints.allow == []


@pytest.mark.parametrize(
    ("size", "count"),
    [(1, 1), (2048, 2048), ("1", 1), ("7B", 7), ("3KiB", 3072), ("2MiB", 2 << 20), ("1GiB", 1 << 30)],
)
def test_a_size_is_bytes_or_has_a_binary_unit(size: int | str, count: int) -> None:
    assert PolicyDocument.model_validate(document(limits={"request_bytes": size})).spec.limits.request_bytes == count


@pytest.mark.parametrize("size", ["2MB", "2 MiB", "-1", "1.5MiB", "", "MiB", "9" * 40, 0, True, 1.5, None])
def test_other_sizes_are_problems(size: object) -> None:
    assert only_problem(limits={"request_bytes": size})[0] == ("spec", "limits", "request_bytes")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "5", 1e9])
def test_a_deadline_is_a_number_of_seconds_within_a_day(seconds: object) -> None:
    assert only_problem(limits={"decide_s": seconds})[0] == ("spec", "limits", "decide_s")


@pytest.mark.parametrize(
    "endpoint", ["GET /v1/models", "GET /v1/models/*", "GET /", "POST /api/embed", "HEAD /a-b_c.d~e"]
)
def test_an_endpoint_is_a_method_and_a_plain_path(endpoint: str) -> None:
    assert PolicyDocument.model_validate(document(endpoints={"allow": [endpoint]})).spec.endpoints.allow == [endpoint]


@pytest.mark.parametrize(
    "endpoint",
    ["/v1/models", "get /v1/models", "GET v1/models", "GET  /a", "GET /a?b", "GET /a%2fb", "GET //a", "GET /a/",
     "GET /a;b", "GET /a/../b", "GET /./a", "GET /a\\b", "GET /a\n", "GET /ä", "FETCH /", "* /a",
     "GET /a/**", "GET /a*", "GET /*.json", "GET /**/b"],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_is_no_endpoint(endpoint: str) -> None:
    assert only_problem(endpoints={"allow": [endpoint]})[0] == ("spec", "endpoints", "allow", 0)


@pytest.mark.parametrize("status", [408, 409, 425, 429])
def test_a_status_that_sdks_retry_is_no_refusal(status: int) -> None:
    where, message = only_problem(refusal={"status": status})

    assert where == ("spec", "refusal", "status")
    assert "again" in message


@pytest.mark.parametrize("status", [200, 302, 500, 503])
def test_a_refusal_is_a_client_error(status: int) -> None:
    assert only_problem(refusal={"status": status})[0] == ("spec", "refusal", "status")


@pytest.mark.parametrize("status", [400, 403, 404, 422, 451])
def test_a_refusal_may_have_any_final_status(status: int) -> None:
    assert inspect(document(refusal={"status": status}))[1] == []


def test_a_detector_that_needs_a_whole_text_cannot_read_a_stream() -> None:
    where, message = only_problem(rules=[rule("a", "prompt_injection", scope=["user", "response.content"])])

    assert where == ("spec", "rules", 0, "scope")
    assert "response.content" in message


def test_a_detector_without_exact_places_cannot_redact() -> None:
    where, message = only_problem(rules=[rule("a", "prompt_injection", action="redact")])

    assert where == ("spec", "rules", 0, "action")
    assert "redact" in message


@pytest.mark.parametrize("action", ["mask", "redact"])
def test_a_detector_of_whole_texts_that_knows_a_harmless_form_can_only_neutralise(action: str) -> None:
    where, message = only_problem(rules=[rule("a", "special_tokens", action=action)])

    assert where == ("spec", "rules", 0, "action")
    assert message == f'detector "special_tokens" cannot {action} what it finds; use neutralise or deny'
    assert inspect(document(rules=[rule("a", "special_tokens", action="neutralise")]))[1] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scope": []}, "scope"),
        ({"scope": ["user", "user"]}, "scope"),
        ({"scope": "user"}, "scope"),
        ({"action": "block"}, "action"),
        ({"action": "allow"}, "action"),
        ({"mode": "shadow"}, "mode"),
        ({"id": "Has Spaces"}, "id"),
        ({"id": 3}, "id"),
        ({"pack": "../../etc/passwd"}, "pack"),
        ({"pack": "/etc/passwd"}, "pack"),
        ({"pack": "a.yaml"}, "pack"),
        ({"pack": ""}, "pack"),
        ({"options": []}, "options"),
    ],
)
def test_a_rule_field_that_is_wrong_is_a_problem_at_its_place(fields: dict[str, Any], field: str) -> None:
    assert only_problem(rules=[rule("a") | fields])[0] == ("spec", "rules", 0, field)


@pytest.mark.parametrize("entry", ["LLM01", "llm01:2025", "LLM1:2025", "LLM01:25"])
def test_an_owasp_entry_has_its_year(entry: str) -> None:
    assert only_problem(rules=[rule("a", owasp=[entry])])[0] == ("spec", "rules", 0, "owasp", 0)


@pytest.mark.parametrize("name", ["a b", "a..b", "", "a\\b", "a[b", "a[]", "a[!]", "a[b/c]", "a[b:c]", "[a]b["])
def test_an_allowed_model_is_a_model_name(name: str) -> None:
    assert only_problem(models={"allow": [name]})[0] == ("spec", "models", "allow", 0)


@pytest.mark.parametrize("name", ["a[bc]:*", "a[!b]:1", "a[]b]:1", "a[[]:1", "a[b-d]*", "a]:1"])
def test_an_allowed_model_may_have_sets_of_characters(name: str) -> None:
    assert inspect(document(models={"allow": [name]}))[1] == []


def test_a_gate_cannot_be_told_to_fail_open() -> None:
    assert only_problem(on_error="allow")[0] == ("spec", "on_error")


def test_the_exported_schema_is_current() -> None:
    assert asset("policies/policy.schema.json").read_text(encoding="utf-8") == json_schema()


def test_the_exported_schema_knows_a_good_policy_from_a_bad_one() -> None:
    import json

    validator = jsonschema.Draft202012Validator(json.loads(json_schema()))

    assert validator.is_valid(document(limits={"request_bytes": "2MiB"}, rules=[rule("a")]))
    assert not validator.is_valid(document(rules=[rule("a", scope=["usr"])]))
    assert not validator.is_valid(document(rules=[rule("a", detector="secret")]))
    assert not validator.is_valid(document(limts={}))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/a", "/mcp/", "/openai/v1/models/gpt-4o:x"])
def test_an_alias_is_a_plain_path_for_a_plain_path(path: str) -> None:
    aliases = {"/x" + path: path}
    assert PolicyDocument.model_validate(document(endpoints={"aliases": aliases})).spec.endpoints.aliases == aliases


@pytest.mark.parametrize(
    "path", ["v1", "/", "//a", "/a//", "/a?b", "/a%2fb", "/a/../b", "/./a", "/a;b", "GET /a", "/*"]
)
def test_other_aliases_are_problems(path: str) -> None:
    places = [
        only_problem(endpoints={"aliases": {"/free": path}})[0],
        only_problem(endpoints={"aliases": {path: "/v1/chat/completions"}})[0],
    ]
    assert places == [("spec", "endpoints", "aliases", "/free"), ("spec", "endpoints", "aliases", path)]


def test_a_parameter_has_a_short_form() -> None:
    spec = PolicyDocument.model_validate(document(parameters={"a": "deny", "b": {"action": "deny"}})).spec

    assert spec.parameters["a"] == spec.parameters["b"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": {"max": 4096, "over": "clamp"}, "guided_*": "strip", "options.*": "allow", "a?": "deny"},
        {"temperature": {"min": 0, "max": 1.5}, "logit_bias": {"max_items": 0, "over": "strip"}},
        {"unknown_role": "allow", "_debug_render_only": "deny", "*": "deny"},
    ],
)
def test_parameters_go_by_name_or_glob(parameters: dict[str, Any]) -> None:
    assert set(PolicyDocument.model_validate(document(parameters=parameters)).spec.parameters) == set(parameters)
    jsonschema.validate(document(parameters=parameters), json.loads(json_schema()))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("refuse", "must be 'allow', 'deny' or 'strip'"),
        ({}, "says nothing: allow, deny, strip, or a limit"),
        ({"action": "deny", "max": 1}, "limits are for a parameter that is allowed"),
        ({"action": "strip", "over": "deny"}, "limits are for a parameter that is allowed"),
        ({"max": 1, "max_items": 1}, "max and min are for numbers, max_items is for the rest: one or the other"),
        ({"over": "deny"}, '"over" needs a limit: max, min or max_items'),
        ({"max_items": 1, "over": "clamp"}, "only a number can be clamped: over max_items, deny or strip"),
        ({"max": 1, "min": 2}, "min is larger than max"),
        ({"max": "4096"}, "must be a valid number"),
        ({"max": 1, "ovr": "deny"}, 'unknown field "ovr"; did you mean "over"?'),
        (["deny"], "must be a mapping"),
        (True, "must be a mapping"),
    ],
)  # fmt: skip
def test_what_a_parameter_cannot_be_told(said: Any, message: str) -> None:
    where, problem = only_problem(parameters={"a": said})

    assert (where[:3], problem) == (("spec", "parameters", "a"), message)


@pytest.mark.parametrize("name", ["", "a b", "[ab]", "a\n", "ä", "x" * 129])
def test_a_parameter_is_called_by_a_plain_name(name: str) -> None:
    assert only_problem(parameters={name: "deny"})[0] == ("spec", "parameters", name)


@pytest.mark.parametrize(
    ("name", "called"), [("n", "choices"), ("n_predict", "max_tokens"), ("options.num_ctx", "num_ctx")]
)
def test_an_apis_own_name_for_a_parameter_is_a_problem_that_says_what_it_is_called(name: str, called: str) -> None:
    assert only_problem(parameters={name: "deny"})[1] == f'policies call "{name}" "{called}", whatever the API'


@pytest.mark.parametrize("said", ["strip", {"max": 1, "over": "strip"}])
def test_a_role_cannot_be_taken_out(said: Any) -> None:
    assert only_problem(parameters={"unknown_role": said})[1] == (
        '"unknown_role" cannot be taken out of a request: allow or deny it'
    )


@pytest.mark.parametrize(
    ("said", "where"),
    [({"image": "strip"}, "image"), ({"images": "deny"}, "images"), ({"default": True}, "default")],
)
def test_content_that_cannot_be_read_is_allowed_flagged_or_denied(said: dict[str, Any], where: str) -> None:
    assert only_problem(not_inspected=said)[0] == ("spec", "not_inspected", where)
