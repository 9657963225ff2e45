"""Replies as protobuf. One fact to remember: of a header mutation Envoy 1.40 reads ``raw_value`` only."""

from __future__ import annotations

from extproc.messages import Continue, Direction, Refuse
from extproc.runtime._pb import ext_proc_pb2 as pb


def set_header(edits: pb.HeaderMutation, name: str, value: str) -> None:
    edits.set_headers.add(header=pb.HeaderValue(key=name, raw_value=value.encode("latin-1")))


def headers_reply(reply: Continue) -> pb.ProcessingResponse:
    out = pb.ProcessingResponse()
    headers = out.request_headers if reply.direction is Direction.REQUEST else out.response_headers
    headers.response.SetInParent()
    for name, value in reply.set_headers:
        set_header(headers.response.header_mutation, name, value)
    headers.response.header_mutation.remove_headers.extend(reply.remove_headers)
    return out


def body_reply(direction: str, mutation: pb.BodyMutation | None) -> pb.ProcessingResponse:
    common = pb.CommonResponse() if mutation is None else pb.CommonResponse(body_mutation=mutation)
    body = pb.BodyResponse(response=common)
    return (
        pb.ProcessingResponse(request_body=body)
        if direction == "request"
        else pb.ProcessingResponse(response_body=body)
    )


def trailers_reply(direction: str) -> pb.ProcessingResponse:
    trailers = pb.TrailersResponse()
    if direction == "request":
        return pb.ProcessingResponse(request_trailers=trailers)
    return pb.ProcessingResponse(response_trailers=trailers)


def immediate(reply: Refuse) -> pb.ProcessingResponse:
    http = reply.http
    immediate = pb.ImmediateResponse(status=pb.HttpStatus(code=http.status), body=http.body, details=reply.details)
    set_header(immediate.headers, "content-type", http.content_type)
    for name, value in http.headers:
        set_header(immediate.headers, name, value)
    return pb.ProcessingResponse(immediate_response=immediate)
