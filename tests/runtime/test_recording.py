"""Recordings of real conversations: they replay to the byte and hold no secret, in files that nobody else can read."""

from __future__ import annotations

import itertools
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from extproc.runtime import recording as recording_module
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.gate import Gate, GatedExchange
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder, RecordingError, read_recording
from extproc.runtime.replay import compare
from extproc.runtime.server import secret_detectors
from extproc.runtime.transports.base import Broken
from extproc.runtime.wire import BodyModes
from tests.support.streams import (
    DONE,
    chat,
    chunk,
    request_body,
    request_headers,
    response_body,
    response_headers,
    secrets_policy,
)

KEY: Final = "AKIA" + "Q3EGXKP7VWLZ2M5N"
TOKEN: Final = "gh" + "p_" + "mQ8zR4vT1xW7yB2nK5jD9sF3hL6gC0aE4uPq"
DETECTORS: Final = secret_detectors(secrets_policy())


def _gate(recorder: Recorder, **options: Any) -> Gate:
    ticks, numbers = itertools.count(), itertools.count()
    return Gate(
        secrets_policy(), metrics=Metrics(), audit=lambda _record: None, recorder=recorder,
        clock=lambda: next(ticks) * 0.25, new_id=lambda: f"d-{next(numbers)}", **options,
    )  # fmt: skip


def _talk(exchange: GatedExchange, messages: list[pb.ProcessingRequest]) -> list[pb.ProcessingResponse]:
    replies = [reply for message in messages for reply in exchange.receive(message)]
    exchange.close("eof")
    return replies


def _conversation() -> Iterator[pb.ProcessingRequest]:
    """A prompt with a token in it, and an answer that says a key character by character, three bytes to a message."""
    yield request_headers("/v1/chat/completions?user=someone", "POST", ("authorization", f"Bearer {TOKEN}"))
    prompt = chat(f"my token is {TOKEN}")
    yield request_body(prompt[:100], end=False)
    yield request_body(prompt[100:])
    yield response_headers()
    answer = b"".join(chunk(char) for char in f"it is {KEY}.") + DONE
    for at in range(0, len(answer), 3):
        yield response_body(answer[at : at + 3])
    yield response_body(b"", end=True)


def _record(directory: Path, talk: Callable[[Gate], object], **options: Any) -> list[str]:
    outcomes: list[str] = []
    with closing(Recorder(directory, DETECTORS, on_outcome=outcomes.append, **options)) as recorder:
        talk(_gate(recorder))
    return outcomes


def test_a_recorded_conversation_replays_to_the_byte(tmp_path: Path) -> None:
    outcomes = _record(tmp_path, lambda gate: _talk(gate.open(()), list(_conversation())))
    recording = read_recording(tmp_path / "d-0.slrec")
    assert outcomes == ["written"]
    assert recording.policy_revision == secrets_policy().revision
    assert len(recording.entries) == len(list(_conversation())) + 1
    assert recording.entries[-1].closed == "eof"
    assert sum(len(entry.replies) for entry in recording.entries) > 3
    assert compare(recording, secrets_policy()) == []


def test_a_recording_holds_no_secret_and_keeps_every_cut(tmp_path: Path) -> None:
    _record(tmp_path, lambda gate: _talk(gate.open(()), list(_conversation())))
    data = (tmp_path / "d-0.slrec").read_bytes()
    recording = read_recording(tmp_path / "d-0.slrec")
    for secret in (KEY[4:], TOKEN[4:], "someone"):
        assert secret.encode() not in data
    events = b"".join(entry.received.response_body.body for entry in recording.entries).splitlines()
    said = "".join(line.decode().partition('"content": "')[2][:1] for line in events)
    assert said.startswith("it is ")
    assert not any(KEY[at : at + 6] in said for at in range(4, len(KEY) - 6))
    sizes = [
        len(entry.received.response_body.body)
        for entry in recording.entries
        if entry.received.HasField("response_body")
    ]
    assert set(sizes[:-2]) == {3}
    assert recording.secrets_replaced >= 2


def test_where_nothing_was_replaced_the_live_replies_are_the_recorded_ones(tmp_path: Path) -> None:
    messages = [
        request_headers(),
        request_body(chat("hi")),
        response_headers(),
        response_body(chunk("yes") + DONE, end=True),
    ]
    live: list[pb.ProcessingResponse] = []
    _record(tmp_path, lambda gate: live.extend(_talk(gate.open(()), messages)))
    recording = read_recording(tmp_path / "d-0.slrec")
    assert [reply for entry in recording.entries for reply in entry.replies] == live
    assert not recording.live_replies_differ


