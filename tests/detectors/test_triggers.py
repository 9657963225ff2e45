"""Finding places: guards, escapes, literals begun, and the cursor over two kinds of places."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from extproc.detectors.triggers import CONTEXT, DEPTH, Cursor, Literals, guard_of


@dataclass(frozen=True)
class Word:
    led: bool = False


def literals(*words: str, led: bool = False) -> Literals[Word]:
    return Literals({word: (Word(led),) for word in words})


def places(table: Literals[Word], text: str) -> list[int]:
    found, at = [], 0
    while (at := table.find(text, at + 1)) >= 0:
        found.append(at)
    return found


@pytest.mark.parametrize(
    "before", [" ", "\n", '"', "=", "_", "-", "é", "\\n", "\\t", "\\\\n", "%3D", "%20", "\\x3d", "\\u003d", "/"]
)
def test_a_literal_is_found_behind_anything_that_is_no_letter_or_digit(before: str) -> None:
    text = f" {before}key_"
    assert places(literals("key_"), text) == [1 + len(before)]
    assert literals("key_").find(text, 1 + len(before)) == 1 + len(before)


@pytest.mark.parametrize("before", ["a", "Z", "7", "n", "\\q", "3D", "%G1", "\\u3d"])
def test_a_literal_within_a_word_is_not_a_place(before: str) -> None:
    assert places(literals("key_"), f" {before}key_ ") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" it'key_", []),
        (" we’key_", []),
        (" DON'key_", []),
        (" b'key_", [3]),
        (" ='key_", [3]),
        (" N'key_", [3]),
        (" \\n'key_", [4]),
        (" \\\\t'key_", [5]),
    ],
)
def test_the_apostrophe_of_a_contraction_guards_nothing(text: str, found: list[int]) -> None:
    assert places(literals("key_"), text) == found


@pytest.mark.parametrize(("text", "found"), [(" sk-a", [1]), (" sk-", [1]), (" sk- ", []), (" sk-longer ", [1])])
def test_a_short_literal_is_a_place_only_with_what_must_follow_it(text: str, found: list[int]) -> None:
    table = Literals({"sk-": (Word(),), "sk-longer": (Word(),)}, follows={"sk-": "[0-9a]"})
    assert places(table, text) == found


def test_what_begins_like_any_number_is_a_place_behind_an_opening_character_only() -> None:
    table = Literals({"key_": (Word(),)}, beginning=r"(?<=[='])[0-9]{1,10}+(?::(?:A|\Z)|(\Z))")
    assert places(table, " id 123:A ='45:A '67:B '89") == [12, 24]


def test_an_escape_may_guard_two_places() -> None:
    assert places(literals("npm_", "pm_"), " \\npm_") == [2, 3]


def test_the_search_goes_on_behind_a_place_even_within_it() -> None:
    assert places(literals("key_"), " key_key_ -key_") == [1, 5, 11]


@pytest.mark.parametrize("size", range(1, 11))
def test_a_literal_begun_where_the_text_ends_is_a_place_down_to_the_depth_of_the_trie(size: int) -> None:
    table = literals("longliteral")
    assert places(table, " " + "longliteral"[:size]) == [1]
    assert places(table, " " + "longliteral"[:size] + " ") == ([1] if size >= DEPTH else [])


def test_a_node_says_what_is_whole_what_goes_on_and_whether_that_hides_anything() -> None:
    table = Literals({"ab": (Word(),), "abcdef": (Word(led=True),), "abx": (Word(),)})
    end, node = table.at("abcd", 0) or pytest.fail("nothing there")
    assert (end, node.ends, node.hides) == (4, False, False)
    assert node.whole == ((Word(), 2),)
    assert node.longer == (("abcdef", (Word(led=True),)),)
    end, node = table.at("abc?", 0) or pytest.fail("nothing there")
    assert (end, node.ends) == (2, True)
    assert node.hides
    assert table.at("a?", 0) is None
    assert table.at("", 0) is None


def test_what_can_only_be_the_beginning_of_a_hidden_literal_is_listed() -> None:
    table = Literals({"ab": (Word(),), "abcdef": (Word(),), "xyz": (Word(led=True),)})
    assert table.begun == {"a"}


def test_a_guard_is_looked_for_further_back_only_where_an_escape_may_be() -> None:
    assert guard_of("abcdefgh", 8) == 7
    assert guard_of("ab\\u003d", 8) == 8 - CONTEXT
    assert guard_of("%3D", 3) == 0


def test_a_cursor_merges_two_kinds_and_asks_for_each_place_once() -> None:
    asked: list[tuple[str, int]] = []

    def finder(char: str, text: str, at: int) -> int:
        asked.append((char, at))
        return text.find(char, at)

    cursor = Cursor("a.b..ab", (lambda text, at: finder("a", text, at), lambda text, at: finder("b", text, at)))
    seen, at = [], 0
    while (found := cursor.seek(at))[0] < 7:
        seen.append(found)
        at = found[0] + 1
    assert seen == [(0, 0), (2, 1), (5, 0), (6, 1)]
    assert found[0] == 8
    assert len(asked) == 6


def test_of_two_kinds_at_one_place_the_first_counts() -> None:
    assert Cursor("ab", (lambda text, at: text.find("a", at), lambda text, at: text.find("a", at))).seek(0) == (0, 0)
