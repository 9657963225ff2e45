"""However an answer is cut: the same values come back at the same places, and no more."""

from __future__ import annotations

import contextlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from extproc.policy.channel import ChannelScan, Redaction, open_channel
from extproc.policy.decision import Action
from extproc.policy.masking import Masks
from extproc.policy.restoring import restoring
from tests.policy.fakes import WordDetector, policy, rule

SCOPE = "response.content"
MASKS = Masks("d-1")
P = MASKS.placeholder("email", "{1}")
Q = MASKS.placeholder("us-ssn", "{2}")
OTHER = Masks("d-2").placeholder("email", "{3}")

fragments = st.one_of(
    st.sampled_from([P, Q, P, Q, OTHER, " ", " "]),
    st.sampled_from([P, Q]).flatmap(lambda name: st.integers(0, len(name)).map(lambda at: name[:at])),
    st.sampled_from([P, Q]).flatmap(lambda name: st.integers(0, len(name)).map(lambda at: name[at:])),
    st.sampled_from(
        [
            ". ",
            ".a",
            "-",
            "@",
            "<",
            ">",
            "](",
            ")",
            "]:",
            "https://",
            "//",
            "\n\n",
            "<b ",
            '="',
            "MASKED_",
            '{"',
            "\\u00e",
            "\\u002",
            "\\",
        ]
    ),
    st.text("abM_SKED1. ", max_size=8),
    st.text(max_size=4),
)
texts = st.lists(fragments, max_size=10).map("".join)
cuts = st.lists(st.integers(0, 400), max_size=20)
words = st.sampled_from(["a", "M", "ED_", "EMAIL", "_1_", P[-4:], P[3:20], " ", "b_", P, f"{P} ", f" {Q}", "@"])
made_rules = st.lists(
    st.tuples(
        st.lists(words, min_size=1, max_size=2, unique=True),
        st.sampled_from(["flag", "redact", "redact", "deny"]),
        st.sampled_from([0, 1, 5]),
    ),
    max_size=3,
)
Made = list[tuple[list[str], str, int]]


def opened(made: Made) -> tuple[ChannelScan, ChannelScan | None]:
    """A channel that is restored, and one that the same rules read alone."""
    detectors = {f"r{at}": WordDetector(*found, marker="#", pieces=size) for at, (found, _, size) in enumerate(made)}
    documents = [rule(f"r{at}", scope=[SCOPE], action=action) for at, (_, action, _) in enumerate(made)]
    compiled = policy(detectors, rules=documents)
    scan = restoring(open_channel(compiled, SCOPE), SCOPE, MASKS.values())
    assert scan is not None
    return scan, open_channel(compiled, SCOPE)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def drive(scan: ChannelScan, pieces: list[str]) -> tuple[list[Redaction], list[str], bool]:
    """All redactions, what had left after each piece, and whether the text was denied; checks the contract."""
    text = "".join(pieces)
    out, at, settled, fed, states, given_ = "", 0, 0, 0, [], []
    for number, piece in enumerate([*pieces, ""]):
        fed += len(piece)
        for one in scan.feed(piece, number == len(pieces)):
            assert at <= one.start <= one.end <= scan.settled
            given_.append(one)
            out += text[at : one.start]
            if denies(one):
                return given_, [*states, out], True
            out += text[one.start : one.end] if one.replacement is None else one.replacement
            at = one.end
        assert settled <= scan.settled <= fed
        settled = scan.settled
        states.append(out + text[at:settled])
    assert settled == len(text)
    return given_, states, False


def acted(pieces: list[Redaction], kept: str) -> set[int]:
    """The code points that these pieces replace, those with values or those without; of a deny, where it begins."""
    return {
        at
        for one in pieces
        if one.replacement is not None and (one.replacement in MASKS.values().values()) == (kept == "values")
        for at in range(one.start, one.start + 1 if denies(one) else one.end)
    }


def denies(one: Redaction) -> bool:
    return one.finding is not None and one.finding.action is Action.DENY


@settings(max_examples=150, deadline=None)
@given(texts, cuts, made_rules)
def test_any_cut_gives_the_same_text_and_the_same_findings(text: str, places: list[int], made: Made) -> None:
    def outcome(pieces: list[str]) -> Any:
        redactions, states, denied = drive(opened(made)[0], pieces)
        found = {(one.finding.rule, one.finding.start, one.finding.match) for one in redactions if one.finding}
        return states[-1], found, denied

    assert outcome(cut(text, places)) == outcome([text]) == outcome(list(text))


