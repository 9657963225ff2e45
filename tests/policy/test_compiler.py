from __future__ import annotations

from typing import Any

import pytest

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.policy.decision import Action
from tests.policy.fakes import policy, rule


def test_the_limits_of_the_document_are_those_of_the_policy() -> None:
    limits = policy(limits={"request_bytes": "1KiB", "decide_s": 2, "max_tokens": 10}).limits

    assert (limits.request_bytes, limits.decide_s, limits.max_tokens, limits.choices) == (1024, 2.0, 10, None)


def test_every_scope_has_its_rules_in_order() -> None:
    compiled = policy(rules=[rule("a", scope=["user"]), rule("b", scope=["response.content", "user"])])

    assert set(compiled.by_scope) == {*REQUEST_SCOPES, *RESPONSE_SCOPES}
    assert [entry.id for entry in compiled.by_scope["user"]] == ["a", "b"]
    assert [entry.id for entry in compiled.by_scope["response.content"]] == ["b"]
    assert compiled.by_scope["system"] == ()


@pytest.mark.parametrize(
    ("mode", "own", "monitored"),
    [("enforce", {}, False), ("monitor", {}, True), ("enforce", {"mode": "monitor"}, True),
     ("monitor", {"mode": "enforce"}, False)],
)  # fmt: skip
def test_a_rule_has_the_last_word_on_its_mode(mode: str, own: dict[str, Any], monitored: bool) -> None:
    assert policy(mode=mode, rules=[rule("a", **own)]).rules[0].monitored == monitored


def test_a_rule_that_can_stream_has_a_stream_and_one_that_cannot_has_none() -> None:
    secrets, injection = policy(rules=[rule("a"), rule("b", "prompt_injection")]).rules

    assert secrets.stream is secrets.detector
    assert injection.stream is None
    assert (secrets.scores, injection.scores) == (False, True)


@pytest.mark.parametrize(
    ("request_line", "allowed"),
    [
        ("GET /v1/models", True),
        ("GET /v1/models/gpt-4o", True),
        ("GET /v1/models/a/b", False),
        ("GET /v1/models/", False),
        ("GET /v1/models/..", False),
        ("GET /v1/models/.", False),
        ("GET /v1/models/.hidden", True),
        ("GET /v1/models/a%2fb", False),
        ("GET /v1/models/a;b", False),
        ("GET /v1/models\n", False),
        ("POST /v1/models", False),
        ("get /v1/models", False),
        ("GET /v1/modelsx", False),
        ("GET /v1xmodels", False),
        ("GET /api/tags", True),
        ("GET /V1/models", False),
    ],
)
def test_an_endpoint_is_allowed_by_its_exact_method_and_path(request_line: str, allowed: bool) -> None:
    method, path = request_line.split(" ", 1)
    compiled = policy(endpoints={"allow": ["GET /v1/models", "GET /v1/models/*", "GET /api/tags"]})

    assert compiled.serves(method, path, path, named_only=True) == allowed
    assert compiled.serves(method, path, path, named_only=False)


def test_no_endpoint_is_served_where_none_is_named() -> None:
    assert not policy().serves("GET", "/", "/", named_only=True)


def test_every_endpoint_is_served_where_the_unknown_is() -> None:
    compiled = policy(on_unknown="allow")

    assert compiled.on_unknown is Action.ALLOW
    assert compiled.serves("POST", "/api/pull", "/api/pull", named_only=True)


@pytest.mark.parametrize("more", [{}, {"on_unknown": "allow"}])
@pytest.mark.parametrize("named_only", [True, False])
def test_what_is_denied_is_not_served_whatever_else_allows_it(more: dict[str, Any], named_only: bool) -> None:
    endpoints = {"allow": ["POST /api/chat"], "deny": ["POST /api/chat", "GET /v1/models/*"]}
    compiled = policy(endpoints=endpoints, **more)

    assert not compiled.serves("POST", "/api/chat", "/api/chat", named_only=named_only)
    assert not compiled.serves("GET", "/v1/models/x", "/v1/models/x", named_only=named_only)
    assert not compiled.serves("GET", "/v1/models/a%3Ab", "/v1/models/a%3Ab", named_only=named_only)
    assert compiled.serves("GET", "/api/chat", "/api/chat", named_only=False)


def test_an_alias_stands_for_its_path_and_no_other() -> None:
    compiled = policy(endpoints={"aliases": {"/chat": "/v1/chat/completions", "/v1/chat": "/x"}})

    assert compiled.canonical("/chat") == "/v1/chat/completions"
    assert compiled.canonical("/chat/") == "/chat/"
    assert compiled.canonical("/x") == "/x"


@pytest.mark.parametrize("entry", ["POST /chat", "POST /v1/chat/completions"])
def test_an_alias_is_denied_by_its_own_name_and_by_that_of_its_path(entry: str) -> None:
    endpoints = {"aliases": {"/chat": "/v1/chat/completions"}, "deny": [entry]}
    compiled = policy(endpoints=endpoints)

    assert not compiled.serves("POST", "/chat", "/v1/chat/completions", named_only=False)


@pytest.mark.parametrize("entry", ["GET /models", "GET /v1/models"])
def test_an_alias_of_what_must_be_named_is_served_under_either_name(entry: str) -> None:
    compiled = policy(endpoints={"aliases": {"/models": "/v1/models"}, "allow": [entry]})

    assert compiled.serves("GET", "/models", "/v1/models", named_only=True)


def test_a_limit_is_a_whole_number_where_it_was_written_as_one() -> None:
    compiled = policy(parameters={"a": {"max": 4096}, "b": {"max": 0.5, "min": 0.0}})
    a, b = (compiled.parameters.rule(name, known=True) for name in "ab")

    assert (repr(a.most), repr(b.most), repr(b.least)) == ("4096", "0.5", "0")


def test_the_audit_names_what_no_rule_reads() -> None:
    compiled = policy(rules=[rule("a", "prompt_injection", scope=["user"]), rule("b", scope=["user", "system"])])

    assert compiled.unread["system"] == ("system:prompt_injection",)
    assert compiled.unread["document"] == ("document",)
    assert "user" not in compiled.unread


def test_without_an_injection_rule_its_absence_is_not_told_scope_by_scope() -> None:
    assert "user" not in policy(rules=[rule("a")]).unread
