from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc.cli import main
from extproc.detectors import DETECTORS
from tests.support.toy_policy import KEY, write_toy_policy

# Their examples are tried by the tests of their own detectors; here it is enough to read them.
SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "policies/packs").glob("*.yaml"))


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write_toy_policy(tmp_path)
    return tmp_path / "packs/toy.yaml"


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_every_rule_of_every_pack_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--json"]) == 0

    rows = printed(capsys)
    assert sorted({row["pack"] for row in rows}) == SHIPPED
    assert len({(row["pack"], row["id"]) for row in rows}) == len(rows)
    assert all(row["id"] and row["looks_for"] for row in rows)
    secrets = [row for row in rows if row["pack"] == "secrets" and row["provider"]]
    assert len(secrets) >= 250
    assert len({row["provider"] for row in secrets}) >= 150
    assert all(row["docs"].startswith("https://") and row["severity"] and row["owasp"] for row in secrets)


def test_a_list_can_be_narrowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "secrets", "--provider", "stripe", "--severity", "critical", "--json"]) == 0
    assert [row["id"] for row in printed(capsys)] == ["stripe-live-key"]

    assert main(["rules", "secrets", "special_tokens", "--owasp", "llm02", "--json"]) == 0
    assert {row["pack"] for row in printed(capsys)} == {"secrets"}


def test_a_list_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "secrets", "--provider", "stripe"]) == 0

    header, *rows, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["RULE", "PROVIDER", "OR", "FAMILY", "SEVERITY", "OWASP", "LOOKS", "FOR"]
    assert rows[0].split()[:3] == ["stripe-live-key", "Stripe", "critical"]
    assert rows[0].endswith("sk_live_ rk_live_ sk_prod_ and 1 more")
    assert total == f"{len(rows)} rules, 2 providers and families, packs: secrets"


def test_a_list_of_nothing_says_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "secrets", "--provider", "nobody"]) == 1
    assert capsys.readouterr().err == "sluicegate rules: no rule is like that\n"


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "explain", "github-pat"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("github-pat\n  title     ")
    assert "docs      https://docs.github.com/" in out
    assert "leaves as [REDACTED:github-pat]" in out
    assert "holds     decided after 24 characters, at the latest after 56" in out
    assert "secrets.yaml:" in out


def test_what_a_rule_holds_is_counted_from_its_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "jwt", "connection-string", "aws-secret-access-key", "--json"]) == 0

    jwt, url, named = printed(capsys)
    assert jwt["holds"] == "decided after 32 characters, at the latest after 564"
    assert url["holds"] == "at most 128 characters, until one of @ ends it"
    assert named["holds"] == "decided after 20 characters, at the latest after 52"


def test_rules_of_other_packs_tell_what_they_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "chatml", "override.above", "--json"]) == 0

    tokens, phrases = printed(capsys)
    assert tokens["tokens"][0] == "<|im_start|>"
    assert phrases["weight"] == 0.62
    for rule in (tokens, phrases):
        assert rule["holds"] == "whole texts: this detector does not read streams"
        assert "leaves as" not in rule
        assert "docs" not in rule


def test_no_example_of_a_secret_is_printed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", str(toy), "--json"]) == 0
    assert main(["rules", "show", "github-pat"]) == 0
    assert main(["rules", str(toy), "--test", "--detector", "secrets"]) == 0
    out, err = capsys.readouterr()
    assert KEY not in out + err
    assert KEY[::-1] not in out + err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "github-pad"], 'no rule "github-pad"; there is github-pat'),
        (["show", "a thing unlike any other"], 'no rule "a thing unlike any other"\n'),
        (["show"], "name a rule"),
        (["secretz"], 'no pack "secretz"; there are '),
        (["missing.yaml"], "missing.yaml: "),
    ],
)
def test_what_is_not_there_is_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [("[]", "must be a mapping"), ("a: &b c", "anchors"), ("{", "not YAML")]
)
def test_a_file_that_is_no_pack_is_refused(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    assert main(["rules", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("pack", ["secrets", "injection", "special_tokens"])
def test_the_examples_of_a_shipped_pack_hold(pack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--test", "--json", pack]) == 0

    document = printed(capsys)
    assert document["ok"] is True
    assert document["packs"][0]["pack"] == pack
    assert document["packs"][0]["examples"] > document["packs"][0]["rules"]


def test_a_test_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--test", "special_tokens"]) == 0

    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["PACK", "RULES", "EXAMPLES", "RESULT"]
    assert (row.split()[0], row.split()[-1]) == ("special_tokens", "ok")


def test_every_wrong_example_is_told_at_its_line(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = toy.read_text()
    rule = good[good.index("  - id:") :]
    wrong_match = rule.replace("toy-key", "toy-two").replace(f'"{KEY[::-1]}"', '"nothing"')
    wrong_pass = (
        rule.replace("toy-key", "toy-three").replace("toy_]", "tow_]").replace(KEY[::-1], KEY[::-1][:-3] + "wot")
    )
    toy.write_text(good + wrong_match + wrong_pass.replace('"toy_short"', f'"{KEY}"'))

    assert main(["rules", "--test", str(toy), "--detector", "secrets"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["toy", "3", "6", "2", "wrong"]
    first, second = err.splitlines()[-2:]
    assert first.startswith(f"{toy}:19:")
    assert first.endswith("rules[1].match[0]: is not found by this rule alone")
    assert second.endswith("rules[2].pass[0]: is found, but must not be")


def test_wrong_examples_of_phrases_are_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "injection.yaml"
    pack.write_text(
        "threshold: 0.7\nvocabulary: [apple]\nrules:\n  - id: fruit\n    family: f\n    language: en\n    weight: 0.5\n"
        "    phrases: [apple]\n    match: [an apple, a pear]\n    pass: [apple pie, plum]\n"
    )
    assert main(["rules", "--test", "--json", str(pack)]) == 1
    assert [problem.partition("rules")[2] for problem in printed(capsys)["packs"][0]["problems"]] == [
        "[0].match[1]: is not found by this rule",
        "[0].pass[0]: is found, but must not be",
    ]


def test_a_pack_that_no_detector_takes_says_where(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--test", str(toy)]) == 1
    assert "name its detector with --detector" in capsys.readouterr().err

    toy.write_text(toy.read_text().replace("alphabets:", "alphabet:"))
    assert main(["rules", "--test", str(toy), "--detector", "secrets"]) == 1
    assert "names an unknown alphabet" in capsys.readouterr().err

    toy.write_text(toy.read_text().replace("alphabet:", "mystery: 1\nalphabets:"))
    assert main(["rules", "--test", str(toy), "--detector", "secrets"]) == 1
    assert "mystery: is not a known field" in capsys.readouterr().err


def test_every_kind_with_a_pack_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rules", "--detector", "nonsense"])
    err = capsys.readouterr().err
    assert all(name in err for name, kind in DETECTORS.items() if kind.pack)
