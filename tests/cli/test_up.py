"""`sluicegate up` guards an upstream, says so, and never leaves half of itself running."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from extproc.cli import main, up
from extproc.cli.up import NotUp
from extproc.runtime.envoy_process import Exited, Happenings, Ready, Signalled
from extproc.runtime.transports.endpoint import Endpoint
from tests.support.gateway import free_port
from tests.support.upstream import Answer, Until, Upstream, json_answer

POLICY = """\
apiVersion: sluicegate.dev/v1
kind: Policy
metadata: {name: t}
spec: {models: {allow: ["a:1"]}, endpoints: {allow: ["GET /api/tags"]}}
"""
DIGEST = "0e181def086838261f501468cbcad6d7e9111926f5e6671fdb36b882ea068f9c"
LINE = {"model": "a:1", "created_at": "2026-01-01T00:00:00Z", "done": False}
END = {**LINE, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


def spoken(text: str) -> bytes:
    return json.dumps({**LINE, "message": {"role": "assistant", "content": text}}).encode() + b"\n"


def answer(*pieces: bytes | Until) -> Answer:
    return Answer(
        headers=(("content-type", "application/x-ndjson"),), pieces=(*pieces, json.dumps(END).encode() + b"\n")
    )


def tags(*names: str) -> Answer:
    return json_answer({"models": [{"name": name, "digest": DIGEST} for name in names]})


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the children from /proc")


class Up:
    """`sluicegate up --json` as a child process; `facts` is what it says once it is up, among audit lines."""

    def __init__(self, upstream: str, *arguments: str) -> None:
        self.port = free_port()
        argv = [sys.executable, "-m", "extproc", "up", "--upstream", upstream, "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [*argv, "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.errors: list[str] = []
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self.errors.extend, args=(self._process.stderr,))
        self._reader.start()
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        lines = (json.loads(line) for line in iter(self._process.stdout.readline, ""))
        self.facts = next((line for line in lines if line.get("event") == "up"), {})
        return self

    def __repr__(self) -> str:
        return f"Up({self.facts}, {self.errors})"  # what pytest shows where a test fails

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # not kill: it has a folder to remove
        self.ended()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdout.close()
        self._process.stderr.close()

    def children(self) -> dict[str, int]:
        """The process ids of its children by the name of what they run."""
        pid = self._process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        names = {"envoy" if "--disable-hot-restart" in command(int(each)) else "serve": int(each) for each in found}
        assert set(names) == {"envoy", "serve"}
        return names

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        try:
            code = self._process.wait(60)
        finally:
            self._process.kill()
        self._reader.join(60)
        return code

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()

    def chat(self, model: str) -> tuple[int, bytes]:
        messages = [{"role": "user", "content": "hello"}]
        return self.ask("POST", "/api/chat", {"model": model, "messages": messages})


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return str(path)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"GET /api/tags": tags("a:1"), "POST /api/chat": answer(spoken("hi"))}) as scripted:
        yield scripted


# ---- up, and down again ----


@pytest.mark.envoy
@pytest.mark.parametrize(
    ("served", "asked"),
    [("mistral:latest", "mistral:latest"), ("mistral:latest", "mistral"), ("tinyllama", "tinyllama"), ("a:1", "a:1")],
)
def test_without_a_policy_the_first_chat_with_what_is_served_is_answered(served: str, asked: str) -> None:
    routes = {"GET /api/tags": tags(served), "POST /api/chat": answer(spoken("hi"))}
    with Upstream(routes) as scripted, Up(scripted.url) as gate:
        assert gate.facts["allowed"] == [{"name": served, "digest": DIGEST, "served": True}]
        assert any("no fixed tag" in warning for warning in gate.facts["warnings"]) == (served != "a:1")
        status, body = gate.chat(asked)
        assert (status, b"hi" in body) == (200, True)
        assert [gate.chat(name)[0] for name in ("other:1", "a:latest")] == [403, 403]
        assert gate.ask("POST", "/api/pull", {"model": asked})[0] == 403
        gate.signal(signal.SIGTERM)
        assert gate.ended() == 0
    assert {request.target for request in scripted.requests} == {"/api/tags", "/api/chat"}


@pytest.mark.envoy
def test_an_upstream_that_lists_names_without_tags_is_guarded_too() -> None:
    listed = json_answer({"data": [{"id": "Qwen/Qwen2.5-0.5B-Instruct"}]})
    with Upstream({"GET /v1/models": listed}) as scripted, Up(scripted.url) as gate:
        assert [each["name"] for each in gate.facts["allowed"]] == ["Qwen/Qwen2.5-0.5B-Instruct"]
        assert gate.ask("GET", "/v1/models")[0] == 200


@linux
@pytest.mark.envoy
def test_several_workers_take_turns_and_leave_nothing_behind(upstream: Upstream, policy: str) -> None:
    with Up(upstream.url, "--policy", policy, "--workers", "2") as gate:
        assert gate.facts["workers"] == 2
        assert [gate.chat("a:1")[0] for _ in range(6)] == [200] * 6
        children = gate.children()
        folder = command(children["envoy"]).split("--config-path ")[1].split("/envoy.yaml")[0]
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        gate.signal(signal.SIGINT)
        assert gate.ended() == 0
    assert not Path(folder).exists()
    assert all(gone(pid) for pid in children.values())


@pytest.mark.envoy
def test_what_is_under_way_is_finished_before_the_end(policy: str) -> None:
    go = threading.Event()
    routes = {"GET /api/tags": tags("a:1"), "POST /api/chat": answer(spoken("first "), Until(go), spoken("last"))}
    with Upstream(routes) as scripted, Up(scripted.url, "--policy", policy) as gate:
        connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)
        body = json.dumps({"model": "a:1", "messages": [{"role": "user", "content": "hello"}]})
        connection.request("POST", "/api/chat", body)
        response = connection.getresponse()
        assert b"first" in response.readline()
        gate.signal(signal.SIGTERM)
        refused = threading.Event()
        while not refused.wait(0.02):  # until the listener is closed, so that the drain has begun
            try:
                socket.create_connection(("127.0.0.1", gate.port), timeout=5).close()
            except OSError:
                refused.set()
        go.set()
        assert b"last" in response.read()
        connection.close()
        assert gate.ended() == 0


@linux
@pytest.mark.envoy
@pytest.mark.parametrize(("victim", "named"), [("envoy", "Envoy"), ("serve", "the policy server")])
def test_where_one_dies_the_other_goes_and_the_exit_code_says_so(
    victim: str, named: str, upstream: Upstream, policy: str
) -> None:
    with Up(upstream.url, "--policy", policy) as gate:
        children = gate.children()
        os.kill(children[victim], signal.SIGKILL)
        assert gate.ended() == 70
        assert f"{named} ended (signal 9); nothing is served any more" in "".join(gate.errors)
    assert all(gone(pid) for pid in children.values())


@pytest.mark.envoy
def test_a_server_that_does_not_start_is_an_error(upstream: Upstream, policy: str, tmp_path: Path) -> None:
    with Up(upstream.url, "--policy", policy, "--audit", str(tmp_path / "none" / "audit")) as gate:
        assert gate.ended() == 2
        assert "the policy server ended (exit code 2) before the gate was up" in "".join(gate.errors)


# ---- what stands in the way before anything starts ----


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--upstream", "localhost"], 2, "expected http://"),
        (["--upstream", "http://127.0.0.1:1"], 1, "cannot reach http://127.0.0.1:1"),
        (["--upstream", "http://127.0.0.1:1", "--policy", "none.yaml"], 1, "cannot reach"),
        (["--upstream", "http://127.0.0.1:1", "--listen", "unix:///x"], 2, "expected IP:PORT"),
        (["--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"], 2, "expected IP:PORT"),
        (["--upstream", "http://127.0.0.1:1", "--listen", "gate:80"], 2, "an IP address, not on the name 'gate'"),
        (["--upstream", "http://127.0.0.1:1", "--admin", "unix:///x"], 2, "--admin takes HOST:PORT"),
        (["--upstream", "http://127.0.0.1:1", "--admin", "127.0.0.1:65535", "--workers", "2"], 2, "no port 65536"),
        (["--upstream", "http://127.0.0.1:1", "--envoy", "/none/envoy"], 2, "not an executable"),
    ],
)
def test_wrong_usage_and_unreachable_upstreams_are_said(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = [] if "--envoy" in arguments else ["--envoy", "/bin/true"]
    assert main(["up", *arguments, *binary]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POLICY.replace("allow", "alow").encode(), 'spec.models.alow: unknown field "alow"'),
        (b"a: [", "policy.yaml:2: not YAML"),
        (b"\xff", "policy.yaml: "),
    ],
)
def test_a_policy_that_is_none_is_refused_before_anything_starts(
    text: bytes, message: str, upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(text)
    assert main(["up", "--upstream", upstream.url, "--envoy", "/bin/true", "--policy", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_without_a_policy_the_upstream_must_say_what_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    with Upstream({}) as scripted:
        assert main(["up", "--upstream", scripted.url, "--envoy", "/bin/true"]) == 1
    err = capsys.readouterr().err
    assert "lists no models" in err
    assert "with --policy FILE it need not" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "0"), ("--workers", "x"), ("--admin", "nonsense"), ("--listen", "8080"), ("--drain-s", "-4")],
)
def test_an_argument_that_makes_no_sense_is_refused_in_words(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["up", "--upstream", "http://x", f"{option}={value}"])
    assert refused.value.code == 2
    err = capsys.readouterr().err
    assert f"sluicegate up: error: argument {option}: " in err
    assert "invalid" not in err


class Started(Exception):  # noqa: N818 - what happened
    """The policy server would run now."""


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """No child starts; the command lines of those that would."""
    commands: list[list[str]] = []

    def child(_name: str, argv: list[str], *_: object) -> None:
        commands.append(argv)
        raise Started

    monkeypatch.setattr(up, "Child", child)
    monkeypatch.setattr(up, "report_signals", lambda _happenings: None)
    return commands


def test_a_port_that_is_taken_is_said_before_anything_starts(
    upstream: Upstream, policy: str, capsys: pytest.CaptureFixture[str], nothing_starts: list[list[str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        taken = f"127.0.0.1:{owner.getsockname()[1]}"
        arguments = ["--upstream", upstream.url, "--envoy", "/bin/true", "--policy", policy, "--listen", taken]
        assert main(["up", *arguments]) == 2
    assert capsys.readouterr().err == f"sluicegate up: cannot listen on {taken}: Address already in use\n"
    assert nothing_starts == []


def test_an_access_log_that_cannot_be_written_is_said_before_anything_starts(
    upstream: Upstream, policy: str, capsys: pytest.CaptureFixture[str], nothing_starts: list[list[str]]
) -> None:
    arguments = ["--upstream", upstream.url, "--envoy", "/bin/true", "--policy", policy, "--access-log", "/no/such/log"]
    assert main(["up", *arguments]) == 2
    assert capsys.readouterr().err == "sluicegate up: --access-log /no/such/log: No such file or directory\n"
    assert nothing_starts == []


def test_a_closed_standard_output_is_said_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["up", "--upstream", "http://127.0.0.1:1", "--envoy", "/bin/true"]) == 2
    assert "standard output is closed" in capsys.readouterr().err


def test_the_server_gets_what_is_meant_for_it(upstream: Upstream, policy: str, nothing_starts: list[list[str]]) -> None:
    words = ["--record", "recordings", "--admin", "127.0.0.1:9003", "--workers", "2", "--audit", "audit.jsonl"]
    with pytest.raises(Started):
        main(["up", "--upstream", upstream.url, "--envoy", "/bin/true", "--policy", policy, *words, *free_listen()])
    (command,) = nothing_starts
    given = dict(zip(command[4::2], command[5::2], strict=True))
    assert {name: given[name] for name in words[::2]} == dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize("depth", [0, 120])
def test_sockets_have_paths_that_are_short_enough_wherever_temporary_files_are(
    depth: int,
    upstream: Upstream,
    policy: str,
    nothing_starts: list[list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("x" * depth) if depth else Path("/tmp")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(Started):
        main(["up", "--upstream", upstream.url, "--envoy", "/bin/true", "--policy", policy, *free_listen()])
    (command,) = nothing_starts
    assert len(os.fsencode(next(word for word in command if word.startswith("unix://")))) <= 100


def free_listen() -> list[str]:
    return ["--listen", f"127.0.0.1:{free_port()}"]


# ---- waiting for the gate ----


@pytest.mark.parametrize(
    ("happening", "code", "message"),
    [
        (Exited("Envoy", 1), 70, "Envoy ended \\(exit code 1\\)"),
        (Exited("Envoy", 2), 2, "Envoy ended"),
        (Exited("Envoy", -11), 70, "Envoy ended \\(signal 11\\)"),
        (Signalled(2), 130, "stopped before"),
    ],
)
def test_an_end_while_starting_is_said(happening: Exited | Signalled, code: int, message: str) -> None:
    happenings: Happenings = queue.SimpleQueue()
    happenings.put(happening)
    with pytest.raises(NotUp, match=message) as ended:
        up._expect_ready(happenings)
    assert ended.value.code == code


def test_a_server_that_never_gets_ready_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_START_S", 0.01)
    with pytest.raises(NotUp, match="was not ready"):
        up._expect_ready(queue.SimpleQueue())


@pytest.mark.parametrize(
    ("headers", "wrong"), [((), "404 from Envoy alone"), (((up.DECISION_HEADER, "d"),), "")], ids=["without", "with"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_only_an_answer_with_a_decision_is_a_sign_of_the_gate(
    headers: tuple[tuple[str, str], ...], wrong: str, host: str
) -> None:
    with Upstream({"GET /.well-known/sluicegate": json_answer({}, 404, headers)}) as server:
        assert up.unguarded(Endpoint(host, server.port)) == wrong


def test_no_answer_is_no_sign_of_the_gate() -> None:
    assert "refused" in up.unguarded(Endpoint("127.0.0.1", 1))


def test_a_gate_that_never_judges_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(up, "_START_S", 0.2)

    class Setup:
        listen = Endpoint("127.0.0.1", 1)
        admin_socket = str(tmp_path / "none.sock")

    happenings: Happenings = queue.SimpleQueue()
    happenings.put(Ready("the policy server"))
    with pytest.raises(NotUp, match="Envoy does not listen yet"):
        up._expect_guarded(Setup(), happenings)  # type: ignore[arg-type]
