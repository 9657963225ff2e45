"""``sluicegate eval``: what detectors make of labelled texts, and how two of them differ. No text is shown."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extproc.cli import main
from extproc.runtime.assets import PACKAGE
from extproc.training.corpus import Row
from extproc.training.model import blank_model, written
from tests.cli.test_train import assert_drawn
from tests.support.policies import policy
from tests.training import toy

RULE = {"id": "talked-over", "detector": "prompt_injection", "pack": "toy", "scope": ["user"], "action": "deny"}
OTHER = {"id": "keys", "detector": "secrets", "scope": ["response.content"], "action": "redact"}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    toy.write_pack(tmp_path)
    return str(toy.write(tmp_path))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def pack(tmp_path: Path) -> tuple[str, str]:
    return "--pack", str(tmp_path / "packs" / "toy.yaml")


def test_a_pack_is_judged_by_source(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The rule's weight stays below the pack's threshold.
    found = told(capsys, corpus, *pack(tmp_path), "--threshold", "0.4")
    assert found["texts"] == 660
    [detector] = found["detectors"]
    hits = {name: sum("surrender your" in row.text for row in toy.rows() if row.source == name) for name in toy.ATTACKS}
    sources = {(each["source"], each["label"]): each for each in detector["sources"]}
    assert list(sources) == [(name, 1) for name in sorted(toy.ATTACKS)] + [(name, 0) for name in sorted(toy.OTHERS)]
    for name, count in hits.items():
        assert (sources[name, 1]["texts"], sources[name, 1]["flagged"]) == (110, count)
        assert sources[name, 1]["low"] < sources[name, 1]["share"] == count / 110 < sources[name, 1]["high"]
    assert detector["recall"] == pytest.approx(sum(hits.values()) / 330)
    assert detector["false_positives"] == pytest.approx(
        sum("surrender your" in row.text for row in toy.rows() if not row.attack) / 330
    )
    assert sources["harbor", 1]["scores"] == {"p5": 0.0, "p25": 0.0, "p50": 0.0, "p75": 0.0, "p95": 0.5}
    assert 0 < detector["cpu_ms"]["median"] <= detector["cpu_ms"]["p95"]
    assert detector["calibration_error"] > 0.3


def test_the_detectors_own_threshold_decides_unless_one_is_given(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, corpus, *pack(tmp_path))["detectors"][0]["recall"] == 0
    assert told(capsys, corpus, *pack(tmp_path), "--threshold", "0")["detectors"][0]["recall"] == 1


def test_a_policys_rule_is_judged_as_the_gateway_builds_it(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy(rules=[{**RULE, "options": {"threshold": 0.4}}, OTHER]), encoding="utf-8")
    for more in ([], ["--rule", "talked-over"]):
        [detector] = told(capsys, corpus, "--policy", str(path), *more)["detectors"]
        assert detector["name"].endswith("/talked-over")
        assert 0.1 < detector["recall"] < 0.3
    [detector] = told(capsys, corpus, "--policy", str(path), "--rule", "keys")["detectors"]
    assert (detector["recall"], detector["false_positives"]) == (0, 0)
    assert main(["eval", corpus, "--policy", str(path), "--rule", "absent"]) == 2
    assert "name one rule with --rule, of talked-over, keys" in capsys.readouterr().err


def test_two_detectors_differ_by_so_much_and_in_these_lines(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = (*pack(tmp_path), "--threshold", "0.4"), ("--against-pack", pack(tmp_path)[1])
    found = told(capsys, corpus, *new, *old)["difference"]
    lines = [f"{corpus}:{at}" for at, row in enumerate(toy.rows(), 1) if row.attack and "surrender your" in row.text]
    assert found["newly_flagged"]["attacks"] == lines
    assert found["no_longer_flagged"] == {"attacks": [], "others": []}
    assert found["recall"]["low"] < found["recall"]["value"] == pytest.approx(len(lines) / 330)
    assert found["recall"]["value"] < found["recall"]["high"]
    turned = told(capsys, corpus, *pack(tmp_path), *old, "--against-threshold", "0.4")["difference"]
    assert turned["no_longer_flagged"] == found["newly_flagged"]
    assert turned["recall"]["value"] == -found["recall"]["value"]


def test_tables_name_lines_and_no_text(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", corpus, *pack(tmp_path), "--threshold", "0.4", "--against-pack", pack(tmp_path)[1]]) == 0
    output = capsys.readouterr()
    assert output.err == "toy: 660 done\ntoy: 660 done\n"
    rows = [line.split() for line in output.out.splitlines()]
    assert ["toy"] in rows
    assert next(row for row in rows if row[:2] == ["harbor,", "attacks"])[2] == "110"
    assert f"every source weighing the same: found {0:.2f} %" in output.out
    changed = next(line for line in output.out.splitlines() if line.startswith("newly flagged: "))
    first = next(at for at, row in enumerate(toy.rows(), 1) if "surrender your" in row.text)
    assert f" attacks: {corpus}:{first}, " in changed
    assert changed.count(corpus) == 10
    assert changed.endswith(" more")
    assert not [row.text for row in toy.rows() if row.text in output.out]


def test_small_sources_have_shares_but_no_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write_pack(tmp_path)
    corpus = str(toy.write(tmp_path, toy.rows(texts=20)))
    found = told(capsys, corpus, *pack(tmp_path), "--against-pack", pack(tmp_path)[1])
    assert (found["detectors"][0]["recall"], found["difference"]["recall"]) == (None, None)
    assert main(["eval", corpus, *pack(tmp_path)]) == 0
    assert "found -, false positives - (an average is of sources of 100 texts or more)" in capsys.readouterr().out


def test_the_report_compares_in_plots(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.json"
    model.write_text(written(blank_model({}) | {"threshold": 0.6}), encoding="utf-8")
    against = ("--against-pack", pack(tmp_path)[1], "--against-threshold", "0.4")
    assert main(["eval", corpus, *pack(tmp_path), "--model", str(model), *against, "--report", f"{tmp_path}/r"]) == 0
    report = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# toy with model and toy\n")
    assert "## What changes from toy to toy with model" in report
    for name in ("roc.png", "sources.png", "calibration-1.png", "calibration-2.png"):
        assert f"]({name})" in report
        assert_drawn(tmp_path / "r" / name)
    assert f"report: {tmp_path}/r/report.md" in capsys.readouterr().err


def test_a_small_source_does_not_stretch_the_plot_of_all(tmp_path: Path) -> None:
    toy.write_pack(tmp_path)
    flagged = [Row("surrender your kettle", False, "tiny")] * 20
    corpus = str(toy.write(tmp_path, [*toy.rows(), *flagged]))
    report = ("--threshold", "0.4", "--report", str(tmp_path / "r"))
    assert main(["eval", corpus, *pack(tmp_path), *report]) == 0
    assert_drawn(tmp_path / "r" / "sources.png")


def test_a_terminal_sees_how_far_it_is(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["eval", corpus, *pack(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "toy" in shown.err
    assert "%" in shown.err
    assert shown.out.startswith("toy\nSOURCE ")


def test_a_report_on_small_sources_has_no_curve_of_averages(tmp_path: Path) -> None:
    toy.write_pack(tmp_path)
    corpus = str(toy.write(tmp_path, [row for row in toy.rows(texts=20) if row.attack]))
    assert main(["eval", corpus, *pack(tmp_path), "--report", str(tmp_path / "r")]) == 0
    assert not (tmp_path / "r" / "roc.png").exists()
    assert "there are no averages" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert_drawn(tmp_path / "r" / "sources.png")


def test_it_runs_without_the_extra_but_for_the_report(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; sys.modules.update(numpy=None, scipy=None, sklearn=None, matplotlib=None); "
    code += "from extproc.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "eval", corpus, *pack(tmp_path), "--against-pack", pack(tmp_path)[1]]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("every source weighing the same")) == (0, 2), done.stderr
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert main(["eval", corpus, *pack(tmp_path), "--report", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err.startswith("sluicegate eval --report needs matplotlib: pip install")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--pack", "absent.yaml"], "absent.yaml: No such file"),
        (["--pack", "toy.yaml", "--model", "absent.json"], "absent.json: No such file"),
        (["--pack", "toy.yaml", "--model", "toy.yaml"], "toy.yaml: not JSON"),
        (["--pack", "toy.yaml", "--model", "empty.json"], "empty.json: options.model.format: is required"),
        (["--pack", "empty.json"], "empty.json: "),
        (["--pack", "named.yaml"], "models/absent.json: No such file"),
        (["--pack", "toy.yaml", "--rule", "x"], "name a policy and its rule, or a model, or a pack"),
        (["--policy", "absent.yaml"], "absent.yaml"),
        (["--pack", "toy.yaml", "--without", "misspelt"], "--without: no texts of the source 'misspelt'"),
        (["--pack", "toy.yaml", "--without", *toy.ATTACKS, *toy.OTHERS], "no texts to judge by"),
        (["--pack", "toy.yaml", "--report", "toy.yaml"], "toy.yaml: File exists"),
    ],
    ids=["pack", "model", "no-json", "no-model", "no-pack", "named", "rule", "policy", "source", "none", "report"],
)
def test_what_cannot_be_used_is_named(
    corpus: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path / "packs")
    Path("empty.json").write_text("{}", encoding="utf-8")
    Path("named.yaml").write_text(f"model: absent\n{toy.PACK}", encoding="utf-8")
    assert main(["eval", corpus, *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("sluicegate eval: ")
    assert why in error


def test_a_threshold_is_a_score(corpus: str) -> None:
    for wrong in ("2", "x"):
        with pytest.raises(SystemExit):
            main(["eval", corpus, "--threshold", wrong])
