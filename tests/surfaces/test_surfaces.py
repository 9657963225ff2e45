"""No place of any API is left out, and each does what the matrix says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest

from tests.dialects import shared
from tests.surfaces import matrix
from tests.surfaces.__main__ import PAGE, generated, page

DESCRIBED = [name for name in shared.NAMES if shared.has_surfaces(name)]
INPUTS = [(name, row) for name in DESCRIBED for row in shared.surfaces(name).inputs]
OUTPUTS = [(name, row) for name in DESCRIBED for row in shared.surfaces(name).outputs]

NAMES_UNREAD: frozenset[str] = frozenset()
found_holes = functools.cache(matrix.holes)


def labels(rows: list[tuple[str, Mapping[str, Any]]]) -> list[str]:
    return [f"{name}-{row['field']}" for name, row in rows]


@pytest.mark.parametrize(("name", "row"), INPUTS, ids=labels(INPUTS))
def test_what_a_request_carries_is_read_or_refused(name: str, row: Mapping[str, Any]) -> None:
    assert matrix.incoming(shared.surfaces(name), row).problems == ()


@pytest.mark.parametrize(("name", "row"), OUTPUTS, ids=labels(OUTPUTS))
def test_what_an_answer_carries_is_read_or_refused(name: str, row: Mapping[str, Any]) -> None:
    assert matrix.outgoing(shared.surfaces(name), row).problems == ()


@pytest.mark.parametrize("name", DESCRIBED)
def test_no_string_of_any_exchange_passes_unread(name: str) -> None:
    assert [hole for hole in found_holes(name) if not hole.path.endswith(matrix.A_KEY)] == []


@pytest.mark.parametrize("name", DESCRIBED)
def test_no_name_of_an_unknown_member_passes_unread(name: str, request: pytest.FixtureRequest) -> None:
    if name in NAMES_UNREAD:
        request.applymarker(pytest.mark.xfail(reason="the value of an unknown member is read, its name is not"))
    assert [hole for hole in found_holes(name) if hole.path.endswith(matrix.A_KEY)] == []


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_rows_of_a_dialect_name_different_places(name: str) -> None:
    described = shared.surfaces(name)
    for rows in (described.inputs, described.outputs):
        assert len({(row["field"], "events" in row) for row in rows}) == len(rows)


def test_the_page_is_current() -> None:
    assert page(PAGE.read_text(encoding="utf-8"), generated(matrix.matrix())) == PAGE.read_text(encoding="utf-8")
