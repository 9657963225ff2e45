from __future__ import annotations

import pytest

from extproc.policy.tools import ToolDefault, compile_tools


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("get_weather", True), ("files_read", True), ("files_", True), ("Get_Weather", False), ("get_weather2", False),
     ("get_weather\n", False), ("xget_weather", False), ("", False)],
)  # fmt: skip
@pytest.mark.parametrize("default", ["strip", "deny"])
def test_a_tool_is_allowed_by_its_exact_name_or_a_glob(default: ToolDefault, name: str, allowed: bool) -> None:
    assert compile_tools(default, ["get_weather", "files_*"]).allows(name) == allowed


def test_no_tool_is_allowed_where_none_is_named() -> None:
    assert not compile_tools("strip", []).allows("get_weather")


def test_every_tool_is_allowed_where_that_is_the_default() -> None:
    assert compile_tools("allow", []).allows("anything")
