from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.channel import ChannelScan, Redaction, open_channel
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Finding
from tests.policy.fakes import WordDetector, policy, rule

SCOPE = "response.content"


def with_rules(*rules: tuple[WordDetector, dict[str, Any]]) -> CompiledPolicy:
    named = {f"r{index}": made for index, made in enumerate(rules)}
    defaults = {"scope": [SCOPE], "action": "redact"}
    documents = [rule(name, **defaults | fields) for name, (_, fields) in named.items()]
    return policy({name: detector for name, (detector, _) in named.items()}, rules=documents)


def opened(compiled: CompiledPolicy) -> ChannelScan:
    scan = open_channel(compiled, SCOPE)
    assert scan is not None
    return scan


def run(scan: ChannelScan, pieces: list[str]) -> tuple[str, list[Finding]]:
    """Feed the pieces as a body filter would; return what left and the findings, and hold the scan to its contract."""
    text, out, findings = "".join(pieces), [], []
    at = fed = settled = 0
    for index, piece in enumerate([*pieces, ""]):
        fed += len(piece)
        for redaction in scan.feed(piece, index == len(pieces)):
            assert at <= redaction.start <= redaction.end <= scan.settled
            out.append(text[at : redaction.start])
            if redaction.finding is not None:
                findings.append(redaction.finding)
                if redaction.finding.action is Action.DENY and not redaction.finding.monitored:
                    return "".join(out), findings
            kept = text[redaction.start : redaction.end]
            out.append(kept if redaction.replacement is None else redaction.replacement)
            at = redaction.end
        assert settled <= scan.settled <= fed
        settled = scan.settled
    assert settled == fed
    return "".join([*out, text[at:]]), findings


