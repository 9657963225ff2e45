"""Files change while we serve: what is read again, what stays in force, and what is said of it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from extproc.detectors.base import Scan
from extproc.runtime.gate import Gate
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import Recorder, read_recording
from extproc.runtime.rotation import Watch, fingerprint
from extproc.runtime.server import ServerSetup, Serving, _put_in_force, run_server, secret_detectors
from extproc.runtime.store import LoadedPolicy, PolicySource
from extproc.runtime.transports.endpoint import Endpoint
from tests.runtime.test_values import FIRST, SECOND, swap
from tests.runtime.transports.streams import LOOPBACK
from tests.support.streams import DONE, chat, chunk, request_body, request_headers, response_body, response_headers

POLICY = """apiVersion: sluicegate.dev/v1
kind: Policy
metadata: {name: NAME}
spec:
  models: {allow: ["m:*"]}
  rules:
    - {id: own, detector: exact_values, options: {files: ["app/*"]}, scope: [user, response.content], action: redact}
    - {id: tokens, detector: special_tokens, scope: [user], action: flag}
"""


class Served:
    """A policy in a folder, watched as a server watches it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "policy.yaml"
        self.volume = folder / "app"
        self.path.write_text(POLICY.replace("NAME", "one"))
        swap(self.volume, "..1", {"token": FIRST})
        self.source = PolicySource(self.path)
        self.first = self.source.read()
        self.outcomes: list[str] = []
        self.watch = Watch(self.source, self.first.policy, self.outcomes.append)

    def look(self) -> LoadedPolicy | None:
        """Look twice: a change must have settled."""
        assert self.watch.look() is None
        return self.watch.look()


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def scan(loaded: LoadedPolicy, text: str) -> Scan:
    return loaded.policy.rules[0].detector.scan(text)


def test_nothing_changed_is_nothing_to_put_in_force(served: Served) -> None:
    assert [served.look(), served.look()] == [None, None]
    assert served.outcomes == []


def test_a_swapped_volume_brings_its_values_and_keeps_all_other_detectors(served: Served) -> None:
    assert served.look() is None
    swap(served.volume, "..2", {"token": SECOND})
    loaded = served.look()
    assert loaded is not None
    assert scan(loaded, SECOND).matches
    assert not scan(loaded, FIRST).matches
    assert scan(served.first, FIRST).matches  # what is under way goes on as it began
    assert loaded.policy.revision == served.first.policy.revision
    assert loaded.policy.rules[1].detector is served.first.policy.rules[1].detector
    assert served.outcomes == ["changed"]
    assert served.look() is None


def test_what_changed_between_the_first_reading_and_the_first_look_is_seen(served: Served) -> None:
    swap(served.volume, "..2", {"token": SECOND})
    loaded = served.look()
    assert loaded is not None
    assert scan(loaded, SECOND).matches


def test_a_new_file_in_a_watched_directory_is_seen(served: Served) -> None:
    served.look()
    (served.volume / "another").write_text(SECOND)
    loaded = served.look()
    assert loaded is not None
    assert scan(loaded, SECOND).matches


def test_a_file_that_is_written_anew_with_the_same_values_changes_nothing(served: Served) -> None:
    served.look()
    swap(served.volume, "..2", {"token": FIRST})
    assert served.look() is None
    assert served.outcomes == []


def test_the_policy_and_its_packs_are_watched_like_values(served: Served) -> None:
    served.look()
    served.path.write_text(POLICY.replace("NAME", "two"))
    loaded = served.look()
    assert loaded is not None
    assert loaded.policy.name == "two"
    assert [rule.detector for rule in loaded.policy.rules] == [rule.detector for rule in served.first.policy.rules]
    packs = served.path.parent / "packs"
    packs.mkdir()
    (packs / "special_tokens.yaml").write_text("families: [{id: own, models: m, tokens: [<own-token>]}]")
    again = served.look()
    assert again is not None
    assert again.policy.rules[1].detector.scan("<own-token>").matches
    assert again.policy.rules[0].detector is served.first.policy.rules[0].detector


