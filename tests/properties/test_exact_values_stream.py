"""Known values in running text: found as in the whole, wherever the cuts are, and no character of one ever leaves."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import string
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors import exact_values
from extproc.detectors.exact_values import WHOLE, ExactValuesDetector, Value
from extproc.detectors.exact_window import LET_GO
from tests.support import streaming
from tests.support.streaming import Finding, cut, join

HELD_MAX = WHOLE + 32
"""Characters: the longest word, or white space and what must follow it."""


def key_block(seed: int, lines: int = 8) -> str:
    chance = random.Random(seed)
    body = [
        "".join(chance.choices(string.ascii_letters + string.digits + "+/", k=64 if line < lines else 20))
        for line in range(lines + 1)
    ]
    kind = "PRIVATE KEY"
    return "\n".join([f"-----BEGIN {kind}-----", *body, f"-----END {kind}-----"])


BLOCK = key_block(1)
TEXTS = [
    "tr0ub4dor&3",
    "tr0ub4dor&3 and more",  # goes on where another ends
    "ub4dor&3 and less",  # begins within it
    "a b+c/d=e?\"f\\'~*é",
    "aaaaaaaa",
    "abababababab",
    "Zürich/日本語",
    "x9" * 20,
    "".join(random.Random(2).choices(string.ascii_letters + string.digits, k=48)),
    "".join(random.Random(3).choices("0123456789abcdef", k=200)),
    "a long phrase of many plain words, in which nothing looks random at all, is known by its beginning",
    BLOCK,
]
VALUES = tuple(Value(f"env.V{number}", text.encode()) for number, text in enumerate(TEXTS))
BINARY = Value("file.app/binary", bytes(range(120, 250, 7)))
DETECTOR = exact_values.build({}, {"values": (*VALUES, BINARY)})

drive = partial(streaming.drive, held_max=HELD_MAX)


def wrapped(text: str, width: int = 76) -> str:
    return "\r\n".join(text[at : at + width] for at in range(0, len(text), width))


def spelt(data: bytes) -> list[str]:
    """Every spelling that is promised, made by other means than the product's."""
    out = [data.hex(), data.hex().upper(), quote(data), quote(data, safe=""), quote_plus(data)]
    out += [re.sub("%..", lambda escape: escape[0].lower(), text) for text in out[2:]]
    for before in (b"", b"u", b"u:"):
        for after in (b"", b"@", b"@h"):
            whole = before + data + after
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                out += [encode(whole).decode(), encode(whole).decode().rstrip("=")]
    with contextlib.suppress(UnicodeDecodeError):
        out += [data.decode(), json.dumps(data.decode(), ensure_ascii=False)[1:-1]]
    return out


SPELT = sorted({text for value in (*VALUES, BINARY) for text in spelt(value.data)})
LONG = [text for text in SPELT if len(text) > 100]


def whole(text: str, detector: ExactValuesDetector = DETECTOR) -> list[Finding]:
    return [(match.start, match.end, match.rule) for match in detector.scan(text).matches]


def redacted(text: str) -> str:
    out, at = "", 0
    for match in DETECTOR.scan(text).matches:
        out += text[at : match.start] + "\0"
        at = match.end
    return out + text[at:]


def damaged(text: str) -> st.SearchStrategy[str]:
    return st.one_of(
        st.integers(1, len(text)).map(lambda size: text[:size]),
        st.integers(0, len(text) - 1).map(lambda size: text[size:]),
        st.tuples(st.integers(0, len(text) - 1), st.sampled_from(" .x0-_\n\\\"'@=")).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
        st.tuples(
            st.integers(1, 80), st.sampled_from(["\n", "\r\n", "\n    ", " ", "\n" * 15, " " * 16, " " * 17])
        ).map(lambda broken: text[: broken[0]] + broken[1] + text[broken[0] :]),
    )


fragments = st.one_of(
    st.sampled_from(SPELT),
    st.sampled_from(SPELT).flatmap(damaged),
    st.sampled_from(LONG).flatmap(damaged),
    st.sampled_from(LONG).map(wrapped),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("abtr0u9x4 =\n", max_size=20),
)
texts = st.lists(fragments, max_size=6).map("".join)
cuts = st.lists(st.integers(0, 4000), max_size=30)


@settings(max_examples=250, deadline=None)
@given(texts, cuts)
def test_any_cut_gives_the_findings_of_the_whole_text(text: str, places: list[int]) -> None:
    assert drive(DETECTOR.stream(), cut(text, places)) == whole(text)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_single_characters_give_the_findings_of_the_whole_text(text: str) -> None:
    assert drive(DETECTOR.stream(), list(text) or [""]) == whole(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", min_size=6, max_size=12), min_size=1, max_size=5), st.text("ab", max_size=60), cuts)
def test_values_that_overlap_in_every_way_are_found_as_a_union(values: list[str], text: str, places: list[int]) -> None:
    given_values = tuple(Value(f"env.V{number}", value.encode()) for number, value in enumerate(values))
    detector = exact_values.build({}, {"values": given_values, "min_length": 6})
    found = whole(text, detector)
    assert drive(detector.stream(), cut(text, places)) == found
    covered = {at for start, end, _ in found for at in range(start, end)}
    stands = {
        at
        for value in values
        for start in range(len(text))
        if text.startswith(value, start)
        for at in range(start, start + len(value))
    }
    assert stands <= covered
    assert bool(stands) == bool(covered)


@pytest.mark.parametrize("text", SPELT, ids=range(len(SPELT)))
def test_every_cut_in_two_gives_the_findings_of_the_whole(text: str) -> None:
    text = f"see {text}, so"
    expected = whole(text)
    assert expected
    for place in range(0, len(text), 1 if len(text) < 80 else 11):
        assert drive(DETECTOR.stream(), [text[:place], text[place:]]) == expected


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(TEXTS[:9]), texts, texts)
def test_no_short_value_is_left_in_what_leaves(value: str, before: str, after: str) -> None:
    assert value not in redacted(before + value + after)


@settings(max_examples=120, deadline=None)
@given(texts, cuts, st.lists(st.booleans(), min_size=31, max_size=31))
def test_pauses_keep_the_contract(text: str, places: list[int], paused: list[bool]) -> None:
    scan = DETECTOR.stream()
    found: list[Finding] = []
    fed = settled = 0
    pieces = cut(text, places)
    for number, (piece, pauses) in enumerate(zip(pieces, paused, strict=False), 1):
        fed += len(piece)
        spans = scan.feed(piece, number == len(pieces))
        between = scan.settled
        if pauses and number < len(pieces):
            spans += scan.pause()
            assert between <= scan.settled
            assert fed == scan.settled or fed - scan.settled >= LET_GO
        for span in spans:
            assert settled <= span.start < span.end <= scan.settled
            join(found, span)
        assert settled <= scan.settled <= fed
        settled = scan.settled
    assert settled == fed
