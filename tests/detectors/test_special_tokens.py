"""Control tokens of chat templates."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extproc.detectors.base import Match
from extproc.detectors.pack import PackError
from extproc.detectors.special_tokens import SpecialTokensDetector, build
from extproc.runtime.assets import asset

PACK: dict[str, Any] = yaml.safe_load(asset("policies/packs/special_tokens.yaml").read_text(encoding="utf-8"))
TOKENS = [(family["id"], token) for family in PACK["families"] for token in family["tokens"]]


@pytest.fixture(scope="module")
def detector() -> SpecialTokensDetector:
    return build(PACK, {})


@pytest.mark.parametrize(("family", "token"), TOKENS)
def test_every_token_is_found_where_it_stands(detector: SpecialTokensDetector, family: str, token: str) -> None:
    scan = detector.scan(f"before {token}after")
    assert scan.matches == (Match(7, 7 + len(token), family),)
    assert scan.score == 1.0


@pytest.mark.parametrize(("family", "token"), TOKENS)
def test_every_token_is_found_through_what_is_invisible(
    detector: SpecialTokensDetector, family: str, token: str
) -> None:
    hidden = "\u200b".join(token)
    assert detector.scan(f"x\ufeff{hidden}\u200by").matches == (Match(2, 2 + len(hidden), family),)


def test_ordinary_text_about_templates_passes(detector: SpecialTokensDetector) -> None:
    assert detector.scan("The im_start token opens a turn; <b>bold</b> and a|b do not.").matches == ()


def test_case_counts_as_it_does_for_a_tokeniser(detector: SpecialTokensDetector) -> None:
    assert detector.scan("[inst] <|IM_START|>").matches == ()


def test_tokens_come_in_order_also_when_some_are_hidden(detector: SpecialTokensDetector) -> None:
    matches = detector.scan("[IN\u200bST] <|im_end|> [/INST]").matches
    assert [match.rule for match in matches] == ["llama2", "chatml", "llama2"]


@pytest.mark.parametrize(
    ("pack", "place"),
    [
        ({"families": []}, "families"),
        ({"families": [{"id": "a", "models": "m", "tokens": ["<s>"]}]}, "tokens[0]"),
        ({"families": [{"id": "a", "models": "m", "tokens": ["<|a|>", "<|a|>"]}]}, "tokens[1]"),
        ({"families": [{"id": "a", "models": "m", "tokens": ["<|a|>"], "pass": ["x<|a|>"]}]}, "pass[0]"),
        ({"families": [{"id": "a", "models": "m", "tokens": ["<|a|>"], "odd": 1}]}, "odd"),
        ({"families": [{"id": "a", "tokens": ["<|a|>"]}]}, "models"),
    ],
)
def test_a_bad_pack_is_refused_at_its_place(pack: dict[str, Any], place: str) -> None:
    with pytest.raises(PackError) as caught:
        build(pack, {})
    assert place in str(caught.value)


@given(st.text(alphabet=st.sampled_from("<|im_startend>[/INST]\u200b\u00ad x"), max_size=60))
def test_a_match_always_reads_as_a_token(text: str) -> None:
    tokens = {token for _, token in TOKENS}
    for match in build(PACK, {}).scan(text).matches:
        assert text[match.start : match.end].translate({0x200B: None, 0xAD: None}) in tokens
