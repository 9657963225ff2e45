"""Reading HTTP headers: the request target, encodings, the status.

Is this path in normal form, so that what we match is what every server behind us sees?

Nothing is repaired here. A path that two parsers could read differently (percent-encoded letters, doubled slashes, dot
segments, encoded slashes, path parameters) is refused, because llama.cpp serves ``/v1/chat/%63ompletions`` and routers
differ on the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from extproc.messages import Headers


class UnsafeTarget(ValueError):  # noqa: N818 - names what the target is
    """The target is not in normal form. ``str()`` says why and is safe to show the client."""


_ESCAPE: Final = re.compile("%(.{0,2})")
# RFC 3986: unreserved characters need no escape; an escaped slash, backslash, dot or control character hides structure.
_HIDING: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\;%")


def split_target(target: str) -> str:
    """Return the path of a request target, without its query.

    Raises:
        UnsafeTarget: not an origin-form target, or its path is not in normal form.
    """
    path, _, _query = target.partition("?")
    if not path.startswith("/"):
        raise UnsafeTarget("the request target is not a path")
    if not target.isascii() or not target.isprintable() or " " in target or "#" in target:
        raise UnsafeTarget("the request target holds characters that it must escape")
    if "//" in path or ";" in path or "\\" in path:
        raise UnsafeTarget("the path is not in normal form")
    if any(segment in {".", ".."} for segment in path.split("/")):
        raise UnsafeTarget("the path is not in normal form")
    for escape in _ESCAPE.findall(path):
        try:
            character = chr(int(escape, 16)) if len(escape) == 2 and escape.isalnum() else "%"
        except ValueError:
            character = "%"
        if character in _HIDING or not character.isprintable():
            raise UnsafeTarget("the path holds an escape that hides a plain character")
    return path


def encoding_of(headers: Headers) -> str:
    """How a body comes compressed; empty where it does not. Several encodings are given as they stand, as one."""
    encodings = [value.strip().lower() for name, value in headers if name == "content-encoding"]
    return ", ".join(value for value in encodings if value != "identity")


def status_of(fields: Mapping[str, str]) -> int:
    """The status of an answer; 0 where there is none that is a number."""
    status = fields.get(":status", "")
    return int(status) if status.isdecimal() and status.isascii() else 0
