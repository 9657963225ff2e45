"""Run `sluicegate up` as a user would, in a child process, and read its audit log.

The demo sees the gate only from outside: through HTTP, and through the audit lines that an operator sees.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import httpx

Audit: TypeAlias = dict[str, Any]

_START_S: Final = 120.0  # longer than `up` gives itself, so that its own message is the one to read
_STOP_S: Final = 15.0
_AUDIT_S: Final = 10.0
_POLL_S: Final = 0.05
_LOG_LINES: Final = 20
_SLUICEGATE: Final = (sys.executable, "-m", "extproc")


class GateFailed(RuntimeError):  # noqa: N818 - what the user is told
    """The gate did not come up; the message holds the end of its output."""


class Gate:
    """A running gate as a context manager; ``url`` answers inside the block."""

    def __init__(
        self,
        upstream: str,
        policy: Path,
        folder: Path,
        *,
        program: Sequence[str] = _SLUICEGATE,
        start_s: float = _START_S,
        stop_s: float = _STOP_S,
    ) -> None:
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.audit_log = folder / "audit.jsonl"
        self._log = folder / "up.log"
        self._start_s, self._stop_s = start_s, stop_s
        self._audits: dict[str, Audit] = {}
        self._audit_offset = 0
        listen, admin = self.url.removeprefix("http://"), f"127.0.0.1:{_free_port()}"
        options = ("--upstream", upstream, "--listen", listen, "--admin", admin, "--policy", str(policy))
        self._command = (*program, "up", *options, "--audit", str(self.audit_log))
        self._child: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # A session of its own: a Ctrl-C in the terminal reaches the demo only, which then ends the gate in order.
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def audit(self, decision_id: str, wait_s: float = _AUDIT_S) -> Audit | None:
        """Give the audit line of an exchange, or None if none was written in time."""
        deadline = time.monotonic() + wait_s
        self._read_audits()
        while decision_id not in self._audits and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self._read_audits()
        return self._audits.get(decision_id)

    def _read_audits(self) -> None:
        if not self.audit_log.exists():
            return
        with self.audit_log.open("rb") as file:
            file.seek(self._audit_offset)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._audit_offset += len(line)
            audit = json.loads(line)
            self._audits[audit.get("decision_id", "")] = audit

    def _wait(self) -> None:
        deadline = time.monotonic() + self._start_s
        with httpx.Client(base_url=self.url, timeout=5, trust_env=False) as client:
            while not _answers(client):
                if self._child.poll() is not None:
                    raise GateFailed(f"`sluicegate up` ended with {self._child.returncode}:\n{self._tail()}")
                if time.monotonic() > deadline:
                    raise GateFailed(f"`sluicegate up` was not ready within {self._start_s:.0f} s:\n{self._tail()}")
                time.sleep(_POLL_S)

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _stop(self) -> None:
        self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/models").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
