"""Which dialect speaks, and how a path that none claims is refused."""

from __future__ import annotations

import json

import pytest

from extproc.dialects import DIALECTS, dialect_for, refusal_for
from tests.dialects.support import DENIAL


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/chat/completions", "openai.chat"),
        ("POST", "/api/chat", "ollama.chat"),
        ("POST", "/api/generate", "ollama.generate"),
        ("POST", "/v1/embeddings", "openai.embeddings"),
        ("POST", "/api/embed", "ollama.embed"),
        ("POST", "/api/embeddings", "ollama.embeddings"),
        ("GET", "/v1/models", "openai.models"),
        ("GET", "/v1/models/org/name-7b:latest", "openai.models"),
        ("GET", "/v1/models/", None),
        ("GET", "/v1/models/a//b", None),
        ("GET", "/v1/models/../x", None),
        ("GET", "/v1/models/a%20b", None),
        ("DELETE", "/v1/models/a", None),
        ("GET", "/api/tags", "ollama.tags"),
        ("GET", "/api/version", "ollama.version"),
        ("HEAD", "/api/version", None),
        ("GET", "/api/ps", "ollama.ps"),
        ("POST", "/api/show", "ollama.show"),
        ("GET", "/api/show", None),
        ("GET", "/", None),
        ("GET", "/health", None),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/chat/completions/", None),
        ("POST", "/V1/chat/completions", None),
        ("POST", "/v1/chat/%63ompletions", None),
        ("POST", "/chat/completions", None),
        ("POST", "/api/chat?x", None),
    ],
)
def test_a_dialect_claims_its_exact_method_and_path(method: str, path: str, name: str | None) -> None:
    dialect = dialect_for(method, path)
    assert (dialect.name if dialect else None) == name


def test_no_two_dialects_share_a_name() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


def test_a_refusal_takes_the_shape_of_the_paths_family() -> None:
    ollama, openai = refusal_for("/api/pull", DENIAL), refusal_for("/v1/embeddings", DENIAL)
    assert ollama.status == openai.status == 403
    assert json.loads(ollama.body) == {"error": DENIAL.message}
    assert json.loads(openai.body)["error"]["code"] == "content_policy_violation"
