"""A real Sluicegate server behind a real Envoy, for the integration tests.

One Envoy has one listener for each way of sending bodies (``Modes``), all with the same server and the same upstream,
rendered from the configuration that operators copy. Everything listens on loopback or on unix sockets.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import yaml

from extproc.runtime.assets import asset
from extproc.runtime.envoy_config import Plan, parse_upstream, render
from extproc.runtime.envoy_process import find_envoy
from extproc.runtime.transports.endpoint import Endpoint

DECISION_HEADER: Final = "x-sluicegate-decision-id"
START_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Modes:
    """One way for a gateway to send bodies."""

    request: str
    response: str
    nowait: bool = False

    def __str__(self) -> str:
        short = {"STREAMED": "streamed", "BUFFERED": "buffered", "FULL_DUPLEX_STREAMED": "duplex"}
        return f"{short[self.request]}{'-nowait' if self.nowait else ''}-{short[self.response]}"


RECOMMENDED: Final = Modes("STREAMED", "FULL_DUPLEX_STREAMED", nowait=True)
ALL_MODES: Final = tuple(
    Modes(request, response, nowait)
    for request, nowait in (
        ("STREAMED", True),
        ("STREAMED", False),
        ("BUFFERED", False),
        ("FULL_DUPLEX_STREAMED", False),
    )
    for response in ("FULL_DUPLEX_STREAMED", "STREAMED", "BUFFERED")
)


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """``with Gateway(upstream_url, policy) as gate: httpx.post(gate.url() + "/v1/chat/completions", ...)``."""

    def __init__(
        self,
        upstream: str,
        policy: str,
        modes: Sequence[Modes] = (RECOMMENDED,),
        serve: Sequence[str] = (),
        adjust: Any = None,
        program: Sequence[str] = ("-m", "extproc"),
    ) -> None:
        self.ports = {mode: free_port() for mode in modes}
        self.admin_port = free_port()
        self._upstream = upstream
        self._policy = policy
        self._serve_arguments = serve
        self._adjust = adjust
        self._program = program
        # A short path: a unix socket's name has 108 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="sg-"))
        self.server: subprocess.Popen[bytes] | None = None
        self.envoy: subprocess.Popen[bytes] | None = None

    # ---- for tests ----

    def url(self, mode: Modes = RECOMMENDED) -> str:
        """The base URL of one listener."""
        return f"http://127.0.0.1:{self.ports[mode]}"

    def records(self, count: int = 0, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The audit records so far; waits until there are at least ``count``."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.audit.read_text(encoding="utf-8") if self.audit.exists() else ""
            records = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
            if len(records) >= count or time.monotonic() > deadline:
                return records
            threading.Event().wait(0.02)

    def record_of(self, response: httpx.Response) -> dict[str, Any]:
        """The audit record of an exchange, by the decision id that its answer carries."""
        wanted = response.headers[DECISION_HEADER]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for record in self.records():
                if record["decision_id"] == wanted:
                    return record
            threading.Event().wait(0.02)
        raise TimeoutError(f"no record of {wanted}")

    def metrics(self) -> str:
        """The server's Prometheus page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as page:
            return str(page.read().decode())

    def envoy_stat(self, name: str) -> int:
        """One counter or gauge of Envoy's."""
        connection = _UnixHttp(str(self.directory / "admin.sock"))
        text = connection.get(f"/stats?filter=^{name}$")
        return int(text.rpartition(":")[2].strip() or 0)

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.directory / "audit.jsonl"

    def kill_server(self) -> None:
        """End the server without any ceremony."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    @contextlib.contextmanager
    def stopped_server(self) -> Iterator[None]:
        """The server process stands still, as one with a blocked event loop or on a frozen machine."""
        assert self.server is not None
        self.server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.send_signal(signal.SIGCONT)

    # ---- life ----

    def __enter__(self) -> Self:
        try:
            self._start_server()
            self._start_envoy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self.envoy, self.server):
            if process is not None and process.poll() is None:
                process.terminate()
        for process in (self.envoy, self.server):
            if process is not None:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_server(self) -> None:
        policy = self.directory / "policy.yaml"
        policy.write_text(self._policy, encoding="utf-8")
        log = self.directory / "server.log"
        argv = [sys.executable, *self._program, "serve", "--listen", f"unix://{self.directory}/policy.sock"]
        argv += ["--policy", str(policy), "--admin", f"127.0.0.1:{self.admin_port}", "--audit", str(self.audit)]
        with log.open("wb") as sink:
            self.server = subprocess.Popen([*argv, *self._serve_arguments], stderr=sink, stdout=sink)
        _wait(lambda: b"sluicegate: ready" in log.read_bytes(), self.server, log, "the server")

    def _start_envoy(self) -> None:
        config = self.directory / "envoy.yaml"
        config.write_text(yaml.safe_dump(self._bootstrap(), sort_keys=False), encoding="utf-8")
        log = self.directory / "envoy.log"
        argv = [str(find_envoy()), "--config-path", str(config), "--concurrency", "1", "--log-level", "warn"]
        argv += ["--use-dynamic-base-id", "--disable-hot-restart"]
        with log.open("wb") as sink:
            self.envoy = subprocess.Popen(argv, stderr=sink, stdout=sink)
        _wait(self._listens, self.envoy, log, "Envoy")

    def _bootstrap(self) -> dict[str, Any]:
        plan = Plan(
            listen=Endpoint("127.0.0.1", 1),
            upstream=parse_upstream(self._upstream),
            processors=(Endpoint(path=f"{self.directory}/policy.sock"),),
            admin=Endpoint(path=f"{self.directory}/admin.sock"),
            access_log=f"{self.directory}/access.log",
        )
        text = render(asset("envoy/static/envoy.yaml").read_text(encoding="utf-8"), plan)
        bootstrap: dict[str, Any] = yaml.safe_load(text)
        (listener,) = bootstrap["static_resources"]["listeners"]
        bootstrap["static_resources"]["listeners"] = [self._listener(listener, mode) for mode in self.ports]
        if self._adjust is not None:
            self._adjust(bootstrap)
        return bootstrap

    def _listener(self, template: dict[str, Any], mode: Modes) -> dict[str, Any]:
        listener = copy.deepcopy(template)
        listener["name"] = str(mode)
        listener["address"]["socket_address"]["port_value"] = self.ports[mode]
        if "BUFFERED" in (mode.request, mode.response):
            listener["per_connection_buffer_limit_bytes"] = 16 << 20
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        processor = ext_proc_of(manager)
        processor["processing_mode"] |= {"request_body_mode": mode.request, "response_body_mode": mode.response}
        processor["send_body_without_waiting_for_header_response"] = mode.nowait
        return listener

    def _listens(self) -> bool:
        for port in self.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True


def ext_proc_of(manager: dict[str, Any]) -> dict[str, Any]:
    """The ext_proc filter's configuration in an HTTP connection manager."""
    for http_filter in manager["http_filters"]:
        if http_filter["name"] == "envoy.filters.http.ext_proc":
            config: dict[str, Any] = http_filter["typed_config"]
            return config
    raise LookupError("no ext_proc filter")


def _wait(ready: Any, process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}")
        threading.Event().wait(0.02)


class _UnixHttp:
    """Just enough HTTP for Envoy's admin socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, target: str) -> str:
        transport = httpx.HTTPTransport(uds=self._path)
        with httpx.Client(transport=transport) as client:
            return client.get(f"http://envoy{target}", timeout=10).text


def envoy_is_here() -> bool:
    """Whether a real Envoy can be started."""
    try:
        find_envoy()
    except Exception:
        return False
    return os.name == "posix"
