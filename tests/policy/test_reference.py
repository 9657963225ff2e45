"""docs/policy.md says what the schema says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import pytest

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES, UNSEEN
from extproc.detectors import DETECTORS
from extproc.policy.document import PolicyDocument, SpecDocument
from extproc.policy.parameters import DEFAULTS
from extproc.policy.problems import inspect
from extproc.policy.unseen import DEFAULTS as UNSEEN_DEFAULTS
from extproc.runtime.assets import PACKAGE
from extproc.runtime.yaml_source import read_yaml

REFERENCE = (PACKAGE.parent / "docs" / "policy.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL))


# Mappings whose keys are the author's own.
OWN_KEYS = frozenset({"spec.parameters.", "spec.endpoints.aliases.", "spec.detectors."})


def fields(model: Any, path: str = "") -> Iterator[str]:
    for named_as, field in model.model_fields.items():
        name = field.alias or named_as
        yield f"{path}{name}"
        kind, below = field.annotation, f"{path}{name}."
        if get_origin(kind) is dict:
            below += "*."
        if get_origin(kind) in (list, dict):
            kind = get_args(kind)[-1]
            kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        for each in get_args(kind) if get_origin(kind) is UnionType else (kind,):  # kinds, or one that may be absent
            if hasattr(each, "model_fields"):
                yield from fields(each, below)


def example() -> Any:
    return read_yaml(REFERENCE.split("```yaml\n")[1].split("```")[0]).data


def named(data: Any, path: str = "") -> Iterator[str]:
    if isinstance(data, list):
        for item in data:
            yield from named(item, path)
    elif isinstance(data, dict):
        for name, value in data.items():
            if path in OWN_KEYS:
                yield from named(value, f"{path}*.")
            else:
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


PATHS = dict.fromkeys(field.replace(".*", "") for field in fields(PolicyDocument))
ROWS = [path for path in PATHS if 1 <= path.count(".") <= 2]


@pytest.mark.parametrize("field", ROWS)
def test_every_field_has_its_row(field: str) -> None:
    *_, section, name = field.split(".")

    assert re.search(rf"^\| [^|]*`{name}`", SECTIONS[section], re.MULTILINE)


@pytest.mark.parametrize("name", [*DETECTORS, *REQUEST_SCOPES, *RESPONSE_SCOPES])
def test_every_detector_and_scope_has_its_row(name: str) -> None:
    assert re.search(rf"^\| `{re.escape(name)}` \|", SECTIONS["rules"], re.MULTILINE)


@pytest.mark.parametrize("name", [*DEFAULTS])
def test_every_parameter_that_has_a_default_is_listed_with_it(name: str) -> None:
    treatment, why = DEFAULTS[name]
    row = rf"^\| [^|]*`{re.escape(name)}`[^|]* \| `{treatment}` \| {re.escape(why)} \|$"

    assert re.search(row, SECTIONS["parameters"], re.MULTILINE)


@pytest.mark.parametrize("kind", UNSEEN)
def test_every_kind_of_content_is_listed_with_what_happens_to_it(kind: str) -> None:
    row = rf"^\| [^|]*`{kind}`[^|]* \| `{UNSEEN_DEFAULTS[kind]}` \|"

    assert re.search(row, SECTIONS["not_inspected"], re.MULTILINE)
