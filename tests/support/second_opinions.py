"""A policy whose rule is unsure of texts that say so, for tests of the second opinion: no rule pack, no model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from extproc.detectors.base import Match, Scan
from extproc.policy.compiler import CompiledPolicy, compile_policy
from extproc.policy.document import PolicyDocument
from extproc.policy.problems import inspect
from extproc.runtime.detectors import prepared
from tests.support.policies import MODEL

BAND: Final = [0.25, 0.75]
THRESHOLD: Final = 0.5
SURE: Final = "[0.9]"  # above the band: tier 1 finds it
LIKELY: Final = "[0.6]"  # in the band: tier 1 alone would find it
UNLIKELY: Final = "[0.4]"  # in the band: tier 1 alone would not
CLEAN: Final = "hello"  # below it
CHAT: Final = {"kind": "chat", "url": "http://127.0.0.1:9/v1/chat/completions", "model": "guard:1"}


class ScoreDetector:
    """Gives a text the largest score that it names in brackets, such as ``[0.6]``."""

    name = "prompt_injection"
    threshold = THRESHOLD

    def scan(self, text: str) -> Scan:
        found = [(float(each[1]), each) for each in re.finditer(r"\[([01]\.\d+)\]", text)]
        score = max((score for score, _ in found), default=0.0)
        matches = tuple(Match(each.start(), each.end(), "score", score) for score, each in found if score >= THRESHOLD)
        return Scan(matches, score)


def document(
    guard: Mapping[str, Any] = CHAT, on_timeout: str = "tier1", band: list[float] = BAND, **spec: Any
) -> dict[str, Any]:
    """A policy document with one rule, which asks ``guard``. ``rule`` among ``spec`` adds to that rule."""
    rule = {
        "id": "injection",
        "detector": "prompt_injection",
        "scope": ["user", "tool_result", "document", "response.tool_result"],
        "action": "deny",
        "owasp": ["LLM01:2025"],
        "second_opinion": {"from": "guard", "band": band, "on_timeout": on_timeout},
        **spec.pop("rule", {}),
    }
    patient = {"decide_s": 60}  # so that no test depends on how busy the machine is
    spec = {
        "models": {"allow": [MODEL]},
        "limits": patient,
        "detectors": {"guard": dict(guard)},
        "rules": [rule],
        **spec,
    }
    return {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "test"}, "spec": spec}


def unsure(
    guard: Mapping[str, Any] = CHAT,
    on_timeout: str = "tier1",
    folder: Path = Path(),
    environ: Mapping[str, str] | None = None,
    **spec: Any,
) -> CompiledPolicy:
    """That document compiled, with ``ScoreDetector`` for its rules."""
    found, problems = inspect(document(guard, on_timeout, **spec))
    assert found is not None, problems
    return _compiled(found, folder, environ or {})


def _compiled(found: PolicyDocument, folder: Path, environ: Mapping[str, str]) -> CompiledPolicy:
    policy = compile_policy(found, {rule.id: ScoreDetector() for rule in found.spec.rules}, "sha256:0")
    external = {name: prepared(each, folder, environ) for name, each in policy.external.items()}
    return replace(policy, external=external)
