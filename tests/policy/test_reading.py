from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.chat import Edit, Json, Text
from extproc.policy import reading as reading_module
from extproc.policy.arguments import unescape
from extproc.policy.channel import open_channel
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import Action
from extproc.policy.masking import Masks
from extproc.policy.reading import ARGUMENTS, Cut, read, read_arguments, read_texts, rewrite
from tests.policy.fakes import WordDetector, policy, rule


def redacting(*words: str, scope: str = "user", **fields: Any) -> CompiledPolicy:
    document = rule("r", **{"scope": [scope], "action": "redact"} | fields)
    return policy({"r": WordDetector(*words)}, rules=[document])


def user(text: str, *path: str | int) -> Text:
    return Text("user", text, path or ("prompt",))


# ---- one text ----


def test_a_reading_has_the_findings_of_every_rule_and_the_strongest_score() -> None:
    detectors = {"a": WordDetector("x"), "b": WordDetector("y"), "c": WordDetector("x")}
    compiled = policy(
        detectors, rules=[rule("a", "prompt_injection"), rule("b", "prompt_injection"), rule("c", action="flag")]
    )

    reading = read(compiled.by_scope["user"], "user", "-x-", ("messages", 0, "content"))

    assert [(found.rule, found.start, found.end, found.path) for found in reading.findings] == [
        ("a", 1, 2, ("messages", 0, "content")),
        ("c", 1, 2, ("messages", 0, "content")),
    ]
    assert reading.score == 1.0
    assert reading.cuts == []


def test_without_a_rule_that_scores_there_is_no_score() -> None:
    assert read(redacting("x").by_scope["user"], "user", "x").score is None


def whole_text(**detector: Any) -> CompiledPolicy:
    """A rule that neutralises with a detector that needs a whole text."""
    return policy({"r": WordDetector("x", **detector)}, rules=[rule("r", "special_tokens", action="neutralise")])


def test_a_detector_of_whole_texts_neutralises_with_its_harmless_form() -> None:
    reading = read(whole_text(safe="<{}>").by_scope["user"], "user", "-x-")

    assert reading.cuts == [Cut(1, 2, "<x>", Action.NEUTRALISE)]
    assert [found.action for found in reading.findings] == [Action.NEUTRALISE]


def test_what_has_no_harmless_form_is_denied() -> None:
    reading = read(whole_text().by_scope["user"], "user", "-x-")

    assert reading.cuts == []
    assert [found.action for found in reading.findings] == [Action.DENY]


def test_what_is_only_monitored_is_neither_changed_nor_denied() -> None:
    document = rule("r", "special_tokens", action="neutralise", mode="monitor")
    reading = read(policy({"r": WordDetector("x")}, rules=[document]).by_scope["user"], "user", "-x-")

    assert reading.cuts == []
    assert [found.action for found in reading.findings] == [Action.NEUTRALISE]


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ([Cut(0, 4, "1", Action.NEUTRALISE), Cut(2, 6, "2", Action.NEUTRALISE)], "[REDACTED]"),
        ([Cut(0, 4, "1", Action.NEUTRALISE), Cut(1, 2, "2", Action.NEUTRALISE)], "[REDACTED]ef"),
        ([Cut(0, 4, "1", Action.NEUTRALISE), Cut(0, 4, "1", Action.NEUTRALISE)], "1ef"),
        ([Cut(0, 4, "1", Action.NEUTRALISE), Cut(2, 6, "2", Action.REDACT)], "2"),
        ([], "abcdef"),
        ([Cut(1, 3, "*")], "a*def"),
        ([Cut(4, 5, "2"), Cut(0, 1, "1")], "1bcd2f"),
        ([Cut(0, 2, "1"), Cut(2, 4, "2")], "12ef"),
        ([Cut(0, 4, "1"), Cut(2, 6, "2")], "1"),
        ([Cut(0, 6, "1"), Cut(2, 3, "2")], "1"),
    ],
)
def test_cuts_that_overlap_become_one(cuts: list[Cut], left: str) -> None:
    assert rewrite("abcdef", cuts) == left


words = st.lists(st.sampled_from(["a", "ab", "bc", "abc", "cab"]), min_size=1, max_size=3, unique=True)