def test_the_last_good_values_stay_until_the_files_can_be_read_again(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.look()
    (served.volume / "token").unlink()
    assert [served.look(), served.watch.look()] == [None, None]
    assert served.outcomes == ["failed", "failed"]
    (line,) = caplog.messages
    assert line.endswith("policy.yaml:7:59: spec.rules[0].options.files[0]: no file matches")
    (served.volume / "token").write_text(SECOND)
    assert served.look() is not None
    assert served.outcomes == ["failed", "failed", "changed"]
    assert not any(value in message for value in (FIRST, SECOND) for message in caplog.messages)


@pytest.mark.parametrize("name", ["a\\0b", "x" * 300])
def test_a_policy_that_named_an_impossible_path_is_read_again_once_it_is_mended(served: Served, name: str) -> None:
    served.look()
    served.path.write_text(POLICY.replace("app/*", name))
    assert served.look() is None
    served.path.write_text(POLICY.replace("NAME", "mended"))
    loaded = served.look()
    assert loaded is not None
    assert loaded.policy.name == "mended"


def test_a_failed_reading_does_not_build_again_what_it_built(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    swap(served.volume, "..2", {"token": SECOND})
    served.path.write_text(POLICY.replace("NAME", "two").replace("flag", "flog"))
    assert served.look() is None
    monkeypatch.setattr("extproc.detectors.exact_values.build", None)
    served.path.write_text(POLICY.replace("NAME", "two"))
    loaded = served.look()
    assert loaded is not None
    assert scan(loaded, SECOND).matches


def test_what_is_still_being_written_is_not_read(served: Served) -> None:
    served.look()
    for number in range(3):
        (served.volume / "token").write_text("x" * (20 + number))
        assert served.watch.look() is None
    loaded = served.watch.look()
    assert loaded is not None
    assert scan(loaded, "x" * 22).matches


def test_what_changes_while_it_is_read_is_read_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    swap(served.volume, "..2", {"token": SECOND})
    read = PolicySource.read

    def swapped(source: PolicySource) -> LoadedPolicy:
        monkeypatch.setattr(PolicySource, "read", read)
        loaded = read(source)
        swap(served.volume, "..3", {"token": "third-value-3"})
        return loaded

    monkeypatch.setattr(PolicySource, "read", swapped)
    assert served.look() is None
    loaded = served.look()
    assert loaded is not None
    assert scan(loaded, "third-value-3").matches


def test_a_bug_in_a_reading_is_named_by_its_kind_and_the_policy_stays(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_source: PolicySource) -> LoadedPolicy:
        raise ValueError(SECOND)

    monkeypatch.setattr(PolicySource, "read", fail)
    assert served.look() is None
    assert served.outcomes == ["failed"]
    assert caplog.messages[0].endswith("ValueError")


def test_values_that_are_too_short_are_said_when_they_come(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    swap(served.volume, "..2", {"token": SECOND, "pin": "0815"})
    assert served.look() is not None
    assert "file.app/pin has fewer than 8 characters" in caplog.messages[-1]
    swap(served.volume, "..3", {"token": FIRST, "pin": "0815"})
    assert served.look() is not None
    assert caplog.messages[-1].startswith("read again: policy one, sha256:")


def test_a_fingerprint_tells_a_missing_file_from_any_other(tmp_path: Path) -> None:
    path = tmp_path / "key"
    missing = fingerprint([str(path)])
    path.write_text("a")
    first = fingerprint([str(path)])
    os.utime(path, ns=(0, 0))
    assert len({missing, first, fingerprint([str(path)])}) == 3


def test_the_watch_looks_again_and_again_and_hands_over_what_it_finds(served: Served) -> None:
    turns: Iterator[str] = iter(["..2", "", "..3", ""])
    waited: list[float] = []
    put: list[LoadedPolicy] = []

    async def sleep(delay_s: float) -> None:
        waited.append(delay_s)
        turn = next(turns, None)
        if turn is None:
            raise asyncio.CancelledError
        if turn:
            swap(served.volume, turn, {"token": f"value-{turn}"})

    async def test() -> None:
        with pytest.raises(asyncio.CancelledError):
            await served.watch.run(put.append, 2.5, sleep)

    asyncio.run(test())
    assert waited == [2.5] * 5
    assert [bool(scan(loaded, "value-..3").matches) for loaded in put] == [False, True]


# ---- in the server


def test_a_gate_takes_the_new_values_and_recordings_are_cleaned_of_old_and_new(served: Served, tmp_path: Path) -> None:
    metrics = Metrics()
    detectors = secret_detectors(served.first.policy)
    with closing(Recorder(tmp_path / "recordings", detectors)) as recorder:
        gate = Gate(
            served.first.policy, metrics=metrics, audit=lambda _record: None, recorder=recorder, new_id=lambda: "d-0"
        )
        exchange = gate.open(())
        swap(served.volume, "..2", {"token": SECOND})
        loaded = served.look()
        assert loaded is not None
        _put_in_force(gate, metrics, recorder, loaded)
        exchange.receive(request_headers("/v1/chat/completions", "POST"))
        exchange.receive(request_body(chat(f"keys {FIRST} {SECOND}", model="m:1")))
        exchange.receive(response_headers())
        answer = b"".join(chunk(char) for char in f"{FIRST} or {SECOND}") + DONE
        exchange.receive(response_body(answer, end=True))
        exchange.close("eof")
    assert gate.policy is loaded.policy
    assert b'sluicegate_policy_info{policy="one",' in metrics.render()
    recording = read_recording(tmp_path / "recordings" / "d-0.slrec")
    asked = b"".join(entry.received.request_body.body for entry in recording.entries)
    assert b"keys " + b"x" * len(FIRST) + b" " + b"x" * len(SECOND) in asked
    answered = b"".join(entry.received.response_body.body for entry in recording.entries)
    assert b"".join(re.findall(rb'"content": "(.)"', answered)) == b"x" * len(FIRST) + b" or " + b"x" * len(SECOND)


def test_a_recording_is_cleaned_of_what_was_known_when_its_exchange_began(served: Served, tmp_path: Path) -> None:
    metrics = Metrics()
    with closing(Recorder(tmp_path / "recordings", secret_detectors(served.first.policy))) as recorder:
        gate = Gate(
            served.first.policy, metrics=metrics, audit=lambda _record: None, recorder=recorder, new_id=lambda: "d-0"
        )
        exchange = gate.open(())
        for number, value in ((2, SECOND), (3, "third-value-3")):
            swap(served.volume, f"..{number}", {"token": value})
            loaded = served.look()
            assert loaded is not None
            _put_in_force(gate, metrics, recorder, loaded)
        exchange.receive(request_headers("/v1/chat/completions", "POST"))
        exchange.receive(request_body(chat(f"keys {FIRST} third-value-3", model="m:1")))
        exchange.close("eof")
    recording = (tmp_path / "recordings" / "d-0.slrec").read_bytes()
    assert b"keys " + b"x" * len(FIRST) + b" " + b"x" * len("third-value-3") in recording


def test_a_server_watches_its_policy_while_it_serves(served: Served, tmp_path: Path) -> None:
    async def test(audit: int) -> None:
        ready: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
        setup = ServerSetup(served.first.policy, LOOPBACK, audit, admin=LOOPBACK, source=served.source, watch_s=0.001)
        running = asyncio.create_task(run_server(setup, ready.set_result))
        serving = await ready
        served.path.write_text(POLICY.replace("NAME", "two"))
        async with asyncio.timeout(30):
            while b'"policy": "two"' not in await health(serving.admin):
                pass
        serving.stop()
        await running

    with (tmp_path / "audit.jsonl").open("wb") as audit:
        asyncio.run(test(audit.fileno()))
    assert served.source.read().policy.name == "two"


async def health(endpoint: Endpoint | None) -> bytes:
    assert endpoint is not None
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
