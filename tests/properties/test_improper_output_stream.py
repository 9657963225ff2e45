"""The promise of the streaming scan, as properties: it says of running text what it says of the whole, wherever the
cuts are, and what has left is never taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors import improper_output, output_places
from extproc.detectors.base import Span
from extproc.detectors.improper_output import ImproperOutputDetector
from extproc.detectors.output_scan import OutputScan
from tests.support.streaming import cut

HELD_MAX = 1100
"""Characters. The longest thing that is ever undecided is an address of 1024 after its scheme."""

PACK: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "policies/packs/improper_output.yaml").read_text(encoding="utf-8")
)
DETECTOR = improper_output.build(PACK, {"allow_hosts": ["docs.example.com"]})
MATCHES = [text for rule in PACK["rules"] for text in rule["match"]]
PASSES = [text for rule in PACK["rules"] for text in rule["pass"]]
JOINTS = [
    *("\n", "\r\n", "\r", "\n\n", "\n```\n", "\n```", "```html\n", "\n~~~~\n", "   ```\n", "\n    ```\n", "`", "``"),
    *("<", "<b ", "<a href=", "='", '="', "= ", '"', "'", ">", "<div>\n", "<pre>", "<!--", "</", "|", "- ", "1. "),
    *("![", "](", "]:", "(", "(<", ")", "//", "https:", "https://a.b/?", "www.", "h", "&#106;", "&#x6a", "\\", "&"),
    *("java", "script:", "javascript:", "data:text/html", "onclick", "=", " on", "\x00", "\x1b[", "\u200b", "\ufe0f"),
    *("\U000e0041", "\U0001f3f4", "q" * 70, "9" * 30, "%41" * 20, " " * 40, "`" * 300, "https://docs.example.com/?"),
    *("\\`", "> "),
]

Finding = tuple[int, int, str, str | None]


def drive(scan: OutputScan, pieces: list[str]) -> list[Finding]:
    """Feed the pieces, check the contract at every step, and give the findings, each with its continuations."""
    found: list[Finding] = []
    fed = settled = 0
    for number, piece in enumerate(pieces, 1):
        final = number == len(pieces)
        spans = scan.feed(piece, final)
        fed += len(piece)
        assert settled <= scan.settled <= fed
        assert final or fed - scan.settled <= HELD_MAX
        check(spans, settled, scan.settled)
        for span in spans:
            join(found, span)
        settled = scan.settled
    assert settled == fed
    return found


def check(spans: list[Span], before: int, after: int) -> None:
    at = before
    for span in spans:
        assert at <= span.start < span.end <= after
        at = span.end


def join(found: list[Finding], span: Span) -> None:
    """Add a span: as a finding of its own, or to the one that it continues."""
    if span.opens:
        assert not found or found[-1][1] <= span.start
        found.append((span.start, span.end, span.rule, span.safe))
        return
    start, end, rule, safe = found[-1]
    assert (end, rule) == (span.start, span.rule)
    found[-1] = (start, span.end, rule, safe)


def whole(text: str, detector: ImproperOutputDetector = DETECTOR) -> list[Finding]:
    return [(match.start, match.end, match.rule, match.safe) for match in detector.scan(text).matches]


def made_harmless(text: str) -> str:
    out, at = "", 0
    for start, end, _, safe in whole(text):
        assert safe is not None
        out += text[at:start] + safe
        at = end
    return out + text[at:]


def damaged(text: str) -> st.SearchStrategy[str]:
    """A text cut short, with a character changed, or with something before it."""
    return st.one_of(
        st.integers(1, len(text)).map(lambda size: text[:size]),
        st.tuples(st.integers(0, len(text) - 1), st.sampled_from(" .x0-_\n\\\"'@=`<>()")).map(
            lambda change: text[: change[0]] + change[1] + text[change[0] + 1 :]
        ),
        st.sampled_from(JOINTS).map(lambda before: before + text),
    )


fragments = st.one_of(
    st.sampled_from(MATCHES),
    st.sampled_from(MATCHES).flatmap(damaged),
    st.sampled_from(PASSES),
    st.sampled_from(JOINTS),
    st.sampled_from(JOINTS),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text("<>`~[](!):=\"'\n\r \tjaonhtps/&#\\\x1b", max_size=40),
)
texts = st.lists(fragments, max_size=10).map("".join)
cuts = st.lists(st.integers(0, 4000), max_size=30)


@settings(max_examples=300, deadline=None)
@given(texts, cuts)
def test_any_cut_gives_the_spans_of_the_whole_text(text: str, places: list[int]) -> None:
    assert drive(DETECTOR.stream(), cut(text, places)) == whole(text)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_single_characters_give_the_spans_of_the_whole_text(text: str) -> None:
    assert drive(DETECTOR.stream(), [*text, ""]) == whole(text)


@settings(max_examples=100, deadline=None)
@given(texts, cuts)
def test_text_that_is_not_markdown_is_judged_alike_wherever_it_is_cut(text: str, places: list[int]) -> None:
    detector = improper_output.build(PACK, {"code_blocks": "read"})
    assert drive(detector.stream(), cut(text, places)) == whole(text, detector)


@settings(max_examples=100, deadline=None)
@given(texts, cuts, st.sets(st.integers(0, 29)))
def test_pauses_let_everything_go_and_keep_the_contract(text: str, places: list[int], pauses: set[int]) -> None:
    scan, settled, fed = DETECTOR.stream(), 0, 0
    pieces = cut(text, places)
    for number, piece in enumerate(pieces):
        check(scan.feed(piece, False), settled, scan.settled)
        assert settled <= scan.settled
        settled, fed = scan.settled, fed + len(piece)
        if number in pauses:
            check(scan.pause(), settled, scan.settled)
            assert scan.settled == fed
            settled = fed
    check(scan.feed("", True), settled, scan.settled)
    assert scan.settled == len(text)


@pytest.mark.parametrize(
    "text", ["<iframe>", "x https://a.b/c d", "<a on click", "[x](javascript:x)", "\U0001f3f4\ufe0f\ufe0f"]
)
def test_what_left_in_a_pause_is_never_taken_back(text: str) -> None:
    for place in range(1, len(text)):
        scan, settled = DETECTOR.stream(), 0
        for number, piece in enumerate([*text, ""], 1):
            check(scan.feed(piece, False), settled, scan.settled)
            assert settled <= scan.settled
            settled = scan.settled
            if number == place:
                check(scan.pause(), settled, scan.settled)
                settled = number


@settings(max_examples=100, deadline=None)
@given(texts)
def test_what_is_made_harmless_carries_no_character_that_nobody_sees(text: str) -> None:
    assert not {rule for _, _, rule, _ in whole(made_harmless(text))} & {"output.terminal", "output.invisible"}


UNITS = [
    *(
        "<",
        "![",
        "](",
        "java",
        "\x1b",
        "(",
        "(<",
        "`",
        "` <a ",
        "https:",
        "https://a/(",
        "https://a.b/",
        "\n",
        "\n ",
        "&#",
    ),
    *("on", "<a on", "<a =", '<a ="', "<a ='https://a.b ", "]:", "](  ", "\n1. ", "\n>", "\n```", "\u200b", "\u200bx"),
    *("\U0001f3f4", "\ufe0f", "www.", "<scr", "`|", "\\", "\\`", "%41", "https://a?", "=", "\r", "](&Tab;", "<pre"),
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("before", ["", "<a ", "`", "[x](https://x/"])
def test_what_is_repeated_without_end_never_holds_more_than_an_address(before: str, unit: str) -> None:
    text = before + unit * (1500 // len(unit))
    assert drive(DETECTOR.stream(), list(text)) == whole(text)


RULES = pytest.mark.parametrize("rule", PACK["rules"], ids=lambda rule: rule["id"])


@RULES
def test_every_example_is_found_in_two_parts_and_in_single_characters(rule: dict[str, Any]) -> None:
    for text in rule["match"]:
        expected = whole(text)
        assert {found for _, _, found, _ in expected} == {rule["id"]}
        for place in range(len(text) + 1):
            assert drive(DETECTOR.stream(), [text[:place], text[place:]]) == expected
        assert drive(DETECTOR.stream(), list(text)) == expected


@RULES
def test_every_example_is_found_across_a_pause_anywhere(rule: dict[str, Any]) -> None:
    for text in rule["match"]:
        for place in range(len(text) + 1):
            scan = DETECTOR.stream()
            spans = [*scan.feed(text[:place], False), *scan.pause(), *scan.feed(text[place:], True)]
            assert rule["id"] in {span.rule for span in spans}


@RULES
def test_no_near_miss_is_found_in_single_characters(rule: dict[str, Any]) -> None:
    for text in rule["pass"]:
        assert drive(DETECTOR.stream(), list(text)) == []


@RULES
def test_what_is_made_harmless_is_found_no_more(rule: dict[str, Any]) -> None:
    for text in rule["match"]:
        assert rule["id"] not in {found for _, _, found, _ in whole(made_harmless(text))}


def broken_somewhere() -> bool:
    """Say whether some example, cut in two somewhere, is judged otherwise than whole."""
    for text in MATCHES:
        for place in range(len(text)):
            scan = DETECTOR.stream()
            spans = [*scan.feed(text[:place], False), *scan.feed(text[place:], True)]
            if [span.start for span in spans if span.opens] != [start for start, *_ in whole(text)]:
                return True
    return False


def test_the_engine_itself_is_not_broken() -> None:
    assert not broken_somewhere()


def test_an_engine_that_does_not_hold_partial_tags_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = output_places.IN_TEXT

    def hasty(text: str, at: int) -> Any:
        hit = original(text, at)
        return None if hit is not None and hit[0] == "<" and hit.end() == len(text) else hit

    monkeypatch.setattr(output_places, "IN_TEXT", hasty)
    assert broken_somewhere()
