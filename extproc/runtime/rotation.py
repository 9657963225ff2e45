"""Watching the files of a policy: when one has changed all are read again, and the last good policy stays until then.

What lives here: what counts as a change, when to look, and what is said of it. What must not: reading a policy (store),
putting one in force (server).

Files are looked at every few seconds rather than watched by the kernel: a mounted Kubernetes volume is swapped as a
whole by one symbolic link, network file systems notify nobody, and a look costs a ``stat`` a file.

A file that is being written may be valid by half, a policy without its last rules. So a change is read only when two
looks in a row have found the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from extproc.policy.compiler import CompiledPolicy
from extproc.runtime.store import LoadedPolicy, PolicyErrors, PolicyProblem, PolicySource
from extproc.runtime.values import expand

_log: Final = logging.getLogger(__name__)

WATCH_S: Final = 5.0
"""How often to look, in seconds."""

Fingerprint: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


def fingerprint(patterns: Iterable[str]) -> Fingerprint:
    """What tells these files from what they will be. Links are followed: another target is another file."""
    paths = sorted({str(path) for pattern in patterns for path in expand(pattern)})
    return tuple((path, _state(path)) for path in paths)


def _state(path: str) -> tuple[int, ...]:
    try:
        state = os.stat(path)  # noqa: PTH116 - a path of any kind, many at a time
    except (OSError, ValueError):  # there is no such file, or none can have this name
        return ()
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


class Watch:
    """Reads a policy again when its files have changed.

    ``on_outcome`` hears ``changed`` for each that is put in force and ``failed`` for each try that could not be read.
    """

    def __init__(
        self, source: PolicySource, policy: CompiledPolicy, on_outcome: Callable[[str], None] = lambda _outcome: None
    ) -> None:
        self._source: Final = source
        self._policy = policy
        self._on_outcome: Final = on_outcome
        # The first look reads again, whatever the files say: they may have changed since the policy was read.
        self._seen: Fingerprint | None = None
        self._settling: Fingerprint | None = None
        self._said = ""
        self._overlooked: tuple[PolicyProblem, ...] = ()

    def look(self) -> LoadedPolicy | None:
        """Look once; give the policy to put in force, or None where none is or none can be. Never raises."""
        try:
            return self._look()
        except PolicyErrors as errors:
            self._failed(str(errors))
        except Exception as error:  # a bug, or a file system that went away: what is in force stays
            self._failed(type(error).__name__)
        return None

    async def run(
        self,
        put_in_force: Callable[[LoadedPolicy], None],
        every_s: float = WATCH_S,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Look for ever, in a thread, since files may be slow; put what is found in force here."""
        while True:
            await sleep(every_s)
            loaded = await asyncio.to_thread(self.look)
            if loaded is not None:
                put_in_force(loaded)

    def _look(self) -> LoadedPolicy | None:
        patterns = self._source.watched
        found = fingerprint(patterns)
        if found == self._seen or found != self._settling:
            self._settling = found
            return None
        loaded = self._source.read()
        if fingerprint(patterns) != found:  # what was read may be half old, half new
            return None
        # What is watched only now is missing here, so it differs at the next look.
        self._seen, self._said = found, ""
        if _alike(loaded.policy, self._policy):
            return None
        self._policy = loaded.policy
        self._on_outcome("changed")
        _log.warning("read again: policy %s, %s", loaded.policy.name, loaded.policy.revision)
        for problem in loaded.overlooked:
            if problem not in self._overlooked:
                _log.warning("%s", problem)
        self._overlooked = loaded.overlooked
        return loaded

    def _failed(self, why: str) -> None:
        self._seen = None
        self._on_outcome("failed")
        if why != self._said:
            self._said = why
            _log.error("the policy's files have changed and cannot be used, the last good ones stay in force:\n%s", why)


def _alike(one: CompiledPolicy, other: CompiledPolicy) -> bool:
    """Whether two readings gave the same: detectors that were not built again are the very same objects."""
    return one.revision == other.revision and all(
        a.detector is b.detector for a, b in zip(one.rules, other.rules, strict=True)
    )
