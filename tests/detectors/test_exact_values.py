from __future__ import annotations

import base64
import json
import random
import re
import string
from urllib.parse import quote

import pytest

from extproc.detectors import exact_values
from extproc.detectors.encodings import spellings
from extproc.detectors.exact_values import ExactValuesDetector, Value, rule_id
from extproc.detectors.exact_window import LET_GO
from extproc.detectors.pack import PackError

WORD = "tr0ub4dor & 3/4"


def made(size: int, seed: int = 7) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters + string.digits, k=size))


def detector(*texts: str, **options: object) -> ExactValuesDetector:
    values = tuple(Value(f"env.V{number}", text.encode()) for number, text in enumerate(texts))
    return exact_values.build({}, {"values": values, **options})


def redacted(finder: ExactValuesDetector, text: str) -> str:
    out, at = "", 0
    for match in finder.scan(text).matches:
        out += text[at : match.start] + finder.marker(match.rule)
        at = match.end
    return out + text[at:]


def key_block() -> str:
    body = made(64 * 6 + 30)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN " + "PRIVATE KEY-----", *lines, "-----END " + "PRIVATE KEY-----"])


# ---- spellings


@pytest.mark.parametrize(
    "text",
    [
        WORD,
        WORD.encode().hex(),
        WORD.encode().hex().upper(),
        quote(WORD),
        quote(WORD, safe=""),
        quote(WORD).replace("%20", "+"),
        quote(WORD, safe="").replace("%20", "+").replace("%2F", "%2f"),
        base64.b64encode(WORD.encode()).decode(),
        base64.b64encode(WORD.encode()).decode().rstrip("="),
    ],
)
def test_a_value_is_found_as_it_is_and_encoded(text: str) -> None:
    assert redacted(detector(WORD), f"it is {text}.") == "it is [REDACTED:env.v0]."


