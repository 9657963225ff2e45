"""The detector of personal data: the shipped pack, what each rule finds, options, and what a bad pack is told."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn

from extproc.detectors import DETECTORS, pii
from extproc.detectors.pack import PackError
from extproc.detectors.pii_numbers import luhn_valid
from extproc.detectors.pii_phones import _World

PACK: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "policies/packs/pii.yaml").read_text(encoding="utf-8")
)
DETECTOR = pii.build(PACK, {})


def found(text: str, **options: object) -> list[tuple[str, str]]:
    """Give the rules and the texts of what is found."""
    detector = pii.build(PACK, options) if options else DETECTOR
    return [(match.rule.removeprefix("pii."), text[match.start : match.end]) for match in detector.scan(text).matches]


def test_every_example_of_the_shipped_pack_is_judged_as_it_says() -> None:
    assert set(pii.build(PACK, {"verify": True}).entries) == {f"pii.{rule}" for rule in pii.RULES}


@pytest.mark.parametrize("rule", pii.RULES)
def test_every_rule_keeps_its_word_alone(rule: str) -> None:
    assert list(pii.build(PACK, {"verify": True, "rules": [rule]}).entries) == [f"pii.{rule}"]


def test_every_entry_names_both_years_and_what_it_costs() -> None:
    for entry in DETECTOR.entries.values():
        assert entry.owasp == ("LLM02:2025", "LLM02:2026")
        assert entry.hold
        assert entry.title


def test_the_kind_is_in_the_table_and_reads_answers() -> None:
    kind = DETECTORS["pii"]
    assert (kind.pack, kind.streams) == ("pii", True)
    assert kind.build(PACK, {}).name == "pii"


def test_a_finding_is_certain_and_nothing_is_nothing() -> None:
    scan = DETECTOR.scan("jane@example.org")
    assert (scan.score, scan.matches[0].score) == (1.0, 1.0)
    assert DETECTOR.scan("nothing").score == 0.0


def test_a_marker_names_the_rule_and_needs_no_escape() -> None:
    for rule in DETECTOR.entries:
        assert DETECTOR.marker(rule) == f"[REDACTED:{rule}]"
        assert not DETECTOR.scan(DETECTOR.marker(rule)).matches


def test_the_strictest_of_several_rules_wins_and_text_is_found_once() -> None:
    assert found("4155552671@example.com") == [("email", "4155552671@example.com")]
    assert found("john.4155552671@example.com") == [("email", "john.4155552671@example.com")]
    assert found("phone 4111111111111111") == [("credit_card", "4111111111111111")]
    assert found("536-90-2399 jane@example.org +1 415-555-2671") == [
        ("us_ssn", "536-90-2399"),
        ("email", "jane@example.org"),
        ("phone", "+1 415-555-2671"),
    ]


# ---- E-mail


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Mail jane@example.org. Then wait.", "jane@example.org"),
        ("..jane..doe@example.org", "jane..doe@example.org"),
        ("a@b@example.org", "b@example.org"),
        ("%3Djane@example.org", "jane@example.org"),
        (r"\u003djane@example.org", "jane@example.org"),
        (r'{"to":"a\njane@example.org"}', "jane@example.org"),
        ("jane@example.org.123", "jane@example.org"),
        ("jane@xn--bcher-kva.xn--p1ai", "jane@xn--bcher-kva.xn--p1ai"),
        ("иван@пример.рф", "иван@пример.рф"),
        ("a" * 70 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_an_address_is_found_in_its_surroundings(text: str, address: str) -> None:
    assert found(text) == [("email", address)]


@pytest.mark.parametrize(
    "text", ["@example.org", "jane@", "jane@org", "jane@.org", "a@1.2.3", "jane@x.c", "@@", "a@b."]
)
def test_what_is_no_address_is_left(text: str) -> None:
    assert found(text) == []


def test_a_dash_behind_an_address_is_not_a_part_of_it() -> None:
    for text in ("jane@example.org--call her", "jane@example.org-", "jane@example.org---"):
        assert found(text) == [("email", "jane@example.org")]
    assert found("jane@example.org-x") == []
    assert found("jane@my--site.example.org") == [("email", "jane@my--site.example.org")]


def test_an_extension_of_one_digit_belongs_to_an_international_number() -> None:
    for text in ("+49 30 901820-0", "0049 30 901820-0", "+49 (0)30 901820-0"):
        assert found(text) == found(f"{text} or so") == [("phone", text)]
    assert found("0-306-40615-2", phone_regions=["DE"]) == []  # an ISBN
    assert found("+49 30 901820-0-1") == []


@given(st.text("0123456789", min_size=13, max_size=19))
def test_the_check_digit_is_that_of_the_library(digits: str) -> None:
    assert luhn_valid(digits) == luhn.is_valid(digits)


def test_octets_are_numbers_up_to_255_without_leading_zeros() -> None:
    for octet in (0, 9, 10, 99, 100, 199, 200, 249, 250, 255):
        assert found(f"83.12.{octet}.44 ") == [("ip", f"83.12.{octet}.44")]
    for octet in ("256", "260", "300", "999", "00", "01", "012"):
        assert found(f"83.12.{octet}.44 ") == found(f"83.12.44.{octet} ") == []
    assert found("0.12.44.10") == []


def test_addresses_and_domains_can_be_allowed() -> None:
    options = {"email_allow": ["Help@example.org", "@Example.com"]}
    assert found("help@example.org, jane@EXAMPLE.com", **options) == []
    assert found("jane@example.org jane@sub.example.com", **options) == [
        ("email", "jane@example.org"),
        ("email", "jane@sub.example.com"),
    ]


@pytest.mark.xfail(reason="an apostrophe is a quote far more often", strict=True)
def test_a_name_with_an_apostrophe_is_found_whole() -> None:
    assert found("sean.o'brien@example.org") == [("email", "sean.o'brien@example.org")]


# ---- Telephone numbers


@pytest.mark.parametrize(
    ("text", "regions", "number"),
    [
        ("Tel. 030 / 90 18 20 jetzt", ["DE"], "030 / 90 18 20"),
        ("(030) 901820", ["DE"], "(030) 901820"),
        ("01 42 68 53 00", ["FR"], "01 42 68 53 00"),
        ("ring 020 8366 1177 now", ["GB"], "020 8366 1177"),
        ("612 34 56 78", ["ES"], "612 34 56 78"),
        ("06 1234 5678", ["IT"], "06 1234 5678"),
        ("011 15-2345-6789", ["AR"], "011 15-2345-6789"),
        ("415.555.2671x12", ["US"], "415.555.2671"),
        ("(+1 415-555-2671)", [], "+1 415-555-2671"),
        ("+1 415-555-2671 415-555-2672", [], "+1 415-555-2671"),
        ("(+49) 30 901820", [], "(+49) 30 901820"),
        ("+800 1234 5678", [], "+800 1234 5678"),
        ("teléfono 612345678", ["ES"], "612345678"),
    ],
)
def test_a_number_is_found_as_people_write_it(text: str, regions: list[str], number: str) -> None:
    assert found(text, phone_regions=regions) == [("phone", number)]


@pytest.mark.parametrize(
    "text",
    [
        "4155552671", "415-555-26719", "415-555-2671-1", "415-555-2671a", "2025-06-25-090714", "0.737 / 0.079",
        "768/512/256", "+999 123 456 789", "+49", "(415", "(0)(0)(0)", "01 02 2023", "+1 415 555", "00000000000",
        "00 1 2 3 4 5 6 7 8",
    ],
)  # fmt: skip
def test_what_is_no_number_is_left(text: str) -> None:
    assert found(text, phone_regions=["US", "DE", "ES"]) == []


def test_a_national_number_needs_its_region() -> None:
    assert found("030 901820", phone_regions=["US"]) == []
    assert found("(415) 555-2671", phone_regions=[]) == []


@pytest.mark.xfail(reason="ten digits in one group are a count or an id more often", strict=True)
def test_a_bare_national_number_is_found_where_nothing_speaks_of_telephones() -> None:
    assert found("4155552671") == [("phone", "4155552671")]


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
WORLD = _World()


def international(number: phonenumbers.PhoneNumber) -> list[str]:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:].split()


@pytest.mark.parametrize("region", REGIONS)
def test_the_example_numbers_of_every_region_are_valid(region: str) -> None:
    kinds = phonenumbers.PhoneNumberType.values()
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
    for number in filter(None, examples):
        assert WORLD.valid(international(number))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(REGIONS), st.lists(st.tuples(st.integers(0, 30), st.sampled_from("0123456789")), max_size=4))
def test_a_number_is_valid_where_the_library_says_so(region: str, changes: list[tuple[int, str]]) -> None:
    example = phonenumbers.example_number(region)
    digits = list(phonenumbers.national_significant_number(example))
    for place, digit in changes:
        digits[place % len(digits)] = digit
    national = "".join(digits)
    parsed = phonenumbers.parse(f"+{example.country_code}{national}")
    # Where the library drops a prefix that does not belong behind a country code, this says no.
    taken_whole = phonenumbers.national_significant_number(parsed) == national
    assert WORLD.valid([f"{example.country_code}{national}"]) == (phonenumbers.is_valid_number(parsed) and taken_whole)


# ---- Cards, IBANs, social security numbers


@pytest.mark.parametrize("text", ["41 11 11 11 11 11 11 11", "4111 1111 1111 11111", "4111-1111-1111-1111-2"])
def test_digits_in_other_groups_are_no_card(text: str) -> None:
    assert found(text, rules=["credit_card"]) == []


@pytest.mark.parametrize("text", ["5018000000000009", "2221000000000009", "3530111333300000", "30569309025904"])
def test_cards_of_many_issuers_are_found(text: str) -> None:
    assert found(text) == [("credit_card", text)]


@pytest.mark.xfail(reason="only capital letters begin an IBAN, or every word would be held", strict=True)
def test_an_iban_in_small_letters_is_found() -> None:
    assert found("gb82west12345698765432") == [("iban", "gb82west12345698765432")]


def test_a_social_security_number_without_dashes_needs_a_word() -> None:
    assert found("536 90 2399") == []
    assert found("SSN 536 90 2399") == [("us_ssn", "536 90 2399")]
    assert found("SSN. Then there is 536902399") == []


# ---- IP addresses


@pytest.mark.parametrize("text", ["10.1.2.3", "192.168.1.10", "fe80::1ff:fe23:4567:890a", "fd12:3456:789a:1::1"])
def test_private_addresses_can_be_let_through(text: str) -> None:
    assert found(f"at {text}, port 1") == [("ip", text)]
    assert found(f"at {text}, port 1", ignore_private_ips=True) == []


@pytest.mark.parametrize(
    "text",
    ["1.2.3", "1.2.3.4.5", "300.1.2.3", "01.2.3.4", "version: 10.2.3.4", "10.2.3.4-beta", "0.1.2.3", "224.0.0.1",
     "2001:db8", "2001:12:30", "fe80::1::2", "2a02::g", "2a02::1z", "2a02:" * 10, "RFC 6749 §4.1.2.1"],
)  # fmt: skip
def test_what_is_no_address_of_a_host_is_left(text: str) -> None:
    assert found(text, rules=["ip"]) == []


def test_a_colon_behind_an_address_is_not_a_part_of_it() -> None:
    assert found("2a02:1810:4f0a:9d00:1c2b:3d4e:5f60:7a8b: up") == [("ip", "2a02:1810:4f0a:9d00:1c2b:3d4e:5f60:7a8b")]


# ---- Pauses


@pytest.mark.parametrize("text", ["a word", "call 41", "DE", "fe", "+"])
def test_a_pause_lets_go_of_what_shows_nothing(text: str) -> None:
    scan = DETECTOR.stream()
    scan.feed(text, False)
    assert scan.settled < len(text)
    assert scan.pause() == []
    assert scan.settled == len(text)
    assert scan.pause() == []


def test_a_pause_settles_what_is_whole() -> None:
    scan = DETECTOR.stream()
    assert scan.feed("I am jane@example.org", False) == []
    assert [(span.start, span.end) for span in scan.pause()] == [(5, 21)]
    assert scan.settled == 21
    assert scan.feed(", or call 415-555-2671", True)[0].start == 31


@pytest.mark.parametrize(("text", "at"), [("at jane@exam", 3), ("card 4111 1111 11", 5)])
def test_a_pause_keeps_what_shows_a_part(text: str, at: int) -> None:
    scan = DETECTOR.stream()
    scan.feed(text, False)
    assert scan.pause() == []
    assert scan.settled == at


# ---- Packs and options


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"rules": ["email", "name"]}, ("options", "rules", 1), "must be one of"),
        ({"rules": []}, ("options", "rules"), "must not be empty"),
        ({"phone_regions": ["US", "Germany"]}, ("options", "phone_regions", 1), "must be a country"),
        ({"email_allow": ["example.org"]}, ("options", "email_allow", 0), "must be an address"),
        ({"email_allow": ["jane@"]}, ("options", "email_allow", 0), "must be an address"),
        ({"names": True}, ("options", "names"), "is not a known field"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], where: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        pii.build(PACK, options)
    assert caught.value.where == where


@pytest.mark.parametrize(("rule", "library"), [("phone", "phonenumbers"), ("iban", "stdnum")])
def test_a_missing_library_is_named_for_the_rules_that_need_it(
    rule: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(PackError, match=rf"{rule}: needs .*sluicegate\[pii\]") as caught:
        pii.build(PACK, {"rules": [rule]})
    assert caught.value.where == ("options", "rules")
    assert pii.build(PACK, {"rules": ["email", "us_ssn", "ip"]}).scan("jane@example.org").matches


def changed(**changes: object) -> dict[str, Any]:
    """Give the pack with fields of its first rule changed."""
    pack = copy.deepcopy(PACK)
    pack["rules"][0].update(changes)
    return pack


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"id": "name"}, ("id",), "must be one of"),
        ({"owasp": []}, ("owasp",), "must be given"),
        ({"match": ["x"]}, ("match", 0), "is not found by this rule alone"),
        ({"match": []}, ("match",), "must not be empty"),
        ({"pass": []}, ("pass",), "must not be empty"),
        ({"pass": ["DE89370400440532013000"]}, ("pass", 0), "is found, but must not be"),
        ({"hold": 3}, ("hold",), "must be a non-empty string"),
        ({"body": "x"}, ("body",), "is not a known field"),
    ],
)
def test_a_bad_pack_is_told_where(changes: dict[str, Any], place: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        pii.build(changed(**changes), {"verify": True})
    assert caught.value.where == ("rules", 0, *place)


def test_a_rule_may_be_there_once() -> None:
    with pytest.raises(PackError, match="is used twice"):
        pii.build({**PACK, "rules": [*PACK["rules"], PACK["rules"][0]]}, {})


def test_a_finding_survives_hostile_surroundings() -> None:
    noise = "1-1 12 12 + (( ::: 2001: a.a.a@ GB12 @@ 030 12 "
    assert found(noise * 50 + "; jane@example.org") == [("email", "jane@example.org")]
