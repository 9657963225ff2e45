"""Do a gateway's manifests let anything reach the model unjudged? Returns complaints; none means no."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tests.support.manifests import Document, of_kind

_DUPLEX: Final = {
    "requestHeaderMode": "SEND",
    "requestBodyMode": "FULL_DUPLEX_STREAMED",
    "requestTrailerMode": "SEND",
    "responseHeaderMode": "SEND",
    "responseBodyMode": "FULL_DUPLEX_STREAMED",
    "responseTrailerMode": "SEND",
}
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_MODEL_PORT: Final = 11434
_SERVER_PORT: Final = 9002
_MIN_MESSAGE_S: Final = 30
_MIN_REQUEST_S: Final = 600


def complaints(documents: list[Document]) -> list[str]:
    """Everything that would let a request or an answer pass unjudged, or make the gate easy to walk around."""
    out: list[str] = []
    kgateway = of_kind(documents, "GatewayExtension")
    out += _kgateway(documents) if kgateway else _envoy_gateway(documents)
    out += _routes(documents)
    out += _networks(documents)
    for deployment in of_kind(documents, "Deployment"):
        out += _pod(deployment["spec"]["template"]["spec"])
    for service in of_kind(documents, "Service"):
        if any(port.get("appProtocol") != "kubernetes.io/h2c" for port in service["spec"]["ports"]):
            out.append("Service: without appProtocol kubernetes.io/h2c the gateway speaks HTTP/1.1 to it")
    return out


def seconds(duration: object) -> float:
    """A Gateway API duration in seconds; nothing is no time at all."""
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", str(duration)))


# ---- kgateway ----


def _kgateway(documents: list[Document]) -> Iterator[str]:
    extensions = {each["metadata"]["name"]: each["spec"]["extProc"] for each in of_kind(documents, "GatewayExtension")}
    for name, config in extensions.items():
        if config.get("failOpen") is not False:
            yield f"GatewayExtension {name}: fails open unless failOpen is false"
        if config.get("processingMode") != _DUPLEX:
            yield f"GatewayExtension {name}: processingMode is not duplex both ways, trailers too"
        if config.get("allowProcessingModeOverride"):
            yield f"GatewayExtension {name}: the server may change modes"
        if config.get("routeCacheAction") != "Retain":
            yield f"GatewayExtension {name}: the server may change the route"
        if seconds(config.get("messageTimeout")) < _MIN_MESSAGE_S:
            yield f"GatewayExtension {name}: messageTimeout is under {_MIN_MESSAGE_S} s"
        yield from _server(documents, config["grpcService"]["backendRef"])
    guarded = set()
    for policy in of_kind(documents, "TrafficPolicy"):
        processor = policy["spec"].get("extProc", {})
        name = policy["metadata"]["name"]
        if "disable" in processor or "processingMode" in processor:
            yield f"TrafficPolicy {name}: switches the filter off or over"
        elif processor.get("extensionRef", {}).get("name") in extensions:
            guarded |= {(ref["kind"], ref["name"]) for ref in policy["spec"]["targetRefs"] if "sectionName" not in ref}
        else:
            yield f"TrafficPolicy {name}: takes the place of the one that guards, and does not"
    yield from _unguarded(documents, guarded)


# ---- Envoy Gateway ----


def _envoy_gateway(documents: list[Document]) -> Iterator[str]:
    guarded = set()
    for policy in of_kind(documents, "EnvoyExtensionPolicy"):
        name = policy["metadata"]["name"]
        processors = policy["spec"].get("extProc", [])
        if len(processors) != 1 or set(policy["spec"]) != {"targetRefs", "extProc"}:
            yield f"EnvoyExtensionPolicy {name}: not one processor and nothing else"
            continue
        yield from _processor(name, processors[0])
        yield from _server(documents, processors[0]["backendRefs"][0])
        guarded |= {(ref["kind"], ref["name"]) for ref in policy["spec"]["targetRefs"] if "sectionName" not in ref}
    yield from _unguarded(documents, guarded)
    paths = [policy["spec"].get("path", {}) for policy in of_kind(documents, "ClientTrafficPolicy")]
    if [(path.get("escapedSlashesAction"), path.get("disableMergeSlashes")) for path in paths] != [
        ("RejectRequest", True)
    ]:
        yield "ClientTrafficPolicy: paths are repaired before they are judged"
    for policy in of_kind(documents, "BackendTrafficPolicy"):
        if "requestBuffer" not in policy["spec"] or "httpUpgrade" in policy["spec"]:
            yield "BackendTrafficPolicy: WebSocket upgrades go through unless requests are buffered"
    if not of_kind(documents, "BackendTrafficPolicy"):
        yield "no BackendTrafficPolicy: WebSocket upgrades go through"


def _processor(name: str, processor: dict[str, Any]) -> Iterator[str]:
    mode = processor.get("processingMode", {})
    if processor.get("failOpen") is not False:
        yield f"EnvoyExtensionPolicy {name}: say failOpen: false"
    if processor.get("shadowMode"):
        yield f"EnvoyExtensionPolicy {name}: only watches"
    for direction in ("request", "response"):
        if mode.get(direction, {}).get("body") != "FullDuplexStreamed":
            yield f"EnvoyExtensionPolicy {name}: {direction} bodies are not FullDuplexStreamed"
    if mode.get("allowModeOverride"):
        yield f"EnvoyExtensionPolicy {name}: the server may change modes"
    if seconds(processor.get("messageTimeout")) < _MIN_MESSAGE_S:
        yield f"EnvoyExtensionPolicy {name}: messageTimeout is under {_MIN_MESSAGE_S} s"


# ---- both ----


def _unguarded(documents: list[Document], guarded: set[tuple[str, str]]) -> Iterator[str]:
    for gateway in of_kind(documents, "Gateway"):
        name = gateway["metadata"]["name"]
        if ("Gateway", name) not in guarded:
            yield f"Gateway {name}: its routes are not guarded"
        for listener in gateway["spec"]["listeners"]:
            if listener["allowedRoutes"]["namespaces"]["from"] != "Same":
                yield f"Gateway {name}: routes of other namespaces may attach"


def _server(documents: list[Document], reference: dict[str, Any]) -> Iterator[str]:
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(documents, "Service")}
    ports = [port["port"] for port in services.get(reference["name"], [])]
    if reference.get("port") not in ports:
        yield f"no Service {reference['name']}:{reference.get('port')}"


def _routes(documents: list[Document]) -> Iterator[str]:
    gateways = {gateway["metadata"]["name"] for gateway in of_kind(documents, "Gateway")}
    for route in of_kind(documents, "HTTPRoute"):
        name = route["metadata"]["name"]
        if {parent["name"] for parent in route["spec"]["parentRefs"]} - gateways:
            yield f"HTTPRoute {name}: on a Gateway that is not guarded here"
        for rule in route["spec"]["rules"]:
            if rule.get("filters"):
                yield f"HTTPRoute {name}: filters, which may copy or rewrite what was judged"
            if seconds(rule.get("timeouts", {}).get("request")) < _MIN_REQUEST_S:
                yield f"HTTPRoute {name}: long answers are cut"


def _networks(documents: list[Document]) -> Iterator[str]:
    policies = [policy["spec"] for policy in of_kind(documents, "NetworkPolicy")]
    if not any(
        not each["podSelector"] and each["policyTypes"] == ["Ingress"] and "ingress" not in each for each in policies
    ):
        yield "NetworkPolicy: what no rule names is open"
    for app, port in (("ollama", _MODEL_PORT), ("sluicegate", _SERVER_PORT)):
        rules = [rule for each in policies if _selects(each, app) for rule in each.get("ingress", [])]
        if len(rules) != 1 or not _from_gateway(rules[0]) or [each["port"] for each in rules[0]["ports"]] != [port]:
            yield f"NetworkPolicy: {app} is reached by others than the gateway, or elsewhere than on {port}"
    if not any(_selects(each, "sluicegate") and each.get("egress") == [] for each in policies):
        yield "NetworkPolicy: the policy server may send what it reads somewhere"


def _selects(policy: dict[str, Any], app: str) -> bool:
    selector = policy["podSelector"]
    labels = selector.get("matchLabels", {})
    return "matchExpressions" in selector or set(labels.items()) <= {("app.kubernetes.io/name", app)}


def _from_gateway(rule: dict[str, Any]) -> bool:
    peers = rule.get("from", [])
    labels = [peer.get("podSelector", {}).get("matchLabels", {}) for peer in peers]
    return bool(peers) and all(any("gateway-name" in label for label in each) for each in labels)


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    if pod.get("automountServiceAccountToken") is not False:
        yield "Deployment: carries a token for the API server"
    if pod.get("hostNetwork") or pod.get("hostPID"):
        yield "Deployment: shares the host's namespaces"
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "Deployment: may run as root"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("readOnlyRootFilesystem") is not True or own.get("allowPrivilegeEscalation") is not False:
            yield f"container {container['name']}: may write its root, or gain privileges"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("privileged") or "runAsUser" in own:
            yield f"container {container['name']}: has capabilities, or a user of its own"
        if re.search(r":(latest|main)$", container["image"]) or ":" not in container["image"].rpartition("/")[2]:
            yield f"container {container['name']}: the image is not pinned"
        if "grpc" not in container.get("readinessProbe", {}) or "grpc" not in container.get("livenessProbe", {}):
            yield f"container {container['name']}: not probed over gRPC"
