"""The demo's upstream: one port that looks like an LLM runtime and remembers what reached it.

Chats with the real model are passed on to llama.cpp, byte for byte where the APIs agree; everything else is answered
from the scripts. Like real runtimes it trusts every caller: it resolves percent-encoded paths, takes any model name and
pulls whatever it is told to. Keeping such requests away from it is the gate's part.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import unquote

import httpx

from extproc.demo import phrasing
from extproc.demo.model import MODEL_NAME
from extproc.demo.scripts import STANDIN_MODEL, Piece, fake_key, script

_PIECE_S: Final = 0.003
_POLL_S: Final = 0.05
_MODEL_TIMEOUT_S: Final = 60.0
_MODELS: Final = (MODEL_NAME, STANDIN_MODEL)
_REAL_NAMES: Final = frozenset({MODEL_NAME, "smollm2", "smollm2:latest"})

Phrase: TypeAlias = Callable[[str, Iterable[Piece]], Iterator[bytes]]


@dataclass(slots=True)
class Exchange:
    """One request that reached the upstream, and the bytes it answered with. ``failure`` says why it could not."""

    method: str
    target: str
    body: bytes
    answer: bytearray = field(default_factory=bytearray)
    failure: str = ""

    def declared_tools(self) -> tuple[str, ...]:
        """Name the tools that the request declared."""
        tools = json.loads(self.body).get("tools") or ()
        return tuple(tool["function"]["name"] for tool in tools)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: the pieces leave one by one."""

    pieces: Iterable[bytes]
    content_type: str = "application/json"
    status: int = 200


class Standin:
    """Serve on a loopback port inside the block. ``model_url`` is the real model's server; None scripts it as well."""

    def __init__(self, model_url: str | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self.key = fake_key()
        self._model = _model_client(model_url) if model_url else None
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="standin", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._model is not None:
            self._model.close()

    def reply(self, method: str, target: str, body: bytes) -> Reply:
        """Answer one request."""
        path = unquote(target)
        if method in ("GET", "HEAD"):
            document = _DOCUMENTS.get(path)
            return _json(document) if document is not None else _json({"error": "not found"}, 404)
        try:
            asked = json.loads(body or b"{}")
        except ValueError:
            return _json({"error": "not JSON"}, 400)
        if path == "/api/pull":
            return _pulled(asked)
        api = _APIS.get((method, path))
        return self._chat(api, asked, body) if api is not None else _json({"error": "not found"}, 404)

    def _chat(self, api: _Api, asked: Mapping[str, Any], body: bytes) -> Reply:
        model = str(asked.get("model"))
        streams = asked.get("stream", api.streams_by_default)
        content_type = api.stream_type if streams else "application/json"
        if self._model is not None and model in _REAL_NAMES:
            if api.is_openai:
                return Reply(_relayed(self._model, body), content_type)
            pieces: Iterator[Piece] = _words(self._model, asked)
        else:
            pieces = _paced(script(_prompt(asked), model, self.key))
        phrase = api.stream if streams else api.whole
        return Reply(phrase(model, pieces), content_type)


@dataclass(frozen=True, slots=True)
class _Api:
    """How one endpoint phrases an answer."""

    stream: Phrase
    whole: Phrase
    stream_type: str
    streams_by_default: bool

    @property
    def is_openai(self) -> bool:
        return not self.streams_by_default


_NDJSON: Final = "application/x-ndjson"
_APIS: Final = {
    ("POST", "/v1/chat/completions"): _Api(
        phrasing.openai_stream, phrasing.openai_whole, "text/event-stream", streams_by_default=False
    ),
    ("POST", "/api/chat"): _Api(phrasing.ollama_chat, phrasing.ollama_chat_whole, _NDJSON, streams_by_default=True),
    ("POST", "/api/generate"): _Api(
        phrasing.ollama_generate, phrasing.ollama_generate_whole, _NDJSON, streams_by_default=True
    ),
}
_DOCUMENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/": {"status": "ok"},
    "/v1/models": {"object": "list", "data": [{"id": name, "object": "model"} for name in _MODELS]},
    "/api/tags": {"models": [{"name": name, "model": name, "size": 1, "digest": "0" * 64} for name in _MODELS]},
    "/api/version": {"version": "0.13.0"},
}


def _model_client(url: str) -> httpx.Client:
    # llama.cpp offers keep-alive, then closes some connections after a streamed answer: a reused one may be gone.
    one_request_each = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, timeout=_MODEL_TIMEOUT_S, trust_env=False, limits=one_request_each)


def _json(document: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply([json.dumps(document).encode()], status=status)


def _pulled(asked: Mapping[str, Any]) -> Reply:
    if not asked.get("stream", True):
        return _json({"status": "success"})
    lines = ({"status": "pulling manifest"}, {"status": "success"})
    return Reply([json.dumps(line).encode() + b"\n" for line in lines], _NDJSON)


def _prompt(asked: Mapping[str, Any]) -> str:
    messages = asked.get("messages")
    return str(messages[-1].get("content")) if messages else str(asked.get("prompt"))


def _paced(pieces: Iterable[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        time.sleep(_PIECE_S)
        yield piece


def _relayed(model: httpx.Client, body: bytes) -> Iterator[bytes]:
    headers = {"content-type": "application/json"}
    with model.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response:
        yield from response.iter_raw()


def _words(model: httpx.Client, asked: Mapping[str, Any]) -> Iterator[Piece]:
    options = asked.get("options") or {}
    messages = asked.get("messages") or [{"role": "user", "content": asked.get("prompt")}]
    body = {"messages": messages, "stream": True, "temperature": 0, "max_tokens": options.get("num_predict", 64)}
    with model.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if text := phrasing.said(line.encode()).text:
                yield text


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, standin: Standin) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.standin = standin

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about connections that their client broke off; say everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Say nothing: the table does."""

    def _handle(self) -> None:
        body = self._body()
        exchange = Exchange(self.command, self.path, body)
        self.server.standin.exchanges.append(exchange)
        reply = self.server.standin.reply(self.command, self.path, body)
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for piece in reply.pieces:
                exchange.answer += piece
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except httpx.HTTPError as error:
            exchange.failure = f"the model server failed: {error}"
            self.close_connection = True
        except OSError:  # the gate cut the answer off
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    do_GET = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815 - the base class's names
