"""The bootstrap holds the plan's addresses, and real Envoy accepts it and speaks to every kind of upstream."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import ipaddress
import queue
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from extproc.runtime import envoy_config
from extproc.runtime.assets import asset
from extproc.runtime.envoy_config import Plan, Upstream, ca_bundle, parse_upstream, render
from extproc.runtime.envoy_process import Child, Happenings, find_envoy, validate_config
from extproc.runtime.transports.endpoint import Endpoint
from tests.attachments.envoy_check import complaints
from tests.support.gateway import free_port
from tests.support.upstream import Upstream as ScriptedUpstream
from tests.support.upstream import json_answer

TEMPLATE = asset("envoy/static/envoy.yaml").read_text(encoding="utf-8")
LISTEN = Endpoint("127.0.0.1", 8080)
SOCKETS = (Endpoint(path="/run/a.sock"), Endpoint(path="/run/b.sock"))
ADMIN = Endpoint(path="/run/envoy.sock")


def plan(upstream: str | Upstream = "http://127.0.0.1:11434", **changes: Any) -> Plan:
    server = parse_upstream(upstream) if isinstance(upstream, str) else upstream
    fields: dict[str, Any] = {"listen": LISTEN, "upstream": server, "processors": SOCKETS, "admin": ADMIN}
    return Plan(**{**fields, **changes})


def rendered(one: Plan) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(render(TEMPLATE, one))
    return document


def manager(bootstrap: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    found: dict[str, Any] = config["typed_config"]
    return found


def cluster(bootstrap: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in bootstrap["static_resources"]["clusters"] if each["name"] == name)


# ---- the upstream's URL ----


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "authority"),
    [
        ("http://127.0.0.1:11434", "127.0.0.1", 11434, False, "127.0.0.1:11434"),
        ("http://ollama", "ollama", 80, False, "ollama"),
        ("https://api.example.com", "api.example.com", 443, True, "api.example.com"),
        ("https://api.example.com:8443/", "api.example.com", 8443, True, "api.example.com:8443"),
        ("http://[::1]:8000", "::1", 8000, False, "[::1]:8000"),
        ("HTTPS://API.Example.com", "api.example.com", 443, True, "api.example.com"),
    ],
)
def test_an_upstream_url_is_scheme_host_and_port(url: str, host: str, port: int, tls: bool, authority: str) -> None:
    upstream = parse_upstream(url)
    assert (upstream.host, upstream.port, upstream.tls, upstream.authority) == (host, port, tls, authority)
    assert upstream.url == f"{'https' if tls else 'http'}://{authority}"


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11434",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x/v1",
        "http://x?q=1",
        "http://u:pw@x",
        "http://[x",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_upstream(url)


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(ValueError) as refused:
        parse_upstream("http://me:hunter2@x/v1")
    assert "hunter2" not in str(refused.value)


# ---- the bootstrap ----


def test_only_what_the_plan_names_differs_from_the_template() -> None:
    before, after = yaml.safe_load(TEMPLATE), rendered(plan(access_log="/dev/stdout"))
    for document in (before, after):
        del document["admin"], document["static_resources"]["listeners"][0]["address"]
        del manager(document)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["host_rewrite_literal"]
        for each in document["static_resources"]["clusters"]:
            del each["load_assignment"], each["type"]
    assert after == before


def test_every_address_is_the_plans() -> None:
    bootstrap = rendered(plan("http://10.0.0.7:8000", listen=Endpoint("0.0.0.0", 80), request_buffer_bytes=5 << 20))
    assert bootstrap["admin"]["address"] == {"pipe": {"path": "/run/envoy.sock"}}
    listener = bootstrap["static_resources"]["listeners"][0]
    assert listener["address"] == {"socket_address": {"address": "0.0.0.0", "port_value": 80}}
    route = manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"][0]
    assert route["request_body_buffer_limit"] == 5 << 20
    assert route["route"]["host_rewrite_literal"] == "10.0.0.7:8000"
    workers = cluster(bootstrap, "sluicegate")["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [each["endpoint"]["address"]["pipe"]["path"] for each in workers] == ["/run/a.sock", "/run/b.sock"]


@pytest.mark.parametrize(
    ("upstream", "kind"),
    [
        ("http://127.0.0.1:1", "STATIC"),
        ("https://[::1]:1", "STATIC"),
        ("http://ollama:1", "STRICT_DNS"),
        ("https://api.example.com", "LOGICAL_DNS"),
    ],
)
def test_names_are_resolved_and_addresses_are_not(
    upstream: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert cluster(rendered(plan(upstream)), "llm_upstream")["type"] == kind


def test_processors_may_be_names() -> None:
    bootstrap = rendered(plan(processors=(Endpoint("sluicegate", 9002),)))
    assert cluster(bootstrap, "sluicegate")["type"] == "STRICT_DNS"


def test_a_plan_needs_a_processor() -> None:
    with pytest.raises(ValueError, match="at least one"):
        render(TEMPLATE, plan(processors=()))


def test_envoy_listens_on_addresses_not_on_names() -> None:
    bootstrap = rendered(plan(listen=Endpoint("localhost", 8080)))
    address = bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["address"]
    assert address == "127.0.0.1"
    with pytest.raises(ValueError, match="IP address"):
        render(TEMPLATE, plan(listen=Endpoint("myhost", 8080)))


def test_without_a_file_there_is_no_access_log() -> None:
    assert "access_log" not in manager(rendered(plan()))
    (log,) = manager(rendered(plan(access_log="/tmp/a.log")))["access_log"]
    assert log["typed_config"]["path"] == "/tmp/a.log"


def test_a_template_without_our_clusters_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'llm_upstream'"):
        render(TEMPLATE.replace("name: llm_upstream", "name: other"), plan())


def test_tls_needs_authorities_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy_config, "ca_bundle", lambda: "")
    with pytest.raises(ValueError, match="--upstream-ca"):
        render(TEMPLATE, plan("https://api.example.com"))


def test_the_environment_names_the_authorities_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert ca_bundle() == str(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert ca_bundle() != str(tmp_path / "none")


@pytest.mark.parametrize("url", ["https://api.example.com", "https://192.0.2.1:8443"])
def test_a_certificate_must_be_valid_for_the_upstreams_own_name(url: str) -> None:
    upstream = parse_upstream(url, ca_file="/ca.pem")
    transport = cluster(rendered(plan(upstream=upstream)), "llm_upstream")["transport_socket"]["typed_config"]
    trust = transport["common_tls_context"]["validation_context"]
    kind = "DNS" if "example" in url else "IP_ADDRESS"
    assert trust["trusted_ca"] == {"filename": "/ca.pem"}
    assert trust["match_typed_subject_alt_names"] == [{"san_type": kind, "matcher": {"exact": upstream.host}}]
    assert transport.get("sni") == (upstream.host if kind == "DNS" else None)


# ---- real Envoy ----

PLANS: dict[str, Callable[[str], Plan]] = {
    "loopback": lambda _: plan(),
    "name": lambda _: plan("http://ollama:11434", processors=(Endpoint("sluicegate", 9002),)),
    "cleartext HTTP/2": lambda _: plan(upstream=parse_upstream("http://vllm:8000", http2=True)),
    "TLS": lambda ca: plan(upstream=parse_upstream("https://api.example.com", ca_file=ca)),
    "TLS, HTTP/2 only": lambda ca: plan(upstream=parse_upstream("https://10.0.0.1:8443", http2=True, ca_file=ca)),
    "IPv6": lambda _: plan("http://[::1]:11434", listen=Endpoint("::1", 8080)),
}


@pytest.mark.envoy
@pytest.mark.parametrize("name", PLANS)
def test_envoy_accepts_what_is_rendered_and_it_leaves_no_way_past_the_filter(name: str, tmp_path: Path) -> None:
    authority = Authority()
    one = PLANS[name](authority.write(tmp_path))
    config = tmp_path / "envoy.yaml"
    config.write_text(render(TEMPLATE, one), encoding="utf-8")
    validate_config(find_envoy(), config)
    assert complaints(yaml.safe_load(config.read_text(encoding="utf-8"))) == []


class Authority:
    """A certificate authority of our own, for a day."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        usage = x509.BasicConstraints(ca=True, path_length=None)
        self._certificate = self._sign(self._name, self._key.public_key(), usage)

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def write(self, folder: Path) -> str:
        """The authority's certificate, as a file."""
        path = folder / "ca.pem"
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def issue(self, folder: Path, *names: x509.GeneralName) -> Path:
        """A key and a certificate for these names, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        certificate = self._sign(subject, key.public_key(), x509.SubjectAlternativeName(names))
        path = folder / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@contextlib.contextmanager
def running(config: dict[str, Any], folder: Path, port: int) -> Iterator[None]:
    """An Envoy with this bootstrap, once its port answers."""
    path = folder / f"{port}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    happenings: Happenings = queue.SimpleQueue()
    lines: list[str] = []
    argv = [str(find_envoy()), "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]
    child = Child("Envoy", argv, happenings, lines.append)
    try:
        for _ in range(200):
            assert child.alive, lines
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            with contextlib.suppress(queue.Empty):
                happenings.get(timeout=0.05)
        yield
    finally:
        child.stop(2)


def unfiltered(upstream: Upstream, port: int, folder: Path) -> dict[str, Any]:
    """The rendered bootstrap without the filter: these tests are about the way to the upstream."""
    one = plan(upstream=upstream, listen=Endpoint("127.0.0.1", port), admin=Endpoint(path=str(folder / "a.sock")))
    bootstrap = rendered(one)
    del manager(bootstrap)["http_filters"][0]
    return bootstrap


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.envoy
@pytest.mark.parametrize(("trusted", "status"), [(True, 200), (False, 503)])
def test_a_tls_upstream_is_reached_only_if_its_certificate_is_right(trusted: bool, status: int, tmp_path: Path) -> None:
    authority = Authority()
    name: x509.GeneralName = LOOPBACK if trusted else x509.IPAddress(ipaddress.ip_address("127.0.0.2"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(tmp_path, name))
    port = free_port()
    with ScriptedUpstream({"GET /v1/models": json_answer({"data": []})}, tls=context) as scripted:
        upstream = parse_upstream(scripted.url, ca_file=authority.write(tmp_path))
        with running(unfiltered(upstream, port, tmp_path), tmp_path, port):
            assert get(port, "/v1/models")[0] == status
        assert [request.header("host") for request in scripted.requests] == [upstream.authority] * trusted


@pytest.mark.envoy
@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "cleartext"])
def test_an_http2_upstream_is_reached(tls: bool, tmp_path: Path) -> None:
    authority = Authority()
    upstream_port, port = free_port(), free_port()
    certificate = str(authority.issue(tmp_path, LOOPBACK))
    scheme = "https" if tls else "http"
    upstream = parse_upstream(f"{scheme}://127.0.0.1:{upstream_port}", http2=True, ca_file=authority.write(tmp_path))
    (tmp_path / "up").mkdir()
    with (
        running(http2_server(upstream_port, certificate if tls else ""), tmp_path / "up", upstream_port),
        running(unfiltered(upstream, port, tmp_path), tmp_path, port),
    ):
        assert get(port, "/") == (200, b"HTTP/2")


def http2_server(port: int, certificate: str) -> dict[str, Any]:
    """An Envoy that answers with the protocol it was spoken to, and speaks HTTP/2 only."""
    types = "type.googleapis.com/envoy.extensions"
    chain: dict[str, Any] = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "up",
                    "codec_type": "HTTP2",
                    "http_filters": [
                        {
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
                        }
                    ],
                    "route_config": {
                        "virtual_hosts": [
                            {
                                "name": "up",
                                "domains": ["*"],
                                "routes": [
                                    {
                                        "match": {"prefix": "/"},
                                        "direct_response": {
                                            "status": 200,
                                            "body_format": {"text_format_source": {"inline_string": "%PROTOCOL%"}},
                                        },
                                    }
                                ],
                            }
                        ]
                    },
                },
            }
        ]
    }
    if certificate:
        files = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": certificate}}
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{types}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [files], "alpn_protocols": ["h2"]},
            },
        }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"static_resources": {"listeners": [{"name": "up", "address": address, "filter_chains": [chain]}]}}
