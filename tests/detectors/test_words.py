"""What a normalised text is cut into."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.detectors.normalise import normalise
from extproc.detectors.words import Unspaced, is_unspaced, latin_words, spans_of, tokens_of

UNSPACED = Unspaced(["忽略", "指令", "指令集", "지시", "ลืม"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \n ", ["\n"]),
        (
            "don't ignore-all_of <b>2</b>",
            ["don", "'", "t", "ignore", "-", "all", "_", "of", "<", "b", ">", "2", "<", "/", "b", ">"],
        ),
        ("a1 b.c\n", ["a1", "b", ".", "c", "\n"]),
        ("निर्देशों को भूल", ["निर्देशों", "को", "भूल"]),
        ("निर्देश।ignore؟", ["निर्देश", "।", "ignore", "؟"]),
        ("אignore אall", ["א", "ignore", "א", "all"]),
        ("забудь правила", ["забудь", "правила"]),
        ("请忽略指令集。ok", ["请", "忽略", "指令集", "。", "ok"]),
        ("忽略了指令", ["忽略", "了", "指令"]),
        ("忽忽略", ["忽", "忽略"]),
        ("그지시를", ["그", "지시", "를"]),
        ("我爱你", ["我", "爱", "你"]),
        ("指", ["指"]),
        ("ეს忽略", ["ეს", "忽略"]),
        ("ስለdan", ["ስለ", "dan"]),
        ("🔓x🔒", ["🔓", "x", "🔒"]),
        ("𐍈𐌰𠀀𠀁", ["𐍈𐌰", "𠀀", "𠀁"]),
    ],
)
def test_tokens_are_words_and_marks(text: str, tokens: list[str]) -> None:
    assert tokens_of(text, UNSPACED) == tokens


def test_without_a_dictionary_unspaced_scripts_are_cut_into_letters() -> None:
    assert tokens_of("忽略 ลืม", Unspaced([])) == ["忽", "略", "ล", "ื", "ม"]


def test_the_longest_word_of_a_dictionary_goes_first() -> None:
    assert Unspaced(["指令", "指令集合", "令集"]).cut("指令集") == ["指令", "集"]
    assert Unspaced(["指令集"]).cut("指令了") == ["指", "令", "了"]


def test_latin_words_leave_out_everything_else() -> None:
    assert latin_words("don't 忽略 a1_b") == ["don", "t", "a1", "b"]


@pytest.mark.parametrize(
    ("text", "unspaced"), [("忽", True), ("지시", True), ("ลืม", True), ("ა", False), ("word", False), ("", False)]
)
def test_which_scripts_have_no_spaces(text: str, unspaced: bool) -> None:
    assert is_unspaced(text) is unspaced


TEXTS = st.one_of(st.text(), st.text(alphabet="忽略指令集지시ลืมeს𠀀🔓 a1.\n'").map(str))


@settings(deadline=None)
@given(TEXTS)
@example("ลืม忽略ა指令集a")
def test_tokens_are_the_text_without_its_blanks(text: str) -> None:
    read = normalise(text).text
    tokens = tokens_of(read, UNSPACED)
    assert all(tokens)
    assert "".join(tokens) == read.replace(" ", "")


@settings(deadline=None)
@given(TEXTS)
def test_each_token_stands_where_its_span_says(text: str) -> None:
    read = normalise(text).text
    tokens = tokens_of(read, UNSPACED)
    spans = spans_of(read, tokens)
    assert [read[start:end] for start, end in spans] == tokens
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
