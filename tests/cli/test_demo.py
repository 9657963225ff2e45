from __future__ import annotations

import argparse
import importlib.util
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.cli import demo
from extproc.demo import stage
from extproc.demo.gate import GateFailed


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "demo"
    path.mkdir()
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(path))
    return path


def run(*options: str) -> int:
    parser = argparse.ArgumentParser()
    demo.configure(parser)
    return demo.run(parser.parse_args(options))


def play(monkeypatch: pytest.MonkeyPatch, outcome: bool | BaseException) -> list[dict[str, object]]:
    calls: list[dict[str, object]] = []

    def played(folder: Path, **options: object) -> bool:
        calls.append(options)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(stage, "play", played)
    return calls


def test_every_row_as_expected_is_0_and_leaves_no_logs(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    calls = play(monkeypatch, True)
    assert run("--no-model", "--keep", "--json") == 0
    assert calls == [{"real_model": False, "keep": True, "as_json": True}]
    assert not folder.exists()


def test_a_row_that_fails_is_1_and_says_where_the_logs_are(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, False)
    assert run("--no-model") == 1
    assert str(folder) in capsys.readouterr().err
    assert folder.exists()


def test_a_gate_that_does_not_start_is_1_and_says_why(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, GateFailed("no Envoy"))
    assert run("--no-model") == 1
    assert "error: no Envoy" in capsys.readouterr().err


def test_an_interrupt_leaves_no_logs(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    play(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run("--no-model")
    assert not folder.exists()


def test_a_termination_is_an_interrupt(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def terminated(folder: Path, **options: object) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return True

    monkeypatch.setattr(stage, "play", terminated)
    with pytest.raises(KeyboardInterrupt):
        run("--no-model")


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else object())
    assert run() == 2
    assert "xllamacpp: pip install '.[demo]'" in capsys.readouterr().err
