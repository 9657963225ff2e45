"""Placeholders: how they are made, what a request with masked values looks like, and their return into arguments."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from extproc.chat import Edit, Json, Text, ToolCall
from extproc.policy import engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.policy.masking import PLACEHOLDER, Masks, lookalikes, restored_arguments
from extproc.policy.reading import Reading, read_texts
from tests.policy.fakes import WordDetector, policy, rule

ANN, BOB = "ann@a.example", "bob@b.example"


def masking(*more: tuple[WordDetector, dict[str, Any]], **fields: Any) -> CompiledPolicy:
    named = {f"r{index}": made for index, made in enumerate(more)}
    mails = rule("mails", **{"scope": ["user", "assistant", "tool_result"], "action": "mask"} | fields)
    others = [rule(name, **given) for name, (_, given) in named.items()]
    detectors = {"mails": WordDetector(ANN, BOB, kind="email"), **{name: made for name, (made, _) in named.items()}}
    return policy(detectors, rules=[mails, *others])


def user(text: str, *path: str | int) -> Text:
    return Text("user", text, path or ("prompt",))


def masked(compiled: CompiledPolicy, *texts: str) -> tuple[list[str], Masks, Reading]:
    """What the upstream gets of these texts."""
    document: dict[str, Json] = {"texts": list(texts)}
    masks = Masks("d-1")
    read = [user(text, "texts", index) for index, text in enumerate(texts)]
    reading, edits = read_texts(compiled, document, read, masks)
    values = {edit.path: str(edit.value) for edit in edits}
    return [values.get(("texts", index), text) for index, text in enumerate(texts)], masks, reading


# ---- placeholders ----


def test_the_same_value_has_the_same_placeholder_and_another_another() -> None:
    masks = Masks("d-1")
    made = [masks.placeholder("email", value) for value in (ANN, BOB, ANN)]

    assert made[0] == made[2] != made[1]
    assert masks.values() == {made[0]: ANN, made[1]: BOB}


def test_a_placeholder_names_the_kind_and_is_plain_word_characters() -> None:
    made = Masks("d-1").placeholder("email", ANN)

    assert re.fullmatch(r"MASKED_EMAIL_1_[a-z][a-z2-7]{5}", made)
    assert PLACEHOLDER.fullmatch(made)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("us-ssn", "US_SSN"),
        ("pii.email", "EMAIL"),
        ("pii.", "VALUE"),
        ("", "VALUE"),
        ("\u00e9\u00df", "SS"),
        ("---", "VALUE"),
        ("x" * 60, "X" * 24),
        ("a" * 23 + "-b", "A" * 23),
    ],
)
def test_any_kind_becomes_a_name(kind: str, name: str) -> None:
    made = Masks("d-1").placeholder(kind, ANN)

    assert made.startswith(f"MASKED_{name}_1_")
    assert PLACEHOLDER.fullmatch(made)


def test_kinds_are_counted_apart() -> None:
    masks = Masks("d-1")
    made = [masks.placeholder(kind, value) for kind, value in (("a", "1"), ("a", "2"), ("b", "3"))]

    assert [name.rsplit("_", 1)[0] for name in made] == ["MASKED_A_1", "MASKED_A_2", "MASKED_B_1"]


def test_the_tag_follows_from_the_id_alone_and_does_not_show_it() -> None:
    tags = {Masks(f"{number:016x}").placeholder("a", "v")[-6:] for number in range(200)}

    assert len(tags) == 200
    assert Masks("abcdef").placeholder("a", "v") == Masks("abcdef").placeholder("a", "v")
    assert "abcdef" not in Masks("abcdef").placeholder("a", "v")


def test_the_values_show_in_no_repr() -> None:
    decision = judge_texts(masking(), user(f"to {ANN}", "p"), p=f"to {ANN}")

    assert list(decision.masks.values()) == [ANN]
    assert ANN not in repr(decision)
    masks = Masks("d")
    masks.placeholder("email", ANN)
    assert ANN not in repr(masks)


# ---- requests ----


def judge_texts(compiled: CompiledPolicy, *texts: Text, **document: Json) -> Any:
    from dataclasses import replace
    from typing import cast

    from extproc.chat import ChatRequest
    from extproc.dialects.base import Dialect

    request = replace(ChatRequest("toy", "good:1", stream=False, document=document), texts=texts)
    return engine.judge_request(compiled, request, cast("Dialect", None), "d-1")


def test_the_upstream_sees_placeholders_only() -> None:
    left, masks, reading = masked(masking(), f"{ANN} and {BOB}", f"again {ANN}")
    first, second = masks.values()

    assert left == [f"{first} and {second}", f"again {first}"]
    assert [found.action for found in reading.findings] == [Action.MASK] * 3


def test_a_decision_has_the_masks_and_a_denied_one_has_none() -> None:
    denies = WordDetector("bad"), {"action": "deny"}
    text = f"{ANN} bad"

    allowed = judge_texts(masking(), user(text, "p"), p=text)
    denied = judge_texts(masking(denies), user(text, "p"), p=text)

    assert (allowed.action, list(allowed.masks.values())) == (Action.MASK, [ANN])
    assert (denied.action, dict(denied.masks), denied.edits) == (Action.DENY, {}, ())


def test_what_a_stricter_rule_finds_at_the_same_place_is_not_masked() -> None:
    redacts = WordDetector(ANN), {"action": "redact"}
    left, masks, _ = masked(masking(redacts), f"{ANN}, {BOB}")

    assert left == [f"[{ANN.upper()}], {next(iter(masks.values()))}"]
    assert list(masks.values().values()) == [BOB]


@pytest.mark.parametrize(("word", "action"), [("ann", "redact"), ("example", "redact"), ("x ann@a", "redact")])
def test_a_redaction_that_overlaps_a_masked_value_takes_all_of_it(word: str, action: str) -> None:
    left, masks, _ = masked(masking((WordDetector(word), {"action": action})), f"x {ANN} y")

    assert left[0].startswith(("x [", "["))
    assert left[0].endswith(f"[{word.upper()}] y")
    assert dict(masks.values()) == {}


def test_two_masks_that_overlap_are_one_value() -> None:
    hosts = WordDetector("a.example y", kind="host"), {"action": "mask"}
    left, masks, _ = masked(masking(hosts), f"x {ANN} y z")

    assert list(masks.values().values()) == [f"{ANN} y"]
    assert left == [f"x {next(iter(masks.values()))} z"]


def test_what_is_only_monitored_is_not_masked() -> None:
    left, masks, reading = masked(masking(mode="monitor"), ANN)

    assert (left, dict(masks.values())) == ([ANN], {})
    assert reading.findings[0].monitored


def test_what_cannot_be_masked_where_it_stands_is_denied() -> None:
    reading, edits = read_texts(masking(), {"prompt": {ANN: 1}}, [user(ANN)], Masks("d"))

    assert edits == ()
    assert [found.action for found in reading.findings] == [Action.DENY]


def test_a_value_in_the_arguments_of_an_earlier_call_is_masked_in_place() -> None:
    arguments = json.dumps({"to": ANN, "text": f"Hello\n\nI write to {ANN} now"})
    texts = [Text("assistant", arguments, ("a",)), Text("assistant", json.loads(arguments)["text"], ("a",))]
    masks = Masks("d")

    reading, edits = read_texts(masking(), {"a": arguments}, texts, masks)

    assert [edit.value for edit in edits] == [arguments.replace(ANN, next(iter(masks.values())))]
    assert {found.action for found in reading.findings} == {Action.MASK}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": "\\u0061nn@a.example"}',
        '{"a": "\\u0061nn@a.example", "b": "ann@a.example"}',
        '{"a": "ann\\u0040a.example\\n", "b": "ann@a.example\\n"}',
    ],
)
def test_a_value_that_escapes_hide_in_an_earlier_call_is_denied(arguments: str) -> None:
    texts = [Text("assistant", arguments, ("a",)), Text("assistant", json.loads(arguments)["a"], ("a",))]

    reading, _ = read_texts(masking(), {"a": arguments}, texts, Masks("d"))

    assert reading.findings[-1].action is Action.DENY


# ---- text that only looks like a placeholder ----


def test_what_looks_like_a_placeholder_is_taken_out_where_a_rule_masks() -> None:
    planted = Masks("other").placeholder("email", "x")
    left, _, reading = masked(masking(), f"use {planted}, {ANN}")

    assert left[0].startswith("use [MASKED], MASKED_EMAIL_1_")
    assert [(found.rule, found.match, found.action) for found in reading.findings] == [
        ("mails", "placeholder", Action.NEUTRALISE),
        ("mails", "email", Action.MASK),
    ]


@pytest.mark.parametrize("fields", [{"mode": "monitor"}, {"scope": ["system"]}])
def test_it_stays_where_no_rule_masks(fields: dict[str, Any]) -> None:
    planted = Masks("other").placeholder("email", "x")

    assert masked(masking(**fields), planted)[0] == [planted]


def test_it_stays_where_it_cannot_be_edited_and_denies_nothing() -> None:
    planted = Masks("other").placeholder("email", "x")
    reading, edits = read_texts(masking(), {"prompt": {}}, [user(planted)], Masks("d"))

    assert (reading.findings, edits) == ([], ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MASKED_EMAIL_1_k3x9q2", 1),
        ("xMASKED_A_1_aaaaaaMASKED_A_1_bbbbbby", 2),
        ("MASKED_EMAIL_1_ABCDEF", 1),
        ("MASKED_EMAIL_1", 0),
        ("masked_email_1_k3x9q2", 0),
        ("MASKED_ BALL", 0),
    ],
)
def test_lookalikes_are_found(text: str, found: int) -> None:
    assert len(lookalikes(text)) == found


def test_no_placeholder_is_anything_but_a_lookalike() -> None:
    masks = Masks("d")
    made = [masks.placeholder("k" * size, str(size)) for size in range(40)]

    assert all(lookalikes(each) == [(0, len(each))] for each in made)


# ---- single texts ----


def test_a_text_that_is_judged_alone_shows_placeholders() -> None:
    planted = Masks("other").placeholder("email", "x")
    judged = engine.judge_text(masking(), "user", f"{ANN} {planted} {ANN}")

    assert judged.action is Action.MASK
    assert judged.output is not None
    assert re.fullmatch(r"(MASKED_EMAIL_1_\w{6}) \[MASKED\] \1", judged.output)


# ---- tool calls ----


def calls(*names: str, **fields: Any) -> CompiledPolicy:
    return policy(
        {"k": WordDetector("key", "EMAIL_1")},
        rules=[rule("k", scope=["response.tool_arguments"], action="redact", **fields)],
        tools={"default": "allow"},
        masking={"restore_in_tools": list(names)},
    )


MASKS = Masks("d-1")
P = MASKS.placeholder("mail", 'a"\\\n\u00e9')
Q = MASKS.placeholder("email", "q")


def call(compiled: CompiledPolicy, arguments: str, name: str = "send_mail") -> str:
    decision = engine.judge_call(compiled, ToolCall(name, arguments), "d-1", MASKS.values())
    assert decision.edits in ((), (Edit((), decision.edits[0].value),) if decision.edits else ())
    return str(decision.edits[0].value) if decision.edits else arguments


def test_values_come_back_in_the_arguments_of_a_tool_that_the_policy_names() -> None:
    left = call(calls("send_*"), json.dumps({"to": P, "n": 1}))

    assert json.loads(left) == {"to": 'a"\\\n\u00e9', "n": 1}


@pytest.mark.parametrize("name", ["get_mail", "Send_mail", ""])
def test_placeholders_stay_in_the_arguments_of_every_other_tool(name: str) -> None:
    arguments = json.dumps({"to": P})

    assert call(calls("send_*"), arguments, name) == arguments
    assert call(calls(), arguments) == arguments


def test_the_rules_read_arguments_before_values_come_back() -> None:
    assert json.loads(call(calls("*"), json.dumps({"a": f"key {P}"}))) == {"a": '[KEY] a"\\\n\u00e9'}
    assert json.loads(call(calls("*"), json.dumps({"a": Q}))) == {"a": f"MASKED_[EMAIL_1]{Q[-7:]}"}


def test_a_call_that_is_denied_gets_nothing_back() -> None:
    compiled = policy(masking={"restore_in_tools": ["rm"]})
    decision = engine.judge_call(compiled, ToolCall("rm", json.dumps({"a": P})), "d-1", MASKS.values())

    assert decision.denial is not None
    assert decision.edits == ()


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (f"mail {P}", 'mail a"\\\n\u00e9'),  # a free-form tool takes text as it is
        (f'"{P}"', '"a\\"\\\\\\n\u00e9"'),
        (f'{{"a": "{P}', f'{{"a": "{P}'),  # JSON that is not whole
        (f' ["{P}"', f' ["{P}"'),
        ("MASKED_EMAIL_9_aaaaaa", "MASKED_EMAIL_9_aaaaaa"),
        ("{}", "{}"),
    ],
)
def test_values_come_back_as_the_reader_of_the_arguments_takes_them(arguments: str, left: str) -> None:
    assert restored_arguments(arguments, MASKS.values()) == left


# ---- the policy file ----


def test_a_rule_that_masks_reads_requests_only() -> None:
    with pytest.raises(ValidationError, match="mask hides a value from the upstream, so it is for requests"):
        policy(rules=[rule("m", scope=["user", "response.content"], action="mask")])


def test_a_detector_without_exact_places_cannot_mask() -> None:
    with pytest.raises(ValidationError, match="gives no exact places to mask"):
        policy(rules=[rule("m", "prompt_injection", action="mask")])


def test_a_detector_without_a_harmless_form_cannot_neutralise() -> None:
    with pytest.raises(ValidationError, match="knows no harmless form"):
        policy(rules=[rule("m", action="neutralise")])


def test_a_scope_that_is_wrong_already_is_not_reported_twice() -> None:
    with pytest.raises(ValidationError) as caught:
        policy(rules=[rule("m", scope=["nowhere"], action="mask")])

    assert len(caught.value.errors()) == 1
