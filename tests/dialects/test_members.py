"""Typed members: absent, right, or malformed, never converted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.chat import Json, Malformed
from extproc.dialects.members import (
    UNBOUNDED,
    Members,
    flag,
    largest,
    object_,
    objects,
    required_string,
    string,
    whole_number,
)


@pytest.mark.parametrize("members", [{}, {"x": None}])
def test_missing_and_null_are_absent(members: Members) -> None:
    assert string(members, "x") is None
    assert whole_number(members, "x") is None
    assert object_(members, "x") is None
    assert objects(members, "x") == []
    assert flag(members, "x") is False
    assert flag(members, "x", default=True) is True
    assert largest(members, ("x", "y")) is None
    with pytest.raises(Malformed, match="'x' is required"):
        required_string(members, "x")


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        (string, [1, True, [], {}]),
        (required_string, [1, False]),
        (flag, ["true", 1, 0]),
        (whole_number, ["1", True, [1]]),
        (object_, ["x", [], 1]),
        (objects, [{}, "x", ["x"], [{}, None]]),
    ],
)
def test_another_type_is_malformed_and_only_the_name_is_told(
    read: Callable[[Members, str], object], wrong: list[Json]
) -> None:
    for value in wrong:
        with pytest.raises(Malformed, match="'member'"):
            read({"member": value}, "member")


def test_the_largest_spelling_counts_rounded_up() -> None:
    assert largest({"a": 3, "b": 7.2, "c": None}, ("a", "b", "c")) == 8


@pytest.mark.parametrize("value", [0, -1, -2, -0.5])
def test_a_limit_of_zero_or_less_is_no_limit(value: float) -> None:
    assert largest({"a": value, "b": 10}, ("a", "b"), unbounded_at=0) == UNBOUNDED
