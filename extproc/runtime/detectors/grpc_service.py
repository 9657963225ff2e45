"""A service that speaks ``protos/detector.proto`` over gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from extproc.policy.external import GrpcDetector
from extproc.runtime._pb import detector_pb2 as pb
from extproc.runtime.detectors.base import Unanswered, need_file

METHOD: Final = "/sluicegate.detector.v1.Detector/Scan"
_ANSWER_BYTES_MAX: Final = 64 * 1024
_OUT_OF_REACH: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
# What our own side says of an answer that cannot be read: too large, or no message.
_GARBLED: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)


def prepared(document: GrpcDetector, folder: Path, _environ: Mapping[str, str]) -> GrpcDetector:
    """Find the files of its certificates.

    Raises:
        DetectorError: one is not there.
    """
    names = ("tls_ca", "tls_cert", "tls_key")
    named = {name: path for name in names if (path := getattr(document, name)) is not None}
    return document.model_copy(update={name: need_file(name, path, folder) for name, path in named.items()})


def connect(document: GrpcDetector) -> GrpcClient:
    """A client for it."""
    return GrpcClient(document)


class GrpcClient:
    """Asks a service about one text at a time, over one connection that is opened when first needed."""

    def __init__(self, document: GrpcDetector) -> None:
        self._document: Final = document
        self._channel: Any = None
        self._scan: Any = None

    async def start(self) -> None:
        """Nothing to do: the connection is made with the first question, and again when it breaks."""

    async def ask(self, scope: str, text: str) -> float:
        """Send the text and its scope; take the one score that comes back."""
        if self._scan is None:
            self._connect()
        request = pb.ScanRequest(texts=[pb.Text(scope=scope, text=text)])
        try:
            response = await self._scan(request, wait_for_ready=False)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            why = "unreachable" if code in _OUT_OF_REACH else "garbage" if code in _GARBLED else "refused"
            raise Unanswered(why) from None
        if len(response.scores) != 1:
            raise Unanswered("garbage")
        return float(response.scores[0])

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            with contextlib.suppress(Exception):
                await self._channel.close()

    def _connect(self) -> None:
        document = self._document
        options = [("grpc.max_receive_message_length", _ANSWER_BYTES_MAX), ("grpc.enable_http_proxy", 0)]
        if document.tls_ca is None:
            self._channel = grpc.aio.insecure_channel(document.address, options=options)
        else:
            self._channel = grpc.aio.secure_channel(document.address, _credentials(document), options=options)
        self._scan = self._channel.unary_unary(
            METHOD,
            request_serializer=pb.ScanRequest.SerializeToString,
            response_deserializer=pb.ScanResponse.FromString,
        )


def _credentials(document: GrpcDetector) -> Any:
    def read(path: str | None) -> bytes | None:
        return None if path is None else Path(path).read_bytes()

    return grpc.ssl_channel_credentials(read(document.tls_ca), read(document.tls_key), read(document.tls_cert))
