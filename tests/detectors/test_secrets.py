"""The detector, the shipped pack with all its examples, and what a bad pack is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.detectors import secrets
from extproc.detectors.base import Match, Scan
from extproc.detectors.pack import PackError

PACK_PATH = Path(__file__).parents[2] / "policies/packs/secrets.yaml"
PACK: dict[str, Any] = yaml.safe_load(PACK_PATH.read_text(encoding="utf-8"))
DETECTOR = secrets.build(PACK, {})
SECRET = "a1B2c3D4e5F6g7H8i9J0"

SMALL: dict[str, Any] = {
    "owasp": ["LLM02:2025"],
    "alphabets": {"alnum": "0-9A-Za-z"},
    "rules": [
        {
            "id": "test-token",
            "provider": "Example",
            "title": "A token",
            "severity": "high",
            "literals": ["tst_"],
            "body": "alnum{20}",
            "match": [f"tst_{SECRET}"[::-1]],
            "pass": ["tst_short"],
        }
    ],
}


def small(**changes: object) -> dict[str, Any]:
    """Give the small pack with fields of its only rule changed, or taken away with ``None``."""
    pack = copy.deepcopy(SMALL)
    for name, value in changes.items():
        if value is None:
            del pack["rules"][0][name]
        else:
            pack["rules"][0][name] = value
    return pack


def test_every_example_of_the_shipped_pack_is_judged_as_it_says() -> None:
    assert len(secrets.build(PACK, {"verify": True}).entries) == len(PACK["rules"]) + len(PACK["keywords"])


def test_the_shipped_pack_is_as_large_as_is_claimed() -> None:
    assert len(PACK["rules"]) >= 250
    assert len({entry.provider for entry in DETECTOR.entries.values()}) >= 120


def test_every_shipped_rule_names_its_owasp_entries_of_both_years() -> None:
    assert {entry.owasp for entry in DETECTOR.entries.values()} == {("LLM02:2025", "LLM02:2026")}


def test_the_shipped_pack_sets_off_no_scanner_least_of_all_this_one() -> None:
    assert DETECTOR.scan(PACK_PATH.read_text(encoding="utf-8")) == Scan()


@pytest.mark.parametrize("rule", list(DETECTOR.entries))
def test_a_marker_names_its_rule_and_is_found_by_none(rule: str) -> None:
    marker = DETECTOR.marker(rule)
    assert rule in marker
    assert json.dumps(marker) == f'"{marker}"'
    for before in ("", "Bearer ", "https://me:", "token=", "\\n"):
        for after in ("", SECRET, f"-{SECRET}{SECRET}", "@host", f"\n{SECRET}{SECRET}"):
            assert DETECTOR.scan(before + marker + after) == Scan()


def test_a_finding_says_where_and_what_never_the_text() -> None:
    detector = secrets.build(SMALL, {})
    assert detector.scan(f"key: tst_{SECRET}.") == Scan((Match(5, 29, "test-token"),), 1.0)
    assert detector.scan("nothing here") == Scan()


def test_appended_characters_do_not_let_a_token_through() -> None:
    detector = secrets.build(SMALL, {})
    for more in ("x", "_x", "-x", "0" * 500):
        assert detector.scan(f"tst_{SECRET}{more} and").matches == (Match(0, 24 + len(more), "test-token"),)


def test_an_entry_is_what_people_are_told_of_a_rule() -> None:
    entry = secrets.build(SMALL, {}).entries["test-token"]
    assert (entry.provider, entry.title, entry.severity, entry.owasp) == ("Example", "A token", "high", ("LLM02:2025",))


def test_a_rule_may_map_to_other_owasp_entries_than_its_pack() -> None:
    detector = secrets.build(small(owasp=["LLM07:2025"]), {})
    assert detector.entries["test-token"].owasp == ("LLM07:2025",)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"id": "Test_Token"}, "id", "must be lower-case words"),
        ({"id": None}, "id", "is required"),
        ({"severity": "bad"}, "severity", "must be one of critical, high, low, medium"),
        ({"owasp": ["LLM2"]}, "owasp", "must list entries such as LLM02:2025"),
        ({"literals": []}, "literals", "must not be empty"),
        ({"literals": ["t"]}, "literals", "must have 2 to 64 characters"),
        ({"literals": ["tst_", "tst_"]}, "literals", "is there twice"),
        ({"literals": ['"t_']}, "literals", "must not use quotes"),
        ({"body": "alnum"}, "body", "must consist of runs"),
        ({"lead": "blank{1}"}, "lead", "names an unknown alphabet"),
        ({"check": "entropy"}, "check", "must be one of"),
        ({"commit": 21}, "commit", "must not exceed"),
        ({"match": None}, "match", "is required"),
        ({"pass": None}, "pass", "is required"),
        ({"regex": "a+"}, "regex", "is not a known field"),
    ],
)
def test_a_bad_rule_is_refused_at_its_field(changes: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(PackError, match=message) as caught:
        secrets.build(small(**changes), {})
    assert caught.value.where[:3] == ("rules", 0, field)


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"match": [f"tst_{SECRET}"]}, ("match", 0), "is not found by this rule alone"),
        ({"match": [f"tst_{SECRET}"[::-1], "no secret"]}, ("match", 1), "is not found by this rule alone"),
        ({"pass": ["fine", f"tst_{SECRET}"]}, ("pass", 1), "is found, but must not be"),
        ({"pass": []}, ("pass",), "must not be empty"),
        ({"literals": ["tst_", "prd_"]}, ("literals", 1), "has no example"),
    ],
)
def test_a_wrong_example_is_refused_when_examples_are_tried(
    changes: dict[str, object], place: tuple[str | int, ...], message: str
) -> None:
    pack = small(**changes)
    assert secrets.build(pack, {}).entries
    with pytest.raises(PackError, match=message) as caught:
        secrets.build(pack, {"verify": True})
    assert caught.value.where == ("rules", 0, *place)


def test_an_id_whose_marker_is_found_is_refused() -> None:
    token = "tst-a1b2c3d4e5f6g7h8i9j0"
    pack = small(id=token, literals=["tst-"], match=[f"{token}"[::-1]])
    pack["rules"][0]["pass"] = ["tst-short"]
    with pytest.raises(PackError, match="makes a marker that is found itself"):
        secrets.build(pack, {"verify": True})


def test_an_id_may_be_used_once() -> None:
    pack = copy.deepcopy(SMALL)
    pack["rules"] *= 2
    with pytest.raises(PackError, match=r"rules\[1\].id: is used twice"):
        secrets.build(pack, {})


def test_a_rule_without_owasp_entries_is_refused() -> None:
    pack = copy.deepcopy(SMALL)
    del pack["owasp"]
    with pytest.raises(PackError, match="must be given here or for the whole pack"):
        secrets.build(pack, {})


@pytest.mark.parametrize(
    ("pack", "options", "message"),
    [
        ({**SMALL, "version": 2}, {}, "version: is not a known field"),
        ({"owasp": ["LLM02:2025"]}, {}, "rules: is required"),
        (SMALL, {"verify": "yes"}, "options.verify: must be true or false"),
        (SMALL, {"verfy": True}, "options.verfy: is not a known field"),
    ],
)
def test_a_bad_pack_or_option_is_refused(pack: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(PackError, match=message):
        secrets.build(pack, options)
