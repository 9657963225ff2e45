"""What a request's headers say where a policy lets the unknown pass."""

from __future__ import annotations

import pytest

from extproc.intake import take_in
from tests.support.policies import policy
from tests.support.sessions import compiled

RESPELT = [
    "POST /v1beta/models/m%3AgenerateContent",
    "POST /v1/chat/completions/",
    "POST /V1/Chat/Completions",
    "post /api/chat",
    "POST /mcp/",
]


def refused(line: str, *allow: str) -> bool:
    method, path = line.split(" ")
    under = compiled(policy(on_unknown="allow", endpoints={"allow": [*allow]}))
    return take_in(under, ((":method", method), (":path", path)), "d").denial is not None


@pytest.mark.parametrize("line", RESPELT)
def test_a_guarded_api_in_another_spelling_does_not_pass_as_unknown(line: str) -> None:
    assert refused(line)


@pytest.mark.parametrize("line", ["POST /v1/audio/speech", "GET /v1/models/a%3Ab", "GET /v1/chat/completions", "GET /"])
def test_what_is_unknown_passes_where_the_policy_says_so(line: str) -> None:
    assert not refused(line)


def test_what_the_policy_names_itself_passes() -> None:
    assert not refused("POST /V1/Chat/Completions", "POST /V1/Chat/Completions")
