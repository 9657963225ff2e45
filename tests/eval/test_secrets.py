"""The shipped pack keeps the quality that it has on the development corpus; without the corpus these tests skip."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest

from extproc.detectors import secrets
from extproc.detectors.base import Match
from extproc.runtime.yaml_source import read_yaml
from tests.eval import corpus, gaps, quality
from tests.eval import secrets as command

FOLDER = corpus.secrets_corpus()
needs_corpus = pytest.mark.skipif(FOLDER is None, reason="the development corpus is not here")
DETECTOR = secrets.build(read_yaml(command.PACK.read_text(encoding="utf-8")).data, {})


@pytest.fixture(scope="module")
def report() -> quality.Report:
    assert FOLDER is not None
    return quality.measure(DETECTOR, corpus.positives(FOLDER), corpus.negatives(FOLDER))


@needs_corpus
@pytest.mark.parametrize(
    ("kind", "made", "percent"),
    [("token", "fixtures", 94), ("token", "generated", 97), ("jwt", "generated", 100), ("pem", "generated", 100)],
)
def test_secrets_are_covered_whole(report: quality.Report, kind: str, made: str, percent: float) -> None:
    assert report.recall[kind, made].percent >= percent


@needs_corpus
@pytest.mark.parametrize(
    ("kind", "per_million"), [("hard", 0), ("placeholder", 0), ("llm_output", 0.1), ("docs_code", 0.5)]
)
def test_texts_without_secrets_are_left_alone(report: quality.Report, kind: str, per_million: float) -> None:
    assert report.negatives[kind].characters > 5000
    assert report.negatives[kind].per_million <= per_million


@needs_corpus
def test_every_miss_has_a_reason_that_is_known(report: quality.Report) -> None:
    missed = [record for key, tally in report.recall.items() if key[0] != "context" for record, _ in tally.missed]
    assert missed
    assert not [record.id for record in missed if not gaps.reason(record)]


@needs_corpus
def test_the_command_prints_figures_and_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--misses"]) == 0
    out = capsys.readouterr().out
    assert "Secrets covered whole" in out
    assert "missed token dev-positives-" in out
    assert "AGE-SECRET" not in out


def test_without_the_corpus_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICEGATE_DATA", str(tmp_path))
    assert command.main([]) == 2
    assert "SLUICEGATE_DATA" in capsys.readouterr().err


def record(text: str, start: int, end: int) -> corpus.Record:
    return corpus.Record("1", "token", "here", "rule", text, (start, end))


def test_only_what_is_covered_whole_counts() -> None:
    one = record("a secret here", 2, 8)
    assert quality.whole(one, (Match(2, 8, "r"),))
    assert quality.whole(one, (Match(0, 5, "r"), Match(5, 9, "r")))
    assert not quality.whole(one, (Match(3, 8, "r"),))
    assert not quality.whole(one, (Match(2, 7, "r"),))
    assert not quality.whole(one, (Match(2, 4, "r"), Match(5, 8, "r")))
    assert not quality.whole(one, ())


def test_line_breaks_and_quotes_at_its_ends_are_no_part_of_a_secret() -> None:
    assert quality.trimmed(record(' "secret\\n" ', 0, 12)) == (2, 8)
    assert quality.trimmed(record("secret", 0, 6)) == (0, 6)
    assert quality.trimmed(record("se\\ncret", 0, 8)) == (0, 8)


PACK = read_yaml(command.PACK.read_text(encoding="utf-8")).data
STAND_INS = (
    "...",
    "x" * 48,
    "X" * 48,
    "*" * 24,
    "0" * 40,
    "your-token-goes-here-and-nowhere-else",
    "<YOUR_KEY>",
    "EXAMPLE" * 4,
)


@pytest.mark.parametrize("rule", PACK["rules"], ids=lambda rule: rule["id"])
def test_no_literal_makes_a_secret_of_a_stand_in(rule: dict[str, Any]) -> None:
    if rule.get("check") == "none":  # a header that only a real key has
        return
    texts = [literal + text for literal in rule.get("literals", ()) for text in STAND_INS]
    assert not [text for text in texts if DETECTOR.scan(f"set {text} here").matches]


def test_every_provider_links_to_its_documents() -> None:
    providers = {rule["provider"] for rule in PACK["rules"]}
    assert PACK["providers"].keys() == providers
    assert all(entry.docs.startswith("https://") for entry in DETECTOR.entries.values() if entry.provider in providers)


# ---- strict known gaps -------------------------------------------------------------------------------------------

CHOICE = random.Random(20261123)


def some(chars: str, count: int) -> str:
    return "".join(CHOICE.choice(chars) for _ in range(count))


ALNUM = string.ascii_letters + string.digits
GAPS = {
    "azure client secret": some(ALNUM, 3) + "8Q~" + some(ALNUM, 34),
    "terraform token with its id": some(ALNUM, 14) + ".atlasv1." + some(ALNUM, 67),
    "dummy with EXAMPLE in it": "gh" + "p_" + "EXAMPLE" + some(ALNUM, 29),
    "token glued to a word": "token" + "gh" + "p_" + some(ALNUM, 36),
}


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.xfail(strict=True, reason="known gap")
def test_known_gaps(name: str) -> None:
    text = f"It is {GAPS[name]}."
    assert quality.whole(record(text, 6, len(text) - 1), DETECTOR.scan(text).matches)
