"""The scan of personal data says of running text what it says of the whole, wherever the cuts are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors import pii, pii_numbers, pii_stream
from extproc.detectors.pii import PiiDetector
from extproc.detectors.pii_stream import DOMAIN_MAX, LOCAL_MAX, PiiScan
from tests.support.streaming import cut

HELD_MAX = LOCAL_MAX + 1 + DOMAIN_MAX
"""Characters. The longest thing that is ever undecided is an address whose domain goes on."""

PACK: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "policies/packs/pii.yaml").read_text(encoding="utf-8")
)
REGIONS = ["US", "DE", "FR", "IT", "AR"]
DETECTOR = pii.build(PACK, {"phone_regions": REGIONS})
ALONE = [pii.build(PACK, {"rules": [rule], "phone_regions": REGIONS}) for rule in pii.RULES]
MATCHES = [text[::-1] for rule in PACK["rules"] for text in rule["match"]]
PASSES = [text for rule in PACK["rules"] for text in rule["pass"]]
JOINTS = [
    "\\n", "%3D", "\\u003d", "\\u00", "\\", " ", "-", ".", "@", "a", "7", "+", "(", ")", ":", "/", "é", "0049 ", "SSN ",
    "phone: ", "version ", "x@y.", "@b.co", "a" * 70, "1 2 " * 20, "12-" * 20, "9" * 50, "ab." * 30, "2001:" * 9,
]  # fmt: skip

Finding = tuple[int, int, str]


def drive(scan: PiiScan, pieces: list[str]) -> list[Finding]:
    """Feed the pieces, check the contract at every step, and give the findings."""
    found: list[Finding] = []
    fed = settled = 0
    for number, piece in enumerate(pieces, 1):
        final = number == len(pieces)
        spans = scan.feed(piece, final)
        fed += len(piece)
        assert settled <= scan.settled <= fed
        assert final or fed - scan.settled <= HELD_MAX
        for span in spans:
            assert span.opens
            assert settled <= span.start < span.end <= scan.settled
            settled = span.end
            found.append((span.start, span.end, span.rule))
        settled = scan.settled
    assert settled == fed
    return found


def whole(text: str, detector: PiiDetector = DETECTOR) -> list[Finding]:
    return [(match.start, match.end, match.rule) for match in detector.scan(text).matches]


def damaged(text: str) -> st.SearchStrategy[str]:
    """A text cut short, with a character changed, or with something before it."""
    return st.one_of(
        st.integers(1, len(text)).map(lambda size: text[:size]),
        st.integers(0, len(text) - 1).map(lambda size: text[size:]),
        st.tuples(st.integers(0, len(text) - 1), st.sampled_from(" .x0-_\n\\\"'@=+(:")).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
    )


fragments = st.one_of(
    st.sampled_from(MATCHES),
    st.sampled_from(MATCHES).flatmap(damaged),
    st.sampled_from(PASSES),
    st.sampled_from(JOINTS),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("0123456789 -.()+/", max_size=60),
    st.text("abGB0129.-@_:% \n\\u", max_size=40),
    st.text("23f0abcd:", max_size=60),
)
texts = st.lists(fragments, max_size=8).map("".join)
cuts = st.lists(st.integers(0, 4000), max_size=30)


@settings(max_examples=200, deadline=None)
@given(texts, cuts)
def test_any_cut_gives_the_findings_of_the_whole_text(text: str, places: list[int]) -> None:
    assert drive(DETECTOR.stream(), cut(text, places)) == whole(text)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_single_characters_give_the_findings_of_the_whole_text(text: str) -> None:
    assert drive(DETECTOR.stream(), [*text, ""]) == whole(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ALONE), texts, cuts)
def test_any_cut_gives_the_findings_of_the_whole_text_for_each_rule_alone(
    detector: PiiDetector, text: str, places: list[int]
) -> None:
    assert drive(detector.stream(), cut(text, places)) == whole(text, detector)


@settings(max_examples=200, deadline=None)
@given(texts, cuts, st.sets(st.integers(0, 30)))
def test_pauses_keep_the_contract_and_let_go_of_all_that_shows_nothing(
    text: str, places: list[int], pauses: set[int]
) -> None:
    scan = DETECTOR.stream()
    fed = settled = 0
    for number, piece in enumerate(cut(text, places)):
        spans = scan.feed(piece, False)
        fed += len(piece)
        if number in pauses:
            spans += scan.pause()
            held = text[scan.settled : fed]
            assert not held or "@" in held or sum(map(str.isdigit, held)) >= 7
        for span in spans:
            assert settled <= span.start < span.end <= scan.settled
            settled = span.end
        settled = scan.settled
    scan.feed("", True)
    assert scan.settled == len(text)


@pytest.mark.parametrize("rule", PACK["rules"], ids=lambda rule: rule["id"])
def test_every_example_is_judged_alike_in_two_parts_and_in_single_characters(rule: dict[str, Any]) -> None:
    for text in [*(example[::-1] for example in rule["match"]), *rule["pass"]]:
        expected = whole(text)
        for place in range(len(text) + 1):
            assert drive(DETECTOR.stream(), [text[:place], text[place:]]) == expected
        assert drive(DETECTOR.stream(), list(text)) == expected


def broken_somewhere(detector: PiiDetector) -> bool:
    """Say whether some example, cut in two somewhere, is judged otherwise than whole."""
    for text in MATCHES:
        guarded = f"a: {text} b"
        for place in range(len(guarded)):
            scan = detector.stream()
            spans = [*scan.feed(guarded[:place], False), *scan.feed(guarded[place:], True)]
            if [(span.start, span.end, span.rule) for span in spans] != whole(guarded, detector):
                return True
    return False


def test_the_engine_itself_is_not_broken() -> None:
    assert not broken_somewhere(DETECTOR)


def test_an_engine_that_does_not_hold_the_last_word_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(rule: pii_stream.EmailRule, text: str, start: int, end: int) -> int:
        return original(rule, text, start, end) if end < len(text) else end

    original = pii_stream.EmailRule.word
    monkeypatch.setattr(pii_stream.EmailRule, "word", hasty)
    assert broken_somewhere(DETECTOR)


def test_an_engine_that_forgets_what_stood_before_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pii_stream, "CONTEXT", 0)
    assert broken_somewhere(DETECTOR)


def test_an_engine_that_decides_before_a_run_has_ended_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = pii_numbers.Places.judge
    monkeypatch.setattr(pii_numbers.Places, "judge", lambda self, text, at, final: original(self, text, at, True))
    assert broken_somewhere(DETECTOR)
