"""Recordings: what Envoy sent on a stream and what we answered, in files without secrets (``recording.proto``).

What lives here: taking a stream down as it happens, the thread that finishes it afterwards, and the files. What must
not: what may be kept (cleaning), finding secrets in a body (scrub), driving sessions (replay).

A recording's replies are not the live ones. They are derived from the cleaned events by the same code and policy, with
the same id and clock: so they cannot hold what was cleaned away, and a replay must repeat them to the byte. Where the
live replies had other kinds or sizes, the recording says so.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from extproc.detectors.base import StreamDetector
from extproc.messages import Opinion
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.retries import Cooling
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.cleaning import cleaned
from extproc.runtime.replay import Shape, drive, modes_message, opinions_message, shape
from extproc.runtime.scrub import Scrubber
from extproc.runtime.wire import BodyModes

_log: Final = logging.getLogger(__name__)

VERSION: Final = 1
SUFFIX: Final = ".slrec"
EXCHANGE_BYTES_MAX: Final = 1024 * 1024
DIRECTORY_BYTES_MAX: Final = 256 * 1024 * 1024
QUEUE_MAX: Final = 64
CLOSE_TIMEOUT_S: Final = 10.0


class RecordingError(Exception):
    """A file is not a recording that can be read; ``str()`` says why."""


class Tape:
    """Takes down one stream. Owned by its exchange; goes to ``submit`` when that closes."""

    __slots__ = (
        "_bytes", "_bytes_max", "_cooling", "_now", "_opened_s", "_readings", "_submit", "detectors", "policy",
        "recording", "shapes",
    )  # fmt: skip

    def __init__(
        self,
        policy: CompiledPolicy,
        decision_id: str,
        modes: BodyModes | None,
        now: Callable[[], float],
        submit: Callable[[Tape], None],
        bytes_max: int = EXCHANGE_BYTES_MAX,
        detectors: Sequence[StreamDetector] = (),
    ) -> None:
        self.policy: Final = policy
        self.detectors: Final = detectors  # what was known to be secret when the exchange began
        self.recording: Final = rec.Recording(
            version=VERSION,
            decision_id=decision_id,
            policy=policy.name,
            policy_revision=policy.revision,
            body_modes=None if modes is None else modes_message(modes),
        )
        self.shapes: Final[list[Shape]] = []
        self._now: Final = now
        self._submit: Final = submit
        self._bytes_max: Final = bytes_max
        self._bytes = 0
        self._opened_s: Final = now()
        self._readings: list[float] = []
        self._cooling = False

    @property
    def too_large(self) -> bool:
        """Whether the exchange outgrew the limit; nothing of it is kept then."""
        return self._bytes > self._bytes_max

    def clock(self) -> float:
        """The time, noted: the session's clock."""
        reading = self._now()
        self._readings.append(reading)
        return reading

    def noting(self, cooling: Cooling) -> Cooling:
        """The memory of refusals, its answer noted: the session's."""

        def noted(consumer: str) -> bool:
            self._cooling = cooling(consumer)
            return self._cooling

        return noted

    def opened(self) -> None:
        """The session exists: what it read from the clock so far belongs to no event."""
        self.recording.clock_s.extend(self._readings)
        self._readings.clear()

    def received(self, message: pb.ProcessingRequest, replies: Sequence[pb.ProcessingResponse] | None) -> None:
        """Note a message and what was answered; None for failing the stream."""
        self._bytes += message.ByteSize()
        self._note(rec.Entry(received=message), replies)

    def consulted(self, opinions: Sequence[Opinion], replies: Sequence[pb.ProcessingResponse] | None) -> None:
        """Note second opinions and what was answered; None for failing the stream."""
        self._note(rec.Entry(consulted=opinions_message(opinions)), replies)

    def expired(self, what: str, replies: Sequence[pb.ProcessingResponse] | None) -> None:
        """Note a passed deadline and what was answered; None for failing the stream."""
        self._note(rec.Entry(expired=what), replies)

    def closed(self, reason: str) -> None:
        """The stream is over, and so is the tape."""
        self._note(rec.Entry(closed=reason), ())
        self._submit(self)

    def _note(self, entry: rec.Entry, replies: Sequence[pb.ProcessingResponse] | None) -> None:
        if self.too_large:
            self.recording.entries.clear()
            return
        entry.offset_us = max(0, round((self._now() - self._opened_s) * 1e6))
        entry.clock_s.extend(self._readings)
        entry.cooling, self._cooling = self._cooling, False
        self._readings.clear()
        self.recording.entries.append(entry)
        self.shapes.append(shape(replies))


