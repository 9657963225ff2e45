"""Policies for tests: the shipped default with some of its spec replaced."""

from __future__ import annotations

import functools
from typing import Any

import yaml

from extproc.runtime.assets import asset

MODEL = "llama3.2:3b"


@functools.cache
def _default() -> str:
    return asset("policies/default.yaml").read_text(encoding="utf-8")


def policy(**spec: Any) -> str:
    """The default policy as YAML text, for ``MODEL`` and the tool ``get_weather``, with these fields of its spec."""
    document: dict[str, Any] = yaml.safe_load(_default())
    document["metadata"]["name"] = "test"
    document["spec"] |= {
        "models": {"allow": [MODEL], "pinned": True},
        "tools": {"default": "strip", "allow": [{"name": "get_weather"}]},
        "endpoints": {"allow": ["GET /api/tags", "GET /api/version", "GET /v1/models", "GET /health"]},
        **spec,
    }
    return yaml.safe_dump(document, sort_keys=False)
