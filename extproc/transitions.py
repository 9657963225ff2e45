"""Where an exchange stands, and what may happen there: the table of (state, event) -> handler.

What lives here: the states and the table, with the names of the Session's methods. What must not: what they do.
A pair that is not in the table is a failure.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from extproc.messages import (
    Closed,
    Consulted,
    Event,
    Expired,
    Misconfigured,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)


class State(enum.Enum):
    """Where an exchange stands."""

    START = "nothing seen yet"
    GATHER = "gathering the request body"
    CONSULT = "waiting for second opinions on the request"
    AWAIT = "request let through, no answer yet"
    ANSWER = "filtering the answer"
    RELAY = "passing both bodies unread"
    OVER = "the record is written: swallow what still comes"

    __hash__ = object.__hash__  # Enum's own is a function in Python, and the table is asked for every event


def _row(
    state: State, event: type, handler: str, *leads_to: State
) -> tuple[tuple[State, type], tuple[str, frozenset[State]]]:
    """``leads_to``: the states besides OVER."""
    return (state, event), (handler, frozenset({*leads_to, State.OVER}))


_S: Final = State
_BODIES: Final = (RequestBody, RequestTrailers, ResponseBody, ResponseTrailers)
_RUNNING: Final = tuple(state for state in State if state is not State.OVER)
TABLE: Final[Mapping[tuple[State, type], tuple[str, frozenset[State]]]] = MappingProxyType(
    dict(
        [
            _row(_S.START, RequestHeaders, "_on_request_headers", _S.GATHER, _S.CONSULT, _S.AWAIT, _S.RELAY),
            _row(_S.START, ResponseHeaders, "_on_foreign_answer", _S.RELAY),
            _row(_S.START, Misconfigured, "_on_misconfigured"),
            _row(_S.GATHER, RequestBody, "_on_request_body", _S.GATHER, _S.CONSULT, _S.AWAIT),
            _row(_S.GATHER, RequestTrailers, "_decide", _S.CONSULT, _S.AWAIT),
            _row(_S.GATHER, ResponseHeaders, "_on_answer", _S.ANSWER),  # before the verdict: an error
            _row(_S.CONSULT, Consulted, "_on_consulted", _S.AWAIT),
            _row(_S.CONSULT, RequestTrailers, "_on_trailers_meanwhile", _S.CONSULT),
            _row(_S.CONSULT, ResponseHeaders, "_on_answer", _S.ANSWER),  # before the verdict, too
            _row(_S.AWAIT, RequestTrailers, "_pass_request_trailers", _S.AWAIT),
            _row(_S.AWAIT, ResponseHeaders, "_on_answer", _S.ANSWER),
            _row(_S.AWAIT, ResponseBody, "_on_skipped_headers"),
            _row(_S.AWAIT, ResponseTrailers, "_on_skipped_headers"),
            _row(_S.ANSWER, RequestBody, "_swallow", _S.ANSWER),  # the rest of a request that was answered early
            _row(_S.ANSWER, RequestTrailers, "_swallow", _S.ANSWER),
            _row(_S.ANSWER, ResponseBody, "_on_answer_body", _S.ANSWER),
            _row(_S.ANSWER, ResponseTrailers, "_on_answer_trailers"),
            _row(_S.RELAY, RequestBody, "_on_relayed_request_body", _S.RELAY),
            _row(_S.RELAY, RequestTrailers, "_pass_request_trailers", _S.RELAY),
            _row(_S.RELAY, ResponseHeaders, "_on_relayed_headers", _S.RELAY),
            _row(_S.RELAY, ResponseBody, "_on_relayed_body", _S.RELAY),
            _row(_S.RELAY, ResponseTrailers, "_on_relayed_trailers"),
            *(_row(_S.START, event, "_on_skipped_headers") for event in _BODIES),
            *(_row(state, Expired, "_on_expired") for state in _RUNNING),
            *(_row(state, Consulted, "_swallow", state) for state in _RUNNING if state is not _S.CONSULT),  # too late
            *(_row(state, Closed, "_on_closed") for state in _RUNNING),
            *(_row(_S.OVER, event, "_swallow") for event in get_args(Event)),
        ]
    )
)
