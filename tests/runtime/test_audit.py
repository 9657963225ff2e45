"""One line for every exchange, in the form that decision.proto promises, with no matched text in it."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.json_format import Parse, ParseError

from extproc.policy.decision import Action, DecisionRecord, Finding
from extproc.runtime import audit
from extproc.runtime._pb import decision_pb2
from extproc.runtime.audit import AuditLog, audit_record, open_audit_file

NOW: Final = datetime(2026, 11, 23, 16, 0, 0, 123456, tzinfo=UTC)


def _record(number: int = 0, **fields: Any) -> DecisionRecord:
    return DecisionRecord(decision_id=f"d-{number}", policy="test", revision="sha256:0", **fields)


def _full() -> DecisionRecord:
    place = ("choices", 0, "content")
    finding = Finding("out", "aws.key", "response.content", Action.REDACT, ("LLM02:2025",), place, 3, 23, 0.5)
    return _record(
        dialect="openai.chat", method="POST", path="/v1/chat/completions", model="llama3.2:3b", stream=True,
        action=Action.REDACT, reason="secrets-out", status=200, cut=True, ended="cut", findings=[finding],
        inspected=["user"], second_opinions=["guard:cleared"], not_inspected=["image", "image"],
        injection_score=0.123456, request_bytes=10, response_bytes=20,
        held_bytes_max=30, decide_s=0.0012345678, first_byte_s=0.25, total_s=1.5, attributes={"xds.route_name": "chat"},
    )  # fmt: skip


def test_a_record_says_everything_under_its_documented_name() -> None:
    assert audit_record(_full(), NOW) == {
        "time": "2026-11-23T16:00:00.123Z",
        "decision_id": "d-0",
        "policy": "test",
        "policy_revision": "sha256:0",
        "dialect": "openai.chat",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "llama3.2:3b",
        "stream": True,
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "action": "redact",
        "reason": "secrets-out",
        "ended": "cut",
        "cut": True,
        "findings": [
            {
                "rule": "out",
                "match": "aws.key",
                "scope": "response.content",
                "action": "redact",
                "owasp": ["LLM02:2025"],
                "path": "/choices/0/content",
                "start": 3,
                "end": 23,
                "score": 0.5,
                "monitored": False,
            }
        ],
        "findings_omitted": 0,
        "inspected": ["user:1"],
        "not_inspected": ["image:2"],
        "second_opinions": ["guard:cleared:1"],
        "injection_score": 0.1235,
        "request_bytes": 10,
        "response_bytes": 20,
        "held_bytes_max": 30,
        "decide_s": 0.001235,
        "first_byte_s": 0.25,
        "total_s": 1.5,
        "attributes": {"xds.route_name": "chat"},
    }


def test_a_record_is_exactly_what_its_schema_defines() -> None:
    record = audit_record(_full(), NOW)
    message = Parse(json.dumps(record), decision_pb2.Decision())  # raises for a name it does not know
    assert message.findings[0].match == "aws.key"
    assert set(record) == {field.json_name for field in decision_pb2.Decision.DESCRIPTOR.fields}
    assert set(record["findings"][0]) == {field.json_name for field in decision_pb2.Finding.DESCRIPTOR.fields}
    with pytest.raises(ParseError):
        Parse(json.dumps({**record, "prompt": ""}), decision_pb2.Decision())


def test_keys_that_a_client_chose_do_not_reach_the_log() -> None:
    paths = [("tools", 0, "parameters", "A" * 20), ("a" * 33,), ("messages", 1, "cafe au lait"), ("é",)]
    findings = [Finding("r", "m", "user", Action.FLAG, path=path) for path in paths]
    written = audit_record(_record(findings=findings), NOW)["findings"]
    assert [finding["path"] for finding in written] == ["/tools/0/parameters/*", "/*", "/messages/1/*", "/*"]


def test_what_a_client_can_make_long_is_cut() -> None:
    findings = [Finding("r", "m", "user", Action.FLAG)] * 150
    record = _record(path="/" + "p" * 999 + "?token=x", model="m" * 999, method="M" * 999, findings=findings)
    record.attributes = {"a": "v" * 999}
    written = audit_record(record, NOW)
    lengths = [len(written[name]) for name in ("url.path", "gen_ai.request.model", "http.request.method")]
    assert lengths == [256, 256, 256]
    assert len(written["attributes"]["a"]) == 256
    assert (len(written["findings"]), written["findings_omitted"]) == (100, 50)


def test_a_query_is_not_logged() -> None:
    assert audit_record(_record(path="/v1/models?key=value"), NOW)["url.path"] == "/v1/models"


@contextmanager
def _log(path: Path, **options: Any) -> Iterator[AuditLog]:
    descriptor = open_audit_file(path)
    try:
        with closing(AuditLog(descriptor, now=lambda: NOW, **options)) as log:
            yield log
    finally:
        os.close(descriptor)


def _lines(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_every_record_becomes_one_line_in_order_in_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with _log(path) as log:
        for number in range(1000):
            log.write(_record(number))
    assert [line["decision_id"] for line in _lines(path.read_bytes())] == [f"d-{number}" for number in range(1000)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(2):
        with _log(path) as log:
            log.write(_record(number))
    assert [line["decision_id"] for line in _lines(path.read_bytes())] == ["d-0", "d-1"]


def test_a_pipe_gets_one_write_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers share a pipe; only single writes of whole lines cannot mix."""
    writes: list[bytes] = []

    def write(_descriptor: int, data: bytes) -> int:
        writes.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    read_end, write_end = os.pipe()
    with closing(AuditLog(write_end)) as log:
        for number in range(50):
            log.write(_record(number))
    os.close(read_end)
    os.close(write_end)
    assert [json.loads(line)["decision_id"] for line in writes] == [f"d-{number}" for number in range(50)]


