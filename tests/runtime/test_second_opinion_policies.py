"""Policies with external detectors, from files: what is wrong with them is said at its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.runtime.store import PolicyErrors, load_policy, read_policy
from tests.support.second_opinions import CHAT, document

BOTH = [0, 1]


def write(folder: Path, *args: Any, **fields: Any) -> Path:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document(*args, **fields), sort_keys=False), encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        read_policy(path)
    return [f"{problem.where}: {problem.message}" for problem in caught.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_policy_names_whom_its_rules_ask(folder: Path) -> None:
    policy = load_policy(write(folder, band=BOTH))
    second = policy.rules[0].second
    assert second is not None
    assert (second.detector, second.low, second.high, second.on_timeout) == ("guard", 0, 1, "tier1")
    assert policy.external["guard"].kind == "chat"


@pytest.mark.parametrize(
    ("guard", "where"),
    [
        ({**CHAT, "kind": "chatt"}, "spec.detectors.guard: kind must be one of 'onnx', 'chat', 'grpc', 'moderation'"),
        ({"url": "http://x"}, "spec.detectors.guard: needs a kind"),
        ({**CHAT, "modell": "x"}, 'spec.detectors.guard.modell: unknown field "modell"; did you mean "model"?'),
        ({**CHAT, "url": "ollama:11434"}, "spec.detectors.guard.url: a URL such as"),
        ({**CHAT, "url": "http://me:pass@x/"}, "spec.detectors.guard.url: no credentials in the URL"),
        ({**CHAT, "url": "http://x:99999/"}, "spec.detectors.guard.url: a URL such as"),
        ({**CHAT, "prompt": "lama_guard"}, "spec.detectors.guard.prompt: one of llama_guard, "),
        ({**CHAT, "prompt": "Bad? {text}"}, 'spec.detectors.guard: an own prompt needs "safe" and "unsafe"'),
        ({**CHAT, "safe": ["ok"]}, 'spec.detectors.guard: "llama_guard" has answers of its own'),
        (
            {**CHAT, "prompt": "Bad? {text}", "safe": ["OK"], "unsafe": ["ok"]},
            "spec.detectors.guard: a word means safe or unsafe, once",
        ),
        ({**CHAT, "timeout_s": 60}, "spec.detectors.guard.timeout_s: must be less than limits.decide_s, which is 60"),
        ({**CHAT, "threshold": 2}, "spec.detectors.guard.threshold: must be less than or equal to 1"),
        ({**CHAT, "api_key_env": "NO_SUCH_KEY_9"}, "spec.detectors.guard.api_key_env: the environment has no NO_SUCH"),
        ({"kind": "grpc", "address": "host"}, 'spec.detectors.guard.address: "host:port" or "unix:///path"'),
        (
            {"kind": "grpc", "address": "host:1", "tls_ca": "ca.pem"},
            "spec.detectors.guard.tls_ca: there is no file ",
        ),
        ({"kind": "grpc", "address": "host:1", "tls_key": "k"}, "spec.detectors.guard: tls_cert and tls_key come"),
    ],
    ids=lambda value: value[:70] if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_detector_is_said_at_its_place(folder: Path, guard: dict[str, Any], where: str) -> None:
    (said,) = problems(write(folder, guard, band=BOTH))
    assert said.startswith(where)


def test_a_field_that_a_second_opinion_does_not_have(folder: Path) -> None:
    (said,) = problems(write(folder, rule={"second_opinion": {"from": "guard", "band": BOTH, "on_timeuot": "deny"}}))
    assert said == ('spec.rules[0].second_opinion.on_timeuot: unknown field "on_timeuot"; did you mean "on_timeout"?')


def test_a_rule_that_asks_nobody_who_is_there(folder: Path) -> None:
    path = write(folder, detectors={"gard": CHAT}, band=BOTH)
    assert problems(path) == ['spec.rules[0].second_opinion.from: spec.detectors has no "guard"; did you mean "gard"?']


@pytest.mark.parametrize("band", [[0.9, 0.2], [0.5], [0.2, 1.2], [0.5, 0.5]])
def test_a_band_that_is_none(folder: Path, band: list[float]) -> None:
    (said,) = problems(write(folder, band=band))
    assert said.startswith("spec.rules[0].second_opinion.band")


def test_a_band_must_hold_the_threshold_of_the_rules_own_detector(folder: Path) -> None:
    (said,) = problems(write(folder, band=[0.0, 0.0001]))
    assert said.startswith("spec.rules[0].second_opinion.band: must hold the detector's own threshold, 0.")


def test_only_a_detector_that_may_be_unsure_has_a_second_opinion(folder: Path) -> None:
    (said,) = problems(write(folder, band=BOTH, rule={"detector": "special_tokens", "scope": ["user"]}))
    assert 'only the detector "prompt_injection"' in said


def test_a_missing_extra_is_said_at_the_detector(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnx = {"kind": "onnx", "model": "model.onnx", "tokenizer": "tokenizer.json"}
    (said,) = problems(write(folder, onnx, band=BOTH))
    assert said == ("spec.detectors.guard.kind: needs libraries that are not installed: pip install 'sluicegate[onnx]'")


def test_a_detector_that_no_rule_asks_is_noted_and_needs_nothing(folder: Path) -> None:
    onnx = {"kind": "onnx", "model": "nowhere.onnx", "tokenizer": "tokenizer.json"}
    loaded = read_policy(write(folder, detectors={"guard": CHAT, "other": onnx}, band=BOTH))
    assert "no rule asks it" in " ".join(str(warning) for warning in loaded.warnings)
    assert [*loaded.policy.external] == ["guard"]


def test_a_policy_imports_what_it_names_and_no_more(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from extproc.runtime.store import load_policy\n"
        "load_policy(None); before = [name for name in sys.modules if name.startswith('extproc.runtime.detectors.')]\n"
        "load_policy(Path(sys.argv[1])); print(before, [name for name in KINDS if name in sys.modules])"
    ).replace("KINDS", "('extproc.runtime.detectors.chat', 'extproc.runtime.detectors.onnx_model', 'onnxruntime')")
    path = write(folder, band=BOTH)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "['extproc.runtime.detectors.base'] ['extproc.runtime.detectors.chat']\n"


def test_a_revision_names_whom_is_asked(folder: Path) -> None:
    one = load_policy(write(folder, band=BOTH)).revision
    other = load_policy(write(folder, {**CHAT, "model": "guard:2"}, band=BOTH)).revision
    assert one != other