@given(st.lists(words, min_size=1, max_size=3), st.text(alphabet="abc", max_size=20))
def test_a_whole_text_is_redacted_as_running_text_is(made: list[list[str]], text: str) -> None:
    detectors = {f"r{index}": WordDetector(*found) for index, found in enumerate(made)}
    documents = [rule(name, scope=["response.content"], action="redact") for name in detectors]
    compiled = policy(detectors, rules=documents)
    scan = open_channel(compiled, "response.content")
    assert scan is not None
    cuts = [
        Cut(piece.start, piece.end, piece.replacement)
        for piece in scan.feed(text, True)
        if piece.replacement is not None
    ]

    whole = read(compiled.by_scope["response.content"], "response.content", text)

    assert rewrite(text, whole.cuts) == rewrite(text, cuts)


# ---- requests ----


def test_a_redaction_is_an_edit_of_the_string_that_was_read() -> None:
    document: dict[str, Json] = {"messages": [{"content": "a key"}, {"content": "b"}]}
    texts = [user("a key", "messages", 0, "content"), user("b", "messages", 1, "content")]

    reading, edits = read_texts(redacting("key"), document, texts, Masks("d"))

    assert edits == (Edit(("messages", 0, "content"), "a [KEY]"),)
    assert reading.findings[0].action is Action.REDACT


def test_what_is_neutralised_becomes_harmless_unless_a_stricter_rule_takes_a_part_of_it() -> None:
    link = rule("l", "improper_output", action="neutralise")
    detectors = {"l": WordDetector("see key here", safe="<{}>"), "k": WordDetector("key")}
    document: dict[str, Json] = {"a": "x see key here y"}

    for rules, left in (([link], "x <see key here> y"), ([link, rule("k", action="redact")], "x [KEY] y")):
        _, edits = read_texts(policy(detectors, rules=rules), document, [user("x see key here y", "a")], Masks("d"))
        assert edits == (Edit(("a",), left),)


@pytest.mark.parametrize(
    "document",
    [{"prompt": {"key": "key"}}, {"prompt": "other"}, {}, {"prompt": None}, []],
)
def test_what_cannot_be_edited_where_it_stands_is_denied(document: Any) -> None:
    reading, edits = read_texts(redacting("key"), document, [user("key", "prompt")], Masks("d"))

    assert edits == ()
    assert [found.action for found in reading.findings] == [Action.DENY]


@pytest.mark.parametrize("path", [("items", 5), ("items", -1), ("items", "0"), ("text", 0), (0,)])
def test_a_path_that_leads_nowhere_is_denied(path: tuple[str | int, ...]) -> None:
    document: dict[str, Json] = {"items": ["key"], "text": "key"}

    assert read_texts(redacting("key"), document, [Text("user", "key", path)], Masks("d"))[1] == ()


def test_what_is_only_monitored_is_neither_edited_nor_denied() -> None:
    reading, edits = read_texts(redacting("key", mode="monitor"), {"prompt": {}}, [user("key", "prompt")], Masks("d"))

    assert edits == ()
    assert [(found.action, found.monitored) for found in reading.findings] == [(Action.REDACT, True)]


def injection(*words: str) -> tuple[CompiledPolicy, WordDetector]:
    detector = WordDetector(*words)
    return policy({"i": detector}, rules=[rule("i", "prompt_injection", scope=["user", "document"])]), detector


def test_a_payload_that_is_split_over_neighbouring_user_texts_is_found_at_the_first_of_them() -> None:
    compiled, _ = injection("evil\nplan")
    texts = [user("hello", "a"), user("an evil", "b"), user("plan now", "c"), user("bye", "d")]

    reading, _ = read_texts(compiled, {}, texts, Masks("d"))

    assert [(found.path, found.start, found.end) for found in reading.findings] == [(("b",), 3, 7)]
    assert reading.score == 1.0


def test_a_split_payload_that_begins_where_a_text_ends_is_placed_there() -> None:
    compiled, _ = injection("\nevil", "evil plan")
    reading, _ = read_texts(compiled, {}, [user("ok", "a"), user("ok", "b"), user("evil", "c")], Masks("d"))

    assert [(found.path, found.start, found.end) for found in reading.findings] == [(("b",), 2, 2)]


def test_a_payload_that_one_text_shows_is_found_once() -> None:
    compiled, _ = injection("evil")
    reading, _ = read_texts(compiled, {}, [user("evil", "a"), user("ok", "b")], Masks("d"))

    assert [found.path for found in reading.findings] == [("a",)]


def test_only_neighbouring_user_texts_are_read_as_one() -> None:
    compiled, detector = injection("zzz")
    read_texts(
        compiled, {}, [user("a", "a"), Text("document", "b", ("b",)), user("c", "c"), user("d", "d")], Masks("d")
    )

    assert detector.scanned == ["a", "b", "c", "d", "c\nd"]


