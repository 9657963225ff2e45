"""Large texts: with Hyperscan the same is found as without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors import bulk, matcher, secrets
from extproc.detectors.base import Scan
from extproc.detectors.bulk import BULK_MIN, Bulk
from extproc.detectors.secrets import SecretsDetector

hyperscan = pytest.importorskip("hyperscan", reason="needs the extra 'fast'")

PACK: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "policies/packs/secrets.yaml").read_text(encoding="utf-8")
)
MATCHES = [text[::-1] for rule in PACK["rules"] for text in rule["match"]]
PASSES = [text for rule in PACK["rules"] for text in rule["pass"]]
LITERALS = [literal for rule in PACK["rules"] for literal in rule.get("literals", ())]
NAMES = ['password = "', "DB_PASSWORD=", '"api_key": "', "token str= ", "\u212aey: ", "key\u00a0= ", "--password "]
VALUES = ["q8RvT2xLm9", "Zx7_kQ2pL9vR4tW8nB3mXy5", "changeme"]
GUARDS = ["a", "9", "\\n", "%3D", "\\u003d", "\\", "é", "=", "\\\\t", "%", "🔑", "\u2003", "n", "\ud800", "?"]
GUARDS += ["it'", "b'", "`", "'", "=9d1be02c", "/1234567", ":A", "-us", "0/"]

fragments = st.one_of(
    st.sampled_from(MATCHES),
    st.sampled_from(PASSES),
    st.sampled_from(LITERALS),
    st.sampled_from(NAMES),
    st.sampled_from(VALUES),
    st.sampled_from(GUARDS),
    st.text(max_size=8),
)
texts = st.lists(fragments, max_size=12).map("".join)


def detector(with_hyperscan: bool) -> SecretsDetector:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "available", lambda: with_hyperscan)
        return secrets.build(PACK, {})


FAST = detector(with_hyperscan=True)
PURE = detector(with_hyperscan=False)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text counts as large."""
    monkeypatch.setattr(matcher, "BULK_MIN", 0)
    monkeypatch.setattr(secrets, "BULK_MIN", 0)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_the_same_is_found_with_and_without_it(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matcher, "BULK_MIN", 0)
        patch.setattr(secrets, "BULK_MIN", 0)
        assert FAST.scan(text) == PURE.scan(text)


@pytest.mark.parametrize("rule", PACK["rules"], ids=lambda rule: rule["id"])
@pytest.mark.usefixtures("eager")
def test_every_example_is_found_behind_every_guard(rule: dict[str, Any]) -> None:
    for text in (*(example[::-1] for example in rule["match"]), *rule["pass"]):
        for guard in GUARDS:
            assert FAST.scan(guard + text) == PURE.scan(guard + text)


def test_a_large_text_is_searched_whatever_its_characters() -> None:
    text = f"{'ünd so weiter … ' * (BULK_MIN // 8)}{MATCHES[0]}{' and more' * 100}"
    assert FAST.scan(text) == PURE.scan(text) != Scan()
    assert FAST.scan("plain " * BULK_MIN) == Scan()


@pytest.mark.parametrize("step", ["_compile", "_scan"])
def test_where_it_fails_the_text_is_searched_without_it(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []

    def fail(*_: object) -> None:
        attempts.append(step)
        raise hyperscan.error

    monkeypatch.setattr(Bulk, step, fail)
    broken = detector(with_hyperscan=True)
    text = f"{'some words ' * (BULK_MIN // 8)}{MATCHES[0]} "
    assert broken.scan(text) == broken.scan(text) == PURE.scan(text) != Scan()
    assert attempts == [step]  # it is not tried again


def test_several_threads_may_search_at_once() -> None:
    text = f"{'some words ' * (BULK_MIN // 8)}{MATCHES[0]} "
    fresh = detector(with_hyperscan=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fresh.scan, [text] * 16))
    assert set(found) == {PURE.scan(text)}


def test_a_literal_that_the_copy_would_hide_is_searched_for_without_it() -> None:
    rule = {**PACK["rules"][0], "literals": ["k?y-"], "body": "alnum{20}", "match": [], "pass": []}
    del rule["tail"]
    odd = secrets.build({**PACK, "rules": [rule], "keywords": []}, {})
    text = " " * BULK_MIN + "k?y-" + "a1B2c3D4e5F6g7H8i9J0"
    assert [(match.start, match.end) for match in odd.scan(text).matches] == [(BULK_MIN, len(text))]


def test_the_places_are_those_of_guarded_literals() -> None:
    finders = Bulk(["key_", "k."]).finders(" key_ xkey_ \\nkey_ k. xk. \\nk.")
    assert finders is not None
    literal, connector = finders
    places, at = [], 0
    while (at := literal(" ", at)) >= 0:
        places.append(at)
        at += 1
    assert places == [1, 14, 19, 28]
    assert connector(" ", 0) == -1