@pytest.mark.parametrize("before", ["", "u", "u:", "u:v", "user:"])
@pytest.mark.parametrize("after", ["", "@", "@h", "@host"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_within_base64_is_found_at_any_offset(before: str, after: str, encode: object) -> None:
    assert callable(encode)
    value = "?>~~ÿÿ" + WORD  # spelt with the characters in which the alphabets differ
    text = encode((before + value + after).encode()).decode()
    left = redacted(detector(value), text)
    assert left.count("[REDACTED:env.v0]") == 1
    assert len(left) - len("[REDACTED:env.v0]") <= 2 * (len(before) + len(after)) + 2


def test_padding_goes_with_the_value() -> None:
    for size in (8, 9, 10):
        value = made(size)
        assert redacted(detector(value), base64.b64encode(value.encode()).decode() + ", ") == "[REDACTED:env.v0], "


def test_a_value_is_found_with_the_escapes_of_json() -> None:
    value = "pa\"ss\\wo\trd\x01<&>'é"
    finder = detector(value)
    html = json.dumps(value)[1:-1].replace("<", r"\u003c").replace("&", r"\u0026").replace(">", r"\u003e")
    for text in (json.dumps(value, ensure_ascii=False)[1:-1], html.replace("'", r"\u0027").replace(r"\u00e9", "é")):
        assert redacted(finder, text) == "[REDACTED:env.v0]"


def test_a_value_is_found_with_the_escapes_of_json_in_ascii() -> None:
    value = "pä/ss<wörd>😀"
    finder = detector(value)
    ascii_only = json.dumps(value)[1:-1]
    for text in (ascii_only, re.sub(r"\\u(....)", lambda escape: "\\u" + escape[1].upper(), ascii_only)):
        assert redacted(finder, text) == redacted(finder, text.replace("/", "\\/")) == "[REDACTED:env.v0]"
    assert redacted(finder, value.replace("/", "\\/")) == "[REDACTED:env.v0]"


def test_lines_may_end_otherwise_than_in_the_values_file() -> None:
    finder = detector("first line\r\nsecond line")
    for text in ("first line\r\nsecond line", "first line\nsecond line", r"first line\nsecond line"):
        assert redacted(finder, text) == "[REDACTED:env.v0]"


def test_many_values_that_begin_alike_are_told_apart() -> None:
    texts = [f"same-beginning-{number}-{made(20 + number % 7, number)}" for number in range(50)]
    finder = detector(*texts)
    for number, text in enumerate(texts):
        assert redacted(finder, f"{text[:-1]}!{text}") == f"{text[:-1]}![REDACTED:env.v{number}]"


def test_a_value_that_is_no_text_is_found_encoded() -> None:
    data = bytes(range(150, 250, 3))
    finder = exact_values.build({}, {"values": (Value("file.app/store", data),)})
    for text in (data.hex(), base64.b64encode(data).decode(), quote(data)):
        assert redacted(finder, text) == "[REDACTED:file.app.store]"


def test_hex_of_mixed_case_and_another_case_are_not_promised() -> None:
    assert not detector("Passw0rd1").scan("passw0rd1").matches


def test_spellings_depend_on_the_value_alone() -> None:
    for spelling in spellings(b"some value"):
        assert (spelling.begins[0], spelling.ends[-1]) == (0, len(spelling.text))
    assert len({spelling.text for spelling in spellings(b"somevalue")}) == 6  # plain, hex, three offsets, hex


# ---- long values


def test_a_long_value_is_found_by_any_random_part_of_it_and_eaten_to_its_end() -> None:
    block = key_block()
    finder = detector(block)
    assert redacted(finder, f"see {block}\nbye") == "see -----BEGIN " + "PRIVATE KEY-----\n[REDACTED:env.v0]\nbye"
    left = redacted(finder, block[150:330])
    assert left.count("[REDACTED:env.v0]") >= 1
    assert len(left.replace("[REDACTED:env.v0]", "")) < 32


@pytest.mark.parametrize("width", [64, 76])
def test_base64_of_a_long_value_is_found_across_line_breaks(width: int) -> None:
    block = key_block()
    text = base64.b64encode(block.encode()).decode()
    wrapped = "\n".join(text[at : at + width] for at in range(0, len(text), width))
    left = redacted(detector(block), wrapped)
    assert len(left.replace("[REDACTED:env.v0]", "")) < 160
    assert left.endswith("[REDACTED:env.v0]")


def test_what_every_key_block_has_is_no_finding() -> None:
    text = "-----BEGIN " + "PRIVATE KEY-----\n" + made(64, seed=8)
    assert not detector(key_block()).scan(text).matches


def test_a_long_value_that_looks_like_prose_is_found_by_its_beginning() -> None:
    value = "the quick brown fox jumps over the lazy dog and then some more of it, which nobody would ever guess"
    finder = detector(value)
    assert redacted(finder, f"{value}!") == "[REDACTED:env.v0]!"
    assert redacted(finder, value[:70] + "?") == "[REDACTED:env.v0]?"
    assert not finder.scan(value[:60]).matches


def test_white_space_that_does_not_go_on_as_the_value_stays() -> None:
    block = key_block()
    text = base64.b64encode(block.encode()).decode()
    assert redacted(detector(block), text[50:200] + "\n  and more").endswith("[REDACTED:env.v0]\n  and more")
    assert redacted(detector(block), text[50:200] + "\n").endswith("[REDACTED:env.v0]\n")


# ---- several values


def test_a_value_that_goes_on_as_another_is_one_finding() -> None:
    finder = detector("abcdefgh", "abcdefghijkl")
    assert redacted(finder, "abcdefghijklm") == "[REDACTED:env.v0]m"
    assert redacted(finder, "abcdefgh m") == "[REDACTED:env.v0] m"


def test_values_that_overlap_are_one_finding_named_after_the_first() -> None:
    finder = detector("abcdefgh", "ghijklmno")
    assert [(m.start, m.end, m.rule) for m in finder.scan("abcdefghijklmnop").matches] == [(0, 15, "env.v0")]
    assert [m.rule for m in finder.scan("abcdefghghijklmno").matches] == ["env.v0", "env.v1"]


def test_the_same_value_twice_is_named_after_the_first() -> None:
    assert redacted(detector("abcdefgh", "abcdefgh"), "abcdefgh") == "[REDACTED:env.v0]"


# ---- what is held


def test_a_beginning_is_held_and_a_pause_lets_a_short_one_go() -> None:
    scan = detector("secretvalue").stream()
    assert (scan.feed("my sec", final=False), scan.settled) == ([], 3)
    assert (scan.pause(), scan.settled) == ([], 6)
    assert (scan.feed("retvalue", final=False), scan.settled) == ([], 14)
    scan.feed(" " + "secretvalue"[:LET_GO], final=False)
    assert (scan.pause(), scan.settled) == ([], 15)


def test_a_pause_keeps_eating_and_lets_a_line_break_go() -> None:
    block = key_block()
    text = base64.b64encode(block.encode()).decode()
    scan = detector(block).stream()
    scan.feed(text[50:200], final=False)
    assert scan.settled == 150
    assert [span.opens for span in (*scan.pause(), *scan.feed(text[200:240], final=False))] == [False]
    scan.feed("\n", final=False)
    assert scan.settled == 190
    assert (scan.pause(), scan.settled) == ([], 191)


def test_a_pause_decides_what_stood_behind_a_line_break() -> None:
    block = key_block()
    text = base64.b64encode(block.encode()).decode()
    scan = detector(block, f" {text[230:232]}x{made(9)}").stream()
    scan.feed(text[50:230] + "\n " + text[230:232], final=False)
    assert scan.settled == 180
    scan.pause()
    assert scan.settled == 184


# ---- building


def test_values_that_are_too_short_are_left_out() -> None:
    assert not detector("1234567").scan("1234567").matches
    assert detector("1234567", min_length=7).scan("1234567").matches
    assert not detector("   12345    ").scan("   12345    ").matches


def test_without_values_nothing_is_found() -> None:
    assert not exact_values.build({}, {}).scan("anything at all").matches


@pytest.mark.parametrize(
    ("pack", "options", "message"),
    [
        ({"rules": []}, {}, "rules: is not a known field"),
        ({}, {"min_length": 5}, "options.min_length: must be a whole number of at least 6"),
        ({}, {"values": ["text"]}, "options.values: cannot stand in a policy; name files or env"),
        ({}, {"values": {"a": "text"}}, "options.values: cannot stand in a policy; name files or env"),
        ({}, {"files": ["/a"]}, "options.files: is not a known field"),
        ({}, {"values": (Value("env.A", b"REDACTED"),)}, "options: the value of env.a is a word of our own markers"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(pack: dict[str, object], options: dict[str, object], message: str) -> None:
    with pytest.raises(PackError) as caught:
        exact_values.build(pack, options)
    assert str(caught.value) == message


def test_a_marker_never_names_a_source_that_is_the_value() -> None:
    finder = exact_values.build({}, {"values": (Value("env.password", b"password"),)})
    assert redacted(finder, "password") == "[REDACTED]"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("env.DB_PASSWORD", "env.db-password"),
        ("file.app/token", "file.app.token"),
        ("file.app/.dockerconfigjson", "file.app.dockerconfigjson"),
        ("file.ä/…/x", "file.x"),
        ("env." + "A" * 100, "env." + "a" * 56),
    ],
)
def test_a_source_names_its_findings(source: str, expected: str) -> None:
    assert rule_id(source) == expected


def test_no_representation_shows_a_value() -> None:
    finder = detector("abcdefgh")
    shown = f"{Value('env.A', b'abcdefgh')} {finder!r} {finder._table!r} {finder._table._groups} {finder.stream()!r}"
    assert "abcd" not in shown
    assert "Value('env.A')" in shown
