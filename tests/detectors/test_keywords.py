"""Named values: which names, which connectors, where a value ends, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.detectors import secrets
from extproc.detectors.base import Match, Span
from extproc.detectors.keywords import LOOKBACK, VALUE_MAX
from extproc.detectors.pack import PackError

PASSWORD = "q8Rv" + "T2xLm9"
SECRET = "Zx7kQ2pL9vR4" + "tW8nB3mXy5"
TOKEN = "tok_" + "a1B2c3D4e5F6g7H8i9J0"

PACK: dict[str, Any] = {
    "owasp": ["LLM02:2025"],
    "alphabets": {"alnum": "0-9A-Za-z"},
    "rules": [
        {
            "id": "token",
            "provider": "A",
            "title": "b",
            "severity": "high",
            "literals": ["tok_"],
            "body": "alnum{20}",
            "match": [],
            "pass": [],
        }
    ],
    "keywords": [
        {
            "id": "keyword.password",
            "title": "Password",
            "severity": "high",
            "names": ["password", "pwd"],
            "check": "password",
            "phrases": ["password", "Password"],
        },
        {
            "id": "keyword.secret",
            "title": "Secret",
            "severity": "high",
            "names": ["token", "api_key", "key"],
            "check": "secret",
            "headers": ["Authorization: Token"],
        },
    ],
}
DETECTOR = secrets.build(PACK, {})


def found(text: str) -> list[tuple[str, str]]:
    """The values found, each with its rule; asserts that every cut in two finds the same."""
    whole = DETECTOR.scan(text).matches
    for place in range(len(text) + 1):
        scan = DETECTOR.stream()
        spans = [*scan.feed(text[:place], False), *scan.feed(text[place:], True)]
        assert joined(spans) == list(whole), place
    return [(text[match.start : match.end], match.rule) for match in whole]


def joined(spans: list[Span]) -> list[Match]:
    out: list[Match] = []
    for span in spans:
        start = span.start if span.opens else out.pop().start
        out.append(Match(start, span.end, span.rule))
    return out


@pytest.mark.parametrize(
    "text",
    [
        "password={}",
        "password: {}",
        "password : {} # set by hand",
        'password = "{}"',
        "PASSWORD1='{}'",
        'DB_PASSWORD="{}"',
        "dbPwd: {}",
        "db.pwd={};",
        '{{"password": "{}"}}',
        '{{\\"password\\": \\"{}\\"}}',
        "config['password'] = '{}'",
        'password: str = "{}"',
        "password := `{}`",
        "<password>{}</password>",
        "**Password:** `{}`",
        "Password:\n\n```\n{}\n```",
        "https://host/?user=me&password={}&limit=10",
        "mysql --password {} -h db",
        "mysql --password={} -h db",
        'mysql --password "{}"',
        "The password is {}.",
        'The password for the admin account is "{}".',
        "Set the password of the database to `{}` now",
        "password: |\n  {}\n",
        "password: >-\n  {}\n",
        "password = b'{}'",
        'password := @"{}"',
        "CREATE LOGIN a WITH PASSWORD = N'{}'",
        'static PASSWORD: &str = "{}";',
        'char password[] = "{}";',
    ],
)
def test_a_value_is_found_behind_its_name(text: str) -> None:
    assert found(text.format(PASSWORD)) == [(PASSWORD, "keyword.password")]


@pytest.mark.parametrize("name", ["api_key", "apiKey", "API-KEY", "api key", "X-Api-Key", "myapikey", "githubToken"])
def test_a_name_is_found_in_all_its_spellings(name: str) -> None:
    assert found(f"{name}: {SECRET}") == [(SECRET, "keyword.secret")]


@pytest.mark.parametrize("name", ["public_key", "publicKey", "Idempotency-Key", "next_token", "nextPageToken"])
def test_a_name_may_say_that_its_value_is_no_secret(name: str) -> None:
    assert found(f'"{name}": "{SECRET}"') == []


@pytest.mark.parametrize(
    "text", ['password: "|{}"', "password>-{}", "password: |-{}", "password: b{}", "password: rb-{}"]
)
def test_a_sign_or_letter_that_begins_a_value_is_a_part_of_it(text: str) -> None:
    spans = found(text.format(PASSWORD))
    assert [value.endswith(PASSWORD) for value, _ in spans] == [True]


def test_a_header_is_followed_by_its_value_at_once() -> None:
    assert found(f"Authorization: Token {SECRET}") == [(SECRET, "keyword.secret")]
    assert found(f"Authorization: Token for {SECRET}") == []


@pytest.mark.parametrize(
    "text",
    [
        "monkey: {}",
        "spwd = {}",
        "passwords of {}",
        "password{}",
        "password " + "x" * LOOKBACK + " = {}",
        "--password-file {}",
        "The password is not known, {}",
        "The password was (see below)\n{}",
        "password: " + " " * 30 + "{}",
    ],
)
def test_what_stands_elsewhere_is_not_a_named_value(text: str) -> None:
    assert found(text.format(PASSWORD)) == []


@pytest.mark.parametrize(
    "value",
    [
        "changeme",
        "hunter2",
        "P@ssw0rd123",
        "Summer2024",
        "<your-password>",
        "${DB_PASSWORD}",
        "$DB_PASS1",
        "{{ secrets.x1Y2 }}",
        "os.environ['X1y2Z3']",
        'getenv("X1y2Z3")',
        "self.config.password1",
        "https://a1B2.c3D4/e5",
        "q8RvT2xLm9...",
        "aaaa1111aaaa1111",
        "0-9A-Za-z_",
        "12345678901",
        "",
    ],
)
def test_placeholders_code_and_words_are_no_values(value: str) -> None:
    assert found(f"password = {value}") == []
    assert found(f'"token": {value}') == []


def test_a_sentence_ends_a_value_and_a_quote_does() -> None:
    assert found(f"password: {PASSWORD}. Then") == [(PASSWORD, "keyword.password")]
    assert found(f"password: '{PASSWORD}, (x)' and") == [(f"{PASSWORD},", "keyword.password")]
    assert found(f"password: {PASSWORD}, and") == [(PASSWORD, "keyword.password")]


def test_only_the_value_is_held_and_only_until_it_ends() -> None:
    scan = DETECTOR.stream()
    for piece in ("pass", "word", " =", ' "'):
        before = scan.settled
        assert scan.feed(piece, False) == []
        assert scan.settled == before + len(piece)
    assert scan.feed(PASSWORD, False) == []
    assert scan.settled == 12
    assert scan.feed('"', False) == [Span(12, 22, "keyword.password")]
    assert scan.settled == 23


def test_a_long_value_is_decided_before_its_end_and_the_rest_is_eaten() -> None:
    value = SECRET * 3
    scan = DETECTOR.stream()
    assert scan.feed(f"token: {value[: VALUE_MAX - 1]}", False) == []
    assert scan.settled == 7
    assert scan.feed(value[VALUE_MAX - 1], False) == [Span(7, 7 + VALUE_MAX, "keyword.secret")]
    assert scan.feed("abc", False) == [Span(7 + VALUE_MAX, 10 + VALUE_MAX, "keyword.secret", opens=False)]
    assert scan.feed(" abc", True) == []
    assert found(f"token: {value} x") == [(value, "keyword.secret")]


def test_a_long_value_that_is_none_is_let_go() -> None:
    scan = DETECTOR.stream()
    assert scan.feed("token: " + "word-" * 10, False) == []
    assert scan.settled == 57


def test_a_token_behind_a_name_is_reported_once_and_by_its_own_rule() -> None:
    for text in (f"token={TOKEN}", f'"api_key": "{TOKEN}"', f"--token {TOKEN}", f"Authorization: Token {TOKEN} x"):
        assert found(text) == [(TOKEN, "token")]


def test_a_value_that_begins_as_a_token_and_is_none_is_still_found() -> None:
    value = "tok_" + SECRET[:12] + "." + SECRET
    assert found(f"api_key={value} x") == [(value, "keyword.secret")]


def test_two_values_in_a_row_are_both_found() -> None:
    text = f"password={PASSWORD}\ntoken={SECRET}\n"
    assert found(text) == [(PASSWORD, "keyword.password"), (SECRET, "keyword.secret")]


def test_letters_of_other_alphabets_do_no_harm() -> None:
    assert found(f"\u0130\u0130password={PASSWORD}") == [(PASSWORD, "keyword.password")]
    assert found(f"to\u212aen={SECRET}") == []


def test_a_pause_keeps_a_value_that_has_begun_and_its_name_in_mind() -> None:
    scan = DETECTOR.stream()
    scan.feed("password", False)
    assert scan.pause() == []
    scan.feed("=", False)
    assert scan.pause() == []
    assert scan.settled == 9
    scan.feed(PASSWORD[:4], False)
    assert scan.pause() == []
    assert scan.settled == 9
    assert scan.feed(f"{PASSWORD[4:]}\n", True) == [Span(9, 19, "keyword.password")]


def test_what_people_are_told_of_a_named_value() -> None:
    entry = DETECTOR.entries["keyword.password"]
    assert (entry.provider, entry.title, entry.severity, entry.owasp) == ("any", "Password", "high", ("LLM02:2025",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["api-key"]}, r"keywords\[0\].names\[0\]: must be lower-case words"),
        ({"check": "random"}, r"keywords\[0\].check: must be one of password, secret"),
        ({"id": "token"}, r"keywords\[0\].id: is used twice"),
        ({"lead": "x"}, r"keywords\[0\].lead: is not a known field"),
    ],
)
def test_a_bad_kind_is_refused_at_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PackError, match=message):
        secrets.build({**PACK, "keywords": [{**PACK["keywords"][0], **change}]}, {})
