"""``sluicegate serve``: run the ext_proc server, as one process or as several with an endpoint each.

What it serves is said on stderr. The line that begins ``sluicegate: ready`` comes once all of it can be used; it is
made of ``name=value`` words: ``listen`` and ``admin`` (comma-separated), ``policy``, ``revision``, ``pid``. Stdout
carries audit lines and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extproc.cli.arguments import endpoint, positive, seconds

if TYPE_CHECKING:
    from extproc.runtime.server import ServerSetup, Serving

WRONG_USAGE: Final = 2
_STDOUT: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    add = parser.add_argument
    add("--listen", type=endpoint, default="127.0.0.1:9002", metavar="HOST:PORT", help="or unix:///path")
    add("--policy", type=Path, metavar="FILE", help="default: the one that ships")
    add("--workers", type=positive, default=1, metavar="N", help="processes; the next ports, or .1 .2 in the path")
    add("--body-modes", metavar="MODES", help="REQUEST,RESPONSE[,nowait] where the gateway does not announce them")
    add("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    add("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    add("--client-ca", type=Path, metavar="FILE", help="clients must show a certificate signed by this authority")
    add("--admin", type=endpoint, metavar="HOST:PORT", help="/metrics and /healthz; default: none")
    add("--audit", default="-", metavar="FILE", help="audit lines; - is standard output")
    add("--record", type=Path, metavar="DIR", help="record exchanges, without secrets, for sluicegate replay")
    add("--max-streams", type=positive, default=4096, metavar="N", help="exchanges at once, per worker")
    add("--max-message-bytes", type=positive, default=64 << 20, metavar="N", help="the largest message of Envoy's")
    add(
        "--socket-mode", type=_socket_mode, default="0600", metavar="MODE", help="rights of a unix socket: 0600 or 0660"
    )
    add("--stall-timeout", type=seconds, default=10.0, metavar="S", help="exit if the event loop stands still so long")
    add("--drain-s", type=seconds, default=30.0, metavar="S", help="what is under way may take this long at the end")
    add("--watch-s", type=seconds, default=5.0, metavar="S", help="look so often for changed policy and value files")
    add("--link", type=int, help=argparse.SUPPRESS)  # a worker's descriptor of the link to its supervisor


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop.

    Returns 0 after a drain, 2 for wrong usage, a policy that cannot be used or an endpoint that cannot be listened on,
    70 where workers do not stay up.
    """
    logging.basicConfig(stream=sys.stderr, format="sluicegate: %(message)s", level=logging.WARNING)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its C core writes to stderr by itself, of every GOAWAY
    try:
        _check(args)
        if args.workers > 1:
            return asyncio.run(_supervise(args))
        return _serve(args)
    except UsageError as error:
        print(f"sluicegate serve: {error}", file=sys.stderr)
        return WRONG_USAGE


class UsageError(Exception):
    """What was asked for cannot be served; ``str()`` says why."""


def worker_arguments(args: argparse.Namespace, index: int, link: int) -> list[str]:
    """The command line of worker ``index``: the same, but for its endpoints and its link."""
    values = {**vars(args), "workers": 1, "link": link}
    values["listen"] = args.listen.of_worker(index)
    values["admin"] = args.admin and args.admin.of_worker(index)
    values["socket_mode"] = f"{args.socket_mode:04o}"
    words = ["serve"]
    for name in _OPTIONS:
        if values[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(values[name])]
    return words


_OPTIONS: Final = (
    "listen", "policy", "workers", "body_modes", "tls_cert", "tls_key", "client_ca", "admin", "audit", "record",
    "max_streams", "max_message_bytes", "socket_mode", "stall_timeout", "drain_s", "watch_s", "link",
)  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    if (args.tls_cert is None) != (args.tls_key is None):
        raise UsageError("--tls-cert and --tls-key need each other")
    if args.client_ca is not None and args.tls_cert is None:
        raise UsageError("--client-ca needs --tls-cert and --tls-key")
    if args.admin is not None and args.admin.path:
        raise UsageError("--admin takes HOST:PORT")
    if args.audit == "-" and sys.stdout is None:  # closed; the next file to be opened would get the audit lines
        raise UsageError("standard output is closed, and the audit log goes there; name a file with --audit")
    try:
        for address in (args.listen, args.admin):
            if address is not None:
                address.of_worker(args.workers - 1)
    except ValueError as error:
        raise UsageError(str(error)) from None


# ---- one process ---------------------------------------------------------------------------------------------------


