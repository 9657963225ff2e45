"""Control tokens of chat templates in places where only text belongs (OWASP LLM01).

What lives here: the detector, its harmless form, and the reading of a pack and of a policy's options. What must not:
how tokens are searched for (token_search), anything that needs judgement. A chat template joins messages with these
tokens and many runtimes tokenise them wherever they stand, so a user who writes ``<|im_end|>\n<|im_start|>system``
speaks as the system.

The harmless form has a space behind the token's first character: ``< |im_end|>``. It reads the same and is no token to
a tokeniser, also once invisible characters are stripped and in NFKC. What stands beside it cannot make it one again:
tokens hold no space (``_check_spaces`` sees to the few that do), so one that a text has after the spaces were put in
was there before, and each of those has got a space.

A pack is a mapping with ``families``. A family has ``id``, ``models``, ``tokens`` and ``shapes`` (``<|*|>``: any name
between the two), ``pass`` (texts in which nothing may be found) and ``ambiguous``: honest text holds these as well, so
only a rule that names the family looks for them. Options: ``families`` (ids; default: all that are not ambiguous),
``tokens`` (more tokens, found as family ``options.tokens``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import Match, Scan
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.token_search import Place, TokenSearch, shape_pattern, visible

OWN: Final = "options.tokens"
_SHORTEST: Final = 4
_MATCHES_MAX: Final = 1000  # a body full of tokens may not become a finding for each
_SHORTEST_AMBIGUOUS: Final = 3


@dataclass(frozen=True, slots=True)
class _Family:
    id: str
    ambiguous: bool
    tokens: tuple[str, ...]
    shapes: tuple[str, ...]
    passing: tuple[str, ...]
    fields: Fields


class SpecialTokensDetector:
    """Finds every token of some families. A match's rule is the id of the family that the token belongs to."""

    name = "special_tokens"

    def __init__(self, tokens: Mapping[str, str], shapes: Mapping[str, str]) -> None:
        self._family: Final = dict(tokens)
        self._shapes: Final = [(re.compile(shape_pattern(shape)), family) for shape, family in shapes.items()]
        self._search: Final = TokenSearch(tokens, shapes)

    def scan(self, text: str) -> Scan:
        """Find the tokens of one text, also those that invisible characters take apart.

        Those that overlap are one match, and so are all that follow the most there may be, with what is between them.
        """
        matches: list[Match] = []
        places = self._search.places(text)
        at = 0
        while at < len(places):
            following, end = at + 1, places[at].end
            while following < len(places) and places[following].start < end:
                end = max(end, places[following].end)
                following += 1
            if len(matches) == _MATCHES_MAX - 1:
                following, end = len(places), max(place.end for place in places[at:])
            safe = _harmless(text, places[at].start, end, places[at:following])
            matches.append(Match(places[at].start, end, self._family_of(places[at].token), safe=safe))
            at = following
        return Scan(tuple(matches), 1.0 if matches else 0.0)

    def _family_of(self, token: str) -> str:
        return self._family.get(token) or next(family for shape, family in self._shapes if shape.fullmatch(token))


def _harmless(text: str, start: int, end: int, places: Sequence[Place]) -> str | None:
    """The text with a space in each token, or None where one has no inside."""
    if len(places) == 1 and (inside := places[0].inside) is not None:  # nearly always
        return f"{text[start:inside]} {text[inside:end]}"
    cuts: set[int] = set()
    for place in places:
        if place.inside is None:
            return None
        cuts.add(place.inside)
    edges = [start, *sorted(cuts), end]
    return " ".join([text[left:right] for left, right in pairwise(edges)])


# ---- packs and options ----


def build(pack: Mapping[str, Json], options: Mapping[str, Json]) -> SpecialTokensDetector:
    """Build the detector from a pack.

    Raises:
        PackError: naming the place of what is wrong.
    """
    fields = Fields(pack)
    families = [_read(family) for family in fields.mappings("families")]
    fields.close()
    _refuse_doubles(families)
    usual = [family for family in families if not family.ambiguous]
    if not usual or not any(family.tokens for family in usual):
        raise PackError(("families",), "must list at least one token that is not ambiguous")
    _check_spaces(_beginnings(families), ("families",))
    _check_near_misses(families, _detector(usual))
    return _chosen(families, usual, Fields(options, ("options",)))


