"""Messages as Envoy sends them, and a policy that needs one pack only."""

from __future__ import annotations

import json
from typing import Any, Final

from extproc.policy.compiler import CompiledPolicy
from extproc.runtime._pb import ext_proc_pb2 as pb
from tests.support.policies import MODEL, policy
from tests.support.sessions import compiled

CHAT: Final = "/v1/chat/completions"
DUPLEX: Final = pb.ProtocolConfiguration(
    request_body_mode=pb.ProcessingMode.STREAMED,
    response_body_mode=pb.ProcessingMode.FULL_DUPLEX_STREAMED,
    send_body_without_waiting_for_header_response=True,
)


def secrets_policy(**spec: Any) -> CompiledPolicy:
    """Redacts secrets in answers, and nothing else needs a detector."""
    rule = {"id": "secrets-out", "detector": "secrets", "scope": ["response.content"], "action": "redact"}
    return compiled(policy(rules=[rule], **spec))


def request_headers(
    path: str = CHAT,
    method: str = "POST",
    *more: tuple[str, str],
    end: bool = False,
    config: pb.ProtocolConfiguration | None = DUPLEX,
) -> pb.ProcessingRequest:
    """The first message of a stream."""
    fields = [(":method", method), (":path", path), ("content-type", "application/json"), *more]
    return pb.ProcessingRequest(
        request_headers=pb.HttpHeaders(headers=header_map(fields), end_of_stream=end), protocol_config=config
    )


def request_body(data: bytes, end: bool = True) -> pb.ProcessingRequest:
    """A piece of the request."""
    return pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=end))


def response_headers(content_type: str = "text/event-stream", *more: tuple[str, str]) -> pb.ProcessingRequest:
    """An answer begins."""
    fields = [(":status", "200"), ("content-type", content_type), *more]
    return pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=header_map(fields)))


def response_body(data: bytes, end: bool = False) -> pb.ProcessingRequest:
    """A piece of the answer."""
    return pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end))


def header_map(fields: list[tuple[str, str]]) -> pb.HeaderMap:
    """Header fields as Envoy writes them."""
    return pb.HeaderMap(headers=[pb.HeaderValue(key=name, raw_value=value.encode()) for name, value in fields])


def chat(text: str, **fields: Any) -> bytes:
    """A chat request."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text}], **fields}
    return json.dumps(body).encode()


def chunk(content: str, index: int = 0, **fields: Any) -> bytes:
    """One event of a streamed answer."""
    choice = {"index": index, "delta": {"content": content}, "finish_reason": None, **fields}
    event = {"id": "c-1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"
