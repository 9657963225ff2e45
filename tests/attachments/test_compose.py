"""The compose file has one way to the model, and its policy answers what Open WebUI sends."""

from __future__ import annotations

import copy
import functools
import json
import re
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from extproc.cli.serve import configure
from extproc.messages import Continue, Direction, Forward, Refuse, RequestBody, RequestHeaders
from extproc.policy.compiler import CompiledPolicy
from extproc.runtime.assets import PACKAGE, asset
from extproc.runtime.store import default_policy, load_policy, read_policy
from extproc.session import Session
from tests.attachments.compose_check import Node, complaints

ROOT = PACKAGE.parent
COMPOSE = ROOT / "docker-compose.yml"
POLICY = asset("policies/compose.yaml")
MODEL = "llama3.2:3b-instruct-q4_K_M"


def compose() -> Node:
    # Aliases share nodes; a change to one service must not change the others.
    document: Node = json.loads(json.dumps(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))))
    return document


def put(*path: str, value: object) -> Callable[[Node], None]:
    def change(document: Node) -> None:
        node: Any = document
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = copy.deepcopy(value)

    return change


def service(name: str, key: str, value: object) -> Callable[[Node], None]:
    return put("services", name, key, value=value)


def without(name: str, key: str) -> Callable[[Node], None]:
    def change(document: Node) -> None:
        del document["services"][name][key]

    return change


HOLES: dict[str, Callable[[Node], None]] = {
    "Ollama is published": service("ollama", "ports", ["127.0.0.1:11434:11434"]),
    "Ollama is on the front network": service("ollama", "networks", ["models", "front"]),
    "Ollama is on the front network alone": service("ollama", "networks", ["front"]),
    "Ollama is on the default network": without("ollama", "networks"),
    "the UI is on the model's network": service("open-webui", "networks", ["front", "models"]),
    "the policy server is on the model's network": service("sluicegate", "networks", ["policy", "models"]),
    "the model's network leads out": put("networks", "models", value={}),
    "the UI shares the puller's network": service("open-webui", "networks", ["front", "registry"]),
    "the UI asks the policy server": service("open-webui", "networks", ["front", "policy"]),
    "Envoy is published to the network": service("envoy", "ports", ["8080:8080"]),
    "the UI is published to the network": service("open-webui", "ports", ["0.0.0.0:3000:8080"]),
    "the policy server is published": service("sluicegate", "ports", ["127.0.0.1:9002:9002"]),
    "the host's network": service("ollama", "network_mode", "host"),
    "privileged": service("envoy", "privileged", True),
    "the docker socket": service("envoy", "volumes", ["/var/run/docker.sock:/var/run/docker.sock"]),
    "a folder to write": service("sluicegate", "volumes", ["./policies:/etc/sluicegate"]),
    "the policy server is root": service("sluicegate", "user", "0:0"),
    "the policy server is whoever the image says": without("sluicegate", "user"),
    "Envoy is root": service("envoy", "user", "root"),
    "capabilities": without("ollama", "cap_drop"),
    "capabilities may be gained": service("ollama", "security_opt", []),
    "a writable root": without("sluicegate", "read_only"),
    "no health": without("ollama", "healthcheck"),
    "a moving image": service("ollama", "image", "ollama/ollama:latest"),
    "an image without a tag": service("envoy", "image", "envoyproxy/envoy"),
    "a misspelt key": service("envoy", "readonly", True),
    "no model": put("services", "ollama", "image", value="busybox:1.37.0"),
}


def test_there_is_one_way_to_the_model() -> None:
    document = compose()
    assert complaints(document) == []
    assert document["services"]["open-webui"]["environment"]["OLLAMA_BASE_URL"] == "http://envoy:8080"


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_noticed(hole: str) -> None:
    document = compose()
    HOLES[hole](document)
    if hole == "no model":
        del document["services"]["pull"]
    assert complaints(document), hole


def test_what_the_services_are_given_is_there() -> None:
    for name, each in compose()["services"].items():
        for source in (volume.partition(":")[0] for volume in each.get("volumes", []) if volume.startswith("./")):
            assert (ROOT / source).exists(), name


