"""Answers told in tokens: which of it is a copy, and that nothing in it stays unread."""

from __future__ import annotations

import pytest

from extproc.chat import Json, TextDelta
from extproc.dialects.answers import copy_of, logprobs, token_ids, unknown_members


@pytest.mark.parametrize(
    "members",
    [
        {"token_ids": [1]},
        {"prompt_token_ids": [1]},
        {"tokens": ["a"]},
        {"__verbose": {"timings": {}}},
        {"unheard_of": [1, 2]},
        {"meta": {"pairs": [["a", 7]]}},
    ],
)
@pytest.mark.parametrize("choice", [2, ~2])
def test_token_ids_are_a_copy_of_their_choice(members: dict[str, Json], choice: int) -> None:
    (name,) = members
    drops = [each for each in unknown_members(members, frozenset(), ("m",), choice) if each.drop]
    assert drops == [copy_of((2, "logprobs"), ("m", name))]


def test_other_members_are_no_token_ids() -> None:
    members: Json = {"token_ids": None, "tokens": [], "score": 1, "flags": [True], "shares": [0.5], "names": ["a"]}
    assert isinstance(members, dict)
    assert list(token_ids(members, (), 0)) == []


def told(node: Json) -> tuple[str, set[str]]:
    """The chosen tokens, and what stands beside them."""
    chosen, *others = logprobs(2, node, ("l",))
    assert chosen == copy_of((2, "logprobs"), ("l",), chosen.text)
    for other in others:
        assert other == TextDelta((2, "logprobs"), other.text, ("l",), drop=True, alone=True)
    return chosen.text, {text for other in others for text in other.text.split("\n")}


@pytest.mark.parametrize(
    "node",
    [
        {"content": [{"token": "He", "bytes": [72, 101], "top_logprobs": []}, {"token": "y"}], "refusal": None},
        {"content": None, "refusal": [{"token": "He"}, {"token": "y", "top_logprobs": [{"token": "y", "logprob": 0}]}]},
        [{"token": "He", "id": 7, "prob": 0.5}, {"token": "y", "bytes": None}],
        {"tokens": ["He", "y"], "token_logprobs": [-1.0, None], "top_logprobs": None, "text_offset": [0, 2]},
        [{"content": "He", "probs": [{"tok_str": "He", "prob": 1}]}, {"content": "y"}],
    ],
)
def test_the_chosen_tokens_of_every_form_are_joined(node: Json) -> None:
    assert told(node) == ("Hey", set())


def test_tokens_of_one_character_in_two_bytes_are_spelled() -> None:
    assert told([{"token": "é", "bytes": [195, 169]}, {"token": "\ud83d", "bytes": [237, 160, 189]}]) == (
        "é\ud83d",
        set(),
    )


@pytest.mark.parametrize(
    "node",
    [
        {"content": [{"token": "a", "top_logprobs": [{"token": "a"}, {"token": "other", "bytes": [111]}]}]},
        {"content": [{"token": "a", "top_logprobs": [{"token": "x", "bytes": list(b"other")}]}]},
        {"content": [{"token": "a", "bytes": list(b"other")}]},
        {"content": [{"token": "a", "note": ["other"]}]},
        {"content": [{"token": "a", "other": 1}]},
        {"content": [{"token": "a", "content": "other"}]},
        {"tokens": ["a"], "top_logprobs": [{"a": -1.0, "other": -2.0}, None]},
        {"tokens": ["a"], "other": None},
        {"tokens": ["a"], "bytes": list(b"other")},
        {"tokens": ["a"], "note": "other"},
        [{"token": "a", "top_probs": [{"token": "other", "prob": 0.1}]}],
        [{"content": "a", "probs": [{"tok_str": "other"}, {"tok_str": ""}]}],
        ["a", ["other"]],
    ],
)
def test_alternatives_and_bytes_are_a_text_of_their_own(node: Json) -> None:
    chosen, others = told(node)
    assert chosen == "a"
    assert "other" in others


def test_nothing_is_no_copy() -> None:
    assert list(logprobs(0, None, ("l",))) == []


def test_log_probabilities_without_tokens_are_still_known_as_a_copy() -> None:
    assert told({"content": [{"logprob": -1}]}) == ("", set())
    assert told({"content": [{"bytes": [72]}]}) == ("", {"H"})
    assert told({"content": [{"bytes": [300, 72]}]}) == ("", set())
    assert told("bare") == ("", {"bare"})
