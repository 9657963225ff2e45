"""Does an Envoy bootstrap let anything past the policy server? Returns complaints; none means no.

It reads what Envoy reads, so it holds for any file, not only for ours: tests break a good file in one place at a time
and expect a complaint.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Node: TypeAlias = dict[str, Any]

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_EXT_PROC: Final = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_MODES: Final = {
    "request_header_mode": "SEND",
    "request_body_mode": "STREAMED",
    "request_trailer_mode": "SEND",
    "response_header_mode": "SEND",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "response_trailer_mode": "SEND",
}
_EXPECTED: Final = {
    "processing_mode": _MODES,
    "send_body_without_waiting_for_header_response": True,
    "failure_mode_allow": False,
    "allow_mode_override": False,
    "message_timeout": "30s",
    "route_cache_action": "RETAIN",
    "mutation_rules": {"disallow_system": True},
}
_KNOWN: Final = {*_EXPECTED, "@type", "grpc_service", "status_on_error", "request_attributes", "metadata_options"}
_PATHS: Final = {
    "normalize_path": False,
    "merge_slashes": False,
    "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
    "use_remote_address": True,
}
# Each of these sends a request, or a copy of it, somewhere that the filter did not judge it for.
_DETOURS: Final = ("request_mirror_policies", "upgrade_configs", "internal_redirect_policy", "typed_per_filter_config")


def complaints(bootstrap: Node) -> list[str]:
    """Everything that would let a request or an answer pass unjudged."""
    resources = bootstrap["static_resources"]
    out = [*_admin(bootstrap)]
    if "dynamic_resources" in bootstrap:
        out.append("dynamic_resources: listeners and routes may come from elsewhere")
    for listener in resources["listeners"]:
        out += _listener(listener)
    for cluster in resources["clusters"]:
        if "http_filters" in str(cluster.get("typed_extension_protocol_options", "")):
            out.append(f"cluster {cluster['name']}: filters of its own run after the judgement")
    return out


def _admin(bootstrap: Node) -> Iterator[str]:
    address = bootstrap.get("admin", {}).get("address", {})
    host = address.get("socket_address", {}).get("address", "")
    if host and not ipaddress.ip_address(host).is_loopback:
        yield f"admin: {host} is reachable from the network"


def _listener(listener: Node) -> Iterator[str]:
    chains = [*listener.get("filter_chains", []), *filter(None, [listener.get("default_filter_chain")])]
    for filters in (chain["filters"] for chain in chains):
        if [each["typed_config"]["@type"].rpartition("/")[2] for each in filters] != [_MANAGER]:
            yield f"listener {listener['name']}: something else than an HTTP connection manager"
            continue
        yield from _manager(filters[0]["typed_config"])


def _manager(manager: Node) -> Iterator[str]:
    for key, value in _PATHS.items():
        if manager.get(key) != value:
            yield f"{key}: {manager.get(key)!r}, not {value!r}"
    if manager.get("upgrade_configs"):
        yield "upgrade_configs: bytes after an upgrade are read by nobody"
    removed = str(manager.get("early_header_mutation_extensions", ""))
    for prefix in ("x-envoy-", "x-sluicegate-"):
        if f"'prefix': '{prefix}'" not in removed:
            yield f"clients may send {prefix}*"
    yield from _filters(manager["http_filters"])
    if "route_config" not in manager:
        yield "routes come from elsewhere"
    else:
        yield from _routes(manager["route_config"])


def _filters(filters: list[Node]) -> Iterator[str]:
    types = [each["typed_config"]["@type"].rpartition("/")[2] for each in filters]
    if types != [_EXT_PROC, _ROUTER]:
        yield f"http_filters: {types}, not ext_proc and the router alone"
        return
    if set(filters[0]) - {"name", "typed_config"}:
        yield f"ext_proc: {sorted(set(filters[0]) - {'name', 'typed_config'})} may switch it off"
    config = filters[0]["typed_config"]
    for key, value in _EXPECTED.items():
        if config.get(key) != value:
            yield f"ext_proc: {key} is {config.get(key)!r}, not {value!r}"
    if unknown := set(config) - _KNOWN:
        yield f"ext_proc: {sorted(unknown)} were not thought about"


def _routes(route_config: Node) -> Iterator[str]:
    hosts = route_config["virtual_hosts"]
    for where in (route_config, *hosts):
        if "typed_per_filter_config" in where:
            yield f"{where.get('name')}: typed_per_filter_config may switch the filter off"
    for host in hosts:
        if "x-sluicegate-decision-id" not in host.get("response_headers_to_remove", []):
            yield f"virtual host {host['name']}: an upstream may claim to have been judged"
        for route in host["routes"]:
            yield from _route(route)


def _route(route: Node) -> Iterator[str]:
    name, action = route.get("name"), route.get("route")
    if action is None:
        if not {"direct_response", "redirect"} & set(route):
            yield f"route {name}: an action that was not thought about"
        return
    for where in (route, action, *action.get("weighted_clusters", {}).get("clusters", [])):
        for detour in _DETOURS:
            if detour in where:
                yield f"route {name}: {detour}"
    if action.get("timeout") != "0s":
        yield f"route {name}: an answer that streams longer than {action.get('timeout', '15s')} is cut"
    if route.get("request_body_buffer_limit", 0) < 4 << 20:
        yield f"route {name}: uploads above {route.get('request_body_buffer_limit', '1 MiB')} stall"
