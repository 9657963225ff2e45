"""The headers of a request: which API it is, and whether its body will be read at all.

What lives here: everything that can be said before the first byte of the body. What must not: the order of events, the
body itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from extproc.chat import Denial, RequestHead
from extproc.dialects import dialect_for
from extproc.dialects.base import Dialect
from extproc.messages import Headers
from extproc.policy import denials, engine
from extproc.policy.compiler import CompiledPolicy
from extproc.target import UnsafeTarget, encoding_of, split_target


@dataclass(frozen=True, slots=True)
class Intake:
    """What the headers say. ``path`` is the client's own, for the record; ``head.path`` is the API's.

    ``dialect`` is None for an endpoint that no dialect claims: it passes unread, unless ``denial`` is set.
    """

    path: str
    head: RequestHead
    dialect: Dialect | None = None
    denial: Denial | None = None


def take_in(policy: CompiledPolicy, headers: Headers, decision_id: str) -> Intake:
    """Read a request's headers."""
    fields = dict(headers)
    method, target = fields.get(":method", ""), fields.get(":path", "")
    path, _, query = target.partition("?")
    try:
        path = split_target(target)
    except UnsafeTarget as why:
        head = RequestHead(method, path, query, headers)
        return Intake(path, head, denial=denials.malformed(policy, str(why), decision_id))
    head = RequestHead(method, policy.canonical(path), query, headers)
    dialect = dialect_for(method, head.path)
    return Intake(path, head, dialect, _denial(policy, path, head, dialect, fields, decision_id))


def _denial(
    policy: CompiledPolicy,
    path: str,
    head: RequestHead,
    dialect: Dialect | None,
    fields: dict[str, str],
    decision_id: str,
) -> Denial | None:
    if "upgrade" in fields:
        return denials.malformed(policy, "protocol upgrades are not allowed", decision_id)
    named = dialect is None or (dialect.named_only and head.path == path)  # an alias names what it stands for
    if not policy.serves(head.method, path, head.path, named_only=named):
        return engine.unknown_endpoint(policy, head.method, path, decision_id)
    if dialect is None:
        respelt = _respells(head.method, head.path) and not policy.names(head.method, path, head.path)
        return engine.unknown_endpoint(policy, head.method, path, decision_id) if respelt else None
    if encoding_of(head.headers):
        return denials.malformed(policy, "compressed request bodies are not accepted", decision_id)
    length = fields.get("content-length", "")
    if length.isdecimal() and int(length) > policy.limits.request_bytes:
        return denials.too_large(policy, decision_id)
    return None


def _respells(method: str, path: str) -> bool:
    """Say whether a path that nobody claims is a guarded API's to servers that undo escapes, fold case or drop a slash.

    Where a policy lets the unknown pass, it would pass unread.
    """
    plain = unquote(path).rstrip("/")
    dialects = (dialect_for(method.upper(), each) for each in (plain, plain.lower()))
    return any(dialect is not None and not dialect.named_only for dialect in dialects)
