"""Envoy's bootstrap for one upstream, from the template that operators copy: ``envoy/static/envoy.yaml``.

What lives here: addresses, TLS and protocol choices put into the template. What must not: anything that decides how
requests are filtered. That stands in the template, so the configuration that tests prove and the one that runs are one.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from extproc.runtime.transports.endpoint import Endpoint

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPE: Final = "type.googleapis.com/"
_CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upstream:
    """The LLM server behind the gate. ``http2`` is for cleartext and forces it over TLS, where it is negotiated."""

    host: str
    port: int
    tls: bool = False
    http2: bool = False
    ca_file: str = ""

    @property
    def authority(self) -> str:
        """The Host header it expects: the port only where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that differs between two installations. ``access_log`` empty turns Envoy's access log off."""

    listen: Endpoint
    upstream: Upstream
    processors: tuple[Endpoint, ...]
    admin: Endpoint
    access_log: str = ""
    request_buffer_bytes: int = 16 << 20


def parse_upstream(url: str, *, http2: bool = False, ca_file: str = "") -> Upstream:
    """Read the upstream's base URL.

    Raises:
        ValueError: not ``http://HOST[:PORT]`` or ``https://HOST[:PORT]``.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r}: expected http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("the upstream URL has only scheme, host and port; clients keep the paths they use today")
    tls = parts.scheme == "https"
    return Upstream(parts.hostname, port or (443 if tls else 80), tls=tls, http2=http2, ca_file=ca_file)


def render(template: str, plan: Plan) -> str:
    """Put a plan's addresses into the template; returns the bootstrap as YAML.

    Raises:
        ValueError: the template lacks a part that the plan fills, or no CA bundle was found for a TLS upstream.
    """
    bootstrap: Node = yaml.safe_load(template)
    bootstrap["admin"]["address"] = _address(plan.admin)
    resources = bootstrap["static_resources"]
    listener = _named(resources["listeners"], "llm")
    listener["address"] = _address(numeric(plan.listen))
    _fill_connection_manager(listener["filter_chains"][0]["filters"][0]["typed_config"], plan)
    _fill_upstream(_named(resources["clusters"], "llm_upstream"), plan.upstream)
    _fill_processors(_named(resources["clusters"], "sluicegate"), plan.processors)
    return yaml.safe_dump(bootstrap, sort_keys=False, width=120)


def numeric(listen: Endpoint) -> Endpoint:
    """Where to listen as Envoy takes it.

    Raises:
        ValueError: a name.
    """
    if listen.path or _is_ip(listen.host):
        return listen
    if listen.host == "localhost":
        return Endpoint("127.0.0.1", listen.port)
    raise ValueError(f"Envoy listens on an IP address, not on the name {listen.host!r}")


def ca_bundle() -> str:
    """The system's file of trusted certificate authorities; empty where none is found."""
    configured = (os.environ.get("SSL_CERT_FILE", ""), ssl.get_default_verify_paths().cafile or "")
    return next((name for name in (*configured, *_CA_BUNDLES) if name and Path(name).is_file()), "")


def _fill_connection_manager(manager: Node, plan: Plan) -> None:
    if plan.access_log:
        manager["access_log"][0]["typed_config"]["path"] = plan.access_log
    else:
        del manager["access_log"]
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            route["request_body_buffer_limit"] = plan.request_buffer_bytes
            route["route"]["host_rewrite_literal"] = plan.upstream.authority


def _fill_upstream(cluster: Node, upstream: Upstream) -> None:
    # LOGICAL_DNS for TLS: a hosted API answers with a different handful of addresses each time.
    names = "LOGICAL_DNS" if upstream.tls else "STRICT_DNS"
    cluster["type"] = "STATIC" if _is_ip(upstream.host) else names
    cluster["load_assignment"] = _assignment("llm_upstream", (Endpoint(upstream.host, upstream.port),))
    options: Node | None = None
    if upstream.http2:
        options = {"explicit_http_config": {"http2_protocol_options": {}}}
    elif upstream.tls:
        options = {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    if options is not None:
        cluster["typed_extension_protocol_options"] = {_HTTP_OPTIONS: {"@type": _TYPE + _HTTP_OPTIONS, **options}}
    if upstream.tls:
        cluster["transport_socket"] = _tls(upstream)


def _fill_processors(cluster: Node, processors: tuple[Endpoint, ...]) -> None:
    if not processors:
        raise ValueError("at least one processor address is needed")
    cluster["type"] = "STATIC" if all(each.path or _is_ip(each.host) for each in processors) else "STRICT_DNS"
    cluster["load_assignment"] = _assignment("sluicegate", processors)


def _tls(upstream: Upstream) -> Node:
    bundle = upstream.ca_file or ca_bundle()
    if not bundle:
        raise ValueError("no file of trusted certificate authorities found; name one with --upstream-ca")
    name_type = "IP_ADDRESS" if _is_ip(upstream.host) else "DNS"
    context: Node = {
        "@type": _TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "validation_context": {
                "trusted_ca": {"filename": bundle},
                # Without this any certificate of a trusted authority would do, whatever its name.
                "match_typed_subject_alt_names": [{"san_type": name_type, "matcher": {"exact": upstream.host}}],
            },
        },
    }
    if name_type == "DNS":
        context["sni"] = upstream.host
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _assignment(cluster: str, addresses: tuple[Endpoint, ...]) -> Node:
    endpoints = [{"endpoint": {"address": _address(each)}} for each in addresses]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]}


def _address(address: Endpoint) -> Node:
    if address.path:
        return {"pipe": {"path": address.path}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _named(nodes: list[Node], name: str) -> Node:
    for node in nodes:
        if node.get("name") == name:
            return node
    raise ValueError(f"the Envoy template has no {name!r}")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
