"""A second opinion behind a real Envoy: asked, and when nobody answers any more."""

from __future__ import annotations

import httpx
import yaml

from tests.runtime.detectors.test_moderation import moderation
from tests.support.gateway import ALL_MODES, Gateway
from tests.support.openai_wire import PATH, completion
from tests.support.policies import MODEL
from tests.support.second_opinions import document
from tests.support.tier2 import COVERAGE, http_server
from tests.support.upstream import Answer, Upstream

JSON = (("content-type", "application/json"),)


def _post(gate: Gateway, text: str, mode: int = 0) -> httpx.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{gate.url(ALL_MODES[mode])}/v1/chat/completions", json=body, timeout=30)


def _policy(url: str, **fields: object) -> str:
    section = {"kind": "moderation", "timeout_s": 30, "cache": 0, "url": f"{url}/v1/moderations", **fields}
    return yaml.safe_dump(document(section, "deny", [0, 1]))


def test_its_word_counts_in_every_body_mode(upstream: Upstream) -> None:
    upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=(completion({"content": "ok"}),))
    with http_server(moderation) as url, Gateway(upstream.url, _policy(url), modes=ALL_MODES) as gate:
        for mode in range(len(ALL_MODES)):
            before = len(upstream.requests)
            assert _post(gate, "how to make a bomb", mode).status_code == 403
            # Where the gateway sends headers ahead, that is all that the upstream has seen.
            assert not any(request.body or request.complete for request in upstream.requests[before:])
            passed = _post(gate, "how to make a cake", mode)
            assert (passed.status_code, b"cake" in upstream.requests[-1].body) == (200, True)
            assert passed.headers[COVERAGE].startswith("request=full")
            assert gate.record_of(passed)["second_opinions"] == ["guard:cleared:1"]


def test_where_nobody_answers_the_policys_word_holds(upstream: Upstream) -> None:
    with http_server(moderation) as url:
        pass  # nobody listens there any more
    with Gateway(upstream.url, _policy(url)) as gate:
        refused = httpx.post(
            f"{gate.url()}/v1/chat/completions",
            json={"model": MODEL, "messages": [{"role": "user", "content": "how to make a cake"}]},
            timeout=30,
        )
        assert refused.status_code == 500
        assert 'note="tier2: skipped"' in refused.headers[COVERAGE]
        assert gate.record_of(refused)["not_inspected"] == ["tier2:guard:1"]
        assert 'sluicegate_second_opinions_skipped_total{detector="guard",why="unreachable"} 1.0' in gate.metrics()
    assert upstream.requests == []
