"""``sluicegate replay``: a table of recordings, and an exit code that says whether anything differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli import main
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.replay import drive
from tests.support.policies import policy
from tests.support.streams import chat, request_body, request_headers, secrets_policy

RULE = {"id": "secrets-out", "detector": "secrets", "scope": ["response.content"], "action": "redact"}


@pytest.fixture
def recording(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text(policy(rules=[RULE]), encoding="utf-8")
    (tmp_path / "alike.yaml").write_text(policy(rules=[RULE], endpoints={"allow": []}), encoding="utf-8")
    (tmp_path / "other.yaml").write_text(policy(rules=[RULE], models={"allow": ["another:1b"]}), encoding="utf-8")
    entries = [rec.Entry(received=message) for message in (request_headers(), request_body(chat("hello")))]
    made = rec.Recording(
        version=1,
        decision_id="d-1",
        policy_revision=secrets_policy().revision,
        entries=[*entries, rec.Entry(closed="eof")],
    )
    for entry, outcome in zip(made.entries, drive(made, secrets_policy()), strict=True):
        entry.replies.extend(outcome.replies)
    path = tmp_path / "d-1.slrec"
    path.write_bytes(made.SerializeToString())
    return str(path)


def test_identical_replies_are_a_yes(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", recording, "--policy", f"{tmp_path}/policy.yaml"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["FILE", "EVENTS", "REPLIES", "POLICY", "RESULT"]
    assert row.split() == [recording, "3", "2", "the", "same", "identical"]


def test_another_policy_that_decides_otherwise_is_a_no_that_says_where(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", recording, "--policy", f"{tmp_path}/other.yaml"]) == 1
    _, row, difference = capsys.readouterr().out.splitlines()
    assert row.split()[3:] == ["another", "1", "different"]
    assert difference == f"{recording}: event 1 (request_body): request_headers request_body -> immediate_response"


def test_another_policy_that_decides_alike_is_a_yes(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", recording, "--policy", f"{tmp_path}/alike.yaml"]) == 0
    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[3:] == ["another", "identical"]


def test_json_says_the_same(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--json", recording, recording, "--policy", f"{tmp_path}/other.yaml"]) == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == second
    assert first["result"] == "1 different"
    assert first["differences"] == [
        {
            "entry": 1,
            "event": "request_body",
            "recorded": ["request_headers", "request_body"],
            "replayed": ["immediate_response"],
        }
    ]


@pytest.mark.parametrize("missing", ["file", "policy"])
def test_what_cannot_be_read_is_wrong_usage(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    absent = str(tmp_path / "absent")
    file, with_policy = (absent, f"{tmp_path}/policy.yaml") if missing == "file" else (recording, absent)
    assert main(["replay", file, "--policy", with_policy]) == 2
    assert "absent" in capsys.readouterr().err
