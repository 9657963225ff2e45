"""Kubernetes manifests against the schemas of their kinds, as the API server reads them, without one.

What lives here: loading documents and structural validation, where a field that the schema does not know is an error: a
misspelt ``failOpen`` must not pass for one that was left out. What must not: what a manifest should say.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import jsonschema
import yaml

Document: TypeAlias = dict[str, Any]

_SCHEMAS: Final = Path(__file__).parent.parent / "attachments" / "crds"


def documents(folder: Path) -> list[Document]:
    """All documents of a folder's YAML files, in order."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(all_documents: list[Document], kind: str) -> list[Document]:
    """Those of one kind."""
    return [document for document in all_documents if document["kind"] == kind]


def problems(document: Document) -> list[str]:
    """What the schema of the document's kind finds wrong.

    Raises:
        LookupError: there is no schema of that kind.
    """
    schema = _schemas()[document["apiVersion"], document["kind"]]
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def has_schema(document: Document) -> bool:
    """Whether the kind is one whose schema is kept here."""
    return (document["apiVersion"], document["kind"]) in _schemas()


@functools.cache
def _schemas() -> Mapping[tuple[str, str], Document]:
    return {(version, kind): schema for version, kind, schema in _read_schemas()}


def _read_schemas() -> Iterator[tuple[str, str, Document]]:
    for path in _SCHEMAS.glob("*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        schema = _strict(kept["schema"])
        schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
        yield kept["apiVersion"], kept["kind"], schema


def _strict(schema: Document) -> Document:
    """A Kubernetes structural schema as a JSON Schema in which unknown fields are errors."""
    out = dict(schema)
    if out.pop("x-kubernetes-int-or-string", False):
        out.pop("anyOf", None)
        out["type"] = ["integer", "string"]
    open_ended = out.pop("x-kubernetes-preserve-unknown-fields", False)
    if out.pop("nullable", False):
        out["type"] = [out["type"], "null"]
    if "properties" in out:
        out["properties"] = {name: _strict(value) for name, value in out["properties"].items()}
        if not open_ended:
            out.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _strict(out[key])
    return out
