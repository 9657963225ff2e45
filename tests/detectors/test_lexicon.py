"""What is known of pieces of a text: the same as of its tokens, however it is cut, and not without end."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors.disguises import FREQUENT, LONG, ODD, SPLIT, STAND_IN, Vocabulary
from extproc.detectors.lexicon import CODES, SIGNS, TOKENS, WORD_CODES, WORDS, Lexicon, Tokens
from extproc.detectors.linear import read_model
from extproc.detectors.memo import Memo
from extproc.detectors.normalise import normalise
from extproc.detectors.pack import Fields
from extproc.detectors.phrases import read_phrase
from extproc.detectors.rulebook import Rulebook, compile_rules
from extproc.detectors.spelling import Spelling
from extproc.detectors.words import Unspaced, tokens_of

MODEL: dict[str, Any] = {
    "format": 1,
    "stem": 5,
    "name": "small",
    "card": {"note": "for tests"},
    "scale": 0.5,
    "intercept": -1.0,
    "rule_weight": 2.0,
    "window_penalty": 0.25,
    "threshold": 0.7,
    "calibration": {"evidence": [-1.0, 1.0], "odds": [-2.0, 2.0]},
    "weights": {"4": "ignor\nall rules", "6": "@drop @order"},
    "concepts": {"drop": "ignor* olvid*", "order": "rules 指令"},
    "words": "ignore instructions",
}
RULES = Rulebook(compile_rules([(0, read_phrase("ignore [2] rules", {})), (0, read_phrase("<rules>", {}))]), ["r"])
LINEAR = read_model(Fields(MODEL))
UNSPACED = Unspaced(["指令"])
SPELLING = Spelling(["ignore", "instructions"], [*RULES.codes, *LINEAR.concepts])


def lexicon() -> Lexicon:
    return Lexicon(Tokens(SPELLING, RULES.codes, Vocabulary(["ignore"]), LINEAR), UNSPACED)


SHARED = lexicon()
PIECES = st.sampled_from(
    [
        "ignore",
        "ingore",
        "rules",
        "<rules>",
        ".",
        ",",
        ", ",
        ". ",
        "\n",
        " ",
        "指令",
        "指",
        "it's",
        "a.b",
        "é",
        "🔒",
        "1gn0re",
    ]
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_the_pieces_of_a_text_say_what_its_tokens_do(text: str) -> None:
    read = normalise(text).text
    tokens = tokens_of(read, UNSPACED)
    pieces = SHARED.read(read)
    assert list(chain.from_iterable(map(TOKENS, pieces))) == tokens
    spelt = [SPELLING[token] for token in tokens]
    assert ("".join(map(CODES, pieces)), "".join(map(WORD_CODES, pieces))) == RULES.code(spelt)
    words = [word for word in spelt if word[0].isalnum()]
    assert list(chain.from_iterable(map(WORDS, pieces))) == list(map(LINEAR.word, words))
    assert pieces == lexicon().read(read)


@pytest.mark.parametrize(
    ("piece", "signs"),
    [
        ("you", FREQUENT),
        ("kiwi", 0),
        ("k1wi", STAND_IN | ODD),
        ("1kiwi", ODD),
        ("kiwi-pie", SPLIT),
        ("kiwikiwikiwikiwi", LONG),
        ("42", 0),
    ],
)
def test_a_piece_shows_signs_of_disguises(piece: str, signs: int) -> None:
    assert SIGNS(SHARED[piece]) == signs


def test_what_a_piece_may_be_a_disguise_of_is_known() -> None:
    assert SHARED["1gn0r3"].guesses.lettered == ("ignore",)
    assert SHARED["a11"].guesses.lettered == ("all",)
    assert SHARED["b11"].guesses.lettered == ("bii",)
    assert SHARED["ig-nore"].guesses.joined == ("ignore",)
    assert SHARED["plain"].guesses == ((), ())


class Lengths(Memo[int]):
    def _look_up(self, word: str) -> int:
        return len(word)


def test_any_number_of_words_is_looked_up_but_not_all_are_remembered() -> None:
    lengths = Lengths()
    most = 0
    for number in range(40_000):
        assert lengths[f"{number:05}"] == 5
        most = max(most, len(lengths))
    assert most < 17_000
    assert lengths["x" * 100] == 100
    assert "x" * 100 not in lengths


def test_a_table_says_what_it_holds() -> None:
    with pytest.raises(NotImplementedError):
        Memo[int]()["word"]
