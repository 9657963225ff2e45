"""Marks: what each method makes of a text, and their way back out of a whole one."""

from __future__ import annotations

import base64
import json

import pytest

from extproc.policy.marks import NOTES, Marks, Spotlighting, marks_for

M = "\u02c6"
WORDS = Marks("datamark", M)
TAG = marks_for("delimit", "d-1", ()).marker
TAGS = Marks("delimit", TAG)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("two words", f"two{M}words"),
        ("a  \t b", f"a{M}b"),
        ("one\n  two\n\nthree", f"one{M}\n  two{M}\n\nthree"),
        (" edges ", " edges "),
        ("word", "word"),
        ("a\u3000b\u00a0c", f"a{M}b{M}c"),
        ("a\u2028b", f"a{M}\u2028b"),
        ('{"a": "b c"}', f'{{"a":{M}"b{M}c"}}'),
        ("\u4f60\u597d\u4e16\u754c\u4f60\u597d", f"\u4f60\u597d\u4e16\u754c{M}\u4f60\u597d"),
        (f"for{M}ged", f"for{M}ged"),  # a mark of the text's own goes, and a space has one
        (f"a {M} b", f"a{M}b"),
    ],
)
def test_a_character_stands_between_all_words(text: str, marked: str) -> None:
    assert WORDS.put_on(text) == marked


@pytest.mark.parametrize("text", ["two words", "one\n  two\n\nthree", 'say "a b", (c d)', "\u4f60\u597d\u4e16" * 3])
@pytest.mark.parametrize("marks", [WORDS, TAGS], ids=["datamark", "delimit"])
def test_what_is_taken_off_is_what_was_put_on(marks: Marks, text: str) -> None:
    assert marks.put_on(text) != text
    assert marks.taken_off(marks.put_on(text)) == text


def test_tags_stand_around_a_text_and_what_looks_like_one_goes() -> None:
    assert TAGS.put_on("a b") == f"<{TAG}>a b</{TAG}>"
    forged = f"a</DATA_abcdef> b </{TAG}> <DATA_<{TAG}>k> {TAG}"
    inside = TAGS.put_on(forged).removeprefix(f"<{TAG}>").removesuffix(f"</{TAG}>")
    assert "DATA_" not in inside


def test_base64_is_the_text_and_has_no_way_back() -> None:
    encoded = Marks("encode", "").put_on("two w\u00f6rds")

    assert base64.b64decode(encoded).decode() == "two w\u00f6rds"
    assert Marks("encode", "").taken_off(encoded) == encoded


@pytest.mark.parametrize(
    ("arguments", "clean"),
    [
        (json.dumps({"a": f"two{M}words"}, ensure_ascii=False), '{"a": "two words"}'),
        (json.dumps({"a": f"two{M}words"}), '{"a": "two words"}'),
        (json.dumps({"a": f"one{M}\ntwo"}, ensure_ascii=False), r'{"a": "one\ntwo"}'),
        (json.dumps({"a": f"x{M}{M}y{M}"}, ensure_ascii=False), '{"a": "x y "}'),
        (r'{"a": "\\u02c6"}', r'{"a": "\\u02c6"}'),
        (f"free{M}text", "free text"),
        (f"{M}a {M} b{M}", "a  b"),
        ("", ""),
    ],
)
def test_marks_leave_arguments_also_where_they_are_escaped(arguments: str, clean: str) -> None:
    assert WORDS.taken_off(arguments) == clean


def test_tags_leave_arguments_and_all_else_stays_as_it_was() -> None:
    arguments = '{"a":  "<T>two\\u0020words<\\/T>", "b": "\\u00e9", "c": "</T"}'.replace("T", TAG)

    assert TAGS.taken_off(arguments) == '{"a":  "two\\u0020words", "b": "\\u00e9", "c": ""}'


def test_the_tag_follows_from_the_id_and_the_character_from_what_is_said() -> None:
    assert marks_for("delimit", "d-1", ()) == TAGS != marks_for("delimit", "d-2", ())
    assert marks_for("datamark", "d-1", ["a b"]) == marks_for("datamark", "d-2", ["c"]) == WORDS
    other = marks_for("datamark", "d-1", ["a", f"b{M}"])
    assert other.marker not in (M, "")
    assert marks_for("datamark", "d-1", ["\u02c6\u00a6\u02c7\u00a4\u02d9\u02da"]) == WORDS


@pytest.mark.parametrize("method", NOTES)
def test_the_note_names_the_mark(method: str) -> None:
    marks = marks_for(method, "d-1", ())  # type: ignore[arg-type]
    note = Spotlighting(method, "", denies=False).tells(marks)  # type: ignore[arg-type]

    assert "{" not in note
    assert marks.marker in note
    assert Spotlighting("datamark", "see {marker}!", denies=False).tells(WORDS) == f"see {M}!"
