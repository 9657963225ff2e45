"""The promise of the streaming scan, as properties: it says of running text what it says of the whole, wherever the
cuts are, and no character of a finding ever leaves."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors import matcher, secrets, triggers, window
from extproc.detectors.secrets import SecretsDetector
from tests.support import streaming
from tests.support.streaming import Finding, cut, join

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "300"))
"""Of each property. A long run asks for 10,000 or more."""

HELD_MAX = 700
"""Characters. The longest thing that is ever undecided is the header of a JWT, which may have 512."""

PACK: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "policies/packs/secrets.yaml").read_text(encoding="utf-8")
)
DETECTOR = secrets.build(PACK, {})
MATCHES = [text[::-1] for rule in PACK["rules"] for text in rule["match"]]
PASSES = [text for rule in PACK["rules"] for text in rule["pass"]]
LITERALS = [literal for rule in PACK["rules"] for literal in rule.get("literals", ())]
GUARDS = ["a", "9", "\\n", "%3D", "\\u003d", "\\", "é", "-----", "=", "\\\\t", "%", "Basic ", "https://a:"]
GUARDS += ["it'", "b'", "`", "'", "=9d1be02c", "/1234567", ":A", "-us", "0/"]
NAMES = [
    'password = "',
    "DB_PASSWORD=",
    '"api_key": "',
    "token: ",
    "--password ",
    "Authorization: Token ",
    "client_secret>",
    "The password for the admin account is ",
    "password: str = '",
    "**Key:** `",
    "apiKey :",
    "auth=",
    "?key=",
]
VALUES = [
    "q8RvT2xLm9",
    "Zx7_kQ2pL9vR4tW8nB3mXy5",
    "changeme",
    "os.environ['X']",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
]
JOINTS = ["\n", " ", ".", "-----END RSA PRIVATE KEY-----", "```\n", "\\n", "key: ", "eyJ", "=", "MIIE", "@", "//", "}"]

drive = partial(streaming.drive, held_max=HELD_MAX)


def whole(text: str, detector: SecretsDetector = DETECTOR) -> list[Finding]:
    return [(match.start, match.end, match.rule) for match in detector.scan(text).matches]


def outputs(text: str, pieces: list[str]) -> list[str]:
    """Give all that has left after each piece."""
    scan = DETECTOR.stream()
    out, at, states = "", 0, []
    for number, piece in enumerate(pieces, 1):
        for span in scan.feed(piece, number == len(pieces)):
            out += text[at : span.start] + (DETECTOR.marker(span.rule) if span.opens else "")
            at = span.end
        out += text[at : scan.settled]
        at = scan.settled
        states.append(out)
    return states


def hidden(text: str, spans: list[Finding], out: str) -> bool:
    """Say whether the first characters of each finding, those that decide it, are nowhere in what has left."""
    return not any(text[start : start + 24] in out and text.count(text[start : start + 24]) == 1 for start, *_ in spans)


def damaged(text: str) -> st.SearchStrategy[str]:
    """A text cut short, with a character changed, or with something before it that guards it or does not."""
    return st.one_of(
        st.integers(1, len(text)).map(lambda size: text[:size]),
        st.tuples(st.integers(0, len(text) - 1), st.sampled_from(" .x0-_\n\\\"'@=")).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
        st.sampled_from(GUARDS).map(lambda guard: guard + text),
    )


fragments = st.one_of(
    st.sampled_from(MATCHES),
    st.sampled_from(MATCHES).flatmap(damaged),
    st.sampled_from(PASSES),
    st.sampled_from(LITERALS).flatmap(damaged),
    st.sampled_from(JOINTS),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).flatmap(damaged),
    st.sampled_from(VALUES),
    st.tuples(st.sampled_from(NAMES), st.sampled_from([*VALUES, *MATCHES])).map("".join),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("abcXYZ019+/=-_. \n\\", max_size=40),
)
texts = st.lists(fragments, max_size=8).map("".join)
cuts = st.lists(st.integers(0, 4000), max_size=30)


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts, cuts)
def test_any_cut_gives_the_spans_of_the_whole_text(text: str, places: list[int]) -> None:
    assert drive(DETECTOR.stream(), cut(text, places)) == whole(text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts)
def test_single_characters_give_the_spans_of_the_whole_text(text: str) -> None:
    assert drive(DETECTOR.stream(), [*text, ""]) == whole(text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts, cuts)
def test_what_has_left_is_always_the_beginning_of_what_leaves_in_the_end(text: str, places: list[int]) -> None:
    states = outputs(text, cut(text, places))
    assert states[-1] == outputs(text, [text])[-1]
    assert all(states[-1].startswith(state) for state in states)
    assert hidden(text, [span for span in whole(text) if span[1] - span[0] >= 24], states[-1])


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts, cuts, st.sets(st.integers(0, 30)))
def test_pauses_cost_at_most_the_literal_of_a_secret(text: str, places: list[int], after: set[int]) -> None:
    scan, found, at = DETECTOR.stream(), [], 0
    pieces = cut(text, places)
    for number, piece in enumerate(pieces):
        spans = scan.feed(piece, number == len(pieces) - 1)
        if number in after and number < len(pieces) - 1:
            spans += scan.pause()
        for span in spans:
            assert at <= span.start < span.end <= scan.settled
            join(found, span)
        at = scan.settled
    expected = whole(text)
    assert [(end, rule) for _, end, rule in found] == [(end, rule) for _, end, rule in expected]
    for (late, _, rule), (start, _, _) in zip(found, expected, strict=True):
        assert 0 <= late - start <= max(map(len, LITERALS)), rule


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=300), cuts)
def test_no_text_makes_it_raise_and_what_is_not_found_leaves_unchanged(text: str, places: list[int]) -> None:
    states = outputs(text, cut(text, places))
    assert whole(text) or states[-1] == text


RULES = pytest.mark.parametrize("rule", PACK["rules"], ids=lambda rule: rule["id"])


@RULES
def test_every_example_is_found_in_two_parts_and_in_single_characters(rule: dict[str, Any]) -> None:
    for text in (example[::-1] for example in rule["match"]):
        expected = whole(text)
        assert {found for _, _, found in expected} == {rule["id"]}
        for place in range(len(text) + 1):
            assert drive(DETECTOR.stream(), [text[:place], text[place:]]) == expected
        assert drive(DETECTOR.stream(), list(text)) == expected


@RULES
def test_no_near_miss_is_found_in_single_characters(rule: dict[str, Any]) -> None:
    for text in rule["pass"]:
        assert drive(DETECTOR.stream(), list(text)) == []


def broken_somewhere(detector: SecretsDetector) -> bool:
    """Say whether some example, cut in two somewhere, is judged otherwise than whole."""
    for text in MATCHES[::7]:
        guarded = f"key%3D{text}"
        for place in range(min(len(guarded), 40)):
            scan = detector.stream()
            spans = [*scan.feed(guarded[:place], False), *scan.feed(guarded[place:], True)]
            if [span.start for span in spans if span.opens] != [start for start, _, _ in whole(guarded, detector)]:
                return True
    return False


def test_the_engine_itself_is_not_broken() -> None:
    assert not broken_somewhere(DETECTOR)


def test_an_engine_that_does_not_hold_partial_literals_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = triggers._trie
    monkeypatch.setattr(triggers, "_trie", lambda *args, **more: original(*args, **more).replace(r"|\Z", ""))
    assert broken_somewhere(secrets.build(PACK, {}))


def test_an_engine_that_forgets_what_stood_before_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "guard_of", lambda _text, at: at)
    monkeypatch.setattr(window, "CONTEXT", 0)
    assert broken_somewhere(secrets.build(PACK, {}))


def test_an_engine_that_decides_before_it_can_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(steps: tuple[matcher.Step, ...], text: str, at: int, final: bool) -> int:
        return original(steps, text, at, True)

    original = matcher._walk
    monkeypatch.setattr(matcher, "_walk", hasty)
    assert broken_somewhere(secrets.build(PACK, {}))
