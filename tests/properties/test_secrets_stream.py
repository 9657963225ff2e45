"""The promise of the streaming scan, as properties: it says of running text what it says of the whole, wherever the cuts
are, and no character of a finding ever leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.detectors import secrets
from extproc.detectors.base import Span
from extproc.detectors.matcher import Matcher
from extproc.detectors.secrets import SecretsDetector
from extproc.detectors.window import Window

HELD_MAX = 700
"""Characters; a JWT's header, the longest thing that is ever undecided, may have 512."""

PACK = yaml.safe_load((Path(__file__).parents[2] / "policies/packs/secrets.yaml").read_text(encoding="utf-8"))
DETECTOR = secrets.build(PACK, {})
MATCHES = [(rule["id"], text[::-1]) for rule in PACK["rules"] for text in rule["match"]]
PASSES = [text for rule in PACK["rules"] for text in rule["pass"]]
LITERALS = [literal for rule in PACK["rules"] for literal in rule["literals"]]


def drive(window: Window, pieces: list[str]) -> list[tuple[int, int, str]]:
    """Feed the pieces, check the contract at every step, and give the findings with their pieces joined."""
    found: list[tuple[int, int, str]] = []
    fed = settled = 0
    for number, piece in enumerate(pieces, 1):
        final = number == len(pieces)
        spans = window.feed(piece, final)
        fed += len(piece)
        assert settled <= window.settled <= fed
        assert final or fed - window.settled <= HELD_MAX
        for span in spans:
            assert settled <= span.start < span.end <= window.settled
            join(found, span)
        settled = window.settled
    assert settled == fed
    return found


def join(found: list[tuple[int, int, str]], span: Span) -> None:
    """Add a span: as a finding of its own, or to the one that it continues."""
    if span.opens:
        assert not found or found[-1][1] <= span.start
        found.append((span.start, span.end, span.rule))
        return
    start, end, rule = found[-1]
    assert (end, rule) == (span.start, span.rule)
    found[-1] = (start, span.end, rule)


def whole(text: str, detector: SecretsDetector = DETECTOR) -> list[tuple[int, int, str]]:
    return [(match.start, match.end, match.rule) for match in detector.scan(text).matches]


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def output(spans: list[Span], text: str, settled: int) -> str:
    """Give what leaves of the text before ``settled``."""
    out, at = [], 0
    for span in spans:
        out.append(text[at : span.start] + (DETECTOR.marker(span.rule) if span.opens else ""))
        at = span.end
    return "".join(out) + text[at:settled]


def near_miss(text: str) -> st.SearchStrategy[str]:
    """A secret with a piece cut off, a character changed, or something in front that takes its guard away."""
    return st.one_of(
        st.integers(1, len(text)).map(lambda size: text[:size]),
        st.tuples(st.integers(0, len(text) - 1), st.sampled_from(" .x0-_\n\\\"'@")).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
        st.sampled_from(["a", "9", "\\n", "%3D", "\\u003d", "\\", "é", "-----", "=", "\\\\t", "%"]).map(
            lambda c: c + text
        ),
    )


secret = st.sampled_from(MATCHES).map(lambda match: match[1])
fragment = st.one_of(
    secret,
    secret.flatmap(near_miss),
    st.sampled_from(PASSES),
    st.sampled_from(LITERALS),
    st.sampled_from(LITERALS).flatmap(near_miss),
    st.sampled_from(
        ["\n", " ", ".", "-----END RSA PRIVATE KEY-----", "```\n", "\\n", "key: ", "eyJ", "=", "MIIE", "@", "//"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("abcXYZ019+/=-_. \n\\", max_size=40),
)
texts = st.lists(fragment, max_size=8).map("".join)
places = st.lists(st.integers(0, 4000), max_size=30)


@settings(max_examples=400, deadline=None)
@given(texts, places)
def test_any_cut_gives_the_spans_of_the_whole_text(text: str, places: list[int]) -> None:
    assert drive(DETECTOR.stream(), cut(text, places)) == whole(text)


@settings(max_examples=150, deadline=None)
@given(texts)
def test_single_characters_give_the_spans_of_the_whole_text(text: str) -> None:
    assert drive(DETECTOR.stream(), [*text, ""]) == whole(text)
