"""The memory of refusals: when requests of which consumer were refused, in this process, while it runs.

What lives here: times by keyed fingerprints, and what one exchange reads and adds. What must not: which refusals count
and when they are too many (``policy.retries``), names of consumers.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

from extproc.policy.decision import Finding
from extproc.policy.retries import Retries

CONSUMERS_MAX: Final = 10_000


class Refusals:
    """The last refusals of each consumer, of at most ``consumers_max``: whoever was refused longest ago goes first.

    Any thread may ask.
    """

    def __init__(self, consumers_max: int = CONSUMERS_MAX) -> None:
        self._consumers_max: Final = consumers_max
        self._key: Final = secrets.token_bytes(32)
        self._lock: Final = threading.Lock()
        self._times: Final[dict[bytes, tuple[float, ...]]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def fingerprint(self, consumer: str) -> bytes:
        """What a consumer is remembered by. It means nothing to another process."""
        return blake2b(consumer.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def times(self, fingerprint: bytes) -> tuple[float, ...]:
        """When requests of this consumer were refused, oldest first."""
        with self._lock:
            return self._times.get(fingerprint, ())

    def add(self, fingerprint: bytes, now: float, keep: int) -> None:
        """Remember a refusal, and so many in all."""
        with self._lock:
            self._times[fingerprint] = (*self._times.pop(fingerprint, ()), now)[-keep:]
            while len(self._times) > self._consumers_max:
                del self._times[next(iter(self._times))]


class Visit:
    """One exchange's dealings with the memory. Without ``retries`` there are none."""

    __slots__ = ("_fingerprint", "_now", "_refusals", "_retries")

    def __init__(self, refusals: Refusals, retries: Retries | None, now: Callable[[], float]) -> None:
        self._refusals: Final = refusals
        self._retries: Final = retries
        self._now: Final = now
        self._fingerprint = b""

    def cooling(self, consumer: str) -> bool:
        """Say whether this consumer, whose exchange it is, is in its cooldown."""
        if self._retries is None or not consumer:
            return False
        self._fingerprint = self._refusals.fingerprint(consumer)
        return self._retries.cooling(self._refusals.times(self._fingerprint), self._now())

    def over(self, findings: Iterable[Finding]) -> None:
        """The exchange is over, with these findings."""
        if self._retries is not None and self._fingerprint and self._retries.counts(findings):
            self._refusals.add(self._fingerprint, self._now(), self._retries.refusals)
