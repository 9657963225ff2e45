"""Running text: what may leave at once, what is held, what is eaten."""

from __future__ import annotations

import pytest

from extproc.chat import Json
from extproc.detectors import secrets
from extproc.detectors.base import Span

BODY = "a1B2c3D4e5F6g7H8i9J0"
TOKEN: dict[str, Json] = {"literals": ["tok_", "tok_live_"], "body": "alnum{20}"}
URL: dict[str, Json] = {
    "literals": ["db://"],
    "lead": "user{1,8} ':'",
    "body": "alnum{4,16}",
    "until": ["@"],
    "check": "none",
}
BLOCK: dict[str, Json] = {"literals": ["--KEY--"], "body": "gap{0,8} alnum{24}", "check": "none", "tail": "pem"}


def rule(name: str, shape: dict[str, Json]) -> dict[str, Json]:
    return {"id": name, "provider": "A", "title": "b", "severity": "high", "match": [], "pass": [], **shape}


DETECTOR = secrets.build(
    {
        "owasp": ["LLM02:2025"],
        "alphabets": {"alnum": "0-9A-Za-z", "user": "a-z"},
        "rules": [rule("token", TOKEN), rule("url", URL), rule("block", BLOCK)],
    },
    {},
)


def test_plain_text_leaves_at_once() -> None:
    scan = DETECTOR.stream()
    for text in ("The answer", " is", " 42.", "\n"):
        before = scan.settled
        assert scan.feed(text, False) == []
        assert scan.settled == before + len(text)


def test_a_literal_begun_is_held_and_released_when_it_turns_out_to_be_none() -> None:
    scan = DETECTOR.stream()
    assert scan.feed("see to", False) == []
    assert scan.settled == 4
    assert scan.feed("morrow", False) == []
    assert scan.settled == 12


def test_a_secret_is_decided_before_its_end_and_the_rest_is_eaten() -> None:
    scan = DETECTOR.stream()
    assert scan.feed("key tok_", False) == []
    assert scan.settled == 4
    assert scan.feed(BODY, False) == [Span(4, 28, "token")]
    assert scan.settled == 28
    assert scan.feed("more", False) == [Span(28, 32, "token", opens=False)]
    assert scan.feed(" and text", False) == []
    assert scan.settled == 41


def test_what_continues_a_token_is_part_of_it_however_long() -> None:
    scan = DETECTOR.stream()
    scan.feed(f"tok_{BODY}", False)
    for _ in range(1000):
        before = scan.settled
        assert scan.feed("Z" * 100, False) == [Span(before, before + 100, "token", opens=False)]
        assert scan.settled == before + 100
    assert scan.feed("", True) == []


def test_two_secrets_in_a_row_open_twice() -> None:
    text = f"tok_{BODY} tok_{BODY}"
    assert DETECTOR.stream().feed(text, True) == [Span(0, 24, "token"), Span(25, 49, "token")]


def test_the_start_of_a_channel_guards() -> None:
    assert DETECTOR.stream().feed(f"tok_{BODY}", True) == [Span(0, 24, "token")]


def test_a_guard_is_remembered_across_a_cut() -> None:
    scan = DETECTOR.stream()
    scan.feed("%3", False)
    scan.feed("D", False)
    assert scan.feed(f"tok_{BODY}", True) == [Span(3, 27, "token")]
    scan = DETECTOR.stream()
    scan.feed("a", False)
    assert scan.feed(f"tok_{BODY}", True) == []


def test_a_secret_inside_the_false_start_of_another_is_found() -> None:
    text = f"db://tok_{BODY}"
    assert DETECTOR.stream().feed(text, True) == [Span(5, 29, "token")]


def test_only_the_password_of_a_url_is_hidden_and_only_when_it_is_one() -> None:
    scan = DETECTOR.stream()
    assert scan.feed("db://me:hunter2", False) == []
    assert scan.settled == 8
    assert scan.feed("@host", False) == [Span(8, 15, "url")]
    assert scan.settled == 20
    assert DETECTOR.stream().feed("db://me:hunter2/path", True) == []


@pytest.mark.parametrize(
    ("leaves", "held"), [("", "to"), ("", f"tok_{BODY[:-1]}"), ("db://me:", "hunter2"), ("", "--KEY--\n")]
)
def test_the_end_of_the_text_releases_what_was_held(leaves: str, held: str) -> None:
    scan = DETECTOR.stream()
    ending = leaves + held
    scan.feed(f"a {ending}", False)
    assert scan.settled == 2 + len(leaves)
    assert scan.feed("", True) == []
    assert scan.settled == 2 + len(ending)


