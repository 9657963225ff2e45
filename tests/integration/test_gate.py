"""No way around the gate, and what a client sees when something fails, through a real Envoy."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import RECOMMENDED, Gateway
from tests.support.openai_wire import PATH, chat, chunk, completion, events, said
from tests.support.policies import MODEL, policy
from tests.support.upstream import Answer, Forever, Reset, Until, Upstream

SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[Upstream]:
    with Upstream() as up:
        yield up


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    shared_upstream.requests.clear()
    shared_upstream.received.clear()
    return shared_upstream


@pytest.fixture(scope="module")
def gate(shared_upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(shared_upstream.url, policy()) as running:
        yield running


def raw(gate: Gateway, text: str) -> bytes:
    """Send these very bytes; read until the connection closes or an answer is whole."""
    with socket.create_connection(("127.0.0.1", gate.ports[RECOMMENDED]), timeout=20) as connection:
        connection.sendall(text.encode("latin-1"))
        seen = b""
        while piece := connection.recv(65536):
            seen += piece
        return seen


def request(target: str, method: str = "POST", extra: str = "", body: bytes | None = None) -> str:
    payload = chat() if body is None else body
    head = (
        f"{method} {target} HTTP/1.1\r\nhost: llm\r\nconnection: close\r\n{extra}content-length: {len(payload)}\r\n\r\n"
    )
    return head + payload.decode("latin-1")


class TestNoWayAround:
    @pytest.mark.parametrize(
        "target",
        [
            "//v1/chat/completions",
            "/V1/chat/completions",
            "/v1/./chat/completions",
            "/v1/../v1/chat/completions",
            "/v1%2fchat/completions",
            "/v1/chat/%63ompletions",
            "/v1/chat/completions/",
            "/v1/chat/completions;x",
            "/v1\\chat\\completions",
            "/chat/completions",
            "/completion",
            "/infill",
            "/slots",
            "/api/pull",
            "/api/%70ull",
            "/api/delete",
            "/api/create",
            "/v1/load_lora_adapter",
            "/v1/completions",
            "/v1/responses",
            "/",
        ],
    )
    def test_a_path_that_is_not_guarded_never_reaches_the_upstream(
        self, gate: Gateway, upstream: Upstream, target: str
    ) -> None:
        answer = raw(gate, request(target))
        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert isinstance(error, str) == target.startswith("/api/")
        assert not upstream.received

    @pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "post", "PROPFIND"])
    def test_a_method_that_is_not_the_api_s_never_reaches_the_upstream(
        self, gate: Gateway, upstream: Upstream, method: str
    ) -> None:
        answer = raw(gate, request(PATH, method))
        assert not answer or int(answer.split(b" ", 2)[1]) >= 400  # Envoy hangs up on what is no method at all
        assert not upstream.received

    @pytest.mark.parametrize("protocol", ["websocket", "h2c", "foo"])
    def test_an_upgrade_never_reaches_the_upstream(self, gate: Gateway, upstream: Upstream, protocol: str) -> None:
        upgrade = f"upgrade: {protocol}\r\nconnection: upgrade\r\n"
        head = (
            f"GET {PATH} HTTP/1.1\r\nhost: llm\r\n{upgrade}sec-websocket-key: eA==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        assert int(raw(gate, head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).split(b" ", 2)[1]) >= 400
        assert not upstream.received

    def test_a_connect_never_reaches_the_upstream(self, gate: Gateway, upstream: Upstream) -> None:
        answer = raw(gate, "CONNECT llm:80 HTTP/1.1\r\nhost: llm:80\r\nconnection: close\r\n\r\n")
        assert int(answer.split(b" ", 2)[1]) >= 400
        assert not upstream.received

    @pytest.mark.parametrize(
        "body",
        [
            b'{"model": "MODEL", "messages": [], "model": "evil"}',
            b'{"model": "MODEL", "MODEL": "evil", "messages": []}',
            '{"model": "MODEL", "messages": [], "\u017ftream": true}'.encode(),
            b'{"model": "MODEL", "messages": [{"role": "user", "content": "a", "CONTENT": "b"}]}',
            b'\xef\xbb\xbf{"model": "MODEL", "messages": []}',
            b'{"model": "MODEL", "messages": []} trailing',
            b'{"model": "MODEL", "messages": [], "temperature": NaN}',
            b'{"model": "MODEL", "messages": [{"role": "user", "content": "\\ud800"}]}',
            b'{"model": "MODEL", "messages": [{"role": "user", "content": "\xff"}]}',
            b"[]",
            b"",
        ],
    )
    def test_a_body_that_two_readers_may_read_differently_is_refused(
        self, gate: Gateway, upstream: Upstream, body: bytes
    ) -> None:
        response = httpx.post(gate.url() + PATH, content=body.replace(b"MODEL", MODEL.encode(), 1), timeout=20)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert not upstream.received

    def test_a_schema_may_name_its_properties_as_it_likes(self, gate: Gateway, upstream: Upstream) -> None:
        upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
        parameters = {"type": "object", "properties": {"Model": {"type": "string"}, "model": {"type": "string"}}}
        tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
        assert httpx.post(gate.url() + PATH, content=chat(tools=[tool]), timeout=20).status_code == 200

    def test_a_client_cannot_speak_in_the_gate_s_name(self, gate: Gateway, upstream: Upstream) -> None:
        upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
        headers = {"x-sluicegate-decision-id": "forged", "x-envoy-original-path": "/x"}
        response = httpx.post(gate.url() + PATH, content=chat(), headers=headers, timeout=20)
        assert response.headers.get_list("x-sluicegate-decision-id") == [gate.record_of(response)["decision_id"]]
        assert upstream.requests[0].header("x-sluicegate-decision-id") is None
        assert upstream.requests[0].header("x-envoy-original-path") is None

    def test_the_upstream_is_asked_for_an_answer_that_can_be_read(self, gate: Gateway, upstream: Upstream) -> None:
        upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
        httpx.post(gate.url() + PATH, content=chat(), headers={"accept-encoding": "gzip, br"}, timeout=20)
        assert upstream.requests[0].header("accept-encoding") == "identity"


def test_an_upload_of_a_mebibyte_with_a_pause_of_five_seconds_succeeds(gate: Gateway, upstream: Upstream) -> None:
    upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
    body = chat("many words " * 95_000)

    def pieces() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        threading.Event().wait(5)
        yield body[len(body) // 2 :]

    assert httpx.post(gate.url() + PATH, content=pieces(), timeout=60).status_code == 200
    assert bytes(upstream.requests[0].body) == body


def test_the_access_log_of_envoy_carries_the_decision(gate: Gateway, upstream: Upstream) -> None:
    upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
    decision = httpx.post(gate.url() + PATH, content=chat(), timeout=20).headers["x-sluicegate-decision-id"]
    log = gate.directory / "access.log"
    for _ in range(500):  # Envoy flushes every ten seconds, or when it likes
        if log.exists() and decision in log.read_text(encoding="utf-8"):
            break
        threading.Event().wait(0.05)
    (line,) = [line for line in log.read_text(encoding="utf-8").splitlines() if decision in line]
    assert json.loads(line)["sluicegate"]["action"] == "allow"


class TestFailures:
    def test_a_client_that_leaves_mid_stream_ends_the_upstream_and_leaves_nothing_behind(
        self, gate: Gateway, upstream: Upstream
    ) -> None:
        word = said("word ").split(b"\n\n")[1] + b"\n\n"
        upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=(Forever(word),))
        with httpx.stream("POST", gate.url() + PATH, content=chat(stream=True), timeout=20) as response:
            decision = response.headers["x-sluicegate-decision-id"]
            next(response.iter_raw())
        assert upstream.requests[0].client_left.wait(10)
        record = next(r for r in _until(gate, decision) if r["decision_id"] == decision)
        assert record["ended"] == "closed"
        assert _eventually(lambda: "sluicegate_streams_active 0.0" in gate.metrics())

    def test_an_upstream_that_resets_mid_stream_is_seen_by_the_client(self, gate: Gateway, upstream: Upstream) -> None:
        go = threading.Event()
        head = said("word ").split(b"data: [DONE]")[0]
        upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=(head, Until(go), Reset()))
        with (
            pytest.raises(httpx.RemoteProtocolError),
            httpx.stream("POST", gate.url() + PATH, content=chat(stream=True), timeout=20) as response,
        ):
            decision = response.headers["x-sluicegate-decision-id"]
            for piece in response.iter_raw():
                assert piece
                go.set()
        record = next(r for r in _until(gate, decision) if r["decision_id"] == decision)
        assert record["ended"] == "closed"

    def test_a_server_that_dies_mid_stream_breaks_the_answer_off_and_no_secret_leaves(self, upstream: Upstream) -> None:
        go = threading.Event()
        wire = events(chunk({"content": "hello"}), chunk({"content": " gh" + "p_16C7e42F29"}))
        upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=(wire.split(b"data: [DONE]")[0], Until(go)))
        with Gateway(upstream.url, policy()) as gate:
            seen = b""
            with (
                pytest.raises(httpx.RemoteProtocolError),
                httpx.stream("POST", gate.url() + PATH, content=chat(stream=True), timeout=30) as response,
            ):
                for piece in response.iter_raw():
                    seen += piece
                    if b"hello" in seen:
                        gate.kill_server()
            go.set()
            assert b"16C7" not in seen
            after = httpx.post(gate.url() + PATH, content=chat(), timeout=30)
        assert after.status_code == 503
        assert after.json()["error"]["code"] == "policy_unavailable"

    def test_a_server_that_stands_still_means_refusals_not_hanging_clients(self, upstream: Upstream) -> None:
        upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
        with Gateway(upstream.url, policy(), adjust=_short_timeouts) as gate, gate.stopped_server():
            upstream.received.clear()
            response = httpx.post(gate.url() + PATH, content=chat(), timeout=30)
            assert response.status_code in (503, 504)
            assert "error" in response.json()
            assert not upstream.received

    def test_an_event_loop_that_is_blocked_for_good_ends_its_process_and_refuses(
        self, upstream: Upstream, tmp_path: Path
    ) -> None:
        program = tmp_path / "blocked.py"
        program.write_text(
            "import sys, time\n"
            "from extproc.cli import main\n"
            "from extproc.policy import engine\n"
            "engine.judge_request = lambda *arguments: time.sleep(1000)\n"
            "sys.exit(main())\n",
            encoding="utf-8",
        )
        serve = ("--stall-timeout", "1")
        with Gateway(upstream.url, policy(), serve=serve, program=(str(program),)) as gate:
            upstream.received.clear()
            response = httpx.post(gate.url() + PATH, content=chat(), timeout=30)
            assert gate.server is not None
            assert gate.server.wait(10) == 70
        assert response.status_code == 503
        assert not upstream.received

    def test_an_upstream_that_is_down_is_said_in_the_api_s_shape(self) -> None:
        with Gateway("http://127.0.0.1:9", policy()) as gate:
            response = httpx.post(gate.url() + PATH, content=chat(), timeout=30)
            native = httpx.post(gate.url() + "/api/chat", content=chat(), timeout=30)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unavailable")
        assert (native.status_code, type(native.json()["error"])) == (503, str)


def _short_timeouts(bootstrap: dict[str, object]) -> None:
    text = json.dumps(bootstrap)
    text = text.replace('"message_timeout": "30s"', '"message_timeout": "2s"')
    bootstrap.clear()
    bootstrap.update(json.loads(text))


def _until(gate: Gateway, decision: str) -> list[dict[str, object]]:
    for _ in range(500):
        records = gate.records()
        if any(record["decision_id"] == decision for record in records):
            return records
        threading.Event().wait(0.02)
    raise TimeoutError(decision)


def _eventually(holds: object) -> bool:
    assert callable(holds)
    return any(holds() or threading.Event().wait(0.05) for _ in range(200))
