"""The same events, id and clock give the same replies; anything else shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime._pb import recording_pb2 as rec
from extproc.runtime.replay import Readings, body_modes, compare, drive, event_name, modes_message, shape
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


def _recording(*messages: pb.ProcessingRequest, **fields: object) -> rec.Recording:
    entries = [rec.Entry(received=message, clock_s=[float(at)]) for at, message in enumerate(messages)]
    recording = rec.Recording(version=1, decision_id="d-7", clock_s=[0.5], entries=entries, **fields)  # type: ignore[arg-type]
    for entry, outcome in zip(recording.entries, drive(recording, secrets_policy()), strict=True):
        entry.replies.extend(outcome.replies)
        entry.aborted = outcome.aborted
    return recording


def _chat() -> rec.Recording:
    return _recording(
        request_headers(),
        request_body(chat("hello")),
        response_headers(),
        response_body(chunk("the key is " + KEY[:9])),
        response_body(chunk(KEY[9:] + " ok") + DONE, end=True),
    )


def test_a_recording_replays_to_the_same_bytes() -> None:
    recording = _chat()
    sent = b"".join(reply.SerializeToString() for entry in recording.entries for reply in entry.replies)
    assert b"REDACTED" in sent
    assert b"d-7" in sent  # the decision id is an input
    assert compare(recording, secrets_policy()) == []


def test_another_policy_shows_where_it_differs() -> None:
    (refused, *_) = compare(_chat(), secrets_policy(models={"allow": ["another:1b"]}))
    assert (refused.entry, refused.event) == (1, "request_body")
    assert refused.recorded == ("request_headers", "request_body")
    assert refused.replayed == ("immediate_response",)


def test_what_another_policy_is_called_is_no_difference_but_what_it_says_is() -> None:
    recording = _chat()
    recording.policy_revision = secrets_policy().revision
    other = replace(secrets_policy(), name="other", revision="sha256:other")
    assert compare(recording, other) == []
    assert len(compare(recording, replace(other, revision=secrets_policy().revision))) == 1  # one says its name
    metadata = recording.entries[-1].replies[-1].dynamic_metadata.fields["sluicegate"].struct_value
    metadata["action"] = "other"
    assert [difference.entry for difference in compare(recording, other)] == [len(recording.entries) - 1]


def test_one_other_byte_is_a_difference() -> None:
    recording = _chat()
    recording.entries[2].replies[0].response_headers.response.clear_route_cache = True
    (difference,) = compare(recording, secrets_policy())
    assert (difference.entry, difference.recorded) == (2, difference.replayed)


def test_the_body_modes_that_an_operator_named_are_replayed() -> None:
    modes = BodyModes.parse("streamed,full_duplex_streamed,nowait")
    assert body_modes(modes_message(modes)) == modes
    with_modes = _recording(request_headers(config=None), request_body(chat("hello")), body_modes=modes_message(modes))
    assert not with_modes.entries[0].replies  # withheld, as nowait allows
    assert compare(with_modes, secrets_policy()) == []


def test_deadlines_ends_and_broken_streams_are_replayed() -> None:
    recording = _recording(request_headers())
    recording.entries.add(expired="exchange")
    recording.entries.add(closed="eof")
    outcomes = list(drive(recording, secrets_policy()))
    assert [shape(outcome.replies) != () for outcome in outcomes] == [False, True, False]
    recording.entries.add(received=pb.ProcessingRequest())  # of no known kind
    assert list(drive(recording, secrets_policy()))[-1].shape == (("aborted", 0),)
    assert compare(_recording(pb.ProcessingRequest()), secrets_policy()) == []


def test_events_have_names() -> None:
    entries = [
        rec.Entry(received=request_headers()),
        rec.Entry(expired="idle"),
        rec.Entry(closed="eof"),
        rec.Entry(received={}),
    ]
    assert [event_name(entry) for entry in entries] == [
        "request_headers",
        "expired idle",
        "closed eof",
        "empty message",
    ]


def test_the_clock_repeats_what_it_said_and_then_stands_still() -> None:
    clock = Readings()
    clock.wind([1.0, 2.0])
    assert [clock(), clock(), clock()] == [1.0, 2.0, 2.0]
    clock.wind([5.0, 6.0])
    assert clock() == 5.0
    clock.wind([9.0])
    assert clock() == 9.0


def test_a_mode_that_cannot_be_guarded_is_refused() -> None:
    with pytest.raises(ValueError):
        body_modes(rec.BodyModes(request=pb.ProcessingMode.GRPC, response=pb.ProcessingMode.BUFFERED))