def test_a_key_block_is_eaten_word_by_word_while_the_words_are_key_material() -> None:
    scan = DETECTOR.stream()
    assert scan.feed(f"--KEY--\n{BODY}{BODY}\n", False) == [Span(0, 48, "block")]
    assert scan.settled == 48
    assert scan.feed(f"{BODY}{BODY}", False) == [Span(48, 89, "block", opens=False)]
    assert scan.feed("\nThat was", False) == []
    assert scan.settled == 98


def test_a_key_block_that_the_text_ends_in_is_eaten_to_the_end() -> None:
    scan = DETECTOR.stream()
    scan.feed(f"--KEY--\n{BODY}{BODY}", False)
    assert scan.feed("\nabc", False) == []
    assert scan.feed("", True) == [Span(48, 52, "block", opens=False)]


def test_the_scan_of_a_whole_text_is_the_same_scan_fed_once() -> None:
    text = f"a tok_{BODY} db://me:pass@h"
    spans = DETECTOR.stream().feed(text, True)
    assert [(m.start, m.end, m.rule) for m in DETECTOR.scan(text).matches] == [(s.start, s.end, s.rule) for s in spans]


def test_the_literal_and_lead_of_a_led_rule_leave_at_once() -> None:
    scan = DETECTOR.stream()
    for piece in ("d", "b:", "//", "me"):
        before = scan.settled
        assert scan.feed(piece, False) == []
        assert scan.settled == before + len(piece)
    assert scan.feed(":hunt", False) == []
    assert scan.settled == 8
    assert scan.feed("er2@", False) == [Span(8, 15, "url")]


def test_a_secret_in_the_lead_of_another_is_found_first() -> None:
    text = f"db://me:tok_{BODY}@"
    for place in range(len(text)):
        scan = DETECTOR.stream()
        spans = [*scan.feed(text[:place], False), *scan.feed(text[place:], True)]
        assert (spans[0].start, spans[-1].end, {span.rule for span in spans}) == (8, 32, {"token"})


def test_a_pause_lets_go_of_a_literal_begun_and_the_rest_of_its_secret_is_still_found() -> None:
    for size in range(1, len("tok_") + 1):
        scan = DETECTOR.stream()
        assert scan.feed(f"see {'tok_'[:size]}", False) == []
        assert scan.settled == 4
        assert scan.pause() == []
        assert scan.settled == 4 + size
        assert scan.feed(f"{'tok_'[size:]}{BODY}", False) == [Span(4 + size, 28, "token")]
        assert scan.feed("more ", True) == [Span(28, 32, "token", opens=False)]


def test_a_pause_after_which_something_else_comes_changes_nothing() -> None:
    scan = DETECTOR.stream()
    scan.feed("see to", False)
    scan.pause()
    assert scan.feed(f"day tok_{BODY}", True) == [Span(10, 34, "token")]


@pytest.mark.parametrize("begun", [f"tok_{BODY[:1]}", f"tok_{BODY[:12]}", "--KEY--\nab"])
def test_a_pause_keeps_what_shows_more_than_its_literal(begun: str) -> None:
    scan = DETECTOR.stream()
    scan.feed(f"a {begun}", False)
    assert scan.pause() == []
    assert scan.settled == 2


def test_a_pause_keeps_a_value_that_has_begun() -> None:
    scan = DETECTOR.stream()
    scan.feed("db://me:hun", False)
    assert scan.pause() == []
    assert scan.settled == 8
    assert scan.feed("ter2@", True) == [Span(8, 15, "url")]


def test_a_pause_does_not_end_the_eating() -> None:
    scan = DETECTOR.stream()
    scan.feed(f"tok_{BODY}", False)
    assert scan.pause() == []
    assert scan.feed("more end", True) == [Span(24, 28, "token", opens=False)]


def test_pausing_again_and_again_changes_nothing() -> None:
    scan = DETECTOR.stream()
    scan.feed("a tok", False)
    for _ in range(3):
        assert scan.pause() == []
        assert scan.settled == 5
    assert scan.feed(f"_{BODY}", True) == [Span(5, 26, "token")]
