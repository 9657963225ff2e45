"""Recorded ext_proc streams of a real Envoy: replayed offline, and through gRPC without a network.

``python -m tests.recordings`` makes them anew. Their policy has no rule packs, so they only change with behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import grpc_testing
import pytest

from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import DecisionRecord
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.gate import Gate
from extproc.runtime.metrics import Metrics
from extproc.runtime.recording import read_recording
from extproc.runtime.replay import Readings, compare
from extproc.runtime.store import load_policy
from tests.support.gateway import ALL_MODES

FOLDER = Path(__file__).parent.parent / "recordings"
RECORDINGS = sorted(FOLDER.glob("*.rec"))
SERVICE = pb.DESCRIPTOR.services_by_name["ExternalProcessor"]


@pytest.fixture(scope="module")
def policy() -> CompiledPolicy:
    return load_policy(FOLDER / "policy.yaml")


def test_every_way_of_sending_bodies_was_recorded() -> None:
    assert {path.stem.rpartition("-")[0] for path in RECORDINGS} == {str(mode) for mode in ALL_MODES}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_replays_to_the_byte(path: Path, policy: CompiledPolicy) -> None:
    recording = read_recording(path)
    assert recording.policy_revision == policy.revision
    assert compare(recording, policy) == []


class _Servicer:
    """A synchronous transport in miniature: what the gate serves does not depend on grpc.aio."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def Process(  # noqa: N802 - the method's name on the wire
        self, requests: Iterable[pb.ProcessingRequest], _context: grpc.ServicerContext
    ) -> Iterator[pb.ProcessingResponse]:
        exchange = self.gate.open(())
        for request in requests:
            yield from exchange.receive(request)
        exchange.close("eof")


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_gets_the_same_replies_over_grpc_without_a_network(path: Path, policy: CompiledPolicy) -> None:
    recording = read_recording(path)
    clock, records = Readings(), list[DecisionRecord]()
    clock.wind([*recording.clock_s, *(reading for entry in recording.entries for reading in entry.clock_s)])
    gate = Gate(policy, metrics=Metrics(), audit=records.append, clock=clock, new_id=lambda: recording.decision_id)
    server = grpc_testing.server_from_dictionary({SERVICE: _Servicer(gate)}, grpc_testing.strict_real_time())
    rpc = server.invoke_stream_stream(SERVICE.methods_by_name["Process"], (), None)
    for entry in recording.entries:
        if entry.WhichOneof("event") == "received":
            rpc.send_request(entry.received)
            for reply in entry.replies:
                assert rpc.take_response() == reply
    rpc.requests_closed()
    assert rpc.termination()[1] is grpc.StatusCode.OK
    assert [record.decision_id for record in records] == [recording.decision_id]
