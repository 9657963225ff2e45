"""The contract of a detector: a pure function of text that returns matches. It never sees a chunk, a policy or an API.

To add a kind of detector: a module here and one line in ``DETECTORS`` (``detectors/__init__.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Match:
    """Something found: code points ``[start, end)`` of the text, the pack's rule id, and how sure (0..1).

    ``safe`` as in ``Span``.
    """

    start: int
    end: int
    rule: str
    score: float = 1.0
    safe: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What a detector says of one text. ``score`` is the strongest signal, also where it stayed below the threshold."""

    matches: tuple[Match, ...] = ()
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the scan of an answer may know of the request that led to it. ``system``: the texts of its system scope."""

    system: tuple[str, ...] = ()


NO_EXCHANGE: Final = Exchange()
"""For text that stands alone: a request's own, a recording's."""


class Detector(Protocol):
    """Compiled once at policy load, shared, immutable."""

    name: str

    def scan(self, text: str) -> Scan:
        """Look at one whole text. Linear in its length; never raises."""
        ...


class StreamScan(Protocol):
    """The streaming form of a detector over one channel: owned by one exchange."""

    settled: int
    """Code points from the channel's start whose fate is known: text before it may leave, edited by the spans given."""

    def feed(self, text: str, final: bool) -> list[Span]:
        """Take the next text of the channel; return spans newly decided, in order, all before ``settled``.

        What it returns in total depends on the text alone, never on how it was cut. With ``final`` everything
        settles; the channel may not be fed again.
        """
        ...

    def pause(self) -> list[Span]:
        """Another text of the same choice goes on now, and what is held here would hold it up.

        Settle what can be told as if the text ended, and let go of what does no harm: a mere beginning of a literal, a
        word that may or may not become an address. What already shows a part of something that must not leave stays
        held. Returns spans as ``feed`` does. The channel may be fed again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets into the channel that must not leave. ``opens`` is false where it continues the span just before it: a
    marker takes the place of the opening piece, the rest is dropped without one. ``safe`` is the same text made
    harmless, for a policy that neutralises, where the detector knows how."""

    start: int
    end: int
    rule: str
    opens: bool = True
    safe: str | None = None


class StreamDetector(Detector, Protocol):
    """A detector that can decide on running text."""

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> StreamScan:
        """A fresh scan for one channel of an exchange's answer."""
        ...

    def marker(self, rule: str) -> str:
        """What takes a span's place: safe inside a JSON string, names the rule, never matches itself."""
        ...
