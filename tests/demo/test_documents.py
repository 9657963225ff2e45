"""The front-door documents say what is so: their links lead somewhere, their policy is one, their verbs exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from extproc.cli import VERBS
from extproc.policy.document import PolicyDocument

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/README.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_within_the_repository_leads_somewhere(name: str) -> None:
    document = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link).exists()] == []


def test_the_policy_in_the_readme_is_a_policy() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    policy = PolicyDocument.model_validate(yaml.safe_load(block))
    assert {rule.detector for rule in policy.spec.rules} == {"prompt_injection", "secrets"}


def test_the_verbs_in_the_index_are_the_verbs_there_are() -> None:
    named = re.findall(r"^\| `sluicegate (\w+)", (ROOT / "docs" / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(name for name, _ in VERBS)


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
