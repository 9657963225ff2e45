"""``sluicegate up``: the policy server and a real Envoy in front of an upstream, in one command.

They start together, a request must pass through both before anything is announced, and they end together: on Ctrl-C or
SIGTERM what is under way may finish; where one of them dies the other goes at once.
"""

from __future__ import annotations

import argparse
import http.client
import os
import queue
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extproc.cli.arguments import endpoint, positive, seconds
from extproc.cli.init import model_warnings, starter_policy
from extproc.cli.up_report import Report, show
from extproc.policy.document import PolicyDocument
from extproc.policy.problems import inspect, place, warnings
from extproc.runtime.assets import asset
from extproc.runtime.envoy_config import Plan, Upstream, numeric, parse_upstream, render
from extproc.runtime.envoy_process import (
    Child,
    ConfigRejected,
    EnvoyAdmin,
    EnvoyMissing,
    Exited,
    Happening,
    Happenings,
    Ready,
    Signalled,
    drain,
    find_envoy,
    report_signals,
    validate_config,
)
from extproc.runtime.transports.endpoint import Endpoint, try_bind
from extproc.runtime.upstream_probe import ProbeFailed, ServedModel, Unreachable, served_models
from extproc.runtime.yaml_source import BadYaml, read_yaml

TEMPLATE: Final = "envoy/static/envoy.yaml"
DECISION_HEADER: Final = "x-sluicegate-decision-id"
_PARENT_BYTES: Final = 64  # of the 100 that a socket's path may have

_READY: Final = "sluicegate: ready"
_START_S: Final = 60.0
_POLL_S: Final = 0.05
_SERVER: Final = "the policy server"
_ENVOY: Final = "Envoy"
_MIN_BUFFER_BYTES: Final = 16 << 20


class NotUp(Exception):  # noqa: N818 - what happened
    """The gate did not come up, or did not stay up."""

    def __init__(self, message: str, code: int = 70) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Setup:
    """What to start, read and checked before anything starts."""

    args: argparse.Namespace
    envoy: Path
    listen: Endpoint
    upstream: Upstream
    models: tuple[ServedModel, ...]
    policy: Path
    document: PolicyDocument
    folder: Path

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the server's workers listen, one unix socket each."""
        first = Endpoint(path=str(self.folder / "policy.sock"))
        return tuple(first.of_worker(index) for index in range(self.args.workers))

    @property
    def config(self) -> Path:
        """Envoy's bootstrap."""
        return self.folder / "envoy.yaml"

    @property
    def admin_socket(self) -> str:
        """Envoy's admin interface; nobody else can open the folder that it is in."""
        return str(self.folder / "envoy.sock")


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.add_argument("--upstream", required=True, metavar="URL", help="the LLM server: http[s]://HOST[:PORT]")
    parser.add_argument(
        "--listen", type=endpoint, default="127.0.0.1:8080", metavar="IP:PORT", help="where clients connect"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="default: the shipped one, with what is served now")
    parser.add_argument("--admin", type=endpoint, metavar="HOST:PORT", help="/metrics and /healthz; default: none")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes of the policy server")
    parser.add_argument("--audit", default="-", metavar="FILE", help="audit lines; - is standard output")
    parser.add_argument("--record", metavar="DIR", help="record exchanges, without secrets, for sluicegate replay")
    parser.add_argument("--access-log", default="", metavar="FILE", help="Envoy's access log; default: none")
    parser.add_argument("--upstream-http2", action="store_true", help="speak HTTP/2 to the upstream, also without TLS")
    parser.add_argument("--upstream-ca", default="", metavar="FILE", help="certificate authorities to trust instead")
    parser.add_argument("--envoy", default="", metavar="PATH", help="the Envoy binary; default: the [envoy] extra's")
    parser.add_argument(
        "--drain-s", type=seconds, default=10.0, metavar="S", help="what is under way may take this long"
    )
    parser.add_argument("--json", action="store_true", help="say what is up as a line of JSON, with event: up")


