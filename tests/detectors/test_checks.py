"""What looks like a secret, and what like the documentation of one."""

from __future__ import annotations

import base64
import string
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.detectors.checks import (
    CHECKS,
    basic_credentials,
    checksummed,
    jwt_header,
    jwt_in_base64,
    looks_mixed,
    looks_random,
    looks_varied,
    password,
    slack_token,
)


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "body",
    [
        "16C7e42F292c6912E771",  # mixed
        "0ecf9734feff1cbd29c6",  # hexadecimal
        "OzhtVu155IqGx45XduJs",
        "4YPHPZ3TSO2G39LP86K82CSKQDU",  # upper case and digits
        "lmzhMaiSSmmSHbWZwtigpmRhr",  # letters alone
        "a1b2-c3d4_e5f6-g7h8i9j0k2",
    ],
)
def test_random_bodies_look_random(body: str) -> None:
    assert looks_random(body)


@pytest.mark.parametrize(
    "body",
    [
        "xxxxxxxxxxxxxxxxxxxxxxxx",
        "your-openai-api-key-here",
        "Your0wnS3cr3tT0k3nG03sH3r3",
        "1234567890abcdefghij1234",
        "abcdefghijklmnopqrstuvwxyz",
        "00000000-0000-0000-0000-000000000000",
        "authentication-with-access-tokens",
        "EXAMPLE9a8B7c6D5e4F3g2H1",
        "deadbeefdeadbeefdead",
        "some_snake_case_identifier",
        "AB12************CD34EF56",
    ],
)
def test_placeholders_and_words_do_not(body: str) -> None:
    assert not looks_random(body)


@pytest.mark.parametrize(
    "body", ["IOSFODNN2QZWAPS7", "MIIEvQIBADANBgkqhkiG9w0B", "583578641458-0704555629164-0G3qqIe3"]
)
def test_varied_bodies_need_no_change_of_kind(body: str) -> None:
    assert looks_varied(body)


@pytest.mark.parametrize("body", ["IOSFODNN7EXAMPLE", "XXXXXXXXXXXXXXXX", "AAAABBBBAAAABBBB", "1234567890123456"])
def test_repetition_and_counting_are_not_varied(body: str) -> None:
    assert not looks_varied(body)


@pytest.mark.parametrize("body", ["dPKtf60ELsiQtoRuZOzPpFtr", "58DBhZ7zJLjYQBIQ3awNLTbt"])
def test_what_mixes_all_kinds_of_characters_is_mixed(body: str) -> None:
    assert looks_mixed(body)


@pytest.mark.parametrize(
    "body",
    [
        "0cf5a97e12d84f60b3a9c8e7",  # a hash
        "getElementsByTagNameAndClass",  # a name in a program
        "readUint32LittleEndianFrom",
        "xxxxxxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_hashes_and_names_are_not_mixed(body: str) -> None:
    assert not looks_mixed(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("583578641458-0704555629164-0G3qqIe3fA", True),
        ("511111111-31111111111-3111111111111-e039d028", True),  # only the last part is random
        ("511111111-31111111111-3111111111111-e039d02", False),  # too little of it
        ("000000000000-000000000000-xxxxxxxxxxxx", False),
        ("123456789012-123456789012-abcdefghijkl", False),
    ],
)
def test_a_slack_token_is_known_by_its_last_part(body: str, expected: bool) -> None:
    assert slack_token(body) is expected


def with_checksum(body: str) -> str:
    """Give a body of thirty characters with its checksum, as GitHub and npm write it."""
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = (string.digits + string.ascii_uppercase + string.ascii_lowercase)[digit] + digits
    return body + digits


def test_the_checksum_is_the_one_that_github_writes() -> None:
    # A published token: thirty characters and their checksum.
    assert with_checksum("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ").endswith("0mLq17")


def test_a_right_checksum_makes_a_token_of_a_placeholder() -> None:
    for body in ("a" * 30, "example" + "x" * 23):
        assert not looks_random(with_checksum(body)[:30])
        assert checksummed(with_checksum(body))
        assert checksummed(with_checksum(body) + "and more")
        assert not checksummed(with_checksum(body)[:35])
        assert not checksummed(with_checksum(body)[:35] + "-")
        assert not checksummed(body + "xxxxxx")


def test_a_wrong_checksum_excuses_no_token() -> None:
    assert checksummed("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18")
    assert checksummed("zQWBuTSOoRi4A9spHcVY")


@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=30, max_size=30))
def test_every_body_with_its_checksum_is_a_token(body: str) -> None:
    assert checksummed(with_checksum(body))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('{"alg":"HS256","typ":"JWT"}', True),
        ('{"typ":"JWT","alg":"RS256"}', True),
        ('{"name":"alice","role":"x"}', False),
    ],
)
def test_a_token_in_base64_is_known_by_the_header_within(header: str, expected: bool) -> None:
    twice = base64.b64encode((b64(header) + ".eyJzdWIiOiIx").encode()).decode()
    assert twice.startswith("ZXlK")
    assert jwt_in_base64(twice.removeprefix("ZXlK")) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('{"alg":"HS256","typ":"JWT"}', True),
        ('{"typ" : "JWT", "kid":"a", "alg" : "RS256"}', True),
        ('{"enc":"A256GCM","zip":"DEF"}', True),
        ('{"name":"alice","role":"admin"}', False),
        ('{"algorithm":"HS256","typ":"JWT"}', False),
    ],
)
def test_a_token_is_known_by_the_algorithm_in_its_header(header: str, expected: bool) -> None:
    assert jwt_header((b64(header) + ".eyJzdWIiOiIx").removeprefix("eyJ")) is expected


def test_a_header_is_known_before_it_is_complete() -> None:
    assert jwt_header(b64('{"alg":"RS256","x5c":["' + "A" * 300)[3:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin:0sfJcoEYE1tv", True),
        ("the quick brown fox", False),
        ("admin:\x00\x01\x02\x03\x04", False),
        (":abcdef", False),
    ],
)
def test_basic_credentials_are_a_user_and_a_password(text: str, expected: bool) -> None:
    assert basic_credentials(b64(text)) is expected


@pytest.mark.parametrize("body", ["rfO6uDifeh4bSeY4Ju", "s3cr3t-Pa55", "Tr0ub4dor&3", "correct-horse-battery"])
def test_passwords_of_people_are_passwords(body: str) -> None:
    assert password(body)


@pytest.mark.parametrize(
    "body",
    ["password", "password123", "mypassword", "postgres", "changeme", "YOUR_PASSWORD", "xxxxxxxx", "abc12", "****"],
)
def test_passwords_of_documentation_are_not(body: str) -> None:
    assert not password(body)


@given(st.text(max_size=80))
def test_no_text_makes_a_check_raise(body: str) -> None:
    assert all(check(body) in (True, False) for check in CHECKS.values())
