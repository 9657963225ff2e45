"""``sluicegate serve`` as operators run it: real processes, real sockets, real signals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.cli import main
from extproc.cli.serve import configure, worker_arguments
from extproc.runtime.transports.endpoint import Endpoint
from tests.runtime.transports.streams import connected, open_stream
from tests.support.certificates import Authority
from tests.support.policies import policy
from tests.support.streams import request_headers

RULE = {"id": "secrets-out", "detector": "secrets", "scope": ["response.content"], "action": "redact"}


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy(rules=[RULE]), encoding="utf-8")
    return path


class Served:
    """A running ``sluicegate serve``."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "extproc", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.words = dict(word.split("=", 1) for word in self.wait_for("sluicegate: ready ").split()[2:])
        self.endpoints = [Endpoint.parse(text) for text in self.words["listen"].split(",")]

    def wait_for(self, start: str) -> str:
        """The next line of stderr that begins so."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if line.startswith(start):
                return line
        raise AssertionError("".join(self.lines))

    def audit_line(self) -> dict[str, Any]:
        """The next line of stdout. What a worker has not written when it is killed is lost, so wait for it first."""
        assert self._process.stdout is not None
        line = json.loads(self._process.stdout.readline())
        assert isinstance(line, dict)
        return line

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Ask it to end; its exit code and the audit lines."""
        self._process.terminate()
        out, err = self._process.communicate(timeout=60)
        self.lines.append(err)
        return self._process.returncode, [json.loads(line) for line in out.splitlines()]


@contextlib.contextmanager
def _served(*arguments: str) -> Iterator[Served]:
    served = Served(*arguments)
    try:
        yield served
    finally:
        served._process.kill()
        served._process.communicate()


def _ask(endpoint: Endpoint, credentials: Any = None) -> grpc.StatusCode:
    """One refused exchange; how the stream ended."""

    async def ask() -> grpc.StatusCode:
        async with connected(endpoint, credentials) as channel:
            stream = open_stream(channel)
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await stream.write(request_headers("/api/pull", end=True))
                assert (await stream.read()).immediate_response.status.code == 403
                await stream.done_writing()
            code = await stream.code()
            assert isinstance(code, grpc.StatusCode)
            return code

    return asyncio.run(ask())


def test_it_serves_says_where_and_drains_on_sigterm(tmp_path: Path, policy_file: Path) -> None:
    address = f"unix://{tmp_path}/s.sock"
    with _served("--listen", address, "--policy", str(policy_file), "--admin", "127.0.0.1:0") as served:
        assert served.words["listen"] == address
        assert served.words["policy"] == "test"
        assert served.words["revision"].startswith("sha256:")
        assert Endpoint.parse(served.words["admin"]).port
        assert _ask(served.endpoints[0]) is grpc.StatusCode.OK
        code, audit = served.end()
    assert code == 0
    assert [line["url.path"] for line in audit] == ["/api/pull"]
    assert not any("warning" in line for line in served.lines)


def test_workers_have_an_endpoint_each_and_are_started_again_and_ended_together(
    tmp_path: Path, policy_file: Path
) -> None:
    address = f"unix://{tmp_path}/s.sock"
    with _served("--listen", address, "--policy", str(policy_file), "--workers", "2") as served:
        assert served.words["listen"] == f"{address},unix://{tmp_path}/s.1.sock"
        assert [_ask(endpoint) for endpoint in served.endpoints] == [grpc.StatusCode.OK] * 2
        assert [served.audit_line()["url.path"] for _ in served.endpoints] == ["/api/pull"] * 2
        (line,) = [line for line in served.lines if line.startswith("sluicegate: worker 1")]
        os.kill(int(line.rsplit(maxsplit=1)[1]), signal.SIGKILL)
        served.wait_for("sluicegate: worker 1 is back")
        assert _ask(served.endpoints[1]) is grpc.StatusCode.OK
        code, rest = served.end()
    assert code == 0
    assert [line["url.path"] for line in rest] == ["/api/pull"]


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path, policy_file: Path) -> None:
    with _served("--listen", f"unix://{tmp_path}/s.sock", "--policy", str(policy_file), "--workers", "2") as served:
        served._process.kill()
        out, _ = served._process.communicate(timeout=60)  # returns once nobody holds the pipes any more
        assert out == ""


