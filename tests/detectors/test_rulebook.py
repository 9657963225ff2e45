"""All phrases of a pack: their codes, and which of them occur."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from extproc.detectors import rulebook as module
from extproc.detectors.phrases import BREAK, OTHER, UNKNOWN_MARK, read_list, read_phrase
from extproc.detectors.rulebook import Found, Rulebook, compile_rules

LISTS = {
    "drop": read_list(["(ignore|forget|disregard*)"], {}),
    "orders": read_list(["(rules|orders|instruction*)"], {}),
}


def compiled(*phrases: str) -> dict[str, Any]:
    """The phrases, each of a rule of its own; through JSON, as they are kept."""
    rules = compile_rules([(at, read_phrase(phrase, LISTS)) for at, phrase in enumerate(phrases)])
    result: dict[str, Any] = json.loads(json.dumps(rules))
    return result


def book(*phrases: str) -> Rulebook[str]:
    return Rulebook(compiled(*phrases), phrases)


def found(rulebook: Rulebook[str], text: str, before: int = 0, behind: int = 0) -> list[Found[str]]:
    return rulebook.find(*rulebook.code(text.split(" ")), before, behind)


# ---- codes -------------------------------------------------------------------------------------------------------


def test_words_of_the_same_lists_share_a_code_and_others_do_not() -> None:
    codes = book("@drop @orders", "forget it").codes
    assert codes["rules"] == codes["orders"] == codes["instruction"] == codes["instructions"]
    assert codes["ignore"] == codes["disregarding"]
    assert len({codes["ignore"], codes["forget"], codes["rules"], codes["it"], codes["none"]}) == 5


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("none", OTHER),
        ("7", OTHER),
        ("👀👀", OTHER),
        (".", BREAK),
        ("。", BREAK),
        ("§", UNKNOWN_MARK),
        ("\n", "\n"),
        (":", ":"),
    ],
)
def test_what_no_phrase_names_is_alike(token: str, code: str) -> None:
    assert book("forget it:").codes[token] == code


def test_a_word_has_the_code_of_its_longest_beginning_and_is_in_the_sets_of_all() -> None:
    rulebook = book("go ab*", "go abc*", "go abcd")
    assert len({rulebook.codes[word] for word in ("abx", "abcx", "abcd")}) == 3
    assert rulebook.codes["a"] == OTHER
    assert rulebook.codes["ab" + "c" * 20] == OTHER
    for word, rules in (("abx", 1), ("abcx", 2), ("abcd", 3), ("abcdx", 2)):
        assert len(found(rulebook, f"go {word}")) == rules


def test_any_number_of_words_is_looked_up_but_not_all_are_remembered() -> None:
    codes = book("@drop @orders").codes
    first = {word: codes[word] for word in ("forget", "disregarded", "other", "§")}
    most = 0
    for number in range(20_000):
        assert codes[f"word{number}"] == OTHER
        most = max(most, len(codes))
    assert most < 9_000
    assert {word: codes[word] for word in first} == first


def test_words_of_scripts_without_spaces_are_given_to_cut_by() -> None:
    assert sorted(book("忘记 (指令|令)", "забудь правила").unspaced) == ["忘记", "指令"]


# ---- finding -----------------------------------------------------------------------------------------------------


def test_each_rule_is_found_once_and_where() -> None:
    rulebook = book("@drop [2] @orders", "stop")
    assert found(rulebook, "now forget all the rules and ignore orders") == [Found("@drop [2] @orders", 1, 5, False)]
    assert [each.rule for each in found(rulebook, "stop , ignore orders")] == ["@drop [2] @orders", "stop"]
    assert found(rulebook, "the rules to forget") == []
    assert found(book(), "anything") == []


def test_several_phrases_of_a_rule_are_one_rule() -> None:
    rules = compile_rules([(0, read_phrase("red", {})), (1, read_phrase("blue", {})), (0, read_phrase("green", {}))])
    assert found(Rulebook(rules, ["warm", "cold"]), "green red") == [Found("warm", 1, 2, False)]
    assert found(Rulebook(rules, ["warm", "cold"]), "green blue") == [
        Found("cold", 1, 2, False),
        Found("warm", 0, 1, False),
    ]


def test_a_phrase_without_marks_is_matched_against_words_and_breaks_only() -> None:
    rulebook = book("forget it", "forget: it")
    assert found(rulebook, "* forget * * it") == [Found("forget it", 0, 2, False)]
    assert found(rulebook, "* forget : it") == [Found("forget it", 0, 2, False), Found("forget: it", 1, 4, True)]
    assert found(rulebook, "forget . it") == []
    coded, words = rulebook.code(["*", "forget", "*", "_", "it", "."])
    assert words == rulebook.code(["forget", "it", "."])[0]
    assert rulebook.places_of_words(coded, 0) == [1, 4, 5]
    assert rulebook.places_of_words(coded, 2) == [4, 5]


def test_what_surrounds_a_slice_is_looked_at_but_not_matched() -> None:
    rulebook = book("<!(not|do not)@drop it", "^go:", "stop it !(now)")
    assert len(found(rulebook, "x forget it")) == 1
    assert found(rulebook, "do not forget it", 2) == []
    assert len(found(rulebook, "do not x forget it", 2)) == 1
    assert found(rulebook, "forget it x", 1) == []
    assert found(rulebook, "x go :", 1) == []
    assert len(found(rulebook, "\n go :", 1)) == 1
    assert found(rulebook, "stop it now", 0, 1) == []
    assert len(found(rulebook, "stop it x", 0, 1)) == 1
    assert found(rulebook, "x stop it", 0, 2) == []
    assert len(found(rulebook, "* * forget it * *", 2, 2)) == 1


def test_an_expression_is_compiled_when_its_phrase_first_could_match(monkeypatch: pytest.MonkeyPatch) -> None:
    rulebook = book("forget [2] it", "stop [2] it")
    sources: list[str] = []

    def compile_one(source: str) -> re.Pattern[str]:
        sources.append(source)
        return re.compile(source)

    monkeypatch.setattr(module, "re", SimpleNamespace(compile=compile_one))
    assert found(rulebook, "nothing of that , but it") == []
    assert found(rulebook, "forget") == []
    assert sources == []
    assert found(rulebook, "forget about it")
    assert found(rulebook, "forget about it")
    assert len(sources) == 1


class Counting:
    """Stands in for an expression's search and counts how often it is begun."""

    def __init__(self) -> None:
        self.tries = 0

    def compile(self, source: str) -> SimpleNamespace:
        match = re.compile(source).match

        def counted(coded: str, place: int) -> re.Match[str] | None:
            self.tries += 1
            return match(coded, place)

        return SimpleNamespace(match=counted)


@pytest.mark.parametrize("pieces", [10, 100, 1000])
def test_a_phrase_is_tried_once_for_each_place_where_it_could_begin(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    monkeypatch.setattr(module, "re", counting)
    rulebook = book("@drop [2] @orders", "stop it", "rules:")
    assert found(rulebook, "ignore x forget x x x " * pieces + "orders ignore rules") != []
    assert counting.tries <= 2 * pieces + 2


def test_what_rules_compile_to_does_not_depend_on_how_often_it_is_done() -> None:
    phrases: Sequence[str] = ("@drop [2] @orders", "(a|b|c d) !(e|f g) [~3]:", "忘记(指令|规则)")
    assert json.dumps(compiled(*phrases)) == json.dumps(compiled(*phrases))
