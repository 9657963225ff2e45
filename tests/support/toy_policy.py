"""A small policy on disk with a pack of its own, for the verbs that load one."""

from __future__ import annotations

from pathlib import Path

KEY = "toy_" + "zWq3LbX9dK5m2R8p"
MARKER = "[REDACTED:toy-key]"

_PACK = f"""
owasp: ["LLM02:2025"]
alphabets: {{alnum: "0-9A-Za-z"}}
rules:
  - id: toy-key
    provider: Toy
    title: Key
    severity: high
    literals: [toy_]
    body: alnum{{16}}
    match: ["{KEY[::-1]}"]
    pass: ["toy_short"]
"""
_POLICY = """
apiVersion: sluicegate.dev/v1
kind: Policy
metadata: {name: toy}
spec:
  rules:
    - {id: keys, detector: secrets, pack: toy, scope: [user], action: redact, owasp: ["LLM02:2025"]}
    - {id: noted, detector: secrets, pack: toy, scope: [system], action: flag, owasp: ["LLM02:2025"]}
    - {id: stopped, detector: secrets, pack: toy, scope: [document], action: deny, mode: enforce, owasp: ["LLM02:2025"]}
"""


def write_toy_policy(folder: Path) -> Path:
    """Write a policy that redacts ``KEY`` in user texts, flags it in system texts and denies it in documents."""
    (folder / "packs").mkdir()
    (folder / "packs" / "toy.yaml").write_text(_PACK, encoding="utf-8")
    path = folder / "policy.yaml"
    path.write_text(_POLICY, encoding="utf-8")
    return path