def test_a_redaction_is_noted_as_a_live_reply_that_differs(tmp_path: Path) -> None:
    _record(tmp_path, lambda gate: _talk(gate.open(()), list(_conversation())))
    assert read_recording(tmp_path / "d-0.slrec").live_replies_differ


def test_named_body_modes_deadlines_and_broken_streams_are_recorded(tmp_path: Path) -> None:
    def talk(gate: Gate) -> None:
        exchange = gate.open(())
        exchange.receive(request_headers(config=None))
        exchange.expire("idle")
        with pytest.raises(Broken):
            exchange.receive(pb.ProcessingRequest())
        exchange.close("error")

    outcomes: list[str] = []
    with closing(Recorder(tmp_path, DETECTORS, on_outcome=outcomes.append)) as recorder:
        talk(_gate(recorder, modes=BodyModes.parse("buffered,buffered")))
    recording = read_recording(tmp_path / "d-0.slrec")
    assert recording.body_modes.request == pb.ProcessingMode.BUFFERED
    assert [entry.WhichOneof("event") for entry in recording.entries] == ["received", "expired", "received", "closed"]
    assert [entry.aborted for entry in recording.entries] == [False, False, True, False]
    assert compare(recording, secrets_policy()) == []


def test_times_are_counted_from_the_opening(tmp_path: Path) -> None:
    _record(tmp_path, lambda gate: _talk(gate.open(()), [request_headers()]))
    offsets = [entry.offset_us for entry in read_recording(tmp_path / "d-0.slrec").entries]
    assert offsets == sorted(offsets)
    assert offsets[0] > 0


def test_files_and_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "recordings"
    _record(directory, lambda gate: _talk(gate.open(()), [request_headers()]))
    (file,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# ---- bounds ------------------------------------------------------------------------------------------------------


def test_an_exchange_that_is_too_large_is_not_recorded(tmp_path: Path) -> None:
    outcomes = _record(tmp_path, lambda gate: _talk(gate.open(()), list(_conversation())), exchange_bytes_max=1000)
    assert outcomes == ["too_large"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_directory_ends_recording_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "earlier.slrec").write_bytes(bytes(900))

    def talk(gate: Gate) -> None:
        for _ in range(3):
            _talk(gate.open(()), [request_headers()])

    assert _record(tmp_path, talk, directory_bytes_max=1000) == ["full"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["earlier.slrec"]
    assert caplog.messages == [f"{tmp_path} is full: no more recordings"]


def test_recordings_that_come_too_fast_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, go = threading.Event(), threading.Event()
    finished = recording_module.finished_recording

    def slow(*arguments: Any) -> Any:
        busy.set()
        go.wait()
        return finished(*arguments)

    monkeypatch.setattr(recording_module, "finished_recording", slow)

    def talk(gate: Gate) -> None:
        _talk(gate.open(()), [request_headers()])
        busy.wait()
        for _ in range(3):
            _talk(gate.open(()), [request_headers()])
        go.set()

    assert sorted(_record(tmp_path, talk, queue_max=2)) == ["overrun", "written", "written", "written"]


def test_a_recording_that_fails_harms_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "d-0.part").touch()  # in the way of the first

    def talk(gate: Gate) -> None:
        for _ in range(2):
            _talk(gate.open(()), [request_headers()])

    assert _record(tmp_path, talk) == ["failed", "written"]
    assert caplog.messages == ["a recording failed: FileExistsError"]


def test_closing_does_not_wait_for_a_stuck_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "CLOSE_TIMEOUT_S", 0.01)
    busy, go = threading.Event(), threading.Event()

    def stuck(*_: Any) -> Any:
        busy.set()
        go.wait()

    monkeypatch.setattr(recording_module, "finished_recording", stuck)
    recorder = Recorder(tmp_path, DETECTORS, queue_max=1)
    gate = _gate(recorder)
    _talk(gate.open(()), [request_headers()])
    busy.wait()
    _talk(gate.open(()), [request_headers()])
    recorder.close()
    assert list(tmp_path.iterdir()) == []
    go.set()
    recorder.close()


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", b"\x08\x02", b"\x08\x01"])
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.slrec").write_bytes(data)
    with pytest.raises(RecordingError, match=r"x\.slrec: not a recording"):
        read_recording(tmp_path / "x.slrec")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"absent\.slrec: No such file"):
        read_recording(tmp_path / "absent.slrec")
