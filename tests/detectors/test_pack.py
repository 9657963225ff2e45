"""Every reader names the place of what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.detectors.pack import Fields, PackError

FIELDS = Fields(
    {
        "word": "a",
        "empty": "",
        "count": 3,
        "share": 0.5,
        "yes": True,
        "list": ["a"],
        "map": {"b": 1},
        "mixed": ["a", 1],
    },
    ("rules", 2),
)


def test_good_values_are_given_as_they_are() -> None:
    assert FIELDS.string("word") == "a"
    assert FIELDS.integer("count") == 3
    assert FIELDS.number("share") == 0.5
    assert FIELDS.number("count") == 3.0
    assert FIELDS.flag("yes") is True
    assert FIELDS.strings("list") == ("a",)
    assert FIELDS.choice("word", ("a", "b")) == "a"
    assert FIELDS.mapping("map").integer("b") == 1


def test_an_absent_field_gives_its_default() -> None:
    assert FIELDS.string("none", "x") == "x"
    assert FIELDS.integer("none", 7) == 7
    assert FIELDS.number("none", 0.25) == 0.25
    assert FIELDS.flag("none", default=True) is True
    assert FIELDS.strings("none", ("x",)) == ("x",)
    assert FIELDS.mapping("none").names() == ()
    assert "none" not in FIELDS
    assert "word" in FIELDS


@pytest.mark.parametrize(
    ("read", "place", "message"),
    [
        (lambda: FIELDS.string("none"), "none", "is required"),
        (lambda: FIELDS.string("empty"), "empty", "must be a non-empty string"),
        (lambda: FIELDS.string("count"), "count", "must be a non-empty string"),
        (lambda: FIELDS.integer("word"), "word", "must be a whole number of at least 0"),
        (lambda: FIELDS.integer("yes"), "yes", "must be a whole number of at least 0"),
        (lambda: FIELDS.integer("count", minimum=4), "count", "must be a whole number of at least 4"),
        (lambda: FIELDS.number("yes"), "yes", "must be a finite number"),
        (lambda: FIELDS.flag("count"), "count", "must be true or false"),
        (lambda: FIELDS.strings("word"), "word", "must be a list"),
        (lambda: FIELDS.strings("mixed"), "mixed", "must be a non-empty string"),
        (lambda: FIELDS.choice("word", ("b", "c")), "word", "must be one of b, c"),
        (lambda: FIELDS.mappings("list"), "list", "must be a mapping"),
        (lambda: FIELDS.mapping("word"), "word", "must be a mapping"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected(read: Callable[[], object], place: str, message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        read()
    assert caught.value.where[:3] == ("rules", 2, place)
    assert caught.value.message == message


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(PackError, match="must be a finite number"):
        Fields({"share": value}).number("share")


def test_a_bad_element_is_named_by_its_index() -> None:
    with pytest.raises(PackError) as caught:
        FIELDS.strings("mixed")
    assert caught.value.where == ("rules", 2, "mixed", 1)


def test_a_field_that_nobody_reads_is_refused() -> None:
    fields = Fields({"known": "a", "unknwon": "b"})
    assert fields.string("known") == "a"
    with pytest.raises(PackError, match="unknwon: is not a known field"):
        fields.close()


def test_keys_that_are_not_strings_are_refused() -> None:
    with pytest.raises(PackError, match="must have strings as keys"):
        Fields({1: "a"}).names()


def test_an_error_reads_as_a_path() -> None:
    assert str(PackError(("rules", 3, "body"), "is required")) == "rules[3].body: is required"
    assert str(PackError((), "must be a mapping")) == "pack: must be a mapping"
