"""Does a compose file leave a way around the gate, or more rights than needed? Returns complaints; none means no."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Node: TypeAlias = dict[str, Any]

_MODEL_IMAGE: Final = "ollama/ollama:"
_GATE: Final = "envoy"
_PINNED: Final = re.compile(r"[a-z0-9./-]+:v?[0-9]+\.[0-9]+\.[0-9]+")
_SERVICE_KEYS: Final = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "init"),
    *("logging", "networks", "ports", "profiles", "read_only", "restart", "security_opt", "stop_grace_period"),
    *("tmpfs", "user", "volumes"),
}
_WRITES_ITS_ROOT: Final = frozenset({"open-webui"})
_OWN_USER: Final = frozenset({"sluicegate", "envoy"})


def complaints(compose: Node) -> list[str]:
    """Everything that would make the gate easy to walk around."""
    out: list[str] = []
    for name, service in compose["services"].items():
        out += [f"{name}: {complaint}" for complaint in _service(name, service, compose)]
    out += _networks(compose)
    return out


def _service(name: str, service: Node, compose: Node) -> Iterator[str]:
    if unknown := set(service) - _SERVICE_KEYS:
        yield f"{sorted(unknown)} were not thought about"
    if not _PINNED.fullmatch(service.get("image", "")):
        yield "the image is not pinned to a release"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:") or name not in {_GATE, "open-webui"}:
            yield f"{port} is published"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        yield "has capabilities, or may gain them"
    if service.get("read_only") is not True and name not in _WRITES_ITS_ROOT:
        yield "may write its root"
    if name in _OWN_USER and not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", str(service.get("user", ""))):
        yield "runs as root"
    if "profiles" not in service and "healthcheck" not in service and name != "open-webui":
        yield "nobody asks whether it is well"
    if not service.get("networks"):
        yield "is on the default network, with everybody"
    for volume in service.get("volumes", []):
        source, _, rest = volume.partition(":")
        if source not in compose["volumes"] and not (source.startswith("./") and rest.endswith(":ro")):
            yield f"{volume}: neither a volume of ours nor read-only"


def _networks(compose: Node) -> Iterator[str]:
    members: dict[str, set[str]] = {name: set() for name in compose["networks"]}
    for name, service in compose["services"].items():
        for network in service.get("networks", []):
            members.setdefault(network, set()).add(name)
    models = {name for name, each in compose["services"].items() if each.get("image", "").startswith(_MODEL_IMAGE)}
    for network, names in members.items():
        serving = {name for name in names & models if "profiles" not in compose["services"][name]}
        if serving and (names != serving | {_GATE} or not (compose["networks"].get(network) or {}).get("internal")):
            yield f"network {network}: {sorted(serving)} is reached by others than the gate, or reaches out"
        if names & models - serving and names - models:
            yield f"network {network}: what pulls models can be reached"
        if "sluicegate" in names and names != {"sluicegate", _GATE}:
            yield f"network {network}: the policy server is reached by others than the gate"
    if not any(models & names for names in members.values()):
        yield "no network has a model"
