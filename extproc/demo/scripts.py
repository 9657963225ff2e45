"""What the stand-in says to which question: the answers that a small model does not give on cue.

Plain data and one lookup. Keys are made up at run time and belong to nobody.
"""

from __future__ import annotations

import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final, TypeAlias

STANDIN_MODEL: Final = "standin:1.0"
ALLOWED_TOOL: Final = "get_weather"
FORBIDDEN_TOOL: Final = "run_shell"

ASK_CAPITAL: Final = "What is the capital of France? Answer in one short sentence."
ASK_HELLO: Final = "Say hello in one short sentence."
ASK_KEY: Final = "Which token does the build server deploy with?"
ASK_WEATHER: Final = "What is the weather in Paris?"
ASK_SPACE: Final = "Free some disk space on the server."

BEFORE_KEY: Final = "It deploys with "
AFTER_KEY: Final = ", and the token is rotated every Monday."

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; ``arguments`` is JSON text."""

    name: str
    arguments: str


Piece: TypeAlias = str | Call
"""What leaves in one go: a token's worth of text, or a call."""


def fake_key() -> str:
    """Make up a token in the form GitHub's have, its checksum included, so that nothing but its use is false."""
    random = "".join(secrets.choice(_BASE62) for _ in range(30))
    return "gh" + "p_" + random + _base62(zlib.crc32(random.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(width, "0")


def tokens(text: str, size: int = 3) -> tuple[str, ...]:
    """Cut text the way models send it: a few characters at a time, wherever that falls."""
    return tuple(text[at : at + size] for at in range(0, len(text), size))


def script(prompt: str, model: str, key: str) -> tuple[Piece, ...]:
    """Give the answer to a prompt; what has no script of its own gets a sentence that names the model."""
    match prompt:
        case _ if prompt == ASK_CAPITAL:
            return tokens("The capital of France is Paris.")
        case _ if prompt == ASK_HELLO:
            return tokens("Hello! How can I help you today?")
        case _ if prompt == ASK_KEY:
            return tokens(BEFORE_KEY + key + AFTER_KEY)
        case _ if prompt == ASK_WEATHER:
            return (Call(ALLOWED_TOOL, '{"city": "Paris"}'),)
        case _ if prompt == ASK_SPACE:
            return (*tokens("I will clean up. "), Call(FORBIDDEN_TOOL, '{"command": "rm -rf /srv/data"}'))
    return tokens(f"This is {model}, and I do whatever I am asked.")
