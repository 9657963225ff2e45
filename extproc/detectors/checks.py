"""Does the part after a literal look like a secret, or like a placeholder in somebody's documentation?

What lives here: pure predicates over the start of a candidate's body, by the name a pack gives them. What must not:
where a candidate starts or ends, rules, state. Each sees only the text up to a fixed point, so its answer cannot depend
on what arrives later. All are linear in the body, which the matcher bounds.
"""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, TypeAlias

Check: TypeAlias = Callable[[str], bool]

_DISTINCT_MIN: Final = 7  # 20 random hex digits have 11.6 different ones on average, fewer than 7 once in 5,000
_CHARS_PER_TURN: Final = 6  # random text changes kind every 2 to 3 characters, words and identifiers every 6 to 10
_PLACEHOLDER: Final = re.compile(
    r"example|placeholder|redacted|changeme|replace|insert|dummy|sample|your|x{4}|\*{3}|\.{3}", re.IGNORECASE
)
_KINDS: Final = str.maketrans(
    string.ascii_lowercase + string.ascii_uppercase + string.digits + string.punctuation,
    "a" * 26 + "A" * 26 + "0" * 10 + "-" * len(string.punctuation),
)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_JWT_HEADER: Final = re.compile(rb'\{.*"(?:alg|enc)"\s*:\s*"', re.DOTALL)
_COMMON_PASSWORD: Final = re.compile(
    r"(?:my|the|db|new|super|some|strong)*[-_]?(?:password|passwd|passw0rd|pass|pwd|secret|user|username|admin|root|guest"
    r"|test|token|key|postgres|mysql|mongo|redis|rabbit|changeit|hunter|letmein|qwerty|foo|bar|abc)[-_]?(?:word|here)?\d*!?",
    re.IGNORECASE,
)


def looks_varied(body: str) -> bool:
    """Say whether the body has enough different characters and is neither a count, a repetition nor a placeholder."""
    if len(set(body)) < _DISTINCT_MIN or _PLACEHOLDER.search(body):
        return False
    neighbours = sum(abs(ord(a) - ord(b)) <= 1 for a, b in pairwise(body))
    return neighbours * 2 <= len(body)


def looks_random(body: str) -> bool:
    """Say whether the body is varied and also changes between lower case, upper case and digits as no word does."""
    if not looks_varied(body):
        return False
    kinds = body.translate(_KINDS)
    turns = sum(a != b and a != "-" and b != "-" for a, b in pairwise(kinds))
    return turns * _CHARS_PER_TURN >= len(body)


def jwt_header(body: str) -> bool:
    """Say whether what comes before the first dot is the Base64 of a JSON object that names an algorithm.

    The body starts after the literal ``eyJ``, the first three characters of every such header. A search instead of a
    JSON parser, so that hostile nesting costs nothing.
    """
    header = "eyJ" + body.partition(".")[0]
    return _JWT_HEADER.match(_decoded(header)) is not None


def basic_credentials(body: str) -> bool:
    """Say whether the body is the Base64 of ``user:password``."""
    text = _decoded(body)
    user, colon, password = text.partition(b":")
    return bool(user and colon and password) and all(32 <= byte < 127 for byte in text)


def password(body: str) -> bool:
    """Say whether a password in a URL is a real one: long enough, mixed, not a stock word of documentation."""
    if len(body) < 6 or _PLACEHOLDER.search(body) or _COMMON_PASSWORD.fullmatch(body):
        return False
    return len(set(body)) >= 4 and len(set(body.translate(_KINDS))) >= 2


def anything(_body: str) -> bool:
    """Accept every body: the literal says it all."""
    return True


CHECKS: Final[Mapping[str, Check]] = {
    "random": looks_random,
    "varied": looks_varied,
    "jwt": jwt_header,
    "basic": basic_credentials,
    "password": password,
    "none": anything,
}


def _decoded(text: str) -> bytes:
    """Decode the whole groups of four characters, of either Base64 alphabet, before the first padding."""
    plain = text.partition("=")[0].translate(_URL_SAFE)
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4])
    except ValueError:  # an alphabet that is not Base64
        return b""
