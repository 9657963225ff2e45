"""The audit log: exactly one JSON line per exchange, as defined in ``protos/decision.proto``.

What lives here: the line, and a thread that writes it. What must not: matched text, in any field.

When the sink is slower than the traffic, lines are dropped rather than exchanges delayed. That is never silent: it is
counted, said on stderr, and the next line that can be written says how many are missing before it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from extproc.chat import JsonPath
from extproc.coverage import counted
from extproc.policy.decision import DecisionRecord, Finding

_log: Final = logging.getLogger(__name__)

QUEUE_MAX: Final = 10_000
FINDINGS_MAX: Final = 100
TEXT_MAX: Final = 256
CLOSE_TIMEOUT_S: Final = 5.0
_BATCH_MAX: Final = 256
_OPERATIONS: Final = {
    "chat": "chat",
    **dict.fromkeys(("generate", "completions", "completion", "infill"), "text_completion"),
}
# Other keys of a document are the client's own words, and might be what was found.
_KNOWN_KEY: Final = re.compile(r"[a-z_]{1,32}")


def audit_record(record: DecisionRecord, time: datetime) -> dict[str, Any]:
    """The audit record of an exchange, by the JSON names of ``decision.proto``. Every field is always there."""
    return {
        "time": _rfc3339(time),
        "decision_id": record.decision_id,
        "policy": record.policy,
        "policy_revision": record.revision,
        "dialect": record.dialect,
        "gen_ai.operation.name": _OPERATIONS.get(record.dialect.rpartition(".")[2], ""),
        "gen_ai.request.model": record.model[:TEXT_MAX],
        "stream": record.stream,
        "http.request.method": record.method[:TEXT_MAX],
        "url.path": record.path.partition("?")[0][:TEXT_MAX],
        "http.response.status_code": record.status,
        "action": record.action.name.lower(),
        "reason": record.reason,
        "ended": record.ended,
        "cut": record.cut,
        "findings": [_finding(finding) for finding in record.findings[:FINDINGS_MAX]],
        "findings_omitted": max(0, len(record.findings) - FINDINGS_MAX),
        "inspected": counted(record.inspected),
        "not_inspected": counted(record.not_inspected),
        "second_opinions": counted(record.second_opinions),
        "injection_score": round(record.injection_score, 4),
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "held_bytes_max": record.held_bytes_max,
        "decide_s": round(record.decide_s, 6),
        "first_byte_s": round(record.first_byte_s, 6),
        "total_s": round(record.total_s, 6),
        "attributes": {key: value[:TEXT_MAX] for key, value in record.attributes.items()},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "match": finding.match,
        "scope": finding.scope,
        "action": finding.action.name.lower(),
        "owasp": list(finding.owasp),
        "path": _pointer(finding.path),
        "start": finding.start,
        "end": finding.end,
        "score": round(finding.score, 4),
        "monitored": finding.monitored,
    }


def _pointer(path: JsonPath) -> str:
    steps = (str(step) if isinstance(step, int) or _KNOWN_KEY.fullmatch(step) else "*" for step in path)
    return "".join(f"/{step}" for step in steps)


class AuditLog:
    """Writes audit lines to a file descriptor from a thread of its own. ``write`` never blocks."""

    def __init__(
        self,
        descriptor: int,
        *,
        queue_max: int = QUEUE_MAX,
        on_drop: Callable[[int], None] = lambda _count: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._descriptor: Final = descriptor
        # Workers share a pipe, where only one write of one line stays in one piece; a file appends whole batches.
        self._batches: Final = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._queue: Final[queue.Queue[DecisionRecord | None]] = queue.Queue(queue_max)
        self._on_drop: Final = on_drop
        self._now: Final = now
        self._lock: Final = threading.Lock()
        self._missing = 0
        self._failing = False
        self._torn = False
        self._thread: Final = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, record: DecisionRecord) -> None:
        """Have a line written. The record must not change any more."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._drop(1, "the sink is too slow")

    def close(self) -> None:
        """Write what is waiting, for at most ``CLOSE_TIMEOUT_S``."""
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            pass
        else:
            self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._drop(self._queue.qsize(), "the sink is stuck")

    def _run(self) -> None:
        more = True
        while more:
            records = [self._queue.get()]
            while len(records) < _BATCH_MAX and records[-1] is not None:
                try:
                    records.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            more = records[-1] is not None
            self._write_lines([record for record in records if record is not None])

    def _write_lines(self, records: Sequence[DecisionRecord]) -> None:
        now = self._now()
        lines = [_line(audit_record(record, now)) for record in records]
        with self._lock:
            missing = self._missing
        if missing:
            lines.insert(0, _line({"time": _rfc3339(now), "audit_dropped": missing}))
        try:
            for piece in [b"".join(lines)] if self._batches else lines:
                self._write_whole(piece)
        except OSError as error:
            self._drop(len(records), error.strerror or "unknown error")
            return
        with self._lock:
            self._missing -= missing
        self._failing = False

    def _write_whole(self, piece: bytes) -> None:
        view = memoryview(b"\n" + piece if self._torn else piece)
        self._torn = False
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError:
                self._torn = len(view) < len(piece)  # the disk filled up in the middle of a line
                raise
            view = view[written:]

    def _drop(self, count: int, why: str) -> None:
        with self._lock:
            self._missing += count
        self._on_drop(count)
        if not self._failing:
            self._failing = True
            _log.error("audit lines are being lost: %s", why)


def open_audit_file(path: Path) -> int:
    """Open a file to append to, readable by nobody else; return its descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _rfc3339(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
