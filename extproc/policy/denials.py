"""Refusals for what no control judged: a body that cannot be read, a gateway set up wrongly, a failure of our own.

What lives here: their words and statuses. What must not: judging (``engine``).
"""

from __future__ import annotations

from extproc.chat import Denial
from extproc.policy.compiler import CompiledPolicy


def malformed(_policy: CompiledPolicy, message: str, decision_id: str) -> Denial:
    """Refuse what is not a request of its API. ``message`` must be fit for the client."""
    return Denial(message, "malformed", decision_id, 400, "invalid_request")


def too_large(policy: CompiledPolicy, decision_id: str) -> Denial:
    """Refuse a request body over ``limits.request_bytes``."""
    message = f"the request is larger than {policy.limits.request_bytes} bytes"
    return Denial(message, "limits", decision_id, 413, "request_too_large")


def failure(_policy: CompiledPolicy, _what: str, decision_id: str) -> Denial:
    """Refuse because something on our side failed. What failed is for the record, not for the client."""
    return Denial("the request could not be checked", "error", decision_id, 500, "policy_error")


def unreadable_answer(_policy: CompiledPolicy, reason: str, decision_id: str) -> Denial:
    """Refuse an answer that cannot be read. ``reason`` must be fit for the client."""
    return Denial(f"the answer could not be checked: {reason}", "unreadable_answer", decision_id, 502, "policy_error")


def misconfigured(_policy: CompiledPolicy, why: str, decision_id: str) -> Denial:
    """Refuse because the gateway hides part of the exchange from us."""
    return Denial(f"the gateway is misconfigured: {why}", "misconfigured", decision_id, 500, "policy_error")
