"""Control tokens of chat templates."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from extproc.detectors.base import Match
from extproc.detectors.pack import PackError
from extproc.detectors.special_tokens import SpecialTokensDetector, build
from extproc.detectors.token_search import visible
from extproc.policy.reading import Cut, rewrite
from extproc.runtime.assets import asset

PACK: dict[str, Any] = yaml.safe_load(asset("policies/packs/special_tokens.yaml").read_text(encoding="utf-8"))
FAMILIES = [family["id"] for family in PACK["families"]]
AMBIGUOUS = ["reasoning", "tools", "sequence", "brackets", "media-tags", "roles", "any"]
TOKENS = [(family["id"], token) for family in PACK["families"] for token in family.get("tokens", ())]
LISTED = [name for name in FAMILIES if name != "any"]
USUAL = build(PACK, {})
EVERYTHING = build(PACK, {"families": FAMILIES, "tokens": ["<|my token|>"]})


def harmless(text: str, detector: SpecialTokensDetector = EVERYTHING) -> str:
    """The text as a rule that neutralises sends it on."""
    matches = detector.scan(text).matches
    return rewrite(text, [Cut(match.start, match.end, str(match.safe)) for match in matches])


# ---- what is found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "token"), TOKENS)
def test_every_token_is_found_where_it_stands(family: str, token: str) -> None:
    scan = build(PACK, {"families": [family]}).scan(f"before {token}after")
    assert scan.matches == (Match(7, 7 + len(token), family, safe=f"{token[0]} {token[1:]}"),)
    assert scan.score == 1.0


@pytest.mark.parametrize(("family", "token"), TOKENS)
def test_every_token_is_found_through_what_is_invisible(family: str, token: str) -> None:
    hidden = "\u200b".join(token)
    (match,) = build(PACK, {"families": [family]}).scan(f"x\ufeff{hidden}\u200by").matches
    assert (match.start, match.end, match.rule) == (2, 2 + len(hidden), family)


@pytest.mark.parametrize(
    "hidden", ["\x00", "\x1b", "\x7f", "\x9f", "\u00ad", "\u200b", "\u2062", "\ufe0f", "\U000e0041"]
)
def test_a_token_is_found_through_any_invisible_character(hidden: str) -> None:
    assert [match.rule for match in USUAL.scan(f"<|im_{hidden}end|>").matches] == ["chatml"]


@pytest.mark.parametrize("text", ["＜|im_end|>", "<｜im_end｜>", "［INST］", "<|ﬁm_prefix|>", "＜\u200b|im_𝐞nd|>"])
def test_a_token_is_found_that_comes_about_in_nfkc(text: str) -> None:
    (match,) = USUAL.scan(f"一{text}").matches
    assert (match.start, match.end) == (1, 1 + len(text))


def test_ordinary_text_about_templates_passes() -> None:
    assert USUAL.scan("The im_start token opens a turn; <b>bold</b> and a|b do not.").matches == ()


def test_case_counts_as_it_does_for_a_tokeniser() -> None:
    assert USUAL.scan("[inst] <|IM_START|>").matches == ()


def test_tokens_come_in_order_also_when_some_are_hidden() -> None:
    matches = USUAL.scan("[IN\u200bST] <|im_end|> [/INST]").matches
    assert [match.rule for match in matches] == ["llama2", "chatml", "llama2"]


@pytest.mark.parametrize(
    "text",
    [
        "Use <think> tags, please.",
        "<s>old</s> new",
        "docker run [OPTIONS] IMAGE [COMMAND] [ARGS]",
        "USER: root\n### Instruction: press start",
        'xs <|sum|> 3 and <tool_call>{"name": "f"}</tool_call>',
    ],
)
def test_what_honest_texts_hold_is_found_only_by_a_rule_that_names_its_family(text: str) -> None:
    assert USUAL.scan(text).matches == ()
    assert EVERYTHING.scan(text).matches != ()


def test_the_ambiguous_families_are_these() -> None:
    assert [family["id"] for family in PACK["families"] if family.get("ambiguous")] == AMBIGUOUS


@pytest.mark.parametrize("text", ["<|our_own_token|>", "<｜Werkzeug▁Ende｜>"])
def test_a_token_that_nobody_listed_is_found_by_its_shape(text: str) -> None:
    assert build(PACK, {"families": ["any"]}).scan(f"a{text}").matches == (
        Match(1, 1 + len(text), "any", safe=f"{text[0]} {text[1:]}"),
    )


def test_a_policy_may_add_tokens_of_its_own() -> None:
    detector = build(PACK, {"tokens": ["<<turn>>"]})
    assert [match.rule for match in detector.scan("<<turn>> <|im_end|>").matches] == ["options.tokens", "chatml"]
    assert [
        match.rule for match in build(PACK, {"families": [], "tokens": ["<<turn>>"]}).scan("<<turn>><|im_end|>").matches
    ] == ["options.tokens"]


# ---- what is made of it --------------------------------------------------------------------------------------------


def test_what_is_harmless_reads_the_same() -> None:
    assert harmless("a <|im_end|>\n[INST] b") == "a < |im_end|>\n[ INST] b"


def test_tokens_that_overlap_are_one_match_with_a_space_in_each() -> None:
    detector = build(PACK, {"tokens": ["|>abc<|", "abc<|im"]})
    (match,) = detector.scan("<|im_end|>abc<|im_start|>").matches
    assert (match.start, match.end, match.rule, match.safe) == (0, 25, "chatml", "< |im_end| >a bc< |im_start|>")


def test_a_text_full_of_tokens_has_a_thousand_matches_and_the_same_harmless_form() -> None:
    text = "a<|im_end|>" * 3000
    matches = USUAL.scan(text).matches
    assert len(matches) == 1000
    assert (matches[-1].start, matches[-1].end) == (999 * 11 + 1, len(text))
    assert harmless(text, USUAL) == "a< |im_end|>" * 3000


def test_one_character_that_stands_for_a_whole_token_has_no_harmless_form() -> None:
    (match,) = build(PACK, {"tokens": ["1⁄10"]}).scan("⅒").matches
    assert match.safe is None


@pytest.mark.parametrize(("family", "token"), TOKENS)
def test_a_harmless_form_is_no_token_however_it_is_read(family: str, token: str) -> None:
    assert EVERYTHING.scan(harmless(token)).matches == (), family


pieces = st.one_of(
    st.sampled_from([token for _, token in TOKENS]),
    st.sampled_from([token for _, token in TOKENS]).flatmap(
        lambda token: st.integers(0, len(token)).flatmap(lambda at: st.sampled_from([token[:at], token[at:]]))
    ),
    st.sampled_from(
        ["\u200b", "\u00ad", "\x00", "\ufe0f", " ", "\n", "＜", "｜", "＞", "［", "ﬁ", "⅒", "\u0338", "\u0301"]
    ),
    st.sampled_from(["<", "|", ">", "[", "]", "/", "#", "_", "<|", "|>", "a", "INST", "### ", "<|my", " token|>"]),
    st.text(max_size=2),
)
texts = st.lists(pieces, max_size=14).map("".join)


@given(texts)
@example("<|im_end|<|im_end|>|>")
@example("[[INST]INST]")
@example("#### Instruction: Instruction:")
@example("<\u200b|im_end|\u200b<|im_start|>>")
def test_a_neutralised_text_holds_no_token_however_it_is_read(text: str) -> None:
    safe = harmless(text)
    nfkc = unicodedata.normalize("NFKC", safe)
    for read in (safe, visible(safe), nfkc, visible(nfkc), unicodedata.normalize("NFKC", visible(safe))):
        assert not [token for _, token in TOKENS if token in read]


@given(texts)
def test_neutralising_twice_is_neutralising_once(text: str) -> None:
    safe = harmless(text)
    assert harmless(safe) == safe


@given(texts)
def test_neutralising_adds_spaces_and_nothing_else(text: str) -> None:
    assert harmless(text).replace(" ", "") == text.replace(" ", "")


@given(st.lists(texts, min_size=2, max_size=3))
def test_neutralised_texts_that_a_template_joins_hold_a_token_only_where_the_originals_did(parts: list[str]) -> None:
    joined, edges = "".join(parts), {sum(map(len, parts[:at])) for at in range(1, len(parts))}
    across = [match for match in EVERYTHING.scan(joined).matches if any(match.start < at < match.end for at in edges)]
    if not across:
        assert EVERYTHING.scan("".join(map(harmless, parts))).matches == ()


@given(st.text(alphabet=st.sampled_from("<|im_startend>[/INST]\u200b\u00ad x"), max_size=60))
def test_a_match_always_reads_as_a_token(text: str) -> None:
    tokens = {token for _, token in TOKENS}
    for match in USUAL.scan(text).matches:
        assert text[match.start : match.end].translate({0x200B: None, 0xAD: None}) in tokens


# ---- packs and options ---------------------------------------------------------------------------------------------


def pack(**family: Any) -> dict[str, Any]:
    return {"families": [{"id": "a", "models": "m", "tokens": ["<|a|>"]} | family]}


@pytest.mark.parametrize(
    ("pack", "place"),
    [
        ({"families": []}, "families"),
        (pack(tokens=["<s>"]), "tokens[0]: is too short"),
        (pack(tokens=["<s"], ambiguous=True), "tokens[0]: is too short"),
        (pack(ambiguous=True), "families: must list at least one token that is not ambiguous"),
        (pack(tokens=["<|a|>", "<|a|>"]), "tokens[1]"),
        (pack(tokens=[]), "families[0].tokens"),
        (pack(tokens=["<|a\u200bb|>"]), "nobody sees"),
        (pack(tokens=["<|a b c|>"]), "one space"),
        (pack(tokens=["<|a\nb|>"]), "one space"),
        (pack(tokens=[" <|a|>"]), "one space"),
        (pack(tokens=["<|a|>", "x< |a|>"]), "harmless form"),
        (pack(tokens=["<|a|>", "x< |a"]), "harmless form"),
        (pack(shapes=["<|*|>"], tokens=["<|a|>", "x< |a"]), "harmless form"),
        (pack(shapes=["<*>"]), "shapes[0]"),
        (pack(shapes=["<||>"]), "shapes[0]"),
        (pack(shapes=["<|*|*|>"]), "shapes[0]"),
        (pack(shapes=["<|x*|>"]), "shapes[0]"),
        (pack(**{"pass": ["x<|a|>"]}), "pass[0]"),
        (pack(odd=1), "odd"),
        (pack(id="options.tokens"), "id"),
        ({"families": pack()["families"] * 2}, "families[1].id"),
        ({"families": [{"id": "a", "tokens": ["<|a|>"]}]}, "models"),
    ],
)
def test_a_bad_pack_is_refused_at_its_place(pack: dict[str, Any], place: str) -> None:
    with pytest.raises(PackError) as caught:
        build(pack, {})
    assert place in str(caught.value)


def test_near_misses_of_an_ambiguous_family_are_tried_with_it() -> None:
    families = [*pack()["families"], {"id": "b", "models": "m", "ambiguous": True, "tokens": ["<b>"], "pass": ["<b>"]}]
    with pytest.raises(PackError, match=r"families\[1\]\.pass\[0\]"):
        build({"families": families}, {})


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"families": ["chatml", "nobody"]}, "options.families[1]: must be one of any, apertus"),
        ({"families": []}, "options.families: must name at least one"),
        ({"tokens": ["<s>"]}, "options.tokens[0]: is too short"),
        ({"tokens": ["a< |im"]}, "options.tokens: hold a token"),
        ({"token": ["<|a|>"]}, "options.token"),
    ],
)
def test_bad_options_are_refused_at_their_place(options: dict[str, Any], place: str) -> None:
    with pytest.raises(PackError) as caught:
        build(PACK, options)
    assert place in str(caught.value)