def _serve(args: argparse.Namespace) -> int:
    from extproc.runtime.audit import open_audit_file
    from extproc.runtime.detectors import DetectorError
    from extproc.runtime.server import run_server
    from extproc.runtime.transports.base import ListenError
    from extproc.runtime.workers import Link

    with contextlib.ExitStack() as files:
        try:
            audit = _STDOUT
            if args.audit != "-":
                audit = open_audit_file(Path(args.audit))
                files.callback(os.close, audit)
            setup = _setup(args, audit)
            link = None if args.link is None else files.enter_context(contextlib.closing(Link(args.link)))
            _warn(setup)

            def on_ready(serving: Serving) -> None:
                greeting = _greeting(setup, serving)
                if link is None:
                    _say_ready([greeting])
                else:
                    link.greet(greeting)
                    link.on_orphaned(asyncio.get_running_loop(), serving.stop)

            asyncio.run(run_server(setup, on_ready))
        except (ListenError, DetectorError, OSError) as error:
            raise UsageError(str(error)) from None
    return 0


def _setup(args: argparse.Namespace, audit: int) -> ServerSetup:
    from extproc.runtime.server import ServerSetup
    from extproc.runtime.store import PolicyErrors, PolicySource, default_policy
    from extproc.runtime.tls import TlsError, load_tls
    from extproc.runtime.wire import BodyModes

    source = PolicySource(args.policy or default_policy())
    try:
        loaded = source.read()
        for problem in loaded.overlooked:
            _say(f"warning: {problem}")
        return ServerSetup(
            policy=loaded.policy,
            listen=args.listen,
            audit=audit,
            tls=None if args.tls_cert is None else load_tls(args.tls_cert, args.tls_key, args.client_ca),
            admin=args.admin,
            modes=None if args.body_modes is None else BodyModes.parse(args.body_modes),
            record=args.record,
            max_streams=args.max_streams,
            max_message_bytes=args.max_message_bytes,
            socket_mode=args.socket_mode,
            stall_timeout_s=args.stall_timeout,
            drain_s=args.drain_s,
            source=source,
            watch_s=args.watch_s,
        )
    except PolicyErrors as errors:
        raise UsageError(f"the policy cannot be used\n{errors}") from None
    except (TlsError, ValueError) as error:
        raise UsageError(str(error)) from None


def _warn(setup: ServerSetup) -> None:
    if not setup.policy.enforces:
        _say("warning: the policy's mode is monitor: models, tools, limits and rules are recorded, not enforced")
    elif setup.policy.models.empty:
        _say("warning: the policy allows no model: every chat will be refused (sluicegate init writes one that does)")
    if not setup.listen.is_local and setup.tls is None:
        _say(f"warning: {setup.listen} is open to the network without TLS: prompts and answers travel in the clear")
    elif not setup.listen.is_local and setup.tls is not None and setup.tls.client_ca is None:
        _say(f"warning: {setup.listen} is open to the network, and without --client-ca anybody may connect")
    if setup.admin is not None and not setup.admin.is_local:
        _say(f"warning: {setup.admin} shows metrics to the network")
    if setup.record is not None:
        _say(f"recording exchanges to {setup.record}: known secrets are removed, prompts and answers are not")


def _greeting(setup: ServerSetup, serving: Serving) -> dict[str, Any]:
    return {
        "listen": str(serving.listen),
        "admin": str(serving.admin) if serving.admin else "",
        "policy": setup.policy.name,
        "revision": setup.policy.revision,
        "pid": os.getpid(),
    }


# ---- several processes -------------------------------------------------------------------------------------------


async def _supervise(args: argparse.Namespace) -> int:
    from extproc.runtime.workers import Supervisor, WorkerProcess

    greetings: dict[int, Mapping[str, Any]] = {}

    def on_ready(index: int, greeting: Mapping[str, Any]) -> None:
        again = len(greetings) == args.workers
        greetings[index] = greeting
        if again:
            _say(f"worker {index} is back at {greeting['listen']}")
        elif len(greetings) == args.workers:
            _say_ready([greetings[number] for number in range(args.workers)])

    async def start(index: int) -> WorkerProcess:
        return await WorkerProcess.start(lambda link: worker_arguments(args, index, link))

    supervisor = Supervisor(start, args.workers, on_ready)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    return await supervisor.run()


# ---- what is said ------------------------------------------------------------------------------------------------


def _say_ready(greetings: list[Mapping[str, Any]]) -> None:
    for number, greeting in enumerate(greetings):
        admin = f", metrics at http://{greeting['admin']}/metrics" if greeting["admin"] else ""
        _say(f"worker {number}: ext_proc at {greeting['listen']}{admin}, process {greeting['pid']}")
    first = greetings[0]
    words = {
        "listen": ",".join(greeting["listen"] for greeting in greetings),
        "admin": ",".join(greeting["admin"] for greeting in greetings if greeting["admin"]),
        "policy": first["policy"],
        "revision": first["revision"],
        "pid": os.getpid(),
    }
    _say("ready " + " ".join(f"{name}={value}" for name, value in words.items()))


def _say(line: str) -> None:
    print(f"sluicegate: {line}", file=sys.stderr, flush=True)


# ---- arguments ---------------------------------------------------------------------------------------------------


def _socket_mode(text: str) -> int:
    if text not in {"0600", "0660"}:
        raise argparse.ArgumentTypeError("must be 0600 or 0660")
    return int(text, 8)
