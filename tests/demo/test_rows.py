from __future__ import annotations

import pytest

from extproc.demo.clients import Clients
from extproc.demo.rows import ROWS, Row
from extproc.demo.standin import Standin


def test_every_row_has_its_own_title() -> None:
    assert len({row.title for row in ROWS}) == len(ROWS) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_without_a_gate_the_upstream_answers_it(row: Row) -> None:
    with Standin() as standin, Clients(standin.url) as clients:
        assert not row.ask(clients).refused
