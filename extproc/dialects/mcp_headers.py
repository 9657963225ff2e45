"""The headers of an MCP request that say once more what its body says, for whoever routes by them.

A server that runs what a header says, while we judge the body, would run something unjudged: so whatever header is
there must agree with the body, in every version of the protocol. What must not live here: anything about bodies alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from extproc.chat import Json, Malformed, RequestHead
from extproc.dialects.mcp_messages import CALL, NAMED_BY, is_modern, stated_version
from extproc.dialects.members import Members

MISMATCH: Final = "the MCP headers do not fit the message"
"""How every message of a ``Malformed`` begins that is raised here."""

_VERSION: Final = "mcp-protocol-version"
_METHOD: Final = "mcp-method"
_NAME: Final = "mcp-name"
_SESSION: Final = "mcp-session-id"
_PARAM: Final = "mcp-param-"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def check_headers(head: RequestHead, method: str | None, params: Members) -> None:
    """Compare the headers with the message; ``method`` is None for one that has none, and where there is no message.

    Raises:
        Malformed: a header is missing, there twice, cannot be decoded, or says something else than the message.
    """
    version, named, name = (_once(head, field) for field in (_VERSION, _METHOD, _NAME))
    _once(head, _SESSION)
    stated = stated_version(params)
    if version is not None and stated is not None and version != stated:
        raise _mismatch(_VERSION)
    modern = is_modern(version) or is_modern(stated)
    if named != method and (named is not None or modern):
        raise _mismatch(_METHOD)
    _check_name(name, method, params, required=modern)
    _check_arguments(head, params.get("arguments") if method == CALL else None)


def repeated(head: RequestHead) -> frozenset[str]:
    """What the headers repeat of a message that they fit: nobody edits it there."""
    said = (_decoded(value) for name, value in head.headers if name == _NAME or name.startswith(_PARAM))
    return frozenset(value for value in said if value is not None)


def _check_name(name: str | None, method: str | None, params: Members, *, required: bool) -> None:
    """Compare ``mcp-name``. Methods of extensions choose the parameter that it repeats."""
    own = NAMED_BY.get(method or "")
    repeated = list(params.values()) if own is None else [params.get(own)]
    if name is None:
        if required and own is not None:
            raise _mismatch(_NAME)
    elif (decoded := _decoded(name)) is None or decoded not in repeated:
        raise _mismatch(_NAME)


def _check_arguments(head: RequestHead, arguments: Json) -> None:
    """Compare ``mcp-param-...``: what it repeats is in the tool's schema, so any argument will do."""
    fields = {name for name, _ in head.headers if name.startswith(_PARAM)}
    if fields and not {_decoded(_once(head, name) or "") for name in fields} <= set(_scalars(arguments)):
        raise _mismatch(f"{_PARAM}...")


def _scalars(value: Json) -> Iterator[str]:
    """What a value's strings, booleans and whole numbers look like in a header."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif isinstance(value, list | dict):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _scalars(member)


def _decoded(value: str) -> str | None:
    """A header's value, of which ``=?base64?...?=`` says what is not plain ASCII; None if that cannot be decoded."""
    match = _ENCODED.fullmatch(value)
    if match is None:
        return value
    try:
        data = base64.b64decode(match[1], validate=True)
        # Only one way to write a value is right: readers differ about the others.
        return data.decode() if base64.b64encode(data).decode() == match[1] else None
    except (binascii.Error, ValueError):
        return None


def _once(head: RequestHead, name: str) -> str | None:
    try:
        return head.header(name)
    except Malformed:
        raise _mismatch(f"{_PARAM}..." if name.startswith(_PARAM) else name) from None


def _mismatch(name: str) -> Malformed:
    return Malformed(f"{MISMATCH}: '{name}'")
