"""docs/policy.md says what the schema says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.detectors import DETECTORS
from extproc.policy.document import PolicyDocument, SpecDocument
from extproc.policy.problems import inspect
from extproc.runtime.assets import PACKAGE
from extproc.runtime.yaml_source import read_yaml

REFERENCE = (PACKAGE.parent / "docs" / "policy.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL))


def fields(model: Any, path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        kind = get_args(field.annotation)[0] if get_origin(field.annotation) is list else field.annotation
        if hasattr(kind, "model_fields"):
            yield from fields(kind, f"{path}{name}.")


def example() -> Any:
    return read_yaml(REFERENCE.split("```yaml\n")[1].split("```")[0]).data


def named(data: Any, path: str = "") -> Iterator[str]:
    if isinstance(data, list):
        for item in data:
            yield from named(item, path)
    elif isinstance(data, dict):
        for name, value in data.items():
            yield f"{path}{name}"
            yield from named(value, f"{path}{name}.")


def test_the_complete_example_is_valid() -> None:
    assert inspect(example())[1] == []


def test_the_complete_example_names_every_field() -> None:
    assert set(named(example())) == set(fields(PolicyDocument))


def test_the_complete_example_shows_the_defaults() -> None:
    document = PolicyDocument.model_validate(example())

    assert document.spec.limits == SpecDocument().limits
    assert document.spec.refusal == SpecDocument().refusal


@pytest.mark.parametrize("field", [field for field in fields(PolicyDocument) if field.count(".") <= 2 and "." in field])
def test_every_field_has_its_row(field: str) -> None:
    *_, section, name = field.split(".")

    assert re.search(rf"^\| [^|]*`{name}`", SECTIONS[section], re.MULTILINE)


@pytest.mark.parametrize("name", [*DETECTORS, *REQUEST_SCOPES, *RESPONSE_SCOPES])
def test_every_detector_and_scope_has_its_row(name: str) -> None:
    assert re.search(rf"^\| `{re.escape(name)}` \|", SECTIONS["rules"], re.MULTILINE)
