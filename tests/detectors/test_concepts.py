"""What words of many languages say."""

from __future__ import annotations

import pytest

from extproc.detectors.concepts import Concepts
from extproc.detectors.pack import Fields, PackError

WORDS = {"drop": "forget olvid* vergiss 忘记 忘", "order": "rule* rulebook 指令", "never": "olv ni*"}


@pytest.mark.parametrize(
    ("word", "concept"),
    [
        ("forget", "@drop"),
        ("forgets", ""),
        ("olvida", "@drop"),
        ("olvid", "@drop"),
        ("olvi", ""),
        ("olv", "@never"),
        ("ol", ""),
        ("", ""),
        ("rules", "@order"),
        ("忘记", "@drop"),
        ("忘", "@drop"),
        ("other", ""),
    ],
)
def test_a_word_has_the_concept_that_names_it_or_its_beginning(word: str, concept: str) -> None:
    assert Concepts(Fields(WORDS))[word] == concept


def test_the_longest_beginning_goes_first() -> None:
    concepts = Concepts(Fields({"one": "abc*", "two": "abcd*"}))
    assert [concepts[word] for word in ("abcx", "abcdx")] == ["@one", "@two"]


def test_words_of_scripts_without_spaces_are_given_to_cut_by() -> None:
    assert Concepts(Fields(WORDS)).unspaced == ("忘记", "指令")


def test_without_words_there_are_no_concepts() -> None:
    concepts = Concepts(Fields({}))
    assert concepts["forget"] == ""
    assert concepts.unspaced == ()


def test_a_concept_without_words_is_refused_at_its_place() -> None:
    with pytest.raises(PackError, match=r"model\.drop: must be a non-empty string"):
        Concepts(Fields({"drop": ""}, ("model",)))
