"""However an answer is cut: no mark is left in it, and the rules decide as if there had been none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.policy.channel import ChannelScan, Redaction, open_channel
from extproc.policy.decision import Action
from extproc.policy.marks import Marks, marks_for
from extproc.policy.unmarking import unmarking
from tests.policy.fakes import WordDetector, policy, rule

SCOPE = "response.content"
WORDS = Marks("datamark", "\u02c6")
TAGS = marks_for("delimit", "d-1", ())
M, T = WORDS.marker, TAGS.marker

pieces = st.one_of(
    st.sampled_from(
        [M, M + M, f"a{M}b", f"<{T}>", f"</{T}>", T, f"{T} ", " ", "\n", "<", "</", "DA", "DATA_", "ab", "b "]
    ),
    st.integers(0, len(T) + 3).map(lambda at: f"</{T}>"[:at]),
    st.text(f"ab{M}<D \n\u4f60", max_size=6),
)
texts = st.lists(pieces, max_size=10).map("".join)
cuts = st.lists(st.integers(0, 200), max_size=20)
each_method = pytest.mark.parametrize("marks", [WORDS, TAGS], ids=["datamark", "delimit"])
made_rules = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "ab", "a b", "b", " ", "\n", "<", "aa"]), min_size=1, max_size=2, unique=True),
        st.sampled_from(["flag", "redact", "redact", "deny"]),
        st.sampled_from([0, 1, 2]),
    ),
    max_size=3,
)
Made = list[tuple[list[str], str, int]]


def scan_of(made: Made) -> ChannelScan | None:
    detectors = {f"r{at}": WordDetector(*found, marker="#", pieces=size) for at, (found, _, size) in enumerate(made)}
    rules = [rule(f"r{at}", scope=[SCOPE], action=action) for at, (_, action, _) in enumerate(made)]
    return open_channel(policy(detectors, rules=rules), SCOPE)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def run(scan: ChannelScan | None, fed: list[str], pauses: frozenset[int] = frozenset()) -> tuple[str, list[str]]:
    """What leaves of a text, and what was found in it. Checks what every scan promises.

    Behind the pieces with the numbers in ``pauses`` another text goes on.
    """
    text = "".join(fed)
    if scan is None:
        return text, []
    told: list[Redaction] = []
    out, at, settled, fed_so_far = "", 0, 0, 0
    for index, piece in enumerate([*fed, ""]):
        new = scan.feed(piece, index == len(fed))
        if index in pauses and index < len(fed):
            new = [*new, *scan.pause()]
        fed_so_far += len(piece)
        assert settled <= scan.settled <= fed_so_far
        assert all(settled <= each.start <= each.end <= scan.settled for each in new)
        settled = scan.settled
        told += new
    assert settled == len(text)
    found: list[str] = []
    for each in told:
        assert each.start >= at
        if each.finding is not None:
            found.append(each.finding.rule)
            if each.finding.action is Action.DENY:
                return out + text[at : each.start], found
        if each.replacement is not None:
            out += text[at : each.start] + each.replacement
            at = each.end
    return out + text[at:], found


@each_method
@given(texts, cuts)
@settings(max_examples=150, deadline=None)
def test_no_mark_is_left_however_the_text_is_cut(marks: Marks, text: str, places: list[int]) -> None:
    out, _ = run(unmarking(None, marks), cut(text, places))

    assert marks.marker not in out
    assert out == run(unmarking(None, marks), [text])[0]


@each_method
@given(texts, cuts, made_rules)
@settings(max_examples=200, deadline=None)
def test_rules_decide_as_on_the_text_without_marks(marks: Marks, text: str, places: list[int], made: Made) -> None:
    clean, _ = run(unmarking(None, marks), [text])

    assert run(unmarking(scan_of(made), marks), cut(text, places)) == run(scan_of(made), [clean])


@each_method
@given(st.text("ab \n\u4f60", max_size=30), cuts)
@settings(max_examples=80, deadline=None)
def test_a_marked_text_comes_back(marks: Marks, text: str, places: list[int]) -> None:
    out, _ = run(unmarking(None, marks), cut(marks.put_on(text), places))

    assert "".join(out.split()) == "".join(text.split())
    if "\u4f60" not in text:
        assert out.split() == text.split()


@each_method
@given(texts, cuts)
@settings(max_examples=80, deadline=None)
def test_a_whole_text_and_a_running_one_lose_the_same(marks: Marks, text: str, places: list[int]) -> None:
    text += "."  # so that nothing is cut off in the middle of a tag

    assert run(unmarking(None, marks), cut(text, places))[0] == marks.taken_off(text)


@each_method
@given(texts, cuts, made_rules, st.frozensets(st.integers(0, 20)))
@settings(max_examples=150, deadline=None)
def test_a_pause_lets_go_of_no_mark(marks: Marks, text: str, places: list[int], made: Made, at: frozenset[int]) -> None:
    out, _ = run(unmarking(scan_of(made), marks), cut(text, places), at)

    assert marks.marker not in out


def test_a_pause_lets_a_space_and_a_mere_beginning_go_but_no_beginning_of_a_tag() -> None:
    words, tags = unmarking(None, WORDS), unmarking(None, TAGS)
    assert words is not None
    assert tags is not None
    assert words.feed(f"a{M}", False) == []
    assert words.settled == 1
    assert words.pause() == [Redaction(1, 2, " ")]
    assert words.settled == 2
    assert tags.feed("b <", False) == tags.pause() == []
    assert tags.settled == 3
    assert tags.feed(f"a</{T[:-1]}", False) == tags.pause() == []
    assert tags.settled == 4
    assert tags.feed("", True) == [Redaction(4, 5 + len(T), "")]