# ---- tool calls ----


def arguments(text: str, *words: str, **fields: Any) -> tuple[str, list[Action]]:
    reading = read_arguments(redacting(*words, scope=ARGUMENTS, **fields), text)
    return rewrite(text, reading.cuts), [found.action for found in reading.findings]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"a": "x key y"}', '{"a": "x [KEY] y"}'),
        ('{"a": "k\\u0065y", "b":  1.50}', '{"a": "[KEY]", "b":  1.50}'),
        ('{"key": 1}', '{"[KEY]": 1}'),
        ('{"a": ["key", {"b": "\\tkey\\n"}]}', '{"a": ["[KEY]", {"b": "\\t[KEY]\\n"}]}'),
        ('{"a": "nothing"}', '{"a": "nothing"}'),
        ('not json key', 'not json [KEY]'),
        ('{"a": "key', '{"a": "[KEY]'),
    ],
)  # fmt: skip
def test_a_secret_in_arguments_is_cut_out_and_every_other_byte_stays(text: str, left: str) -> None:
    result, _ = arguments(text, "key")

    assert result == left


def test_what_shows_only_in_the_text_as_it_stands_is_found_too() -> None:
    assert arguments('{"a": "b"}', '"a": ')[1] == [Action.DENY]  # its redaction would break the JSON
    assert arguments('{"a": 1234}', '": 1234')[1] == [Action.DENY]


def test_what_is_told_in_pieces_is_one_finding() -> None:
    detector = WordDetector("key", pieces=1)
    compiled = policy({"k": detector}, rules=[rule("k", scope=[ARGUMENTS], action="redact")])
    reading = read_arguments(compiled, '{"a": "key"}')

    assert [(found.start, found.end) for found in reading.findings] == [(7, 10)]


def test_what_both_readings_find_counts_once() -> None:
    assert arguments('{"a": "\\tkey"}', "key")[1] == [Action.REDACT]


def test_monitored_arguments_are_left_as_they_are() -> None:
    assert arguments('{"a": "key"}', "key", mode="monitor") == ('{"a": "key"}', [Action.REDACT])


def test_arguments_that_no_rule_reads_are_not_looked_at() -> None:
    assert read_arguments(policy(), '{"a": "key"}').findings == []


json_objects = st.dictionaries(st.text(max_size=4), st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=4)))


@given(json_objects, st.booleans())
def test_redacted_arguments_stay_json_and_hold_no_secret(value: dict[str, Any], ascii_only: bool) -> None:
    secret = "k\u00e9y\U0001f600"
    text = json.dumps({**value, secret: f"a{secret}b"}, ensure_ascii=ascii_only)

    left, actions = arguments(text, secret)

    json.loads(left)
    assert Action.DENY not in actions
    assert secret not in left
    assert secret not in json.dumps(json.loads(left), ensure_ascii=False)


# ---- many findings ----


def in_arguments(count: int) -> tuple[dict[str, Json], list[Text]]:
    values = [f"\n key {index}" for index in range(count)]
    arguments = json.dumps(values)
    texts = [Text("user", each, ("arguments",)) for each in (arguments, *values)]
    return {"arguments": arguments}, texts


def test_an_edited_json_text_is_decoded_once_for_all_its_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counted(text: str) -> tuple[str, Any]:
        decoded.append(text)
        return unescape(text)

    monkeypatch.setattr(reading_module, "unescape", counted)
    document, texts = in_arguments(20)

    reading, (edit,) = read_texts(redacting("key"), document, texts, Masks("d"))

    assert "key" not in str(edit.value)
    assert {found.action for found in reading.findings} == {Action.REDACT}
    assert len(decoded) == 1


def test_there_is_an_end_to_the_looking_for_strings_that_were_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "_SEARCHED_CHARS_MAX", 100)
    document, texts = in_arguments(20)

    reading, _ = read_texts(redacting("key"), document, texts, Masks("d"))

    assert Action.DENY in {found.action for found in reading.findings}


def test_what_comes_about_where_parts_meet_is_placed_in_the_first_of_them() -> None:
    texts = [Text("user", text, ("c", index), 0) for index, text in enumerate(["key k", "", "e", "y", "key"])]

    reading, _ = read_texts(redacting("key"), {"c": [text.text for text in texts]}, texts, Masks("d"))

    met = [(found.path, found.start, found.end) for found in reading.findings if found.action is Action.DENY]
    assert met == [(("c", 0), 4, 5)]