def _chosen(families: Sequence[_Family], usual: Sequence[_Family], options: Fields) -> SpecialTokensDetector:
    known = {family.id: family for family in families}
    names = options.strings("families", tuple(family.id for family in usual))
    for index, name in enumerate(names):
        if name not in known:
            raise PackError(("options", "families", index), f"must be one of {', '.join(sorted(known))}")
    own = options.strings("tokens", ())
    options.close()
    for index, token in enumerate(own):
        _check_token(token, ("options", "tokens", index), _SHORTEST)
    _check_spaces([*own, *_beginnings(families)], ("options", "tokens"))
    if not names and not own:
        raise options.error("families", "must name at least one")
    return _detector([known[name] for name in names], own)


def _detector(families: Iterable[_Family], own: Iterable[str] = ()) -> SpecialTokensDetector:
    chosen = list(families)
    tokens = dict.fromkeys(own, OWN) | {token: family.id for family in chosen for token in family.tokens}
    return SpecialTokensDetector(tokens, {shape: family.id for family in chosen for shape in family.shapes})


def _read(fields: Fields) -> _Family:
    name = fields.string("id")
    fields.string("models")
    ambiguous = fields.flag("ambiguous", default=False)
    tokens, shapes = fields.strings("tokens", ()), fields.strings("shapes", ())
    for index, token in enumerate(tokens):
        _check_token(token, (*fields.where, "tokens", index), _SHORTEST_AMBIGUOUS if ambiguous else _SHORTEST)
    for index, shape in enumerate(shapes):
        left, star, right = shape.partition("*")
        if not star or "*" in right or min(len(left), len(right)) < 2 or re.search(r"[\w\s]", left + right):
            raise PackError((*fields.where, "shapes", index), "must be '*' between two or more marks on either side")
    passing = fields.strings("pass", ())
    fields.close()
    if not tokens and not shapes:
        raise fields.error("tokens", "must list at least one")
    return _Family(name, ambiguous, tokens, shapes, passing, fields)


def _check_token(token: str, where: tuple[str | int, ...], shortest: int) -> None:
    if len(token) < shortest:
        raise PackError(where, "is too short to be told from text")
    if visible(token) != token:
        raise PackError(where, "holds a character that nobody sees")
    if token != token.strip() or re.search(r"[^\S ]", token) or token.count(" ") > 1:
        raise PackError(where, "may hold one space, inside, and no other white space")


def _refuse_doubles(families: Sequence[_Family]) -> None:
    ids: set[str] = set()
    seen: set[str] = set()
    for family in families:
        if family.id in ids or family.id == OWN:
            raise family.fields.error("id", "is used twice")
        ids.add(family.id)
        for index, token in enumerate(family.tokens):
            if token in seen:
                raise PackError((*family.fields.where, "tokens", index), "is listed twice")
            seen.add(token)


def _beginnings(families: Iterable[_Family]) -> list[str]:
    """Every token, and of every shape what stands before its name."""
    shapes = [shape.partition("*")[0] for family in families for shape in family.shapes]
    return [*(token for family in families for token in family.tokens), *shapes]


def _check_spaces(tokens: Sequence[str], where: tuple[str | int, ...]) -> None:
    """Refuse a token with a space which the space in another one's harmless form could be."""
    for spaced in (token for token in tokens if " " in token):
        before, _, after = spaced.partition(" ")
        for token in tokens:
            rest = token[1:]
            if token[0] == before[-1] and (after.startswith(rest) or rest.startswith(after)):
                raise PackError(where, "hold a token that another one's harmless form would be a part of")


def _check_near_misses(families: Sequence[_Family], usual: SpecialTokensDetector) -> None:
    for family in families:
        detectors = (usual, _detector([family])) if family.ambiguous else (usual,)
        for index, text in enumerate(family.passing):
            if any(detector.scan(text).matches for detector in detectors):
                raise PackError((*family.fields.where, "pass", index), "must not match")
