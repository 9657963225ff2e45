"""The scripted upstream itself: what it records and what it says, byte for byte."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.upstream import (
    Answer,
    Forever,
    Hangup,
    Pause,
    Request,
    Reset,
    Until,
    Upstream,
    cut,
    dripped,
    json_answer,
    ndjson,
    sse,
)

WAIT_S = 10


def dial(up: Upstream, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", up.port), WAIT_S)
    client.sendall(data)
    return client


def read_all(client: socket.socket) -> bytes:
    out = b""
    while data := client.recv(65536):
        out += data
    return out


def test_a_request_is_recorded_with_its_raw_target_headers_and_every_byte() -> None:
    wire = (
        b"POST //v1/./chat/%63ompletions?a=%2f HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n"
        b"content-length: 4\r\n\r\n\x00\xff{}"
    )
    with Upstream() as up, dial(up, wire):
        up.wait_for_requests(1)
    (request,) = up.requests
    assert (request.method, request.target) == ("POST", "//v1/./chat/%63ompletions?a=%2f")
    assert request.headers == (("host", "h"), ("x-a", "1"), ("x-a", "2"), ("content-length", "4"))
    assert request.header("x-a") == "1"
    assert request.header("absent") is None
    assert bytes(request.body) == b"\x00\xff{}"
    assert bytes(request.raw) == wire == bytes(up.received)


def test_a_chunked_request_is_recorded_as_sent_and_as_meant() -> None:
    body = b'3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\nt: 1\r\n\r\n'
    wire = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + body
    with Upstream() as up, dial(up, wire):
        up.wait_for_requests(1)
    assert up.requests[0].json() == {"a": 1}
    assert bytes(up.requests[0].raw) == wire


def test_what_came_before_the_client_left_is_recorded() -> None:
    with Upstream() as up:
        dial(up, b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf").close()
        dial(up, b"GET / HT").close()
        with dial(up, b"GET /last HTTP/1.1\r\n\r\n"):
            up.wait_for_requests(1)
        half = next(request for request in up.requests if request.method == "POST")
        assert half.client_left.wait(WAIT_S)
    assert (bytes(half.body), half.complete) == (b"half", False)
    assert b"GET / HT" in up.received


def test_waiting_for_requests_that_do_not_come_says_so() -> None:
    with Upstream() as up, pytest.raises(TimeoutError, match="0 of 1"):
        up.wait_for_requests(1, timeout_s=0.01)


def test_one_connection_carries_several_exchanges() -> None:
    routes = {"GET /a": json_answer({"a": 1}), "GET /b": ndjson({"b": 2}, {"b": 3})}
    with Upstream(routes) as up, httpx.Client(base_url=up.url) as client:
        assert client.get("/a").json() == {"a": 1}
        assert client.get("/b").text == '{"b": 2}\n{"b": 3}\n'
        assert client.get("/c").status_code == 404
    assert [request.target for request in up.requests] == ["/a", "/b", "/c"]
    assert up.connections == 1


def test_status_headers_and_content_encoding_are_the_scripts() -> None:
    answer = Answer(418, (("content-encoding", "br"), ("set-cookie", "a"), ("set-cookie", "b")), (b"\x8b",), "length")
    with Upstream({"GET /": answer}) as up, dial(up, b"GET / HTTP/1.1\r\n\r\n") as client:
        expected = (
            b"HTTP/1.1 418 Scripted\r\ncontent-encoding: br\r\nset-cookie: a\r\nset-cookie: b\r\n"
            b"content-length: 1\r\n\r\n\x8b"
        )
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == expected


def test_no_framing_says_only_what_the_script_says() -> None:
    answer = Answer(headers=(("content-length", "99"),), pieces=(b"short",), framing="none")
    with Upstream({"GET /": answer}) as up, dial(up, b"GET / HTTP/1.1\r\n\r\n") as client:
        assert read_all(client) == b"HTTP/1.1 200 Scripted\r\ncontent-length: 99\r\n\r\nshort"


def test_every_piece_is_a_chunk_of_its_own() -> None:
    with Upstream({"GET /": dripped(sse({"a": 1}), 5)}) as up, dial(up, b"GET / HTTP/1.1\r\n\r\n") as client:
        client.shutdown(socket.SHUT_WR)
        body = read_all(client).partition(b"\r\n\r\n")[2]
    assert body.startswith(b'5\r\ndata:\r\n5\r\n {"a"\r\n')
    assert body.endswith(b"\r\n0\r\n\r\n")


def test_a_dripped_answer_has_the_same_body_and_its_waits_in_place() -> None:
    go = threading.Event()
    answer = Answer(pieces=(b"ab", Until(go), b"c"))
    assert dripped(answer).pieces == (b"a", b"b", Until(go), b"c")
    assert dripped(answer).body == answer.body == b"abc"
    assert cut(b"abcde", 2) == (b"ab", b"cd", b"e")


def test_what_stands_after_a_wait_leaves_after_it() -> None:
    go = threading.Event()
    answer = Answer(pieces=(b"one", Pause(0), Until(go), b"two"), framing="close")
    with Upstream({"GET /": answer}) as up, httpx.stream("GET", up.url) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"one"
        go.set()
        assert b"".join(pieces) == b"two"


def test_a_reset_is_a_reset_and_a_hangup_is_not() -> None:
    routes = {"GET /r": Answer(pieces=(b"a", Reset())), "GET /h": Answer(pieces=(b"a", Hangup()))}
    with Upstream(routes) as up:
        with dial(up, b"GET /r HTTP/1.1\r\n\r\n") as client, pytest.raises(ConnectionResetError):
            read_all(client)
        with dial(up, b"GET /h HTTP/1.1\r\n\r\n") as client:
            assert read_all(client).endswith(b"\r\n\r\n1\r\na\r\n")


def test_an_endless_answer_ends_when_the_client_leaves() -> None:
    with Upstream({"GET /": Answer(pieces=(Forever(b"x", 0),))}) as up:
        with httpx.stream("GET", up.url) as response:
            assert next(response.iter_raw()).startswith(b"x")
        assert up.requests[0].client_left.wait(WAIT_S)


def test_a_client_that_leaves_during_a_wait_is_noticed() -> None:
    never = threading.Event()
    with Upstream({"GET /": Answer(pieces=(b"x", Until(never)))}) as up:
        with httpx.stream("GET", up.url) as response:
            assert next(response.iter_raw()) == b"x"
        assert up.requests[0].client_left.wait(WAIT_S)


def test_a_route_may_answer_by_the_request() -> None:
    def echo(request: Request) -> Answer:
        return json_answer({"echo": request.json()})

    with Upstream({"POST /": echo}) as up:
        assert httpx.post(up.url, json=[1]).json() == {"echo": [1]}


def test_a_route_that_raises_fails_the_test() -> None:
    def broken(request: Request) -> Answer:
        raise LookupError("mistake in the test")

    up = Upstream({"GET /": broken})
    with pytest.raises(LookupError, match="mistake"), up, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(up.url)


def test_leaving_the_block_ends_an_answer_that_never_ends() -> None:
    with Upstream({"GET /": Answer(pieces=(Forever(b"x", 0),))}) as up:
        client = dial(up, b"GET / HTTP/1.1\r\n\r\n")
        up.wait_for_requests(1)
    with client:
        assert not read_all(client).endswith(b"0\r\n\r\n")
    with pytest.raises(ConnectionRefusedError):
        dial(up, b"")


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server context with a fresh certificate for the loopback address, and a client context that trusts only it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scripted upstream")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, key_pem)
    return server, ssl.create_default_context(cafile=str(pem))


def test_it_speaks_tls(tmp_path: Path) -> None:
    server, client = tls_contexts(tmp_path)
    with Upstream({"GET /": json_answer({"tls": True})}, tls=server) as up:
        assert up.url.startswith("https://")
        assert httpx.get(up.url, verify=client).json() == {"tls": True}
