"""What a text is looked up by."""

from __future__ import annotations

import pytest

from extproc.detectors.words import places_of, stems_of, stems_of_literal, words_of


def test_words_are_what_stands_between_spaces_and_punctuation() -> None:
    assert words_of("don't ignore-all_of <b>2</b>") == ["don", "t", "ignore", "all", "of", "b", "2", "b"]
    assert words_of("निर्देशों को भूल, 请ignore") == ["निर्देशों", "को", "भूल", "ignore"]
    assert words_of("אignore אall") == ["א", "ignore", "א", "all"]


def test_every_stem_of_a_text_is_seen() -> None:
    text = "don't ignore 3 правила 忽略指令"
    assert stems_of(text, words_of(text)) == {"don", "t", "igno", "3", "прав", "忽略", "略指", "指令"}


@pytest.mark.parametrize(
    ("literal", "starred", "stems"),
    [
        ("ignore", False, {"igno"}),
        ("all", False, {"all"}),
        ("all", True, set()),
        ("pre-prompt", False, {"pre", "prep"}),
        ("don't", False, {"don", "dont"}),
        ("<!--system", False, {"syst"}),
        ("http", True, {"http"}),
        ("忽略", False, {"忽略"}),
        ("略", False, set()),
        ("ai助手", False, {"ai"}),
        ("[", False, set()),
    ],
)
def test_a_literal_gives_the_stems_that_any_text_with_it_has(literal: str, starred: bool, stems: set[str]) -> None:
    assert stems_of_literal(literal, starred=starred) == stems


def test_a_phrase_is_looked_for_at_the_beginning_of_words() -> None:
    assert list(places_of("rule", "rule overrule ruler", 0, 19)) == [0, 14]
    assert list(places_of("rule", "rule overrule ruler", 1, 16)) == []
    assert list(places_of("略指", "忽略指令", 0, 4)) == [1]
    assert list(places_of("[", "a[b", 0, 3)) == [1]