class Sink:
    """A file whose writes fail, stop short or wait, as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = b""
        self.fail_after: int | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        monkeypatch.setattr(os, "write", self._write)

    def _write(self, _descriptor: int, data: bytes) -> int:
        self.entered.set()
        self.open.wait()
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.fail_after]
            self.fail_after = 0
        piece = bytes(data[:700])  # short writes are legal
        self.data += piece
        return len(piece)


def test_lines_that_a_slow_sink_cannot_take_are_counted_said_and_noted_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, dropped = Sink(monkeypatch), list[int]()
    with _log(tmp_path / "a", queue_max=10, on_drop=dropped.append) as log:
        sink.open.clear()
        log.write(_record(0))
        sink.entered.wait()
        for number in range(1, 15):
            log.write(_record(number))
        sink.open.set()
    assert sum(dropped) == 4
    lines = _lines(sink.data)
    assert [line["decision_id"] for line in lines if "decision_id" in line] == [f"d-{number}" for number in range(11)]
    assert [line for line in lines if "audit_dropped" in line] == [
        {"time": "2026-11-23T16:00:00.123Z", "audit_dropped": 4}
    ]
    assert caplog.messages == ["audit lines are being lost: the sink is too slow"]


def test_a_full_disk_loses_lines_loudly_and_leaves_no_torn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, dropped, noticed = Sink(monkeypatch), list[int](), threading.Event()

    def on_drop(count: int) -> None:
        dropped.append(count)
        noticed.set()

    with _log(tmp_path / "a", on_drop=on_drop) as log:
        sink.fail_after = 100
        log.write(_record(0))
        noticed.wait()
        sink.fail_after = None
        log.write(_record(1))
    assert dropped == [1]
    torn, note, line = sink.data.splitlines()
    assert len(torn) == 100
    assert json.loads(note)["audit_dropped"] == 1
    assert json.loads(line)["decision_id"] == "d-1"
    assert caplog.messages == ["audit lines are being lost: No space left on device"]


@pytest.mark.parametrize("queue_max", [3, 4])  # with and without room to say that it should end
def test_closing_does_not_wait_for_a_stuck_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_max: int
) -> None:
    monkeypatch.setattr(audit, "CLOSE_TIMEOUT_S", 0.01)
    sink, dropped = Sink(monkeypatch), list[int]()
    with _log(tmp_path / "a", queue_max=queue_max, on_drop=dropped.append) as log:
        sink.open.clear()
        log.write(_record(0))
        sink.entered.wait()
        for number in range(1, 4):
            log.write(_record(number))
    assert sum(dropped) >= 3
    sink.open.set()
    log.close()
    for thread in threading.enumerate():
        if thread.name == "audit":
            thread.join()