def run(args: argparse.Namespace) -> int:
    """Guard the upstream until told to stop.

    Returns 0 after a signal, 1 if the upstream is unreachable or does not say what it serves, 2 for wrong usage, a bad
    policy, a taken port or a missing Envoy, 70 where the gate did not come up or a child died.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sluicegate-", dir=_parent(tempfile.gettempdir())) as folder:
            return _guard(_prepare(args, Path(folder)))
    except NotUp as error:
        print(f"sluicegate up: {error}", file=sys.stderr)
        return error.code


def _parent(temporary: str) -> str:
    """Where the folder with the sockets is made: their paths may not be long, and folders of build systems are."""
    return temporary if len(os.fsencode(temporary)) <= _PARENT_BYTES else "/tmp"  # noqa: S108


def _prepare(args: argparse.Namespace, folder: Path) -> _Setup:
    try:
        listen = _listen_address(args.listen)
        _check_admin(args)
        upstream = parse_upstream(args.upstream, http2=args.upstream_http2, ca_file=args.upstream_ca)
        envoy = find_envoy(args.envoy)
    except (ValueError, EnvoyMissing) as error:
        raise NotUp(str(error), 2) from error
    if sys.stdout is None:
        raise NotUp("standard output is closed", 2)
    models = _served(args, upstream)
    policy = args.policy
    if policy is None:
        policy = folder / "policy.yaml"
        policy.write_text(starter_policy(upstream, models), encoding="utf-8")
    setup = _Setup(args, envoy, listen, upstream, models, policy, _document(policy), folder)
    _check_writable(args.access_log)
    _check_free(listen)
    _write_config(setup)
    return setup


def _listen_address(listen: Endpoint) -> Endpoint:
    if listen.path or not listen.port:
        raise ValueError(f"--listen {listen}: expected IP:PORT")
    try:
        return numeric(listen)
    except ValueError as error:
        raise ValueError(f"--listen {listen}: {error}") from None


def _check_admin(args: argparse.Namespace) -> None:
    if args.admin is not None:
        if args.admin.path:
            raise ValueError("--admin takes HOST:PORT")
        args.admin.of_worker(args.workers - 1)


def _served(args: argparse.Namespace, upstream: Upstream) -> tuple[ServedModel, ...]:
    try:
        return served_models(upstream)
    except Unreachable as error:
        raise NotUp(str(error), 1) from error
    except ProbeFailed as error:
        if args.policy is None:
            raise NotUp(f"{error}; with --policy FILE it need not list any", 1) from error
        return ()


def _check_writable(access_log: str) -> None:
    if access_log not in {"", "-"}:
        try:
            Path(access_log).open("ab").close()
        except OSError as error:
            raise NotUp(f"--access-log {access_log}: {error.strerror}", 2) from error


def _check_free(listen: Endpoint) -> None:
    try:
        try_bind(listen)
    except OSError as error:
        raise NotUp(f"cannot listen on {listen}: {error.strerror}", 2) from error


def _document(policy: Path) -> PolicyDocument:
    """The policy without its rule packs, which take the server seconds to compile; once is enough."""
    try:
        document, problems = inspect(read_yaml(policy.read_text(encoding="utf-8-sig")).data)
    except (OSError, UnicodeDecodeError) as error:
        raise NotUp(f"{policy}: {error}", 2) from error
    except BadYaml as error:
        raise NotUp("\n".join(f"{policy}:{flaw.mark[0]}: {flaw.message}" for flaw in error.flaws), 2) from error
    if document is None:
        lines = [f"{place(problem.where)}: {problem.message}" for problem in problems]
        raise NotUp("\n".join([f"{policy} is no policy (sluicegate check names the lines)", *lines]), 2)
    return document


def _guard(setup: _Setup) -> int:
    happenings: Happenings = queue.SimpleQueue()
    report_signals(happenings)
    server = _start_server(setup, happenings)
    try:
        revision = _expect_ready(happenings).facts.get("revision", "")
        envoy = _start_envoy(setup, happenings)
        try:
            _expect_guarded(setup, happenings)
            show(_report(setup, revision), as_json=setup.args.json)
            return _outcome(happenings.get(), setup, envoy, happenings)
        finally:
            envoy.stop(0)
    finally:
        server.stop(setup.args.drain_s)


def _outcome(happening: Happening, setup: _Setup, envoy: Child, happenings: Happenings) -> int:
    if isinstance(happening, Exited):
        raise NotUp(f"{happening.name} ended ({_cause(happening)}); nothing is served any more")
    print("sluicegate up: draining; once more ends it at once", file=sys.stderr)
    if not drain(envoy, EnvoyAdmin(setup.admin_socket), happenings, setup.args.drain_s):
        print("sluicegate up: some exchanges were broken off", file=sys.stderr)
    return 0


def _start_server(setup: _Setup, happenings: Happenings) -> Child:
    args = setup.args
    argv = [sys.executable, "-m", "extproc", "serve", "--listen", str(setup.endpoints[0])]
    argv += ["--policy", str(setup.policy), "--audit", args.audit, "--workers", str(args.workers)]
    if args.admin is not None:
        argv += ["--admin", str(args.admin)]
    if args.record is not None:
        argv += ["--record", args.record]

    def on_line(line: str) -> None:
        if line.startswith(_READY):
            words = (word.partition("=") for word in line.removeprefix(_READY).split())
            happenings.put(Ready(_SERVER, {name: value for name, _, value in words}))
        else:
            print(line, file=sys.stderr)

    return Child(_SERVER, argv, happenings, on_line)


def _write_config(setup: _Setup) -> None:
    plan = Plan(
        listen=setup.listen,
        upstream=setup.upstream,
        processors=setup.endpoints,
        admin=Endpoint(path=setup.admin_socket),
        access_log="/dev/stdout" if setup.args.access_log == "-" else setup.args.access_log,
        # Envoy stalls an upload that is larger than this before the server can refuse it for its size.
        request_buffer_bytes=max(_MIN_BUFFER_BYTES, 2 * setup.document.spec.limits.request_bytes),
    )
    try:
        setup.config.write_text(render(asset(TEMPLATE).read_text(encoding="utf-8"), plan), encoding="utf-8")
        validate_config(setup.envoy, setup.config)
    except ValueError as error:
        raise NotUp(str(error), 2) from error
    except ConfigRejected as error:
        raise NotUp(f"Envoy does not accept its configuration\n{error}") from error


def _start_envoy(setup: _Setup, happenings: Happenings) -> Child:
    argv = [str(setup.envoy), "--config-path", str(setup.config), "--disable-hot-restart"]
    argv += ["--log-level", "warn", "--component-log-level", "main:error", "--log-format", "envoy: [%l] %v"]
    return Child(_ENVOY, argv, happenings)


def _expect_ready(happenings: Happenings) -> Ready:
    try:
        return _still_starting(happenings.get(timeout=_START_S))
    except queue.Empty:
        raise NotUp(f"{_SERVER} was not ready within {_START_S:.0f} s") from None


def _expect_guarded(setup: _Setup, happenings: Happenings) -> None:
    """Wait until an answer bears our header: the request went through our Envoy and was judged by the server."""
    admin = EnvoyAdmin(setup.admin_socket)
    deadline = time.monotonic() + _START_S
    wrong = "Envoy does not listen yet"
    while wrong:
        if time.monotonic() > deadline:
            raise NotUp(f"no request was judged within {_START_S:.0f} s (last: {wrong})")
        try:
            _still_starting(happenings.get(timeout=_POLL_S))
        except queue.Empty:
            wrong = unguarded(setup.listen) if admin.listens() else wrong


def _still_starting(happening: Happening) -> Ready:
    if isinstance(happening, Ready):
        return happening
    if isinstance(happening, Signalled):
        raise NotUp("stopped before the gate was up", 130)
    # The server has said what is wrong with its arguments or the policy; its exit code says that it was that.
    code = 2 if happening.code == 2 else 70
    raise NotUp(f"{happening.name} ended ({_cause(happening)}) before the gate was up", code)


def unguarded(listen: Endpoint) -> str:
    """Send one request through the gate; returns what is wrong with the answer, or nothing."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, listen.port, timeout=5)
    try:
        connection.request("GET", "/.well-known/sluicegate")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if answer.getheader(DECISION_HEADER) else f"{answer.status} from Envoy alone"


def _cause(exited: Exited) -> str:
    return f"signal {-exited.code}" if exited.code < 0 else f"exit code {exited.code}"


def _report(setup: _Setup, revision: str) -> Report:
    args, spec = setup.args, setup.document.spec
    notes = [f"{place(problem.where)}: {problem.message}" for problem in warnings(setup.document)]
    if args.policy is None:
        notes += model_warnings(setup.models)
    if not setup.listen.is_local:
        notes.append(f"{setup.listen} is open to the network, and nothing here asks clients who they are")
    return Report(
        listen=setup.listen,
        upstream=setup.upstream.url,
        policy=str(args.policy) if args.policy else f"{setup.policy} (the default, with what is served now)",
        revision=revision,
        mode=spec.mode,
        workers=args.workers,
        admin="" if args.admin is None else str(args.admin),
        audit="standard output" if args.audit == "-" else args.audit,
        allowed=tuple(spec.models.allow),
        served=setup.models,
        warnings=tuple(notes),
    )