def cut_at(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def test_a_scope_that_no_rule_reads_has_no_scan() -> None:
    assert open_channel(policy(), SCOPE) is None


def test_a_redaction_puts_the_marker_at_the_opening_and_nothing_at_what_goes_on() -> None:
    scan = opened(with_rules((WordDetector("secret", pieces=4), {})))

    first, second = scan.feed("a secret b", True)

    assert (first.start, first.end, first.replacement) == (2, 6, "[SECRET]")
    assert first.finding is not None
    assert (first.finding.rule, first.finding.match, first.finding.scope) == ("r0", "secret", SCOPE)
    assert second == Redaction(6, 8, "")


@pytest.mark.parametrize("fields", [{"action": "flag"}, {"mode": "monitor"}, {"action": "deny", "mode": "monitor"}])
@pytest.mark.parametrize("others", [0, 1])
def test_what_is_only_noted_leaves_the_text_as_it_is(fields: dict[str, Any], others: int) -> None:
    quiet: list[tuple[WordDetector, dict[str, Any]]] = [(WordDetector("zzz"), {})] * others
    left, findings = run(opened(with_rules((WordDetector("secret", pieces=2), fields), *quiet)), ["a sec", "ret b"])

    assert left == "a secret b"
    assert [(found.rule, found.start, found.monitored) for found in findings] == [("r0", 2, "mode" in fields)]


@pytest.mark.parametrize("others", [0, 1])
def test_a_deny_ends_the_channel_where_the_finding_begins(others: int) -> None:
    quiet: list[tuple[WordDetector, dict[str, Any]]] = [(WordDetector("zzz"), {})] * others
    left, findings = run(opened(with_rules((WordDetector("bad"), {"action": "deny"}), *quiet)), ["ok ba", "d more"])

    assert left == "ok "
    assert findings[-1].action is Action.DENY


@pytest.mark.parametrize(
    ("first", "second", "text", "left"),
    [
        # Apart, side by side, overlapping, one inside the other, the same.
        ("aa", "bb", "-aa-bb-", "-[AA]-[BB]-"),
        ("aa", "bb", "-aabb-", "-[AA][BB]-"),
        ("abc", "cde", "-abcde-", "-[ABC]-"),
        ("abcde", "c", "-abcde-", "-[ABCDE]-"),
        ("c", "abcde", "-abcde-", "-[ABCDE]-"),
        ("abc", "abc", "-abc-", "-[ABC]-"),
    ],
)
def test_redactions_of_two_rules_that_meet_become_one(first: str, second: str, text: str, left: str) -> None:
    scan = opened(with_rules((WordDetector(first), {}), (WordDetector(second), {})))
    result, findings = run(scan, [text])

    assert result == left
    assert {found.rule for found in findings} == {"r0", "r1"}


def test_a_deny_inside_a_redaction_ends_the_channel_there() -> None:
    scan = opened(with_rules((WordDetector("abcdef"), {}), (WordDetector("cd"), {"action": "deny"})))
    left, findings = run(scan, ["-abcdef-"])

    assert left == "-[ABCDEF]"
    assert [found.rule for found in findings] == ["r0", "r1"]


def test_a_deny_where_a_redaction_begins_goes_first() -> None:
    scan = opened(with_rules((WordDetector("abc"), {}), (WordDetector("ab"), {"action": "deny"})))

    assert run(scan, ["-abc-"])[0] == "-"


def test_a_note_inside_a_redaction_is_still_told() -> None:
    scan = opened(with_rules((WordDetector("abcdef"), {}), (WordDetector("cd"), {"action": "flag"})))
    left, findings = run(scan, ["-abcdef-"])

    assert left == "-[ABCDEF]-"
    assert [(found.rule, found.start) for found in findings] == [("r0", 1), ("r1", 3)]


def test_text_settles_when_every_rule_is_done_with_it() -> None:
    scan = opened(with_rules((WordDetector("ab"), {}), (WordDetector("abcdefgh"), {})))
    redactions = scan.feed("xxabxx", False)

    assert redactions == []
    assert scan.settled == 0
    assert [piece.replacement for piece in scan.feed("", True)] == ["[AB]"]


LINK = WordDetector("see secret here", safe="<{}>")


def neutralising(*more: tuple[WordDetector, dict[str, Any]]) -> ChannelScan:
    return opened(with_rules((LINK, {"detector": "improper_output", "action": "neutralise"}), *more))


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_neutralised_leaves_in_its_harmless_form(others: int) -> None:
    quiet: list[tuple[WordDetector, dict[str, Any]]] = [(WordDetector("secret"), {"action": "flag"})] * others

    assert run(neutralising(*quiet), [*"a see secret here b"])[0] == "a <see secret here> b"


@pytest.mark.parametrize(
    ("word", "action", "left"),
    [
        ("secret", "redact", "a [SEE SECRET HERE] b"),
        ("a see", "redact", "[A SEE] b"),
        ("here b", "redact", "a [SEE SECRET HERE]"),
        ("secret", "deny", "a [SEE SECRET HERE]"),
        (" b", "redact", "a <see secret here>[ B]"),
    ],
)
def test_a_harmless_form_never_says_what_a_stricter_rule_takes_out(word: str, action: str, left: str) -> None:
    text = "a see secret here b"
    for place in range(len(text) + 1):
        scan = neutralising((WordDetector(word), {"action": action}))
        assert run(scan, [text[:place], text[place:]])[0] == left
    assert run(neutralising((WordDetector(word), {"action": action})), [*text])[0] == left


@pytest.mark.parametrize(("safe", "left"), [("<{}>", "a <see secret here> b"), ("({})", "a [SEE SECRET HERE] b")])
def test_two_rules_that_neutralise_one_place_must_mean_the_same(safe: str, left: str) -> None:
    other = (WordDetector("see secret here", safe=safe), {"detector": "improper_output", "action": "neutralise"})

    assert run(neutralising(other), [*"a see secret here b"])[0] == left


def test_what_needs_a_whole_text_is_neutralised_where_it_ends() -> None:
    detector = WordDetector("see secret here", "secret", safe="<{}>")
    fields = {"detector": "special_tokens", "action": "neutralise", "scope": ["response.tool_result"]}
    compiled = policy({"r": detector}, rules=[rule("r", **fields)])
    scan = open_channel(compiled, "response.tool_result")

    assert scan is not None
    assert run(scan, [*"a see secret here b secret"])[0] == "a <see secret here> b <secret>"


words = st.lists(st.sampled_from(["a", "ab", "bc", "abc", "cab", "bbb"]), min_size=1, max_size=3, unique=True)
rules = st.lists(
    st.tuples(words, st.sampled_from(["flag", "redact", "deny"]), st.sampled_from([0, 1, 2])), min_size=1, max_size=3
)


harmless = st.lists(st.tuples(words, st.just("neutralise"), st.just(0)), max_size=2)


def detector_of(found: list[str], action: str, size: int) -> tuple[WordDetector, dict[str, Any]]:
    if action == "neutralise":
        return WordDetector(*found, safe="({})"), {"action": action, "detector": "improper_output"}
    return WordDetector(*found, pieces=size), {"action": action}


@given(
    st.tuples(rules, harmless).map(lambda both: both[0] + both[1]).flatmap(st.permutations),
    st.text(alphabet="abc", max_size=24),
    st.lists(st.integers(0, 30), max_size=8),
)
def test_how_the_text_is_cut_changes_nothing(
    made: list[tuple[list[str], str, int]], text: str, places: list[int]
) -> None:
    def outcome(pieces: list[str]) -> tuple[str, set[tuple[str, int, str]]]:
        left, findings = run(opened(with_rules(*(detector_of(*each) for each in made))), pieces)
        return left, {(found.rule, found.start, found.match) for found in findings}

    assert outcome(cut_at(text, places)) == outcome([text]) == outcome(list(text))


@given(rules, st.text(alphabet="abc", max_size=24))
def test_nothing_that_a_rule_redacts_or_denies_leaves(made: list[tuple[list[str], str, int]], text: str) -> None:
    detectors = [(WordDetector(*found, marker="_"), {"action": action}) for found, action, _ in made]
    left, _ = run(opened(with_rules(*detectors)), list(text))
    found = [(fields["action"], match) for detector, fields in detectors for match in detector.scan(text).matches]
    gone = {at for action, match in found if action != "flag" for at in range(match.start, match.end)}
    end = min((match.start for action, match in found if action == "deny"), default=len(text))

    assert left.replace("_", "") == "".join(char for at, char in enumerate(text[:end]) if at not in gone)


@pytest.mark.parametrize("others", [0, 1])
def test_a_pause_settles_what_the_rules_let_go(others: int) -> None:
    quiet: list[tuple[WordDetector, dict[str, Any]]] = [(WordDetector("zzz"), {})] * others
    scan = opened(with_rules((WordDetector("secret"), {}), *quiet))
    assert scan.feed("a sec", False) == []
    assert scan.pause() == []
    assert scan.settled == 5
    assert [piece.replacement for piece in scan.feed(" secret", True)] == ["[SECRET]"]
