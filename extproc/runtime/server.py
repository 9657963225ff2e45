"""One process that serves: gate, transport, admin endpoint, audit log, recorder, watch and watchdog, start to drain.

What lives here: putting the parts together, and taking them apart in the reverse order. What must not: the parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from extproc.detectors import DETECTORS
from extproc.detectors.base import StreamDetector
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.runtime.admin import Admin
from extproc.runtime.assets import asset
from extproc.runtime.audit import AuditLog
from extproc.runtime.gate import Gate
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder
from extproc.runtime.rotation import WATCH_S, Watch
from extproc.runtime.store import LoadedPolicy, PolicySource
from extproc.runtime.tls import Tls
from extproc.runtime.transports.endpoint import Endpoint
from extproc.runtime.transports.grpc_aio import MAX_MESSAGE_BYTES, MAX_STREAMS, GrpcAio
from extproc.runtime.watchdog import Watchdog
from extproc.runtime.wire import BodyModes
from extproc.runtime.yaml_source import read_yaml

SECRETS: Final = "secrets"
SCRUBBED: Final = frozenset({SECRETS, "exact_values"})
"""The kinds of detectors whose findings no recording may hold."""

DRAIN_S: Final = 30.0
STALL_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """What to serve, where and how. ``audit`` is an open file descriptor. With a ``source``, what ``policy`` was read
    from, it is looked at every ``watch_s`` seconds, and read again when it has changed."""

    policy: CompiledPolicy
    listen: Endpoint
    audit: int
    tls: Tls | None = None
    admin: Endpoint | None = None
    modes: BodyModes | None = None
    record: Path | None = None
    max_streams: int = MAX_STREAMS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    socket_mode: int = 0o600
    stall_timeout_s: float = STALL_TIMEOUT_S
    drain_s: float = DRAIN_S
    source: PolicySource | None = None
    watch_s: float = WATCH_S


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a server listens, now that it does. ``stop`` makes it drain; called again, end at once."""

    listen: Endpoint
    admin: Endpoint | None
    stop: Callable[[], None]


async def run_server(setup: ServerSetup, on_ready: Callable[[Serving], None]) -> None:
    """Serve until ``stop``, SIGTERM or SIGINT, then drain.

    Raises:
        ListenError: an endpoint cannot be listened on.
        DetectorError: an external detector cannot work.
        OSError: the directory for recordings cannot be made.
    """
    metrics = Metrics()
    metrics.policy_loaded(setup.policy.name, setup.policy.revision)
    stop = _Stop()
    async with contextlib.AsyncExitStack() as parts:  # taken apart from the last to the first
        audit = AuditLog(setup.audit, on_drop=metrics.audit_dropped)
        parts.callback(audit.close)
        recorder = None
        if setup.record is not None:
            recorder = Recorder(setup.record, secret_detectors(setup.policy), on_outcome=metrics.recording)
            parts.callback(recorder.close)
        gate = Gate(setup.policy, metrics=metrics, audit=audit.write, modes=setup.modes, recorder=recorder)
        parts.push_async_callback(gate.consultant.close)
        await gate.consultant.start(setup.policy.external)
        admin = Admin(metrics, lambda: (gate.policy.name, gate.policy.revision))
        admin_at = None
        if setup.admin is not None:
            admin_at = await admin.serve(setup.admin)
            parts.push_async_callback(admin.stop)
        watchdog = Watchdog(setup.stall_timeout_s)
        watchdog.start(asyncio.get_running_loop())
        parts.callback(watchdog.stop)
        transport = GrpcAio(
            max_streams=setup.max_streams, max_message_bytes=setup.max_message_bytes, socket_mode=setup.socket_mode
        )
        bound = await transport.serve(gate, setup.listen, setup.tls)
        parts.push_async_callback(_drain, transport, admin, stop, min(setup.drain_s, setup.policy.limits.exchange_s))
        parts.enter_context(_signals(stop))
        if setup.source is not None:
            watch = Watch(setup.source, setup.policy, metrics.policy_reload)
            in_force = functools.partial(_put_in_force, gate, metrics, recorder)
            await parts.enter_async_context(_running(watch.run(in_force, setup.watch_s)))
        on_ready(Serving(bound, admin_at, stop.request))
        await stop.once.wait()


def secret_detectors(policy: CompiledPolicy) -> tuple[StreamDetector, ...]:
    """What recordings are cleaned with: the rules that ship, and those of the policy that keep a value from a side."""
    hides = (Action.MASK, Action.REDACT)
    own = (rule.stream for rule in policy.rules if rule.detector.name in SCRUBBED or rule.action in hides)
    return (_shipped(), *(stream for stream in own if stream is not None))


@functools.cache
def _shipped() -> StreamDetector:
    kind = DETECTORS[SECRETS]
    pack = read_yaml(asset(f"policies/packs/{kind.pack}.yaml").read_text(encoding="utf-8")).data
    return cast("StreamDetector", kind.build(pack, {}))


def _put_in_force(gate: Gate, metrics: Metrics, recorder: Recorder | None, loaded: LoadedPolicy) -> None:
    """Swap the policy. Exchanges under way keep theirs."""
    gate.policy = loaded.policy
    gate.consultant.use(loaded.policy.external)
    metrics.policy_loaded(loaded.policy.name, loaded.policy.revision)
    if recorder is not None:
        recorder.clean_with(secret_detectors(loaded.policy))


@contextlib.asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on beside, until the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Stop:
    """Asked once, drain; asked twice, end."""

    def __init__(self) -> None:
        self.once: Final = asyncio.Event()
        self.twice: Final = asyncio.Event()

    def request(self) -> None:
        if self.once.is_set():
            self.twice.set()
        self.once.set()


async def _drain(transport: GrpcAio, admin: Admin, stop: _Stop, grace_s: float) -> None:
    admin.drain()
    draining = asyncio.create_task(transport.stop(grace_s))
    impatient = asyncio.create_task(stop.twice.wait())
    await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
    if impatient.done():
        await transport.stop(0)
    impatient.cancel()
    await draining


@contextlib.contextmanager
def _signals(stop: _Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
