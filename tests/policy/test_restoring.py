"""Masked values come back into the text of an answer, beside what the rules take out of it."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.policy.channel import ChannelScan, Redaction, open_channel
from extproc.policy.decision import Action, Finding
from extproc.policy.masking import NO_MASKS, Masks
from extproc.policy.restoring import restoring
from tests.policy.fakes import WordDetector, policy, rule

SCOPE = "response.content"
MASKS = Masks("d-1")
P = MASKS.placeholder("email", "<ann>")
Q = MASKS.placeholder("email", "<bob>")
OTHER = Masks("d-2").placeholder("email", "<eve>")


def opened(*rules: tuple[WordDetector, dict[str, Any]], scope: str = SCOPE) -> ChannelScan:
    documents = [
        rule(f"r{index}", **{"scope": [scope], "action": "redact"} | fields) for index, (_, fields) in enumerate(rules)
    ]
    compiled = policy({f"r{index}": detector for index, (detector, _) in enumerate(rules)}, rules=documents)
    scan = restoring(open_channel(compiled, scope), scope, MASKS.values())
    assert scan is not None
    return scan


def run(scan: ChannelScan, *pieces: str) -> tuple[str, list[Finding]]:
    """What leaves, as a body filter would have it."""
    text, out, findings, at = "".join(pieces), [], [], 0
    for index, piece in enumerate([*pieces, ""]):
        for redaction in scan.feed(piece, index == len(pieces)):
            assert at <= redaction.start <= redaction.end <= scan.settled
            out.append(text[at : redaction.start])
            at = redaction.end
            findings += [] if redaction.finding is None else [redaction.finding]
            if redaction.finding is not None and redaction.finding.action is Action.DENY:
                return "".join(out), findings
            kept = text[redaction.start : at]
            out.append(kept if redaction.replacement is None else redaction.replacement)
    assert scan.settled == len(text)
    return "".join([*out, text[at:]]), findings


# ---- plain text ----


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (P, "<ann>"),
        (f"to {P}, {Q}; {P}.", "to <ann>, <bob>; <ann>."),
        (f"{P}'s {P}. Next {P}... {P}! ({P})", "<ann>'s <ann>. Next <ann>... <ann>! (<ann>)"),
        (f"{P}\\n {P}\\. {P}& {P}.", "<ann>\\n <ann>\\. <ann>& <ann>."),
        (f"**{P}** _{P}_ `{P}`", "**<ann>** _<ann>_ `<ann>`"),
        (f"Ann <{P}> wrote", "Ann <<ann>> wrote"),
        (f"{P}\u3067\u3059", "<ann>\u3067\u3059"),
        (f"M MASK MASKED_ MASKED_{P}", "M MASK MASKED_ MASKED_<ann>"),
        (f"MASKED_EMAIL_1{P}", "MASKED_EMAIL_1<ann>"),
        (f"<b>{P}</b>", "<b><ann></b>"),
        (f"[{P}](https://a.example)", "[<ann>](https://a.example)"),
    ],
)  # fmt: skip
def test_values_come_back_in_plain_text(text: str, left: str) -> None:
    for place in range(len(text) + 1):
        assert run(opened(), text[:place], text[place:])[0] == left
    assert run(opened(), *text)[0] == left


@pytest.mark.parametrize(
    "text",
    [
        f"https://evil.example/?q={P}",
        f"http://{P}.evil.example",
        f"{P}.evil.example",
        f"{P}-x.evil.example",
        f"{P}_x.evil.example",
        f"{P}xy.evil.example",
        f"{P}____x",
        f"{P}\\.evil.example",
        f"{P}&#46;evil.example",
        f"{P}@evil.example",
        f"www.{P}.evil.example",
        f"evil.example/{P}",
        f"![]({P})",
        f"![](<//evil.example/ {P}>)",
        f"[a]: {P}",
        f'<img src="//evil.example/ {P}">',
        f"<p title={P}>",
        f"<{P} a=b>",
        f"mailto:{P}",
        P[:-1],
        P.lower(),
        OTHER,
        f"{P[:-6]}aaaaaa",
    ],
)
def test_everywhere_else_placeholders_stay(text: str) -> None:
    for place in range(len(text) + 1):
        assert run(opened(), text[:place], text[place:])[0] == text
    assert run(opened(), *text)[0] == text


def test_only_what_may_become_a_placeholder_is_held() -> None:
    scan = opened()
    scan.feed("I'm MAS", False)
    assert scan.settled == 4
    scan.feed("HED", False)
    assert scan.settled == 10
    scan.feed(f" {P}", False)
    assert scan.settled == 11
    assert scan.feed(" x", False) == [Redaction(11, 11 + len(P), "<ann>")]
    assert scan.settled == 13 + len(P)


def test_a_long_word_that_begins_like_a_placeholder_is_let_go() -> None:
    scan = opened()
    scan.feed("MASKED_" + "A" * 100, False)

    assert scan.settled == 107


@pytest.mark.parametrize(("begins", "value"), [("{", 'a\\"\\n'), (" \n{", 'a\\"\\n'), ("x {", 'a"\n'), ("[", 'a"\n')])
def test_an_answer_that_begins_like_an_object_gets_values_as_json_needs_them(begins: str, value: str) -> None:
    masks = Masks("d")
    text = begins + '"a": "' + masks.placeholder("x", 'a"\n') + '"}'
    for place in range(len(text) + 1):
        scan = restoring(None, SCOPE, masks.values())
        assert scan is not None
        assert run(scan, text[:place], text[place:])[0] == f'{begins}"a": "{value}"}}'


@pytest.mark.parametrize(
    "said",
    [
        '<img alt=\\">\\" src=\\"//evil.example/ {}\\">',
        "\\u003cimg src='//evil.example/ {}'>",
        "[a]:\\n <//evil.example/ {}>",
        "https:\\u002f\\u002fevil.example/{}",
        "{}\\u002eevil.example",
        "{}.\\u0065vil.example",
    ],
)
def test_an_address_or_a_tag_that_the_escapes_of_json_hide_keeps_the_placeholder(said: str) -> None:
    text = '{"a": "' + said.replace("{}", P) + f'", "b": "{OTHER}"}}'
    for place in range(len(text) + 1):
        assert run(opened(), text[:place], text[place:])[0] == text
    assert run(opened(), *text)[0] == text


def test_other_escapes_hide_nothing() -> None:
    text = '{"a": "1 < 2\\n caf\\u00e9 ' + P + '\\n\\u00e9"}'

    assert run(opened(), *text)[0] == text.replace(P, "<ann>")


@pytest.mark.parametrize("scope", ["response.content", "response.reasoning", "response.refusal"])
def test_a_scope_that_no_rule_reads_gets_values_back(scope: str) -> None:
    scan = restoring(None, scope, MASKS.values())
    assert scan is not None

    assert run(scan, P)[0] == "<ann>"


@pytest.mark.parametrize("scope", ["response.body", "response.logprobs", "response.tool_arguments"])
def test_no_other_text_does(scope: str) -> None:
    assert restoring(None, scope, MASKS.values()) is None


def test_an_exchange_without_masks_has_the_rules_own_scan() -> None:
    scan = opened()

    assert restoring(scan, SCOPE, NO_MASKS) is scan
    assert restoring(None, SCOPE, NO_MASKS) is None


def test_no_value_shows_in_a_repr() -> None:
    scan = opened()

    assert "ann" not in repr([*scan.feed(f"{P} ", True), scan])


# ---- pauses ----


def test_a_pause_decides_on_a_placeholder_and_lets_the_beginning_of_a_word_go() -> None:
    scan = opened()
    assert scan.feed(P, False) == []
    assert scan.pause() == [Redaction(0, len(P), "<ann>")]
    assert scan.feed(" MASK", False) == []
    assert scan.pause() == []
    assert scan.settled == len(P) + 5
    assert scan.pause() == []


def test_a_pause_in_a_placeholder_keeps_what_there_is_of_it() -> None:
    scan = opened((WordDetector("zz"), {}))
    assert scan.feed(P[:9], False) == []
    assert scan.pause() == []
    assert scan.settled == 0
    assert scan.feed(P[9:] + " .", True) == [Redaction(0, len(P), "<ann>")]


# ---- with rules ----


def test_what_is_put_back_is_not_read_by_the_rules() -> None:
    left, findings = run(opened((WordDetector("ann", "eve"), {})), f"{P} and eve")

    assert left == "<ann> and [EVE]"
    assert [found.match for found in findings] == ["eve"]


@pytest.mark.parametrize("word", ["EMAIL", P, f"a{P}", f"{P}b", f"x a{P}b y", f"a{P[:8]}", f"{P[8:]}b"])
@pytest.mark.parametrize("pieces", [0, 3])
def test_a_redaction_of_a_part_of_a_placeholder_wins(word: str, pieces: int) -> None:
    text = f"x a{P}b y {Q}"
    left = text.replace(word, f"[{word.upper()}]").replace(Q, "<bob>" if word != "EMAIL" else Q)

    for place in range(len(text) + 1):
        scan = opened((WordDetector(word, pieces=pieces), {}))
        assert run(scan, text[:place], text[place:])[0] == left
    assert run(opened((WordDetector(word, pieces=pieces), {})), *text)[0] == left


def test_a_redaction_beside_a_placeholder_leaves_it_alone() -> None:
    left, _ = run(opened((WordDetector("ab", "cd"), {})), f"ab{P} {Q}-cd")

    assert left == "[AB]<ann> <bob>-cd".replace("<bob>-cd", f"{Q}-[CD]")


@pytest.mark.parametrize("fields", [{"action": "flag"}, {"action": "redact", "mode": "monitor"}])
@pytest.mark.parametrize("word", ["EMAIL", P, f"x {P} y"])
def test_a_note_in_a_placeholder_is_told_and_the_value_comes_back(word: str, fields: dict[str, Any]) -> None:
    left, findings = run(opened((WordDetector(word), fields)), f"x {P} y")

    assert left == "x <ann> y"
    assert [found.start for found in findings] == [f"x {P} y".index(word)]


@pytest.mark.parametrize(("word", "left"), [("bad", "<ann> "), ("EMAIL", "MASKED_"), (P, ""), ("ask", None)])
def test_a_deny_ends_the_text_where_it_begins(word: str, left: str | None) -> None:
    text = f"{P} bad"
    expected = left if left is not None else "<ann> bad"

    for place in range(len(text) + 1):
        assert run(opened((WordDetector(word), {"action": "deny"})), text[:place], text[place:])[0] == expected


def test_text_settles_when_the_rules_and_the_placeholders_are_done_with_it() -> None:
    scan = opened((WordDetector("Q" * 30), {}))
    assert scan.feed(f"abc {P} ", False) == []
    assert scan.settled == 0
    assert scan.feed("-" * 10, False) == []
    assert scan.settled == 4  # the rules stand in the middle of the placeholder
    assert scan.feed("-" * 30, False) == [Redaction(4, 4 + len(P), "<ann>")]