@settings(max_examples=80, deadline=None)
@given(texts, cuts, made_rules)
def test_what_has_left_is_the_beginning_of_what_leaves_in_the_end(text: str, places: list[int], made: Made) -> None:
    _, states, _ = drive(opened(made)[0], cut(text, places))

    assert all(states[-1].startswith(state) for state in states)


@settings(max_examples=120, deadline=None)
@given(texts, cuts, made_rules)
def test_the_rules_take_out_what_they_take_out_alone(text: str, places: list[int], made: Made) -> None:
    scan, alone = opened(made)
    redactions, _, denied = drive(scan, cut(text, places))
    expected, _, denied_alone = ([], [], False) if alone is None else drive(alone, [text])

    assert denied == denied_alone
    assert acted(redactions, "rules") == acted(expected, "rules")
    assert not acted(redactions, "rules") & acted(redactions, "values")


@settings(max_examples=120, deadline=None)
@given(texts, cuts)
def test_only_whole_placeholders_of_this_exchange_become_their_values(text: str, places: list[int]) -> None:
    redactions, _, _ = drive(opened([])[0], cut(text, places))

    assert [one.replacement for one in redactions] == [MASKS.values()[text[one.start : one.end]] for one in redactions]


@settings(max_examples=80, deadline=None)
@given(texts, cuts, st.lists(st.integers(0, 20), max_size=6))
def test_pauses_lose_no_text_and_give_no_value_that_is_not_given_without(
    text: str, places: list[int], pauses: list[int]
) -> None:
    scan, _ = opened([])
    pieces, redactions = cut(text, places), []
    for number, piece in enumerate(pieces):
        redactions += scan.feed(piece, False)
        if number in pauses:
            redactions += scan.pause()
    redactions += scan.feed("", True)

    assert scan.settled == len(text)
    assert all(one.replacement == MASKS.values()[text[one.start : one.end]] for one in redactions)
    assert all(before.end <= after.start for before, after in pairwise(redactions))


# ---- what renderers make of it ----

VALUE = "zqxvalue"
SHOWN = Masks("d-3")
NAME = SHOWN.placeholder("email", VALUE)
markup = st.one_of(
    st.sampled_from([NAME, NAME, f" {NAME} ", " ", "\n", "\n\n", "x", "\\", "`", "*", "_", "    ", "> ", "- ", "&lt;"]),
    st.sampled_from(["[", "]", "(", ")", "<", ">", "![", "](", "]: ", "[a]", "[a]: ", '"', "'", "=", "/", "//", "?q="]),
    st.sampled_from(["<a ", "<img ", "src=", "href=", "<div>", "<div ", "<pre\n", "</div>", "<!--", "-->", "<?", "?>"]),
    st.sampled_from(["http:", "https://e.example/", "e.example/", "www.", ".e.example", "&#47;", "&#46;", "@"]),
)


class Attributes(HTMLParser):
    """Collects what stands in the attributes of HTML, save those that clients show as text."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += " ".join(f"{name}={value}" for name, value in attrs if name not in ("alt", "title"))


@settings(max_examples=400, deadline=None)
@given(st.lists(markup, min_size=2, max_size=20).map("".join))
def test_no_renderer_finds_a_value_in_an_attribute_or_an_address(text: str) -> None:
    scan = restoring(None, SCOPE, SHOWN.values())
    assert scan is not None
    out, at = "", 0
    for one in scan.feed(text, True):
        out, at = f"{out}{text[at : one.start]}{one.replacement}", one.end
    out += text[at:]

    html = Attributes()
    with contextlib.suppress(AssertionError):  # this parser gives up at "<![" without a name
        html.feed(MarkdownIt("commonmark", {"html": True}).render(out))
        html.close()
    assert VALUE not in html.found
    assert not any(VALUE in link for link in re.findall(r"(?:https?://|www\.)[^ \t\r\n\f\v<]+", out))
    assert re.search(rf"{VALUE}[\w-]*\.[a-z]|e\.example/[^\s<]*{VALUE}", out) is None
