"""A moderation endpoint: a server from the standard library that answers in OpenAI's form."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.second_opinions import LIKELY, UNLIKELY, unsure
from tests.support.tier2 import http_server, through


def moderation(asked: dict[str, Any], _headers: dict[str, str]) -> Any:
    (text,) = asked["input"]
    bad = "bomb" in text
    scores = {"hate": 0.99, "violence": 0.8 if bad else 0.1, "jailbreak": 0}
    return {"id": "m-1", "model": "text-moderation", "results": [{"flagged": bad, "category_scores": scores}]}


def test_the_largest_score_of_the_categories_counts_and_no_other() -> None:
    with http_server(moderation) as url:
        section = {"kind": "moderation", "url": f"{url}/v1/moderations", "categories": ["violence", "jailbreak"]}
        bad, good = through(unsure({**section, "timeout_s": 30}), f"{UNLIKELY} bomb", f"{LIKELY} cake")
    assert (bad.status, bad.record.findings[0].score) == (403, 0.8)
    assert (good.status, good.record.second_opinions) == (0, ["guard:cleared"])


def test_without_categories_it_is_what_is_flagged() -> None:
    with http_server(moderation) as url:
        section = {"kind": "moderation", "url": f"{url}/v1/moderations", "timeout_s": 30}
        bad, good = through(unsure(section), f"{UNLIKELY} bomb", f"{LIKELY} cake")
    assert (bad.status, good.status) == (403, 0)


@pytest.mark.parametrize(
    ("result", "categories"),
    [({"flagged": "no"}, []), ({}, []), ({"flagged": False}, ["hate"]), ({"category_scores": [0.1]}, ["hate"])],
)
def test_a_result_that_does_not_say_is_no_answer(result: dict[str, Any], categories: list[str]) -> None:
    with http_server(lambda _asked, _headers: {"results": [result]}) as url:
        section = {"kind": "moderation", "url": url, "timeout_s": 30, "categories": categories}
        (passage,) = through(unsure(section, "deny"), LIKELY)
    assert passage.record.second_opinions == ["guard:skipped:garbage"]


@pytest.mark.parametrize(("trusted", "said"), [(True, "guard:cleared"), (False, "guard:skipped:unreachable")])
def test_https_asks_only_whom_the_authorities_vouch_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, said: str
) -> None:
    authority = Authority("inside")
    theirs = authority.issue("moderation")
    for name, content in (("cert", theirs.certificate), ("key", theirs.key)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ca").write_bytes(authority.certificate if trusted else Authority("another").certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
    with http_server(moderation, context) as url:
        (passage,) = through(unsure({"kind": "moderation", "url": url, "timeout_s": 30}), LIKELY)
    assert passage.record.second_opinions == [said]


def test_the_model_is_sent_if_one_is_named() -> None:
    seen: list[Any] = []

    def answer(asked: dict[str, Any], headers: dict[str, str]) -> Any:
        seen.append(asked)
        return moderation(asked, headers)

    with http_server(answer) as url:
        for model in ({}, {"model": "omni"}):
            through(unsure({"kind": "moderation", "url": url, "timeout_s": 30, **model}), UNLIKELY)
    assert seen == [{"input": [UNLIKELY]}, {"input": [UNLIKELY], "model": "omni"}]
