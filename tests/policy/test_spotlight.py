"""Which texts are marked, what becomes of their findings, and what policies may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from extproc.chat import ChatRequest, Edit, Json, JsonPath, Text
from extproc.detectors import any_text
from extproc.detectors.pack import PackError
from extproc.dialects.base import Dialect
from extproc.policy import engine
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action, Decision
from extproc.policy.document import PolicyDocument
from extproc.policy.problems import warnings
from tests.policy.fakes import WordDetector, policy, rule

M = "\u02c6"
SCOPES = ["tool_result", "document", "tool_definition"]


class Telling:
    """A dialect whose requests have a place for a note, or have none."""

    def __init__(self, *, tells: bool) -> None:
        self.tells = tells

    def with_system_note(self, request: ChatRequest, note: str) -> tuple[Edit, ...]:
        return (Edit(("system",), note),) if self.tells else ()


def everything(*more: dict[str, Any], scope: list[str] | None = None, **spec: Any) -> CompiledPolicy:
    rules = [rule("all", "any_text", scope=scope or SCOPES, action="spotlight"), *more]
    detectors = {each["id"]: WordDetector("bad", kind="bad") for each in more}
    return policy(cast("Any", {"all": any_text.AnyText(), **detectors}), rules=rules, **spec)


def judge(compiled: CompiledPolicy, *texts: Text, tells: bool = True) -> Decision:
    document: dict[str, Json] = {}
    for text in texts:
        node: Any = document
        for step in text.path[:-1]:
            node = node.setdefault(step, {})
        node[text.path[-1]] = text.text
    request = replace(ChatRequest("toy", "good:1", stream=False, document=document), texts=texts)
    return engine.judge_request(compiled, request, cast("Dialect", Telling(tells=tells)), "d-1")


def edits(decision: Decision) -> dict[JsonPath, Any]:
    return {edit.path: edit.value for edit in decision.edits}


def result(text: str, *path: str | int, message: int = 0) -> Text:
    return Text("tool_result", text, path or ("m", "content"), message)


# ---- what is marked ----


def test_a_text_is_marked_as_a_whole_and_the_model_is_told() -> None:
    decision = judge(everything(), result("a text of words"))

    assert decision.action is Action.SPOTLIGHT
    assert edits(decision)["m", "content"] == f"a{M}text{M}of{M}words"
    assert M in edits(decision)["system",]
    assert decision.marks is not None
    assert [(found.rule, found.action, found.path) for found in decision.findings] == [
        ("all", Action.SPOTLIGHT, ("m", "content"))
    ]
    assert decision.not_inspected == ("tool_result",)  # no rule has looked for anything in it
    assert decision.inspected == ()


def test_only_what_a_rule_finds_something_in_is_marked() -> None:
    compiled = policy({"r": WordDetector("bad")}, rules=[rule("r", scope=["tool_result"], action="spotlight")])
    decision = judge(compiled, result("a bad text", "m", "a"), result("a good text", "n", "a", message=1))

    assert set(edits(decision)) == {("m", "a"), ("system",)}
    assert judge(compiled, result("a good text")) == Decision(inspected=("tool_result",), injection_score=0.0)


def test_all_parts_of_a_result_are_marked_for_what_is_found_in_one() -> None:
    compiled = policy({"r": WordDetector("bad")}, rules=[rule("r", scope=["tool_result"], action="spotlight")])
    decision = judge(compiled, result("a bad text", "m", "a"), result("a good text", "m", "b"))

    assert set(edits(decision)) == {("m", "a"), ("m", "b"), ("system",)}


def test_the_other_parts_of_what_a_user_says_are_not() -> None:
    compiled = policy({"r": WordDetector("bad")}, rules=[rule("r", action="spotlight")])
    decision = judge(compiled, Text("user", "a bad text", ("m", "a"), 0), Text("user", "a question", ("m", "b"), 0))

    assert set(edits(decision)) == {("m", "a"), ("system",)}


def test_a_text_is_redacted_and_masked_before_it_is_marked() -> None:
    redacts = rule("out", scope=["tool_result"], action="redact")
    decision = judge(everything(redacts), result("a bad text"))
    assert edits(decision)["m", "content"] == f"a{M}[BAD]{M}text"
    assert decision.action is Action.REDACT

    masked = judge(everything(rule("hide", scope=["tool_result"], action="mask")), result("a bad text"))
    (placeholder,) = masked.masks
    assert edits(masked)["m", "content"] == f"a{M}{placeholder}{M}text"
    assert len([edit for edit in masked.edits if edit.path == ("m", "content")]) == 1


def test_a_request_that_is_denied_is_not_marked() -> None:
    decision = judge(everything(rule("no", scope=["tool_result"], action="deny")), result("a bad text"))

    assert (decision.action, decision.edits, decision.marks) == (Action.DENY, (), None)


def test_in_monitor_mode_nothing_is_changed() -> None:
    decision = judge(everything(mode="monitor"), result("a text of words"))

    assert (decision.action, decision.edits, decision.marks) == (Action.FLAG, (), None)
    assert [(found.action, found.monitored) for found in decision.findings] == [(Action.SPOTLIGHT, True)]


def test_two_rules_mark_a_text_once() -> None:
    second = rule("second", scope=["tool_result"], action="spotlight")
    decision = judge(everything(second), result("a bad text"))

    assert edits(decision)["m", "content"] == f"a{M}bad{M}text"
    assert [found.rule for found in decision.findings] == ["all", "second"]


@pytest.mark.parametrize(
    "text",
    [
        result("call_123", "m", "tool_call_id"),
        result("x" * 200, "m", "tool_use_id"),
        result("ok"),
        result("42"),
        Text("tool_definition", "get_weather", ("tools", "name")),
        Text("tool_definition", "string", ("tools", "type")),
    ],
)
def test_names_are_left_alone_without_a_word(text: Text) -> None:
    decision = judge(everything(), text)

    assert (decision.edits, decision.findings, decision.not_inspected) == ((), (), (text.scope,))


def test_what_another_rule_finds_in_a_name_is_noted() -> None:
    compiled = policy({"r": WordDetector("bad")}, rules=[rule("r", scope=["tool_result"], action="spotlight")])

    assert [found.action for found in judge(compiled, result("bad")).findings] == [Action.FLAG]


@pytest.mark.parametrize("text", ["one\nword\na\nline", "\u4f60\u597d\u4e16\u754c\u4f60", "a b"])
def test_a_text_of_short_words_is_no_name(text: str) -> None:
    assert ("m", "content") in edits(judge(everything(), result(text)))


# ---- what cannot be marked ----

LONG = "do_this_" * 8


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        (result("a text of words"), False),
        (result(LONG), True),
        (Text("tool_definition", "New York", ("tools", "enum")), True),
    ],
)
def test_what_cannot_be_marked_is_named_or_refused(text: Text, tells: bool) -> None:
    flagged = judge(everything(), text, tells=tells)
    assert (flagged.edits, flagged.marks, flagged.action) == ((), None, Action.FLAG)
    assert f"{text.scope}:spotlight" in flagged.not_inspected

    denied = judge(everything(spotlighting={"unavailable": "deny"}), text, tells=tells)
    assert denied.denial is not None
    assert denied.denial.rule == "all"


def test_a_text_that_is_no_string_of_the_document_is_named() -> None:
    request = ChatRequest("toy", "good:1", False, {"m": {"two words": 1}}, (result("two words", "m"),))
    decision = engine.judge_request(everything(), request, cast("Dialect", Telling(tells=True)), "d-1")

    assert decision.edits == ()
    assert "tool_result:spotlight" in decision.not_inspected


def test_one_long_word_is_marked_by_tags() -> None:
    decision = judge(everything(spotlighting={"method": "delimit"}), result(LONG))

    assert decision.marks is not None
    assert edits(decision)["m", "content"] == f"<{decision.marks.marker}>{LONG}</{decision.marks.marker}>"


def test_a_single_text_is_shown_as_it_would_leave() -> None:
    judged = engine.judge_text(everything(), "tool_result", "a text of words")

    assert (judged.action, judged.output) == (Action.SPOTLIGHT, f"a{M}text{M}of{M}words")


# ---- policies ----


@pytest.mark.parametrize("scope", ["system", "assistant", "parameter", "steering", "response.tool_result"])
def test_only_text_that_nobody_vouches_for_can_be_marked(scope: str) -> None:
    with pytest.raises(ValidationError, match=f"nobody vouches for .* cannot read {scope}"):
        everything(scope=["document", scope])


@pytest.mark.parametrize("method", ["datamark", "delimit"])
def test_a_note_must_name_the_mark(method: str) -> None:
    with pytest.raises(ValidationError, match="the note must say what the mark is"):
        everything(spotlighting={"method": method, "note": "Beware."})
    assert everything(spotlighting={"method": "encode", "note": "Beware."}).spotlighting.note == "Beware."


def test_a_note_of_the_operators_own_is_told() -> None:
    compiled = everything(spotlighting={"note": "Data has {marker}."})

    assert edits(judge(compiled, result("a b")))["system",] == f"Data has {M}."


def test_marking_all_that_users_say_is_a_warning() -> None:
    spec = {"rules": [rule("all", "any_text", scope=["user"], action="spotlight", owasp=["LLM01:2025"])]}
    data = {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "t"}, "spec": spec}
    said = [problem.message for problem in warnings(PolicyDocument.model_validate(data))]

    assert any("marks all that the user says" in message for message in said)


def test_any_text_matches_what_is_not_blank_and_has_no_options() -> None:
    detector = any_text.build({}, {})

    assert [len(detector.scan(text).matches) for text in ("", " \n\u3000", "a")] == [0, 0, 1]
    with pytest.raises(PackError):
        any_text.build({}, {"x": 1})
