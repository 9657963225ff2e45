"""A policy with ``retries`` whose injection rule scores by a word: ``attack`` is refused, ``nearly`` comes close."""

from __future__ import annotations

from typing import Any, Final

import yaml

from extproc.detectors.base import Match, Scan
from extproc.policy.compiler import CompiledPolicy, compile_policy
from extproc.policy.document import PolicyDocument
from tests.support.policies import policy

CONSUMER: Final = "x-consumer-id"
RETRIES: Final = {
    "consumer": f"header:{CONSUMER}",
    "refusals": 2,
    "window_s": 100,
    "cooldown_s": 50,
    "score": 0.3,
}


class Scorer:
    """A detector of two words."""

    name = "scorer"

    def scan(self, text: str) -> Scan:
        if "attack" in text:
            return Scan((Match(0, len(text), "attack", 0.9),), 0.9)
        return Scan((), 0.3 if "nearly" in text else 0.29)


def retries_policy(retries: dict[str, Any] | None = None, **spec: Any) -> CompiledPolicy:
    """A policy with one rule, ``injection``, and ``RETRIES`` with these changes."""
    rule = {"id": "injection", "detector": "prompt_injection", "scope": ["user", "tool_result"], "action": "deny"}
    spec = {"rules": [rule], "retries": {**RETRIES, **(retries or {})}, **spec}
    document = PolicyDocument.model_validate(yaml.safe_load(policy(**spec)))
    return compile_policy(document, {each.id: Scorer() for each in document.spec.rules}, "sha256:0")
