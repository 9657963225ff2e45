"""Refusals: a denial in the shape that the client's own library understands, with the decision's id.

What lives here: putting together what dialects phrase. What must not: whether to refuse.
"""

from __future__ import annotations

from typing import Final

from extproc.chat import ChatRequest, Denial
from extproc.dialects.base import Dialect
from extproc.messages import HttpReply, Refuse

DECISION_HEADER: Final = "x-sluicegate-decision-id"


def phrase(denial: Denial, dialect: Dialect, request: ChatRequest | None, *, as_message: bool) -> HttpReply:
    """An API's own error; or, ``as_message``, a 200 answer to a request that could be read."""
    if request is not None and as_message:
        return dialect.refusal_message(denial, request)
    return dialect.refusal(denial, request)


def refuse(denial: Denial, http: HttpReply, late: bytes | None, *headers: tuple[str, str]) -> Refuse:
    """The reply that says it. ``late`` is what to end with where the status has left already."""
    headers = ((DECISION_HEADER, denial.decision_id), *headers, *http.headers)
    return Refuse(HttpReply(http.status, http.body, http.content_type, headers), late)