def test_the_server_is_started_with_options_that_it_has_and_a_policy_that_is_mounted() -> None:
    command = compose()["services"]["sluicegate"]["command"]

    parser = ArgumentParser()
    configure(parser)
    args = parser.parse_args(command[1:])
    assert command[0] == "serve"
    assert str(args.policy) == "/etc/sluicegate/compose.yaml"
    assert (args.listen.port, args.admin.is_local) == (9002, True)


# ---- its policy ----


@functools.cache
def policy() -> CompiledPolicy:
    return load_policy(POLICY)


def session() -> Session:
    return Session(policy(), "d-1", lambda: 0.0)


def test_its_rules_are_the_ones_that_ship() -> None:
    spec, shipped = (yaml.safe_load(path.read_text(encoding="utf-8"))["spec"] for path in (POLICY, default_policy()))
    assert spec["rules"] == shipped["rules"]
    assert (spec["on_error"], spec["on_unknown"], spec["tools"]["default"]) == ("deny", "deny", "strip")


def test_it_is_valid_without_a_warning() -> None:
    assert read_policy(POLICY).warnings == ()


def test_it_answers_open_webui_with_its_built_in_tools_taken_out() -> None:
    names = ("ask_user", "list_knowledge_bases", "search_knowledge_bases", "calculate_timestamp", "view_skill")
    tools = [
        {"type": "function", "function": {"name": name, "description": "...", "parameters": {"type": "object"}}}
        for name in names
    ]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "tools": tools, "stream": True}
    exchange = session()
    replies = exchange.receive(RequestHeaders(((":method", "POST"), (":path", "/api/chat"))))
    replies += exchange.receive(RequestBody(json.dumps(body).encode(), end=True))
    (sent,) = (reply for reply in replies if isinstance(reply, Forward))
    assert any(isinstance(reply, Continue) and reply.direction is Direction.REQUEST for reply in replies)
    assert not any(name in sent.data.decode() for name in names)
    assert json.loads(sent.data)["messages"] == body["messages"]


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/api/ps"])
def test_it_lets_open_webui_see_what_is_served(path: str) -> None:
    exchange = session()
    replies = exchange.receive(RequestHeaders(((":method", "GET"), (":path", path)), end=True))
    assert isinstance(replies[0], Continue)
    assert not any(isinstance(reply, Refuse) for reply in replies)


@pytest.mark.parametrize("path", ["/api/pull", "/api/delete", "/api/create", "/api/push", "/api/show"])
def test_it_keeps_models_as_they_are(path: str) -> None:
    exchange = session()
    replies = exchange.receive(RequestHeaders(((":method", "POST"), (":path", path)), end=True))
    assert [type(reply) for reply in replies] == [Refuse]


# ---- its image ----


def dockerfile_complaints(text: str) -> list[str]:
    last = re.split(r"(?m)^FROM ", text)[-1]
    users = re.findall(r"(?m)^USER (\S+)", last)
    out = []
    if len(users) != 1 or not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", users[0]):
        out.append("runs as root, or as a user whose number Kubernetes cannot see")
    if any(":" not in image or ":latest" in image for image in re.findall(r"(?m)^FROM (\S+)", text)):
        out.append("an image that moves")
    if re.search(r"pip install(?!.*--no-cache-dir)", text):
        out.append("keeps pip's cache")
    if 'ENTRYPOINT ["sluicegate"]' not in last or re.search(r"(?m)^ADD ", text):
        out.append("starts something else, or adds what it did not copy")
    return out


def test_the_image_runs_as_nobody() -> None:
    assert dockerfile_complaints((ROOT / "Dockerfile").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 65532:65532", ""),
        ("USER 65532:65532", "USER 0:0"),
        ("USER 65532:65532", "USER sluicegate"),
        ("USER 65532:65532", "USER 65532:65532\nUSER 0:0"),
        ("python:3.12-slim-bookworm\nCOPY", "python:latest\nCOPY"),
        ("--no-cache-dir ", ""),
        ('ENTRYPOINT ["sluicegate"]', ""),
    ],
)
def test_an_image_that_does_not_is_noticed(old: str, new: str) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert old in text
    assert dockerfile_complaints(text.replace(old, new))


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    names = {name for line in copied for name in line.split()}
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == names
    assert all((ROOT / name).exists() for name in names)
