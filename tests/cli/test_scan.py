from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from extproc.cli import main
from extproc.cli.scan import _visible
from tests.support.toy_policy import KEY, MARKER, write_toy_policy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy_policy(tmp_path)


def test_one_text_gives_a_readable_view_without_what_was_found(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--policy", str(toy), f"my {KEY} :smile: [b]"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("redact by policy toy, scope user\n")
    assert "keys  toy-key  3     23  redact  1.00" in out
    assert out.endswith(f"leaves as:\nmy {MARKER} :smile: [b]\n")
    assert KEY not in out
    assert "\x1b" not in out


@pytest.mark.parametrize(("scope", "action"), [("system", "flag"), ("document", "deny")])
def test_what_is_not_redacted_is_not_shown(
    toy: Path, capsys: pytest.CaptureFixture[str], scope: str, action: str
) -> None:
    assert main(["scan", "--policy", str(toy), "--scope", scope, f"my {KEY}"]) == 0

    out = capsys.readouterr().out
    assert out.startswith(f"{action} by policy toy, scope {scope}")
    assert "my" not in out


def test_a_clean_text_takes_one_line(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--policy", str(toy), "hello"]) == 0
    assert capsys.readouterr().out == "allow by policy toy, scope user\n"


@pytest.mark.parametrize(
    ("scope", "action", "output"),
    [("user", "redact", f"my {MARKER}"), ("system", "flag", f"my {KEY}"), ("document", "deny", None)],
)
def test_as_json_it_is_one_object(
    toy: Path, capsys: pytest.CaptureFixture[str], scope: str, action: str, output: str | None
) -> None:
    assert main(["scan", "--policy", str(toy), "--scope", scope, "--json", f"my {KEY}"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["action"], report["output"], report["score"]) == (action, output, None)
    assert [(found["match"], found["start"], found["end"]) for found in report["findings"]] == [("toy-key", 3, 23)]


def test_a_clean_text_scores_little(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--json", "hello"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["score"] < 0.3


def test_a_text_may_come_from_standard_input(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff " + KEY.encode())))

    assert main(["scan", "--policy", str(toy), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == f"\N{REPLACEMENT CHARACTER} {MARKER}"


def test_a_text_cannot_steer_the_terminal() -> None:
    assert _visible("a\x1b[31mb\x07\tc\n\u202e") == "a\ufffd[31mb\ufffd\tc\n\ufffd"


def test_lines_come_out_in_order_and_a_bad_one_does_not_stop_the_others(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(f'{{"id": 7, "text": "a {KEY}"}}\n\nnope\n{{"id": "x"}}\n{{"id": 8, "text": "b"}}')

    assert main(["scan", "--policy", str(toy), "--jsonl", str(source)]) == 1

    first, second, third, fourth = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["id"], first["output"]) == (7, f"a {MARKER}")
    assert second == {"id": None, "line": 3, "error": "not JSON"}
    assert third == {"id": "x", "line": 4, "error": 'no "text"'}
    assert (fourth["id"], fourth["output"]) == (8, "b")


@pytest.mark.parametrize("arguments", [[], ["text", "--jsonl", "-"]])
def test_it_wants_a_text_or_lines_and_one_of_them(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", *arguments]) == 2
    assert "--jsonl" in capsys.readouterr().err


def test_a_policy_that_does_not_check_is_unreadable_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: Policy")

    assert main(["scan", "--policy", str(path), "text"]) == 2
    assert f"{path}:1:1: spec: is missing" in capsys.readouterr().err


def test_a_missing_input_is_told(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--policy", str(toy), "--jsonl", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_a_line_is_answered_before_the_next_one_comes(toy: Path) -> None:
    command = [sys.executable, "-m", "extproc", "scan", "--policy", str(toy), "--jsonl", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as scan:
        assert scan.stdin is not None
        assert scan.stdout is not None
        for number in range(3):
            scan.stdin.write(json.dumps({"id": number, "text": "hi"}).encode() + b"\n")
            scan.stdin.flush()
            assert json.loads(scan.stdout.readline())["id"] == number
        scan.stdin.close()
        assert scan.wait(60) == 0


def test_a_reader_that_goes_away_is_no_failure(toy: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": number, "text": "hi " * 40}) + "\n" for number in range(3000)))
    command = [sys.executable, "-m", "extproc", "scan", "--policy", str(toy), "--jsonl", str(source), "--jobs", "2"]
    reading, writing = os.pipe()
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT) as scan:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _, err = scan.communicate(timeout=60)

    assert (scan.returncode, err) == (0, b"")
