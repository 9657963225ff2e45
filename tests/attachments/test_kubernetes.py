"""The gateways' manifests fit their schemas, fail closed, and leave no way around the gate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.runtime.assets import asset
from extproc.runtime.store import read_policy
from tests.attachments.kubernetes_check import complaints, seconds
from tests.support.manifests import Document, documents, has_schema, of_kind, problems

GATEWAYS = ("kgateway", "envoy-gateway")
CORE_KINDS = {"Namespace", "ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy", "GatewayClass"}
Change = Callable[[list[Document]], None]


def manifests(gateway: str) -> list[Document]:
    return documents(asset(f"envoy/{gateway}"))


def put(kind: str, *path: str | int, value: object, index: int = 0) -> Change:
    def change(docs: list[Document]) -> None:
        node: Any = of_kind(docs, kind)[index]
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = copy.deepcopy(value)

    return change


def drop(kind: str, *path: str | int, index: int = 0) -> Change:
    def change(docs: list[Document]) -> None:
        node: Any = of_kind(docs, kind)[index]
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return change


def without(kind: str) -> Change:
    def change(docs: list[Document]) -> None:
        docs[:] = [each for each in docs if each["kind"] != kind]

    return change


def second(kind: str, *path: str | int, value: object) -> Change:
    """A copy of the first of a kind, under another name, with one thing changed."""

    def change(docs: list[Document]) -> None:
        other = copy.deepcopy(of_kind(docs, kind)[0])
        other["metadata"]["name"] = "another"
        docs.append(other)
        put(kind, *path, value=value, index=-1)(docs)

    return change


EXTENSION = ("GatewayExtension", "spec", "extProc")
PROCESSOR = ("EnvoyExtensionPolicy", "spec", "extProc", 0)
POD = ("Deployment", "spec", "template", "spec")
ROUTE = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "llm"}]

KGATEWAY_HOLES: dict[str, Change] = {
    "it fails open": put(*EXTENSION, "failOpen", value=True),
    "it fails open by default": drop(*EXTENSION, "failOpen"),
    "no bodies by default": drop(*EXTENSION, "processingMode"),
    "no request bodies": put(*EXTENSION, "processingMode", "requestBodyMode", value="NONE"),
    "no answer bodies": put(*EXTENSION, "processingMode", "responseBodyMode", value="NONE"),
    "no answer bodies by default": drop(*EXTENSION, "processingMode", "responseBodyMode"),
    "no trailers": put(*EXTENSION, "processingMode", "responseTrailerMode", value="SKIP"),
    "the server may change modes": put(*EXTENSION, "allowProcessingModeOverride", value=True),
    "the server may reroute": drop(*EXTENSION, "routeCacheAction"),
    "a short timeout": put(*EXTENSION, "messageTimeout", value="200ms"),
    "no such server": put(*EXTENSION, "grpcService", "backendRef", "port", value=9003),
    "the policy is not attached": put("TrafficPolicy", "spec", "targetRefs", 0, "name", value="other"),
    "the policy is on one listener": put("TrafficPolicy", "spec", "targetRefs", 0, "sectionName", value="http"),
    "the policy switches it off": put("TrafficPolicy", "spec", "extProc", value={"disable": {}}),
    "the policy names no filter": drop("TrafficPolicy", "spec", "extProc"),
    "a route switches it off": second("TrafficPolicy", "spec", value={"targetRefs": ROUTE, "extProc": {"disable": {}}}),
    "a route overrides the modes": second(
        "TrafficPolicy", "spec", "extProc", "processingMode", value={"requestBodyMode": "NONE"}
    ),
    "a route has another policy": second("TrafficPolicy", "spec", value={"targetRefs": ROUTE, "timeouts": {}}),
    "there is no policy": without("TrafficPolicy"),
}
ENVOY_GATEWAY_HOLES: dict[str, Change] = {
    "it fails open": put(*PROCESSOR, "failOpen", value=True),
    "it says nothing of failing": drop(*PROCESSOR, "failOpen"),
    "it only watches": put(*PROCESSOR, "shadowMode", value=True),
    "nothing is sent": drop(*PROCESSOR, "processingMode"),
    "no request bodies": drop(*PROCESSOR, "processingMode", "request", "body"),
    "answers are buffered in part": put(*PROCESSOR, "processingMode", "response", "body", value="BufferedPartial"),
    "answers are not sent": drop(*PROCESSOR, "processingMode", "response"),
    "the server may change modes": put(*PROCESSOR, "processingMode", "allowModeOverride", value=True),
    "Envoy Gateway's own 200 ms": drop(*PROCESSOR, "messageTimeout"),
    "no such server": put(*PROCESSOR, "backendRefs", 0, "name", value="other"),
    "the policy is not attached": put("EnvoyExtensionPolicy", "spec", "targetRefs", 0, "name", value="other"),
    "a route has a policy of its own": second("EnvoyExtensionPolicy", "spec", value={"targetRefs": ROUTE, "wasm": []}),
    "there is no policy": without("EnvoyExtensionPolicy"),
    "slashes stay escaped": put(
        "ClientTrafficPolicy", "spec", "path", "escapedSlashesAction", value="UnescapeAndForward"
    ),
    "slashes are merged": drop("ClientTrafficPolicy", "spec", "path", "disableMergeSlashes"),
    "paths are as Envoy Gateway likes": without("ClientTrafficPolicy"),
    "WebSockets by default": drop("BackendTrafficPolicy", "spec", "requestBuffer"),
    "WebSockets by name": put("BackendTrafficPolicy", "spec", "httpUpgrade", value=[{"type": "websocket"}]),
    "no backend policy": without("BackendTrafficPolicy"),
}
OPEN_NETWORK = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
OLLAMA = {"matchLabels": {"app.kubernetes.io/name": "ollama"}}
MODEL, SERVER = 1, 2
SHARED_HOLES: dict[str, Change] = {
    "another Gateway": second("Gateway", "metadata", "labels", value={}),
    "routes from everywhere": put(
        "Gateway", "spec", "listeners", 0, "allowedRoutes", "namespaces", "from", value="All"
    ),
    "a route on another Gateway": put("HTTPRoute", "spec", "parentRefs", 0, "name", value="other"),
    "a route copies requests": put(
        "HTTPRoute",
        "spec",
        "rules",
        0,
        "filters",
        value=[{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "ollama", "port": 11434}}}],
    ),
    "a short route": put("HTTPRoute", "spec", "rules", 0, "timeouts", "request", value="15s"),
    "a route with Envoy's own timeout": drop("HTTPRoute", "spec", "rules", 0, "timeouts"),
    "the server speaks HTTP/1.1": drop("Service", "spec", "ports", 0, "appProtocol"),
    "no walls": without("NetworkPolicy"),
    "no default wall": put("NetworkPolicy", "spec", value=OPEN_NETWORK),
    "the model is open": drop("NetworkPolicy", "spec", "ingress", 0, "from", index=MODEL),
    "the model is open to the namespace": put(
        "NetworkPolicy", "spec", "ingress", 0, "from", value=[{"podSelector": {}}], index=MODEL
    ),
    "the model is open to one more": second("NetworkPolicy", "spec", value={**OPEN_NETWORK, "podSelector": OLLAMA}),
    "everything is open to one more": second("NetworkPolicy", "spec", value=OPEN_NETWORK),
    "the model is open on all ports": put(
        "NetworkPolicy", "spec", "ingress", 0, "ports", value=[{"port": 11434}, {"port": 22}], index=MODEL
    ),
    "the server is open": drop("NetworkPolicy", "spec", "ingress", 0, "from", index=SERVER),
    "the server may call out": drop("NetworkPolicy", "spec", "egress", index=SERVER),
    "root": drop(*POD, "securityContext", "runAsNonRoot"),
    "root by number": put(*POD, "securityContext", "runAsUser", value=0),
    "root in the container": put(*POD, "containers", 0, "securityContext", "runAsUser", value=0),
    "a writable root": drop(*POD, "containers", 0, "securityContext", "readOnlyRootFilesystem"),
    "capabilities": drop(*POD, "containers", 0, "securityContext", "capabilities"),
    "privileged": put(*POD, "containers", 0, "securityContext", "privileged", value=True),
    "a token": drop(*POD, "automountServiceAccountToken"),
    "the host's network": put(*POD, "hostNetwork", value=True),
    "a moving image": put(*POD, "containers", 0, "image", value="registry.example.com/sluicegate:latest"),
    "an unnamed image": put(*POD, "containers", 0, "image", value="registry.example.com:5000/sluicegate"),
    "not probed": drop(*POD, "containers", 0, "readinessProbe"),
}
HOLES = [
    *(("kgateway", name, hole) for name, hole in {**SHARED_HOLES, **KGATEWAY_HOLES}.items()),
    *(("envoy-gateway", name, hole) for name, hole in {**SHARED_HOLES, **ENVOY_GATEWAY_HOLES}.items()),
]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_everything_goes_through_the_gate(gateway: str) -> None:
    assert complaints(manifests(gateway)) == []


@pytest.mark.parametrize(("gateway", "name", "hole"), HOLES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_hole_is_noticed(gateway: str, name: str, hole: Change) -> None:
    docs = manifests(gateway)
    hole(docs)
    assert complaints(docs), name


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_every_manifest_fits_the_schema_of_its_kind(gateway: str) -> None:
    docs = manifests(gateway)
    assert [problem for doc in docs if has_schema(doc) for problem in problems(doc)] == []
    assert {doc["kind"] for doc in docs if not has_schema(doc)} <= CORE_KINDS


@pytest.mark.parametrize(
    "change",
    [
        put(*EXTENSION, "failopen", value=False),
        put(*EXTENSION, "processingMode", "requestBodyMode", value="FULL_DUPLEX"),
        put(*EXTENSION, "messageTimeout", value=5),
        drop(*EXTENSION, "grpcService", "backendRef", "name"),
        put("HTTPRoute", "spec", "rules", 0, "timeouts", "request", value="30 minutes"),
        put("TrafficPolicy", "spec", "timeout", value={}),
    ],
    ids=["misspelt field", "unknown mode", "number for a duration", "no name", "bad duration", "misspelt block"],
)
def test_what_the_api_server_would_refuse_is_noticed(change: Change) -> None:
    docs = manifests("kgateway")
    change(docs)
    assert [problem for doc in docs if has_schema(doc) for problem in problems(doc)]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_policy_in_the_manifest_is_valid(gateway: str, tmp_path: Path) -> None:
    (config,) = of_kind(manifests(gateway), "ConfigMap")
    path = tmp_path / "policy.yaml"
    path.write_text(config["data"]["policy.yaml"], encoding="utf-8")
    loaded = read_policy(path)
    assert loaded.warnings == ()
    assert loaded.policy.models.refusal("llama3.2:3b-instruct-q4_K_M") is None


def test_both_gateways_run_the_same_server() -> None:
    kinds = ("Namespace", "ConfigMap", "Deployment", "PodDisruptionBudget", "Service")
    one, other = ([doc for doc in manifests(gateway) if doc["kind"] in kinds] for gateway in GATEWAYS)
    assert one == other


def test_requests_that_envoy_gateway_buffers_may_be_as_large_as_the_policy_allows() -> None:
    docs = manifests("envoy-gateway")
    (policy,) = of_kind(docs, "BackendTrafficPolicy")
    (config,) = of_kind(docs, "ConfigMap")
    limits = yaml.safe_load(config["data"]["policy.yaml"])["spec"].get("limits", {})
    assert policy["spec"]["requestBuffer"]["limit"] == "4Mi"
    assert "request_bytes" not in limits, "the default is 2 MiB"


@pytest.mark.parametrize(("text", "value"), [("30m", 1800), ("1h30m", 5400), ("200ms", 0.2), (None, 0)])
def test_durations_are_read_as_the_gateway_api_reads_them(text: str | None, value: float) -> None:
    assert seconds(text) == pytest.approx(value)
