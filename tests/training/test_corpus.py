"""Corpora: what is read, what is refused and where, and how sources are divided into folds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from extproc.training.corpus import TEXT_MAX, CorpusError, Row, folds_of, read_corpus

GOOD = '{"text": "hello", "label": 0}\n'


def test_rows_know_their_file_line_source_and_licence(tmp_path: Path) -> None:
    path = tmp_path / "mails.jsonl"
    path.write_text(
        GOOD + '{"text": "x", "label": 1, "source": "s", "lang": "de", "licence": "MIT"}\n', encoding="utf-8"
    )
    assert read_corpus([path]) == [
        Row("hello", False, "mails", "", "", f"{path}:1"),
        Row("x", True, "s", "de", "MIT", f"{path}:2"),
    ]


def test_a_name_that_cannot_be_written_is_made_one_that_can(tmp_path: Path) -> None:
    path = tmp_path / "mails.jsonl"
    path.write_text('{"text": "\\ud800", "label": 1, "source": "a\\ud800"}', encoding="utf-8")
    assert [(row.text, row.source) for row in read_corpus([path])] == [("\ud800", "a?")]


def test_a_folder_is_all_its_corpora_in_order_of_their_names(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(GOOD)
    (tmp_path / "b.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no corpus", encoding="utf-8")
    assert [row.source for row in read_corpus([tmp_path])] == ["a", "b"]
    assert [row.source for row in read_corpus([tmp_path], without=["a"])] == ["b"]


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(f'{{"text": "{"a" * (TEXT_MAX + 1)}", "label": 0}}', encoding="utf-8")
    assert len(read_corpus([path])[0].text) == TEXT_MAX


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("not json", 'not a JSON object with "text" and "label"'),
        ("", 'not a JSON object with "text" and "label"'),
        ("[]", 'not a JSON object with "text" and "label"'),
        ("[" * 100_000, 'not a JSON object with "text" and "label"'),
        ('{"text": "x"}', 'not a JSON object with "text" and "label"'),
        ('{"text": 1, "label": 0}', '"text" must be a string'),
        ('{"text": "x", "label": "attack"}', '"label" 1 (an attack) or 0'),
        ('{"text": "x", "label": 2}', '"label" 1 (an attack) or 0'),
    ],
    ids=["text", "blank", "list", "deep", "no-label", "number", "word", "two"],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{GOOD}{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError) as error:
        read_corpus([path])
    assert str(error.value).startswith(f"{path}:2: ")
    assert what in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(GOOD.encode() * 100)[:-12])
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"text": "\xe9", "label": 0}')
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text(GOOD, encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (cut, latin, plain, empty, tmp_path / "absent.jsonl"):
        with pytest.raises(CorpusError, match=f"^{path}: "):
            read_corpus([path])


def test_folds_keep_sources_whole_and_spread_both_labels() -> None:
    rows = [Row("", attack, f"{attack}{at}") for attack in (True, False) for at in range(16) for _ in range(3)]
    folds = folds_of(rows)
    assert set(folds) == {row.source for row in rows}
    for attack in (True, False):
        assert sorted(folds[f"{attack}{at}"] for at in range(16)) == sorted([*range(8), *range(8)])
    assert folds_of(rows, {"True0": 5})["True0"] == 5
