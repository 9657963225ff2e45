"""Misspelt words and what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors.spelling import Spelling

KEYS = ["ignore", "previous", "instructions", "prompt", "system", "rules", "print", "dan", "правила"]


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("ignore", "ignore"),
        ("ingore", "ignore"),
        ("igonre", "ignore"),
        ("ignroe", "ignore"),
        ("gnore", "ignore"),
        ("rompt", "rompt"),  # the first letter stays
        ("ignre", "ignore"),
        ("ignor", "ignore"),
        ("ignored", "ignored"),  # one more letter makes another word, more often than not
        ("iggnore", "iggnore"),
        ("ignxore", "ignxore"),
        ("prevvious", "prevvious"),
        ("prvs", "previous"),
        ("instrctns", "instructions"),
        ("instruction", "instructions"),
        ("prmpt", "prompt"),
        ("rules", "rules"),
        ("ruels", "rules"),
        ("ruls", "rules"),
        ("rls", "rules"),
        ("rles", "rules"),
        ("rulles", "rulles"),  # too short to be sure
        ("rule", "rule"),
        ("pritn", "print"),
        ("pint", "pint"),
        ("syste", "system"),
        ("dna", "dna"),
        ("dn", "dn"),
        ("правлиа", "правлиа"),
        ("a", "a"),
        ("", ""),
        (".", "."),
        ("ignorantly", "ignorantly"),
        ("instructionsxxx", "instructionsxxx"),
        ("ignøre", "ignøre"),
    ],
)
def test_a_slip_is_undone_and_nothing_else(word: str, read: str) -> None:
    assert Spelling(KEYS)[word] == read


def test_words_that_are_right_stay() -> None:
    assert Spelling(KEYS, ["ingore", "prvs"])["ingore"] == "ingore"
    assert Spelling(KEYS, ["prvs"])["prvs"] == "prvs"
    assert Spelling([*KEYS, "ingore"])["ingore"] == "ingore"


def test_of_two_words_the_first_is_meant() -> None:
    assert Spelling(["trials", "trails"])["trilas"] == "trials"
    assert Spelling(["trails", "trials"])["trilas"] == "trails"
    assert Spelling(["mailed", "moiled"])["mled"] == "mailed"


def test_without_key_words_every_word_is_itself() -> None:
    assert Spelling([])["ignore"] == "ignore"


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=14), st.text("ignoreprvus", max_size=10)), max_size=20))
def test_what_a_word_is_read_as_is_read_as_itself(words: list[str]) -> None:
    spelling = Spelling(KEYS)
    for word in words:
        assert spelling[word] in {*KEYS, word}
        assert spelling[spelling[word]] == spelling[word]
