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
from operator import sub
from typing import Final, TypeAlias
from zlib import crc32

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
_TURNS: Final = ("aA", "Aa", "a0", "0a", "A0", "0A")
_NEXT_TO: Final = frozenset({-1, 0, 1}).__contains__
_SLACK_LAST: Final = 8
_CRC_AT: Final = 30
_CRC_END: Final = 36
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_URL_SAFE: Final = str.maketrans("-_", "+/")
_JWT_HEADER: Final = re.compile(rb'\{.*"(?:alg|enc)"\s*:\s*"', re.DOTALL)
_COMMON_PASSWORD: Final = re.compile(
    r"(?:my|the|db|new|super|some|strong)*[-_]?(?:password|passwd|passw0rd|pass|pwd|secret|user|username|admin|root|guest"
    r"|test|token|key|postgres|mysql|mongo|redis|rabbit|changeit|hunter|letmein|qwerty|foo|bar|abc)[-_]?(?:word|here)?\d*!?",
    re.IGNORECASE,
)


def looks_varied(body: str) -> bool:
    """Say whether the body has enough different characters and is neither a count, a repetition nor a placeholder."""
    if len(set(body)) < _DISTINCT_MIN:
        return False
    codes = [*map(ord, body)]
    neighbours = sum(map(_NEXT_TO, map(sub, codes, codes[1:])))  # no loop of ours: this is what hostile text pays for
    return neighbours * 2 <= len(body) and _PLACEHOLDER.search(body) is None


def looks_random(body: str) -> bool:
    """Say whether the body is varied and also changes between lower case, upper case and digits as no word does."""
    return _turns(body) * _CHARS_PER_TURN >= len(body) and looks_varied(body)


def looks_mixed(body: str) -> bool:
    """Say whether the body is varied and mixes lower case, upper case and digits as no name in a program does.

    For literals so short that hexadecimal numbers and members of objects begin with them, too.
    """
    return _turns(body) * 5 >= 2 * len(body) and looks_varied(body) and {"a", "A", "0"} <= set(body.translate(_KINDS))


def slack_token(body: str) -> bool:
    """Say whether the body is varied, or at least its last part: the numbers before it may well repeat a digit."""
    last = body.rpartition("-")[2]
    return looks_varied(body) or (len(last) >= _SLACK_LAST and looks_varied(last))


def checksummed(body: str) -> bool:
    """Say whether the body looks random or, where it does not, ends in the CRC-32 that GitHub and npm put there.

    Thirty characters, then their checksum as six digits of base 62. A right checksum makes any body a token, even one
    that looks like a placeholder. A wrong one excuses nothing: a token is recognised by its first characters, long
    before its checksum arrives, and one with a typo in it is still nobody's business.
    """
    return looks_random(body) or (
        len(body) >= _CRC_END and _base62(crc32(body[:_CRC_AT].encode())) == body[_CRC_AT:_CRC_END]
    )


def jwt_header(body: str) -> bool:
    """Say whether what comes before the first dot is the Base64 of a JSON object that names an algorithm.

    The body starts after the literal ``eyJ``, the first three characters of every such header. A search instead of a
    JSON parser, so that hostile nesting costs nothing.
    """
    header = "eyJ" + body.partition(".")[0]
    return _JWT_HEADER.match(_decoded(header)) is not None


def jwt_in_base64(body: str) -> bool:
    """Say whether the body, after the literal ``ZXlK``, is the Base64 of the Base64 of such a header."""
    inner = _decoded("ZXlK" + body)
    return inner.isascii() and jwt_header(inner.decode("ascii").removeprefix("eyJ"))


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
    "mixed": looks_mixed,
    "slack": slack_token,
    "crc32": checksummed,
    "jwt": jwt_header,
    "jwt-base64": jwt_in_base64,
    "basic": basic_credentials,
    "password": password,
    "none": anything,
}


def _turns(body: str) -> int:
    """Count the places where lower case, upper case and digits follow on each other."""
    kinds = body.translate(_KINDS)
    return sum(map(kinds.count, _TURNS))


def _base62(number: int) -> str:
    """Write a checksum of 32 bits as six digits."""
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def _decoded(text: str) -> bytes:
    """Decode the whole groups of four characters, of either Base64 alphabet, before the first padding."""
    plain = text.partition("=")[0].translate(_URL_SAFE)
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4])
    except ValueError:  # an alphabet that is not Base64
        return b""
