"""No route of any shipped Envoy file reaches the upstream past the filter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.runtime.assets import asset
from extproc.runtime.envoy_config import Plan, parse_upstream, render
from extproc.runtime.envoy_process import find_envoy, validate_config
from extproc.runtime.transports.endpoint import Endpoint
from tests.attachments.envoy_check import Node, complaints

FILES = sorted(asset("envoy/static").glob("*.yaml"))
MANAGER = ("static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config")
FILTER = (*MANAGER, "http_filters", 0)
HOST = (*MANAGER, "route_config", "virtual_hosts", 0)
ROUTE = (*HOST, "routes", 0)
OFF: Node = {"envoy.filters.http.ext_proc": {"@type": "type.googleapis.com/...ExtProcPerRoute", "disabled": True}}
PAST: Node = {"name": "past", "match": {"prefix": "/v2"}, "route": {"cluster": "llm_upstream", "timeout": "0s"}}
LUA: Node = {"name": "lua", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}}
TCP: Node = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}


def loaded(path: Path) -> Node:
    document: Node = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def at(document: Node, *path: str | int) -> Any:
    node: Any = document
    for step in path:
        node = node[step]
    return node


def put(*path: str | int, value: object) -> Callable[[Node], None]:
    def change(document: Node) -> None:
        at(document, *path[:-1])[path[-1]] = copy.deepcopy(value)

    return change


def drop(*path: str | int) -> Callable[[Node], None]:
    def change(document: Node) -> None:
        del at(document, *path[:-1])[path[-1]]

    return change


def add(*path: str | int, value: object) -> Callable[[Node], None]:
    def change(document: Node) -> None:
        at(document, *path).append(copy.deepcopy(value))

    return change


HOLES = {
    "the filter is removed": drop(*FILTER),
    "the filter is disabled": put(*FILTER, "disabled", value=True),
    "the filter is optional": put(*FILTER, "is_optional", value=True),
    "another filter routes": put(*MANAGER, "http_filters", 1, value=LUA),
    "another filter comes first": put(*MANAGER, "http_filters", 0, value=LUA),
    "it fails open": put(*FILTER, "typed_config", "failure_mode_allow", value=True),
    "it only watches": put(*FILTER, "typed_config", "observability_mode", value=True),
    "refusals are ignored": put(*FILTER, "typed_config", "disable_immediate_response", value=True),
    "the server may change modes": put(*FILTER, "typed_config", "allow_mode_override", value=True),
    "the server may change the path": drop(*FILTER, "typed_config", "mutation_rules"),
    "the timeout is Envoy's 200 ms": drop(*FILTER, "typed_config", "message_timeout"),
    "headers wait for the body": drop(*FILTER, "typed_config", "send_body_without_waiting_for_header_response"),
    "request bodies are not sent": put(*FILTER, "typed_config", "processing_mode", "request_body_mode", value="NONE"),
    "request bodies are sent in part": put(
        *FILTER, "typed_config", "processing_mode", "request_body_mode", value="BUFFERED_PARTIAL"
    ),
    "answers are not sent": put(*FILTER, "typed_config", "processing_mode", "response_body_mode", value="NONE"),
    "answer headers are skipped": put(*FILTER, "typed_config", "processing_mode", "response_header_mode", value="SKIP"),
    "request headers are skipped": put(*FILTER, "typed_config", "processing_mode", "request_header_mode", value="SKIP"),
    "trailers are skipped": drop(*FILTER, "typed_config", "processing_mode", "request_trailer_mode"),
    "a route switches it off": put(*ROUTE, "typed_per_filter_config", value=OFF),
    "a virtual host switches it off": put(*HOST, "typed_per_filter_config", value=OFF),
    "the whole table switches it off": put(*MANAGER, "route_config", "typed_per_filter_config", value=OFF),
    "a cluster's weight switches it off": put(
        *ROUTE,
        "route",
        "weighted_clusters",
        value={"clusters": [{"name": "llm_upstream", "weight": 1, "typed_per_filter_config": OFF}]},
    ),
    "another route switches it off": add(*HOST, "routes", value={**PAST, "typed_per_filter_config": OFF}),
    "another virtual host switches it off": add(
        *HOST[:-1], value={"name": "past", "domains": ["past"], "typed_per_filter_config": OFF, "routes": [PAST]}
    ),
    "another virtual host believes the upstream": add(
        *HOST[:-1], value={"name": "past", "domains": ["past"], "routes": [PAST]}
    ),
    "requests are copied elsewhere": put(
        *ROUTE, "route", "request_mirror_policies", value=[{"cluster": "llm_upstream"}]
    ),
    "redirects are followed": put(*ROUTE, "route", "internal_redirect_policy", value={}),
    "a route upgrades": put(*ROUTE, "route", "upgrade_configs", value=[{"upgrade_type": "websocket"}]),
    "all routes upgrade": put(*MANAGER, "upgrade_configs", value=[{"upgrade_type": "websocket"}]),
    "routes come from elsewhere": drop(*MANAGER, "route_config"),
    "listeners come from elsewhere": put("dynamic_resources", value={"lds_config": {}}),
    "paths are repaired": put(*MANAGER, "normalize_path", value=True),
    "slashes are merged": put(*MANAGER, "merge_slashes", value=True),
    "slashes are unescaped": put(*MANAGER, "path_with_escaped_slashes_action", value="UNESCAPE_AND_FORWARD"),
    "x-forwarded-for is believed": drop(*MANAGER, "use_remote_address"),
    "clients may steer Envoy": drop(*MANAGER, "early_header_mutation_extensions"),
    "upstreams may forge a decision": drop(*HOST, "response_headers_to_remove"),
    "long answers are cut": drop(*ROUTE, "route", "timeout"),
    "large uploads stall": drop(*ROUTE, "request_body_buffer_limit"),
    "raw TCP goes through": put(*MANAGER, value=TCP),
    "a second chain goes through": put(
        "static_resources", "listeners", 0, "default_filter_chain", value={"filters": [{"typed_config": TCP}]}
    ),
    "the upstream's cluster filters": put(
        "static_resources", "clusters", 0, "typed_extension_protocol_options", value={"o": {"http_filters": [LUA]}}
    ),
    "admin is open to the network": put("admin", "address", "socket_address", "address", value="0.0.0.0"),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_file_sends_everything_through_the_filter(path: Path) -> None:
    assert complaints(loaded(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_in_a_file_is_noticed(path: Path, hole: str) -> None:
    document = loaded(path)
    HOLES[hole](document)
    assert complaints(document), hole


@pytest.mark.envoy
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_envoy_accepts_every_shipped_file(path: Path) -> None:
    validate_config(find_envoy(), path)
    assert FILES


def test_the_compose_file_is_the_template_with_other_addresses() -> None:
    plan = Plan(
        listen=Endpoint.parse("0.0.0.0:8080"),
        upstream=parse_upstream("http://ollama:11434"),
        processors=(Endpoint.parse("sluicegate:9002"),),
        admin=Endpoint.parse("127.0.0.1:9901"),
        access_log="/dev/stdout",
    )
    rendered = render(asset("envoy/static/envoy.yaml").read_text(encoding="utf-8"), plan)
    assert loaded(asset("envoy/static/compose.yaml")) == yaml.safe_load(rendered), (
        "envoy/README.md says how to write it"
    )
