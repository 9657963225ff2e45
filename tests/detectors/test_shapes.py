"""What a shape may say, and what it is told when it says something else."""

from __future__ import annotations

import pytest

from extproc.chat import Json
from extproc.detectors.matcher import PATIENCE, Step
from extproc.detectors.pack import Fields, PackError
from extproc.detectors.shapes import COMMIT, Shapes, replaceable

ALPHABETS: dict[str, Json] = {"hex": "0-9a-f", "alnum": "0-9A-Za-z", "dash": "a-z-", "quote": "a\"'\\", "blank": " "}
SHAPES = Shapes(Fields(ALPHABETS, ("alphabets",)))


def body(fields: dict[str, Json], closed: bool = False) -> tuple[Step, ...]:
    return SHAPES.body(Fields(fields, ("rules", 0)), closed)[0]


def longest(step: Step, text: str) -> str:
    return text[: step.end(text, 0)]


def test_an_open_run_commits_early_and_reaches_as_far_as_the_check_may_change() -> None:
    (step,) = body({"body": "hex{64}"})
    assert step.least == COMMIT
    assert longest(step, "a" * 100) == "a" * (COMMIT + PATIENCE)
    assert longest(step, "abcxyz") == "abc"


def test_a_short_run_commits_at_its_length() -> None:
    assert body({"body": "hex{16}"})[0].least == 16
    assert body({"body": "hex{64}", "commit": 32})[0].least == 32


def test_a_shape_is_runs_and_quoted_texts_in_order() -> None:
    steps = body({"body": "hex{2,4} '-x' dash{8}"})
    assert [step.least for step in steps] == [2, 1, 1, 8]
    assert [longest(step, text) for step, text in zip(steps, ["abcdef", "--", "xx", "a-b1"], strict=True)] == [
        "abcd",
        "-",
        "x",
        "a-b",
    ]


def test_a_gap_is_white_space_quoting_and_escaped_line_breaks() -> None:
    gap, _ = body({"body": "gap{0,8} hex{8}"})
    assert longest(gap, " \n\t\\n\\r\"'abc") == " \n\t\\n\\r\"'"


def test_a_lead_may_use_what_a_body_may_not() -> None:
    assert SHAPES.lead(Fields({"lead": "blank{1,2} quote{0,1}"}))[0].least == 1
    assert SHAPES.lead(Fields({})) == ()


def test_a_token_is_continued_by_its_alphabet_and_by_words() -> None:
    _, tail = SHAPES.body(Fields({"body": "hex{8}"}), False)
    assert tail("abcXYZ_9-x.y", 0, False) == (10, True)
    assert tail("abc", 0, False) == (3, False)
    assert tail("abc", 0, True) == (3, True)


def test_a_tail_may_add_an_alphabet() -> None:
    shapes = Shapes(Fields({"hex": "0-9a-f", "dot": "."}))
    _, tail = shapes.body(Fields({"body": "hex{8}", "tail": "dot"}), False)
    assert tail("a.b c", 0, False) == (3, True)


def test_nothing_continues_what_something_must_follow() -> None:
    _, tail = SHAPES.body(Fields({"body": "hex{2,8}"}), True)
    assert tail("abc", 1, False) == (1, True)


def test_a_key_block_has_a_tail_of_its_own() -> None:
    _, tail = SHAPES.body(Fields({"body": "gap{0,8} hex{24}", "tail": "pem"}), False)
    assert tail("-----END A-----", 0, True) == (15, True)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"body": "hex"}, "body", "must consist of runs"),
        ({"body": "hex{a}"}, "body", "must consist of runs"),
        ({"body": "hex{4,2} 'x' hex{8}"}, "body", "must have runs of 1 to 512 characters"),
        ({"body": "hex{0} hex{8}"}, "body", "must have runs of 1 to 512 characters"),
        ({"body": "hex{9999}"}, "body", "must have runs of 1 to 512 characters"),
        ({"body": "octal{8}"}, "body", "names an unknown alphabet: octal"),
        ({"body": "quote{8}"}, "body", "must not use white space, quotes or backslashes"),
        ({"body": "blank{8}"}, "body", "must not use white space, quotes or backslashes"),
        ({"body": "hex{2,8}"}, "body", "must end in a run NAME"),
        ({"body": "hex{8} gap{8}"}, "body", "must end in a run NAME"),
        ({"body": "hex{8}", "commit": 9}, "commit", "must not exceed"),
        ({"body": "hex{8}", "tail": "octal"}, "tail", "names an unknown alphabet"),
        ({"body": "hex{8}", "tail": "quote"}, "tail", "must not use white space"),
    ],
)
def test_a_bad_shape_is_refused_at_its_field(fields: dict[str, Json], field: str, message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        body(fields)
    assert caught.value.where == ("rules", 0, field)


def test_a_closed_body_may_neither_be_empty_nor_go_on() -> None:
    with pytest.raises(PackError, match="must not end in a run that may be empty"):
        body({"body": "hex{0,8}"}, closed=True)
    with pytest.raises(PackError, match="must not be given with 'until'"):
        body({"body": "hex{1,8}", "tail": "hex"}, closed=True)


@pytest.mark.parametrize(
    ("chars", "message"),
    [
        ("z-a", "runs backwards: z-a"),
        ("a-zb", "must not name a character twice"),
        ("a-é", "must consist of printable ASCII"),
        ("\n", "must consist of printable ASCII"),
        ("", "must be a non-empty string"),
    ],
)
def test_a_bad_alphabet_is_refused(chars: str, message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        Shapes(Fields({"odd": chars}, ("alphabets",)))
    assert caught.value.where == ("alphabets", "odd")


@pytest.mark.parametrize("name", ["gap", "pem"])
def test_words_with_a_meaning_are_no_names(name: str) -> None:
    with pytest.raises(PackError, match="meaning of its own"):
        Shapes(Fields({name: "a-z"}))


def test_what_may_be_replaced_leaves_json_whole() -> None:
    assert replaceable("abc-_.~+/=")
    assert not any(replaceable(text) for text in ("a b", 'a"', "a'", "a\\", "a\n"))


@pytest.mark.parametrize(
    "shape", ["hex*", "hex+ hex+", "hex{1,}", "hex{,8}", "(hex{1,8}){1,8}", "hex{8}|dash{8}", "(a+)+", "hex{1,8}?"]
)
@pytest.mark.parametrize("field", ["body", "lead"])
def test_a_shape_without_bounds_or_with_choices_cannot_be_written(shape: str, field: str) -> None:
    with pytest.raises(PackError, match="must consist of runs") as caught:
        (body if field == "body" else lambda fields: SHAPES.lead(Fields(fields, ("rules", 0))))({field: shape})
    assert caught.value.where == ("rules", 0, field)
