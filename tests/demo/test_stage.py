from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from extproc.demo import stage, weights
from extproc.demo.rows import ROWS
from extproc.runtime.assets import asset
from tests.support.upstream import Upstream, sse

ONCE = tuple(replace(row, repeats=1) for row in ROWS)


class OpenDoor:
    """In the place of a gate: the upstream itself."""

    def __init__(self, upstream: str, policy: Path, folder: Path) -> None:
        self.url = upstream
        self.audit_log = folder / "audit.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def audit(self, decision_id: str) -> dict[str, Any]:
        return {"action": "allow", "reason": "", "findings": []}


@pytest.fixture
def open_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "Gate", OpenDoor)
    monkeypatch.setattr(stage, "ROWS", ONCE)


def test_rows_that_fail_make_the_demo_fail(
    open_door: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.play(tmp_path, real_model=False, keep=False, as_json=True) is False
    document = json.loads(capsys.readouterr().out)
    assert document["upstream"] == "a scripted stand-in"
    assert len(document["rows"]) == len(ROWS)
    monkeypatch.setattr(stage, "ROWS", ONCE[:2])
    assert stage.play(tmp_path, real_model=False, keep=False, as_json=False) is True
    assert "the same requests through the gate" in capsys.readouterr().out


def test_keep_prints_curl_lines_and_waits_for_ctrl_c(
    open_door: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def interrupted() -> None:
        waited.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "ROWS", ONCE[:1])
    monkeypatch.setattr(signal, "pause", interrupted)
    assert stage.play(tmp_path, real_model=False, keep=True, as_json=True) is True
    assert waited
    assert "curl -sNi" in capsys.readouterr().err


def test_the_real_model_answers_ordinary_chats(
    open_door: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "from the model"}, "finish_reason": "stop"}]}
    with Upstream({"POST /v1/chat/completions": sse(chunk)}) as model:

        def server(path: Path, log: Path) -> AbstractContextManager[Upstream]:
            return nullcontext(model)

        monkeypatch.setattr(stage, "ROWS", ONCE[:2])
        monkeypatch.setattr(stage, "ModelServer", server)
        monkeypatch.setattr(weights, "obtain", lambda console: Path("weights"))
        assert stage.play(tmp_path, real_model=True, keep=False, as_json=True) is True
    document = json.loads(capsys.readouterr().out)
    assert [row["client"].splitlines()[0] for row in document["rows"]] == ["from the model"] * 2
    assert document["upstream"].startswith("smollm2:135m")


def test_the_demo_policy_is_the_default_with_models_and_a_tool_named() -> None:
    default = yaml.safe_load(asset("policies/default.yaml").read_text())
    demo = yaml.safe_load(asset("policies/demo.yaml").read_text())
    named = copy.deepcopy(default)
    named["metadata"]["name"] = "demo"
    named["spec"]["models"]["allow"] = ["smollm2:135m", "standin:1.0"]
    named["spec"]["tools"]["allow"] = [{"name": "get_weather"}]
    assert demo == named


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The demo as users run it, with its logs in ``folder`` should it fail."""
    command = [sys.executable, "-m", "extproc", "demo", "--json", *options]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)})


@pytest.mark.envoy
def test_the_demo_without_a_model_ends_with_every_row_as_expected(tmp_path: Path) -> None:
    done = demo(tmp_path, "--no-model")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["complaints"] for row in json.loads(done.stdout)["rows"]] == [[]] * len(ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.envoy
@pytest.mark.model
def test_the_demo_with_the_real_model_ends_with_every_row_as_expected(tmp_path: Path) -> None:
    if not (weights.cache_dir() / weights.SMOLLM2.file_name).is_file():
        pytest.skip("needs the weights that `make demo` downloads")
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
