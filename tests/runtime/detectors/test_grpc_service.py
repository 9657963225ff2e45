"""A real gRPC service that speaks protos/detector.proto: over TCP, over a unix socket, and with TLS on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.policy.external import GrpcDetector
from extproc.runtime._pb import detector_pb2 as pb
from extproc.runtime.detectors import DetectorError, prepared
from tests.runtime.detectors.services import grpc_service
from tests.runtime.transports.streams import run
from tests.support.certificates import Authority
from tests.support.second_opinions import LIKELY, UNLIKELY, unsure
from tests.support.tier2 import passages


class Service:
    """Finds the word bomb, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def scan(self, request: pb.ScanRequest, _context: Any) -> pb.ScanResponse:
        self.asked += [(text.scope, text.text) for text in request.texts]
        return pb.ScanResponse(scores=[0.95 if "bomb" in text.text else 0.05 for text in request.texts])


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_what_the_service_says_is_the_verdict(tmp_path: Path, over: str) -> None:
    service = Service()

    async def test() -> None:
        address = "127.0.0.1:0" if over == "tcp" else f"unix://{tmp_path}/s"
        async with grpc_service(service.scan, address) as bound:
            policy = unsure({"kind": "grpc", "address": bound, "timeout_s": 30})
            bad, good = await passages(policy, f"{UNLIKELY} bomb", f"{LIKELY} cake")
        assert (bad.status, bad.record.findings[0].score) == (403, 0.95)
        assert (good.status, good.record.second_opinions) == (0, ["guard:cleared"])

    run(test())
    assert service.asked == [("user", f"{UNLIKELY} bomb"), ("user", f"{LIKELY} cake")]


def test_a_service_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    service, section = Service(), {"kind": "grpc", "address": f"unix://{tmp_path}/s", "timeout_s": 30}

    async def test() -> None:
        (away,) = await passages(unsure(section), UNLIKELY)
        async with grpc_service(service.scan, section["address"]):  # type: ignore[arg-type]
            (back,) = await passages(unsure(section), UNLIKELY)
        assert away.record.second_opinions == ["guard:skipped:unreachable"]
        assert back.record.second_opinions == ["guard:cleared"]

    run(test())


def test_both_sides_may_show_certificates(tmp_path: Path) -> None:
    authority, service = Authority("inside"), Service()
    ours, theirs = authority.issue("gate"), authority.issue("detector")
    files = {"tls_ca": authority.certificate, "tls_cert": ours.certificate, "tls_key": ours.key}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    credentials = grpc.ssl_server_credentials(((theirs.key, theirs.certificate),), authority.certificate, True)

    async def test() -> None:
        async with grpc_service(service.scan, credentials=credentials) as bound:
            section = {"kind": "grpc", "address": bound, "timeout_s": 30}
            (known,) = await passages(unsure({**section, **{name: name for name in files}}, folder=tmp_path), UNLIKELY)
            (unknown,) = await passages(unsure({**section, "tls_ca": "tls_ca"}, folder=tmp_path), UNLIKELY)
        assert known.record.second_opinions == ["guard:cleared"]
        assert unknown.record.second_opinions == ["guard:skipped:unreachable"]

    run(test())


def test_a_file_of_its_certificates_that_is_not_there_is_an_error_at_load(tmp_path: Path) -> None:
    document = GrpcDetector.model_validate({"kind": "grpc", "address": "g:1", "tls_ca": "ca.pem"})
    with pytest.raises(DetectorError) as error:
        prepared(document, tmp_path, {})
    assert error.value.field == "tls_ca"
