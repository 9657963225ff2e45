"""What is asked of an upstream, what is believed of its answer, and which names a starter policy may list."""

from __future__ import annotations

import socket

import pytest

from extproc.runtime.envoy_config import parse_upstream
from extproc.runtime.upstream_probe import ProbeFailed, Unreachable, Verdict, judge, served_models
from tests.support.upstream import Answer, Hangup, Upstream, json_answer

DIGEST = "0e181def086838261f501468cbcad6d7e9111926f5e6671fdb36b882ea068f9c"
TAGS = json_answer({"models": [{"name": "qwen2.5:0.5b", "digest": DIGEST}]})
MODELS = json_answer({"object": "list", "data": [{"id": "Qwen/Qwen2.5-0.5B-Instruct"}]})


def verdicts(*names: str) -> dict[str, Verdict]:
    return {model.name: model.verdict for model in judge([(name, "") for name in names])}


# ---- asking ----


def test_ollama_is_asked_for_names_and_digests() -> None:
    with Upstream({"GET /api/tags": TAGS, "GET /v1/models": MODELS}) as upstream:
        (model,) = served_models(parse_upstream(upstream.url))
    assert (model.name, model.digest, model.verdict) == ("qwen2.5:0.5b", DIGEST, Verdict.PINNED)
    assert [request.target for request in upstream.requests] == ["/api/tags"]


@pytest.mark.parametrize("tags", [None, json_answer({"models": []}), json_answer([]), json_answer({"models": "x"})])
def test_other_servers_are_asked_for_their_models(tags: Answer | None) -> None:
    routes = {"GET /v1/models": MODELS} | ({"GET /api/tags": tags} if tags else {})
    with Upstream(routes) as upstream:
        (model,) = served_models(parse_upstream(upstream.url))
    assert (model.name, model.digest) == ("Qwen/Qwen2.5-0.5B-Instruct", "")


def test_nothing_that_accepts_connections_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unreachable, match=f"cannot reach http://127.0.0.1:{port}"):
            served_models(parse_upstream(f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (json_answer({}, 401), "wants credentials"),
        (json_answer({}, 404), "lists no models"),
        (json_answer({"data": []}), "serves no models now"),
        (json_answer({"data": [{"id": 7}, "x", {}]}), "serves no models now"),
        (Answer(pieces=(b"[" * 100_000,)), "serves no models now"),
        (Answer(pieces=(b" " * (8 << 20), b" ")), "more than 8 MiB"),
        (Answer(pieces=(b"{", Hangup())), "does not speak HTTP/1.1"),
    ],
    ids=["credentials", "no list", "empty", "not names", "nested", "endless", "broken off"],
)
def test_what_is_no_list_of_models_is_said(answer: Answer, why: str) -> None:
    with Upstream({"GET /v1/models": answer}) as upstream, pytest.raises(ProbeFailed, match=why) as failed:
        served_models(parse_upstream(upstream.url))
    assert not isinstance(failed.value, Unreachable)


def test_a_redirect_is_not_followed() -> None:
    elsewhere = Answer(302, (("location", "/v1/models"),))
    with (
        Upstream({"GET /api/tags": elsewhere, "GET /v1/models": elsewhere}) as upstream,
        pytest.raises(ProbeFailed, match="last: 302"),
    ):
        served_models(parse_upstream(upstream.url))


@pytest.mark.parametrize("digest", ["sha256:" + DIGEST, DIGEST])
def test_a_digest_is_hex_with_or_without_its_algorithm(digest: str) -> None:
    tags = json_answer({"models": [{"name": "a:1", "digest": digest}]})
    with Upstream({"GET /api/tags": tags}) as upstream:
        assert served_models(parse_upstream(upstream.url))[0].digest == DIGEST


@pytest.mark.parametrize("digest", ["", "latest\n- '*'", None, 7, DIGEST.upper()])
def test_anything_else_is_no_digest(digest: object) -> None:
    tags = json_answer({"models": [{"name": "a:1", "digest": digest}]})
    with Upstream({"GET /api/tags": tags}) as upstream:
        assert served_models(parse_upstream(upstream.url))[0].digest == ""


# ---- judging ----


def test_a_fixed_tag_is_allowed_and_the_moving_ones_beside_it_are_not() -> None:
    assert verdicts("llama3:8b", "llama3:latest", "llama3", "Library/LLAMA3") == {
        "llama3:8b": Verdict.PINNED,
        "llama3:latest": Verdict.MOVES,
        "llama3": Verdict.MOVES,
        "Library/LLAMA3": Verdict.MOVES,
    }


@pytest.mark.parametrize("name", ["mistral:latest", "mistral", "gpt-4o", "meta-llama/Llama-3.1-8B-Instruct"])
def test_where_there_is_no_fixed_tag_the_name_is_allowed_as_served(name: str) -> None:
    assert verdicts(name, "other:1b") == {name: Verdict.AS_SERVED, "other:1b": Verdict.PINNED}


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "glm:cloud"])
def test_what_runs_in_the_vendors_cloud_is_not_allowed(name: str) -> None:
    assert verdicts(name) == {name: Verdict.LEAVES}


def test_a_model_in_the_cloud_does_not_make_the_local_one_a_moving_name() -> None:
    assert verdicts("glm:cloud", "glm:latest")["glm:latest"] is Verdict.AS_SERVED


@pytest.mark.parametrize("name", ["*", "llama*", "x[ab]", "x?", "a b", "a\nb", "a\\b", "..", "x" * 300])
def test_a_name_that_reads_as_a_pattern_or_as_no_name_is_not_allowed(name: str) -> None:
    assert verdicts(name) == {name: Verdict.UNREADABLE}
    assert not Verdict.UNREADABLE.allowed
