"""No place of any API is left out, and each does what the matrix says."""

from __future__ import annotations

import functools

import pytest

from tests.dialects import shared
from tests.surfaces import matrix
from tests.surfaces.__main__ import PAGE, generated, page

DESCRIBED = [name for name in shared.NAMES if shared.has_surfaces(name)]
PLACES = tuple(matrix.places())

found_holes = functools.cache(matrix.holes)


def label(place: matrix.Place) -> str:
    described = shared.surfaces(place.dialect)
    rows = described.inputs if place.direction == "request" else described.outputs
    return f"{place.dialect}-{place.direction}-{rows[place.number]['field']}"


@pytest.mark.parametrize("place", PLACES, ids=label)
def test_what_a_place_carries_is_read_or_refused(place: matrix.Place) -> None:
    assert matrix.cell(place).problems == ()


@pytest.mark.parametrize("name", DESCRIBED)
def test_nothing_in_any_exchange_passes_unread(name: str) -> None:
    assert [hole for hole in found_holes(name) if not hole.path.endswith(matrix.A_KEY)] == []


@pytest.mark.parametrize("name", DESCRIBED)
def test_no_name_of_an_unknown_member_passes_unread(name: str) -> None:
    assert [hole for hole in found_holes(name) if hole.path.endswith(matrix.A_KEY)] == []


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_rows_of_a_dialect_name_different_places(name: str) -> None:
    described = shared.surfaces(name)
    for rows in (described.inputs, described.outputs):
        assert len({(row["field"], "events" in row) for row in rows}) == len(rows)


def test_the_page_is_current() -> None:
    assert page(PAGE.read_text(encoding="utf-8"), generated(matrix.matrix())) == PAGE.read_text(encoding="utf-8")
