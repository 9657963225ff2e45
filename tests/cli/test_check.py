from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli import main
from extproc.policy.document import json_schema
from tests.support.toy_policy import write_toy_policy


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_toy_policy(tmp_path)


@pytest.fixture
def doubtful(good: Path) -> Path:
    path = good.parent / "doubtful.yaml"
    path.write_text(good.read_text().replace("spec:\n", "spec:\n  on_unknown: allow\n"))
    return path


@pytest.fixture
def bad(good: Path) -> Path:
    path = good.parent / "bad.yaml"
    path.write_text(good.read_text().replace("detector: secrets", "detector: secret"))
    return path


def test_a_good_policy_shows_its_rules(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(good)]) == 0

    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].split() == ["RULE", "DETECTOR", "ACTION", "MODE", "OWASP", "SCOPES"]
    assert lines[1].split() == ["keys", "secrets", "redact", "enforce", "LLM02:2025", "user"]
    assert len({line.index("secrets") for line in lines[1:4]}) == 1
    assert lines[4].startswith(f"{good}: ok, sha256:")


def test_a_bad_policy_tells_everything_on_standard_error(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bad)]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        [f"{bad}:7:18", "spec.rules[0].detector"],
        [f"{bad}:8:19", "spec.rules[1].detector"],
        [f"{bad}:9:21", "spec.rules[2].detector"],
    ]


def test_several_files_are_all_checked(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bad), str(good)]) == 1

    assert f"{good}: ok" in capsys.readouterr().out


def test_a_warning_is_an_error_only_where_it_shall_be(doubtful: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(doubtful)]) == 0
    out, err = capsys.readouterr()
    assert "ok" in out
    assert err.endswith("(warning)\n")

    assert main(["check", "--strict", str(doubtful)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{doubtful}:6:3: spec.on_unknown: every endpoint that is not guarded passes unread\n"


def test_as_json_it_is_one_object_a_file(
    good: Path, doubtful: Path, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--json", str(good), str(doubtful), str(bad)]) == 1

    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["ok"], first["errors"], first["warnings"]) == (True, [], [])
    assert first["rules"][1] == {
        "id": "noted",
        "detector": "secrets",
        "pack": "toy",
        "options": {},
        "scope": ["system"],
        "action": "flag",
        "owasp": ["LLM02:2025"],
        "mode": "enforce",
        "second_opinion": None,
    }
    assert [warning["where"] for warning in second["warnings"]] == ["spec.on_unknown"]
    assert (third["ok"], third["revision"], third["rules"]) == (False, None, [])
    assert third["errors"][0]["line"] == 7


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert capsys.readouterr().out == json_schema()


def test_without_a_file_it_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "policy file" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_unreadable_input_not_a_bad_policy(
    good: Path, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(good.parent / "missing.yaml")
    assert main(["check", missing]) == 2
    assert main(["check", "--json", missing]) == 2
    assert main(["check", missing, str(bad), str(good)]) == 2
    assert f"{missing}:1:1: No such file or directory" in capsys.readouterr().err
