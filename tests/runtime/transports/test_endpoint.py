"""Endpoints: what they are called, who can reach them, and which one a worker gets."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.runtime.transports.endpoint import Endpoint, clear_stale_socket, try_bind


@pytest.mark.parametrize(
    ("text", "endpoint", "local"),
    [
        ("127.0.0.1:9002", Endpoint("127.0.0.1", 9002), True),
        ("127.8.8.8:1", Endpoint("127.8.8.8", 1), True),
        ("localhost:9002", Endpoint("localhost", 9002), True),
        ("[::1]:9002", Endpoint("::1", 9002), True),
        ("0.0.0.0:9002", Endpoint("0.0.0.0", 9002), False),
        ("[::]:9002", Endpoint("::", 9002), False),
        ("sluicegate.internal:9002", Endpoint("sluicegate.internal", 9002), False),
        ("unix:///run/s.sock", Endpoint(path="/run/s.sock"), True),
    ],
)
def test_an_endpoint_reads_as_it_is_written(text: str, endpoint: Endpoint, local: bool) -> None:
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == text
    assert endpoint.is_local is local


@pytest.mark.parametrize(
    "text",
    ["", "9002", ":9002", "host", "host:", "host:x", "host:-1", "host:70000", "host:٣", "::1:9002", "unix://", "unix://s.sock",
     "unix:///" + "s" * 100],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("first", "third"),
    [
        ("127.0.0.1:9002", "127.0.0.1:9004"),
        ("unix:///run/s.sock", "unix:///run/s.2.sock"),
        ("unix:///run/socket", "unix:///run/socket.2"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ],
)
def test_every_worker_has_an_endpoint_of_its_own(first: str, third: str) -> None:
    endpoint = Endpoint.parse(first)
    assert endpoint.of_worker(0) == endpoint
    assert str(endpoint.of_worker(2)) == third


def test_a_worker_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="65536"):
        Endpoint("127.0.0.1", 65535).of_worker(1)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_that_reads_back_or_is_refused(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except ValueError:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


def test_only_a_socket_that_nobody_serves_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    clear_stale_socket(path)  # nothing there
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as owner:
        owner.bind(str(path))
        owner.listen()
        with pytest.raises(OSError, match="in use"):
            clear_stale_socket(path)
    clear_stale_socket(path)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="not a socket"):
        clear_stale_socket(path)
    assert path.read_text() == "precious"


def test_an_endpoint_that_can_be_bound_is_left_free(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    for endpoint in (Endpoint("127.0.0.1"), Endpoint("localhost"), Endpoint(path=str(path))):
        try_bind(endpoint)
        try_bind(endpoint)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1:{taken}", "Address already in use"),
        ("0.0.0.0:{taken}", "Address already in use"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("a..b:9002", "not a host name"),
        ("unix:///no/such/s.sock", "No such file or directory"),
    ],
)
def test_an_endpoint_that_cannot_be_bound_says_why(text: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        endpoint = Endpoint.parse(text.format(taken=owner.getsockname()[1]))
        with pytest.raises(OSError, match=reason) as failed:
            try_bind(endpoint)
    assert failed.value.strerror == reason
