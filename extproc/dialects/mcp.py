"""The Model Context Protocol over streamable HTTP: requests, refusals, and which decoder reads the answer.

A tool that a client calls here is one that a model chose to call, so its name and arguments are read as the model's
words; what a person or a program gives (prompts, resources, forms) as a user's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from extproc.chat import ChatRequest, Denial, Edit, Json, JsonPath, Malformed, Parameter, RequestHead, Text, ToolCall
from extproc.dialects.answers import BodyDecoder, media_type
from extproc.dialects.base import Decoder
from extproc.dialects.mcp_answers import ErrorDecoder, McpDecoder, answer_id, error, tool_error
from extproc.dialects.mcp_headers import check_headers, repeated
from extproc.dialects.mcp_messages import CALL, METHODS, NAMED_BY, NAMES, is_modern, said, stated_version
from extproc.dialects.members import Members, fields, object_, required_string
from extproc.dialects.untrusted import Untrusted
from extproc.messages import HttpReply
from extproc.strict_json import JsonLimits, Shape, dump, read

MCP_PATH: Final = "/mcp"
_INFO: Final = fields("name", "title", "version", "description", "websiteUrl", "icons")
_RESULT: Final = fields("role", "content", "model", "stopReason", "action", "roots", "_meta")
_PARAMS: Final = fields(
    *("name", "uri", "arguments", "_meta", "cursor", "level", "protocolVersion", "capabilities", "requestId", "reason"),
    *("progressToken", "progress", "total", "message", "task", "taskId", "inputResponses", "requestState"),
    clientInfo=_INFO,
    ref=fields("type", "name", "uri"),
    argument=fields("name", "value"),
    context=fields("arguments"),
    notifications=Shape(),
)
_MESSAGE: Final = fields(
    *("jsonrpc", "id", "method"), params=_PARAMS, result=_RESULT, error=fields("code", "message", "data")
)


class Mcp:
    """``POST /mcp``: one message of the client's; ``GET``: the server's own stream; ``DELETE``: the session's end."""

    name = "mcp"
    named_only = False

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is the MCP endpoint's."""
        return path == MCP_PATH and method in ("POST", "GET", "DELETE")

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:
        """Read one JSON-RPC message strictly, and the headers that repeat parts of it."""
        if head.method != "POST":
            check_headers(head, None, {})
            if body:
                raise Malformed("a request of this method has no body")
            return ChatRequest(self.name, "", head.method == "GET", {}, names_model=False)
        document = read(body, _MESSAGE, limits)
        method = _method(document)
        params = object_(document, "params") or {}
        check_headers(head, method, params)
        untrusted = Untrusted()
        _read_message(document, untrusted)
        untrusted.texts = _not_editable(untrusted.texts, repeated(head))
        asked = () if method is None else (Parameter("mcp_method", ("method",), method, method in METHODS),)
        return ChatRequest(
            dialect=self.name,
            model="",
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            not_inspected=tuple(untrusted.not_inspected),
            settings=asked,
            names_model=False,
            calls=_calls(method, params),
        )

    def without_tools(self, request: ChatRequest, names: frozenset[str]) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: an MCP request declares no tools."""
        return ()

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:  # noqa: ARG002
        """Nothing: no model reads an MCP request."""
        return ()

    def decoder(self, request: ChatRequest, status: int, content_type: str, limit_bytes: int) -> Decoder:
        """A decoder for the answer, by what the server says it is; clients read errors of the protocol anywhere."""
        phrase = partial(error, identity=answer_id(request))
        if status >= 400:
            return ErrorDecoder(limit_bytes, phrase)
        kind = media_type(content_type)
        if kind in ("text/event-stream", "application/json"):
            return McpDecoder(request, limit_bytes, streams=kind == "text/event-stream")
        return BodyDecoder(limit_bytes, phrase)

    def refusal(self, denial: Denial, request: ChatRequest | None = None) -> HttpReply:
        """A JSON-RPC error for the request's id.

        Clients of versions with sessions read it with status 200 only: with another they wait for it until they time
        out, or give up the session.
        """
        identity = answer_id(request)
        status = denial.status if identity is None or _is_modern(request) else 200
        return HttpReply(status, error(denial, identity))

    def refusal_message(self, denial: Denial, request: ChatRequest) -> HttpReply:
        """The result of a tool that failed, for the model to read; where no tool is called, the error."""
        identity = answer_id(request)
        if identity is None or request.document["method"] != CALL:
            return self.refusal(denial, request)
        return HttpReply(200, tool_error(denial, identity))


def _is_modern(request: ChatRequest | None) -> bool:
    params = None if request is None else request.document.get("params")
    return isinstance(params, dict) and is_modern(stated_version(params))


# ---- the message ---------------------------------------------------------------------------------------------------


def _method(document: Members) -> str | None:
    """Check that a document is one JSON-RPC message; its method, None for a response."""
    if document.get("jsonrpc") != "2.0":
        raise Malformed("'jsonrpc' must be \"2.0\"")
    identity = document.get("id", 0)
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise Malformed("'id' must be a string or an integer")
    outcomes = [object_(document, name) for name in ("result", "error") if name in document]
    if "method" in document:
        if outcomes:
            raise Malformed("a message with a 'method' has neither a 'result' nor an 'error'")
        return required_string(document, "method")
    if len(outcomes) != 1 or "id" not in document:
        raise Malformed("the message is neither a request nor a response")
    return None


def _calls(method: str | None, params: Members) -> tuple[ToolCall, ...]:
    """The tool that the message would run."""
    if method is not None and method in NAMED_BY:
        required_string(params, NAMED_BY[method])
    if method != CALL:
        return ()
    arguments = object_(params, "arguments") or {}
    return (ToolCall(required_string(params, "name"), dump(arguments).decode()),)


def _read_message(document: Members, untrusted: Untrusted) -> None:
    _read_keys(document, (), untrusted)
    for name, value in document.items():
        if name == "params" and isinstance(value, dict):
            _read_params(value, document.get("method"), untrusted)
        elif name == "result" and isinstance(value, dict):
            _read_result(value, (name,), untrusted)
        else:
            _read("user", value, (name,), untrusted)


def _not_editable(texts: list[Text], repeated: frozenset[str]) -> list[Text]:
    """What a header says once more cannot be edited in the body alone, so such a text stands at no string of it."""
    return [replace(text, path=text.path[:-1]) if text.text in repeated else text for text in texts]


def _read_params(params: Members, method: Json, untrusted: Untrusted) -> None:
    _read_keys(params, ("params",), untrusted)
    for name, value in params.items():
        path = ("params", name)
        if method == CALL and name in ("name", "arguments"):
            untrusted.walk("assistant", value, path, keys=True)
        elif name == "arguments":
            untrusted.walk("user", value, path, keys=True)
        elif name == "inputResponses" and isinstance(value, dict):
            _read_keys(value, path, untrusted)
            for key, response in value.items():
                _read_result(response, (*path, key), untrusted)
        else:
            _read("user", value, path, untrusted)


def _read_result(result: Json, path: JsonPath, untrusted: Untrusted) -> None:
    """Read what the client answers to the server: a model's words, a form that was filled in, a list of roots."""
    if not isinstance(result, dict):
        _read("user", result, path, untrusted)
        return
    _read_keys(result, path, untrusted)
    sampled = "role" in result or "model" in result
    for name, value in result.items():
        _read("assistant" if sampled and name == "content" else "user", value, (*path, name), untrusted)


def _read_keys(members: Members, path: JsonPath, untrusted: Untrusted) -> None:
    if not NAMES.issuperset(members):
        untrusted.add("user", "\n".join(members), path)


def _read(scope: str, value: Json, path: JsonPath, untrusted: Untrusted) -> None:
    found = said(value, path)
    untrusted.not_inspected += found.not_inspected
    for text in found.texts:
        untrusted.add(scope, text.text, text.path)
