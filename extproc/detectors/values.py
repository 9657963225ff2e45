"""Does the value after a name look like a secret, or like code, a word, a placeholder, a setting?

What lives here: pure predicates over a value, by the name a pack gives them. What must not: where a value begins or
ends. The names before a value (``password``, ``token``) are ordinary words of code and prose, so these are stricter
than the checks behind a literal that only its provider uses. All are linear in the value, which is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from extproc.detectors.checks import looks_random

_SECRET_MIN: Final = 16
_PASSWORD_MIN: Final = 8
_PASSWORD_TURNS: Final = 3

_stand_in = re.compile(
    r"example|placeholder|redacted|change|replace|insert|dummy|sample|your|fake|demo|test|todo|none|null|foo|bar|here"
    r"|passw|passphrase|secret|token|key|creden|admin|qwerty|letmein|welcome|hunter|correct|horse|abcd|1234|user|login"
    r"|config|process|environ|sha(?:1|256|384|512)[-:]|0-9|a-z|x{3}|\*{2}|\.{2}|-{3}|_{3}|://|\$\{|\{\{|%\(",
    re.IGNORECASE,
).search
_plain_data = re.compile(r"[0-9][0-9]:[0-9][0-9]:[0-9][0-9]|\A(?:0x[0-9a-f]+\Z|[a-z]:/)", re.IGNORECASE).search
"""A time of day, an address, the path of a drive: what ``pass`` and ``pwd`` may name besides passwords."""
_LEET: Final = str.maketrans("@013457$!", "aoieastsi")
_digit = re.compile("[0-9]").search
_runs = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+").findall
_pieces = re.compile(r"[A-Z]?[a-z]+|[A-Z]+").findall
# Letters in a row, on average, from which on they are words. Random text has about two, but of lower case and digits
# three, and a long value is unlikely to be words and still pass for random otherwise.
_SECRET_WORDS: Final = 6
_PASSWORD_WORDS: Final = 4


def secret(value: str) -> bool:
    """Say whether a value is long, varied, no run of words, and mixes letters and digits as random text does."""
    # The cheap questions first, here and below: this is asked of every value behind a name in a hostile text.
    if len(value) < _SECRET_MIN or not _begins_well(value) or _digit(value) is None:
        return False
    return looks_random(value) and not _wordy(value, _SECRET_WORDS) and _stand_in(value) is None


def password(value: str) -> bool:
    """Say whether a value is a password somebody might use, and nobody would write as an example."""
    if len(value) < _PASSWORD_MIN or not _begins_well(value) or _digit(value) is None:
        return False
    if len(set(value)) * 2 < len(value) or len(_runs(value)) <= _PASSWORD_TURNS or _wordy(value, _PASSWORD_WORDS):
        return False
    if _plain_data(value) is not None:
        return False
    return _stand_in(value) is None and _stand_in(value.translate(_LEET)) is None


VALUES: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType({"secret": secret, "password": password})


def _begins_well(value: str) -> bool:
    """Say whether the first character may begin a value, not a variable, a path, a tag or a template."""
    return value[0] not in "$%/.<{[("


def _wordy(value: str, length: int) -> bool:
    """Say whether the letters stand together in pieces as long as words. ``length``: on average."""
    pieces = _pieces(value)
    return not pieces or sum(map(len, pieces)) >= length * len(pieces)
