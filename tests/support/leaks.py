"""Did a secret get out? Looked for in bytes as any client could read them: raw, as JSON, in pieces, in base64."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{24,}")


def leaks(data: bytes, secret: str) -> str:
    """Where the secret is in these bytes, or nothing where it is not."""
    text = data.decode("utf-8", "replace")
    if secret in text:
        return "raw"
    if secret in _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text):
        return "behind escapes"
    if any(secret in decoded for decoded in _decoded(text)):
        return "in base64"
    joined: dict[tuple[object, ...], str] = {}
    for document in documents(data):
        for place, said in _said(document, ()):
            if secret in said or secret in _ESCAPE.sub(lambda match: chr(int(match[1], 16)), said):
                return "in a string"
            joined[place] = joined.get(place, "") + said
    return next((f"in pieces at {place}" for place, said in joined.items() if _holds(said, secret)), "")


def documents(data: bytes) -> Iterator[Any]:
    """The JSON documents of a body: one, or one a line or event."""
    with contextlib.suppress(ValueError, RecursionError):
        return iter([json.loads(data)])
    return _lines(data)


def _lines(data: bytes) -> Iterator[Any]:
    for line in re.split(rb"\r\n|\r|\n", data):
        try:
            yield json.loads(line.removeprefix(b"data:").strip().strip(b","))
        except (ValueError, RecursionError):
            continue


def _holds(said: str, secret: str) -> bool:
    return secret in said or secret in _ESCAPE.sub(lambda match: chr(int(match[1], 16)), said)


def _decoded(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        run = match[0].replace("-", "+").replace("_", "/")
        for start in range(4):
            piece = run[start:]
            try:
                yield base64.b64decode(piece[: len(piece) // 4 * 4]).decode("latin-1")
            except (ValueError, binascii.Error):
                continue


def _said(value: Any, place: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    """Every string and where it stands; objects are told apart by the numbers that they give themselves."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        mine = tuple(
            value[name] for name in ("index", "output_index", "content_index") if isinstance(value.get(name), int)
        )
        for name, member in value.items():
            yield (*place, mine, "a key"), name
            yield from _said(member, (*place, mine, name))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _said(element, (*place, index))
