"""Control tokens of chat templates in places where only text belongs (OWASP LLM01).

What lives here: the exact search for tokens that a pack lists. What must not: anything that needs judgement. A chat
template joins messages with these tokens and many runtimes tokenise them wherever they stand, so a user who writes
``<|im_end|>\n<|im_start|>system`` speaks as the system.

Tokenisers compare letter by letter, so does this: case counts. Only what is invisible is looked through, since some
front ends strip it on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import Match, Scan
from extproc.detectors.pack import Fields, PackError

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


class SpecialTokensDetector:
    """Finds every token of a pack. A match's rule is the id of the family that the token belongs to."""

    name = "special_tokens"

    def __init__(self, families: Mapping[str, str]) -> None:
        self._family: Final = dict(families)
        longest_first = sorted(families, key=len, reverse=True)
        self._search: Final = re.compile("|".join(map(re.escape, longest_first))).finditer

    def scan(self, text: str) -> Scan:
        """Find the tokens of one text, also those that invisible characters take apart."""
        matches = [Match(found.start(), found.end(), self._family[found[0]]) for found in self._search(text)]
        if not text.isascii() and _INVISIBLE.search(text):
            seen = {(match.start, match.end) for match in matches}
            matches += [match for match in self._looking_through(text) if (match.start, match.end) not in seen]
            matches.sort(key=lambda match: match.start)
        return Scan(tuple(matches), 1.0 if matches else 0.0)

    def _looking_through(self, text: str) -> list[Match]:
        kept = [at for at, character in enumerate(text) if not _INVISIBLE.match(character)]
        visible = "".join(text[at] for at in kept)
        return [
            Match(kept[found.start()], kept[found.end() - 1] + 1, self._family[found[0]])
            for found in self._search(visible)
        ]


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> SpecialTokensDetector:
    """Build the detector from a pack: ``families: [{id, models, tokens, pass?}]``.

    Raises:
        PackError: naming the place of what is wrong.
    """
    Fields(options, ("options",)).close()
    fields = Fields(pack)
    families: dict[str, str] = {}
    near_misses: list[tuple[tuple[str | int, ...], str]] = []
    for family in fields.mappings("families"):
        name = family.string("id")
        family.string("models")
        for index, token in enumerate(family.strings("tokens")):
            if len(token) < 5:
                raise PackError((*family.where, "tokens", index), "is too short to be told from text")
            if token in families:
                raise PackError((*family.where, "tokens", index), "is listed twice")
            families[token] = name
        near_misses += [((*family.where, "pass", at), text) for at, text in enumerate(family.strings("pass", ()))]
        family.close()
    fields.close()
    if not families:
        raise PackError(("families",), "must list at least one token")
    detector = SpecialTokensDetector(families)
    for where, text in near_misses:
        if detector.scan(text).matches:
            raise PackError(where, "must not match")
    return detector
