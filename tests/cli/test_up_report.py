"""What `up` says names everything an operator must know, on a terminal and for programs."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from extproc.cli.up_report import AllowedModel, Report, allowed_models, curl, show
from extproc.runtime.transports.endpoint import Endpoint
from extproc.runtime.upstream_probe import judge

DIGEST = "0e181def0868" + "6" * 52
SERVED = judge([("Qwen2.5:0.5b", DIGEST), ("*", "")])


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "listen": Endpoint("127.0.0.1", 8080),
        "upstream": "http://127.0.0.1:11434",
        "policy": "policy.yaml",
        "revision": "sha256:" + "a" * 64,
        "mode": "enforce",
        "workers": 1,
        "admin": "",
        "audit": "standard output",
        "allowed": ("qwen2.5:0.5b", "mistral:7b", "llama*"),
        "served": SERVED,
        "warnings": (),
    }
    return Report(**{**fields, **changes})


def shown(capsys: pytest.CaptureFixture[str], one: Report) -> str:
    show(one, as_json=False)
    return capsys.readouterr().out


def test_it_names_what_guards_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report(workers=2, admin="127.0.0.1:9003"))
    for part in (
        "http://127.0.0.1:8080  (this machine only)",
        "Envoy asks the policy server (2 processes)",
        "http://127.0.0.1:11434",
        "policy.yaml  sha256:aaaaaaaaaaaa",
        "http://127.0.0.1:9003/metrics",
        "standard output",
        "curl http://127.0.0.1:8080/v1/chat/completions",
    ):
        assert part in text


def test_models_stand_beside_their_digests(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report())
    assert "qwen2.5:0.5b  sha256:0e181def0868\n" in text
    assert "mistral:7b  (not served now)\n" in text
    assert "llama*\n" in text


def test_a_policy_without_models_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "models    none\n" in shown(capsys, report(allowed=()))


def test_a_long_list_is_cut_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report(allowed=tuple(f"m:{number}" for number in range(25))))
    assert "m:19" in text
    assert "m:20" not in text
    assert "and 5 more" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_open_listener_is_called_open(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "(open to the network)" in shown(capsys, report(listen=Endpoint(host, 8080)))


def test_monitoring_is_not_mistaken_for_enforcing(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report(mode="monitor"))
    assert "mode monitor: recorded, not enforced (but for endpoints" in text
    assert "nothing is refused" not in text


def test_warnings_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    warning = "[bold]not markup[/] " + "long " * 60
    assert f"warning   {warning}\n" in shown(capsys, report(warnings=(warning,)))


def test_json_is_one_line_with_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    show(report(warnings=("careful",)), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert (document["event"], document["listen"]) == ("up", "127.0.0.1:8080")
    assert document["warnings"] == ["careful"]
    assert document["allowed"] == [
        {"name": "qwen2.5:0.5b", "digest": DIGEST, "served": True},
        {"name": "mistral:7b", "digest": "", "served": False},
        {"name": "llama*", "digest": "", "served": None},
    ]
    assert "served" not in document


def test_where_nobody_said_what_is_served_nothing_is_claimed() -> None:
    assert allowed_models(["a:1"], ()) == [AllowedModel("a:1", "", None)]


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1:8080"), ("::", "[::1]:8080")])
def test_the_curl_line_reaches_an_open_listener(host: str, reached: str) -> None:
    assert f"http://{reached}/v1" in curl(report(listen=Endpoint(host, 8080)))


def test_the_curl_line_asks_the_first_model_that_is_no_pattern() -> None:
    words = shlex.split(curl(report(allowed=("llama*", "it's:1"))))
    assert json.loads(words[-1])["model"] == "it's:1"
    assert json.loads(shlex.split(curl(report(allowed=("*",))))[-1])["model"] == "MODEL"