def test_with_tls_clients_must_show_a_certificate(tmp_path: Path, policy_file: Path) -> None:
    authority = Authority("ca")
    server, client = authority.issue("server"), authority.issue("client")
    for name, data in (("ca", authority.certificate), ("cert", server.certificate), ("key", server.key)):
        (tmp_path / name).write_bytes(data)
    files = [
        f"--{option}={tmp_path / name}"
        for option, name in (("tls-cert", "cert"), ("tls-key", "key"), ("client-ca", "ca"))
    ]
    with _served("--listen", "127.0.0.1:0", "--policy", str(policy_file), *files) as served:
        known = grpc.ssl_channel_credentials(authority.certificate, client.key, client.certificate)
        assert _ask(served.endpoints[0], known) is grpc.StatusCode.OK
        assert (
            _ask(served.endpoints[0], grpc.ssl_channel_credentials(authority.certificate))
            is grpc.StatusCode.UNAVAILABLE
        )


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (["--listen", "0.0.0.0:0"], "0.0.0.0:0 is open to the network without TLS"),
        (["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"], "0.0.0.0:0 shows metrics to the network"),
        (["--listen", "127.0.0.1:0", "--record", "{tmp}/r"], "recording exchanges to {tmp}/r"),
        (["--listen", "127.0.0.1:0", "--policy", "{tmp}/none.yaml"], "warning: the policy allows no model"),
        (["--listen", "127.0.0.1:0", "--policy", "{tmp}/monitor.yaml"], "warning: the policy's mode is monitor"),
    ],
)
def test_what_an_operator_should_know_is_said(
    tmp_path: Path, policy_file: Path, arguments: list[str], warning: str
) -> None:
    (tmp_path / "none.yaml").write_text(policy(models={"allow": []}, rules=[RULE]), encoding="utf-8")
    (tmp_path / "monitor.yaml").write_text(policy(mode="monitor", rules=[RULE]), encoding="utf-8")
    words = [word.format(tmp=tmp_path) for word in arguments]
    with _served("--policy", str(policy_file), *words) as served:
        assert any(warning.format(tmp=tmp_path) in line for line in served.lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "{tmp}/absent.yaml"], "absent.yaml"),
        (["--policy", "{policy}", "--tls-cert", "x"], "need each other"),
        (["--policy", "{policy}", "--client-ca", "x"], "--client-ca needs"),
        (["--policy", "{policy}", "--tls-cert", "{tmp}/x", "--tls-key", "{tmp}/y"], "No such file"),
        (["--policy", "{policy}", "--body-modes", "buffered"], "body modes are"),
        (["--policy", "{policy}", "--admin", "unix:///s"], "--admin takes HOST:PORT"),
        (["--policy", "{policy}", "--listen", "127.0.0.1:65535", "--workers", "2"], "no port 65536"),
        (["--policy", "{policy}", "--listen", "unix://{policy}"], "is not a socket"),
        (["--policy", "{policy}", "--audit", "{tmp}/no/such/file"], "No such file"),
        (["--policy", "{policy}", "--listen", "unix:///no/such/s.sock"], "s.sock: No such file or directory\n"),
    ],
)
def test_what_cannot_be_served_is_wrong_usage(
    tmp_path: Path, policy_file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    words = [word.format(tmp=tmp_path, policy=policy_file) for word in arguments]
    assert main(["serve", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_without_a_word_of_grpcs(
    policy_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        taken = f"127.0.0.1:{owner.getsockname()[1]}"
        assert main(["serve", "--policy", str(policy_file), "--listen", taken]) == 2
    assert capfd.readouterr().err == f"sluicegate serve: cannot listen on {taken}: Address already in use\n"


def test_audit_lines_never_go_to_whatever_takes_the_place_of_a_closed_output(
    policy_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python starts where descriptor 1 is closed
    assert main(["serve", "--policy", str(policy_file), "--listen", "127.0.0.1:0"]) == 2
    assert "standard output is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "9002"],
        ["--workers", "0"],
        ["--workers", "two"],
        ["--stall-timeout", "0"],
        ["--drain-s", "soon"],
        ["--socket-mode", "0777"],
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", *arguments])
    assert exit_.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_worker_gets_the_same_arguments_but_for_its_own_endpoints() -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    words = {
        "listen": "unix:///run/s.sock", "policy": "p.yaml", "workers": "4", "admin": "127.0.0.1:9100", "record": "r",
        "body-modes": "buffered,buffered", "socket-mode": "0660", "max-streams": "7", "max-message-bytes": "9",
        "drain-s": "3", "stall-timeout": "4", "audit": "a",
    }  # fmt: skip
    given = parser.parse_args([f"--{name}={value}" for name, value in words.items()])
    received = parser.parse_args(worker_arguments(given, 2, link=5)[1:])
    changed = {name for name, value in vars(given).items() if getattr(received, name) != value}
    assert changed == {"listen", "admin", "workers", "link"}
    assert (str(received.listen), str(received.admin)) == ("unix:///run/s.2.sock", "127.0.0.1:9102")
    assert (received.workers, received.link) == (1, 5)