class Recorder:
    """Writes one file per exchange into ``directory``, readable by nobody else.

    ``on_outcome`` hears what became of each: ``written``, ``too_large``, ``overrun`` (they come faster than they can be
    written), ``full`` or ``failed``.
    """

    def __init__(
        self,
        directory: Path,
        detectors: Sequence[StreamDetector],
        *,
        on_outcome: Callable[[str], None] = lambda _outcome: None,
        exchange_bytes_max: int = EXCHANGE_BYTES_MAX,
        directory_bytes_max: int = DIRECTORY_BYTES_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory: Final = directory
        self._detectors = tuple(detectors)
        self._on_outcome: Final = on_outcome
        self._exchange_bytes_max: Final = exchange_bytes_max
        self._bytes_left = directory_bytes_max - sum(file.stat().st_size for file in directory.glob(f"*{SUFFIX}"))
        self._queue: Final[queue.Queue[Tape | None]] = queue.Queue(queue_max)
        self._said: Final[set[str]] = set()
        self._thread: Final = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def clean_with(self, detectors: Sequence[StreamDetector]) -> None:
        """Use these detectors from now on. An exchange under way is also cleaned with those of when it began."""
        self._detectors = tuple(detectors)

    def tape(self, policy: CompiledPolicy, decision_id: str, modes: BodyModes | None, now: Callable[[], float]) -> Tape:
        """Begin to record an exchange."""
        return Tape(policy, decision_id, modes, now, self._submit, self._exchange_bytes_max, self._detectors)

    def close(self) -> None:
        """Write what is waiting, for at most ``CLOSE_TIMEOUT_S``."""
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)

    def _submit(self, tape: Tape) -> None:
        try:
            self._queue.put_nowait(tape)
        except queue.Full:
            self._on_outcome("overrun")

    def _run(self) -> None:
        while (tape := self._queue.get()) is not None:
            try:
                outcome = self._keep(tape)
            except Exception as error:  # the exchange is long over: only its recording is lost
                outcome = "failed"
                self._say_once(f"a recording failed: {type(error).__name__}")
            self._on_outcome(outcome)

    def _keep(self, tape: Tape) -> str:
        if tape.too_large:
            return "too_large"
        scrubber = Scrubber(tuple(dict.fromkeys((*self._detectors, *tape.detectors))))
        data = finished_recording(tape, scrubber).SerializeToString(deterministic=True)
        if len(data) > self._bytes_left:
            self._say_once(f"{self._directory} is full: no more recordings")
            return "full"
        path = self._directory / f"{tape.recording.decision_id}{SUFFIX}"
        unfinished = path.with_suffix(".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        unfinished.rename(path)
        self._bytes_left -= len(data)
        return "written"

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            _log.error("%s", line)


def finished_recording(tape: Tape, scrubber: Scrubber) -> rec.Recording:
    """Clean what a tape holds and derive the replies to what is left."""
    recording = cleaned(tape.recording, scrubber)
    outcomes = list(drive(recording, tape.policy))
    for entry, outcome in zip(recording.entries, outcomes, strict=True):
        entry.replies.extend(outcome.replies)
        entry.aborted = outcome.aborted
    recording.live_replies_differ = [outcome.shape for outcome in outcomes] != tape.shapes
    return recording


def read_recording(path: Path) -> rec.Recording:
    """Read a recording.

    Raises:
        RecordingError: the file cannot be read, or is none of ours.
    """
    try:
        recording = rec.Recording.FromString(path.read_bytes())
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    except DecodeError:
        raise RecordingError(f"{path}: not a recording") from None
    if recording.version != VERSION or not recording.decision_id:
        raise RecordingError(f"{path}: not a recording of version {VERSION}")
    return recording
