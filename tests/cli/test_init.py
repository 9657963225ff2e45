"""`sluicegate init` writes a policy that allows what is served and says why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from extproc.cli import main
from extproc.cli.init import model_warnings, starter_policy
from extproc.runtime.envoy_config import parse_upstream
from extproc.runtime.store import default_policy, read_policy
from extproc.runtime.upstream_probe import judge
from tests.support.upstream import Answer, Upstream, json_answer

UPSTREAM = parse_upstream("http://127.0.0.1:11434")
SERVED = (
    ("qwen2.5:0.5b", "a" * 64),
    ("mistral:latest", "b" * 64),
    ("llama3:latest", "c" * 64),
    ("llama3:8b", "c" * 64),
    ("gpt-oss:120b-cloud", ""),
    ("*", ""),
)
TAGS = json_answer({"models": [{"name": name, "digest": digest} for name, digest in SERVED]})


def policy_for(*served: tuple[str, str]) -> str:
    return starter_policy(UPSTREAM, judge(list(served)))


def test_exactly_the_served_names_that_stay_put_are_allowed() -> None:
    document = yaml.safe_load(policy_for(*SERVED))
    assert document["spec"]["models"]["allow"] == ["llama3:8b", "qwen2.5:0.5b", "mistral:latest"]


def test_all_else_is_the_policy_that_ships() -> None:
    document = yaml.safe_load(policy_for(*SERVED))
    shipped = yaml.safe_load(default_policy().read_text(encoding="utf-8"))
    document["spec"]["models"]["allow"] = shipped["spec"]["models"]["allow"]
    assert document == {**shipped, "metadata": {"name": "starter"}}


def test_each_name_stands_beside_its_digest_and_its_reason() -> None:
    text = policy_for(*SERVED)
    assert f'- "qwen2.5:0.5b"  # sha256:{"a" * 64}\n' in text
    assert text.index("WARNING: no fixed tag") < text.index('- "mistral:latest"')
    assert text.index("Left out: no fixed tag") < text.index('#   "llama3:latest"')
    assert text.index("vendor's cloud") < text.index('#   "gpt-oss:120b-cloud"')
    assert "http://127.0.0.1:11434 served when this was written" in text


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ("qwen2.5:0.5b", "registry.ollama.ai/library/Qwen2.5:0.5B"),
        ("mistral:latest", "mistral"),
        ("mistral:latest", "mistral:latest"),
        ("tinyllama", "tinyllama"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
    ],
)
def test_the_policy_is_valid_and_lets_in_every_spelling_of_what_is_served(
    served: str, asked: str, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_for((served, "")), encoding="utf-8")
    models = read_policy(path).policy.models
    assert models.refusal(asked) is None
    assert models.refusal("something-else:1b") is not None
    assert models.refusal("something-else:latest") is not None


def test_a_name_that_is_not_served_is_refused_latest_included(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_for(("llama3:8b", ""), ("llama3:latest", "")), encoding="utf-8")
    models = read_policy(path).policy.models
    assert models.refusal("llama3:8b") is None
    assert [models.refusal(name) is None for name in ("llama3:latest", "llama3", "llama3:70b")] == [False] * 3


@pytest.mark.parametrize("served", [(), (("*", ""),), (("glm:cloud", ""),)])
def test_where_nothing_may_be_allowed_nothing_is(served: Sequence[tuple[str, str]]) -> None:
    assert yaml.safe_load(policy_for(*served))["spec"]["models"]["allow"] == []
    assert model_warnings(judge(list(served)))[-1] == "no model is allowed: every chat will be refused"


@pytest.mark.parametrize("name", ['a"\n    - "*', "a: b # c", "'", "\u2028", "a\x1b[31m", "&a", "ü\u00ad"])
def test_no_name_can_write_anything_else_into_the_policy(name: str) -> None:
    text = policy_for(("good:1b", ""), (name, ""))
    allow = yaml.safe_load(text)["spec"]["models"]["allow"]
    assert allow in (["good:1b"], ["good:1b", name])
    assert "\x1b" not in text


def test_warnings_name_what_moves_and_what_leaves() -> None:
    as_served, leaves, moves, unreadable = model_warnings(judge(list(SERVED)))
    assert "mistral:latest" in as_served
    assert "gpt-oss:120b-cloud" in leaves
    assert "llama3:latest" in moves
    assert unreadable.endswith(": 1")
    assert model_warnings(judge([("a:1", "")])) == []


# ---- the verb ----


def test_it_prints_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    with Upstream({"GET /api/tags": TAGS}) as upstream:
        assert main(["init", "--upstream", upstream.url]) == 0
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["kind"] == "Policy"
    assert "warning: no fixed tag" in err


def test_it_writes_a_file_and_replaces_none_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "policy.yaml"
    with Upstream({"GET /api/tags": TAGS}) as upstream:
        command = ["init", "--upstream", upstream.url, "--output", str(target)]
        assert main(command) == 0
        target.write_text("mine", encoding="utf-8")
        assert main(command) == 2
        assert target.read_text(encoding="utf-8") == "mine"
        assert main([*command, "--force"]) == 0
    assert "qwen2.5:0.5b" in target.read_text(encoding="utf-8")
    assert "--force replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--upstream", "localhost:11434"], 2, "expected http://"),
        (["--upstream", "http://127.0.0.1:1"], 1, "cannot reach http://127.0.0.1:1"),
    ],
)
def test_what_stands_in_the_way_is_said(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *arguments]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "routes", [{}, {"GET /api/tags": json_answer({}, 401), "GET /v1/models": json_answer({}, 401)}]
)
def test_no_error_speaks_of_an_option_that_is_not_there(
    routes: dict[str, Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    with Upstream(routes) as upstream:
        assert main(["init", "--upstream", upstream.url]) == 1
    err = capsys.readouterr().err
    assert "models" in err
    assert "--policy" not in err


def test_another_tag_is_not_called_the_same_model() -> None:
    served = judge([("llama3:70b", "a" * 64), ("llama3:latest", "b" * 64)])
    assert model_warnings(served) == ["refused, no fixed tag, and another tag of it is served: llama3:latest"]
    assert "Left out: no fixed tag, and another tag of it is served.\n" in starter_policy(UPSTREAM, served)


def test_a_folder_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Upstream({"GET /api/tags": TAGS}) as upstream:
        assert main(["init", "--upstream", upstream.url, "--output", "/nowhere/policy.yaml"]) == 2
    assert "No such file" in capsys.readouterr().err
