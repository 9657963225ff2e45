from __future__ import annotations

import json
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from extproc.runtime import bulk_scan
from extproc.runtime.bulk_scan import Done, Work, scan_lines
from extproc.runtime.store import load_policy
from tests.support.toy_policy import KEY, write_toy_policy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy_policy(tmp_path)


def scan(toy: Path, content: bytes, jobs: int = 1) -> list[Done]:
    source = toy.parent / "texts.jsonl"
    source.write_bytes(content)
    with FileIO(source) as file:
        return list(scan_lines(Work(toy, "user"), load_policy(toy), file, jobs))


def entries(done: list[Done]) -> Iterator[dict[str, object]]:
    for part in done:
        yield from map(json.loads, part.output.splitlines())


def lines(count: int) -> bytes:
    texts = (f"{number} {KEY if number % 100 == 0 else 'hello ' * 10}" for number in range(count))
    return b"".join(json.dumps({"id": number, "text": text}).encode() + b"\n" for number, text in enumerate(texts))


def test_processes_give_what_one_gives_and_in_the_same_order(toy: Path) -> None:
    content = lines(3000) + b"nope\n"

    alone, together = scan(toy, content), scan(toy, content, jobs=2)

    assert "".join(done.output for done in together) == "".join(done.output for done in alone)
    assert sum(done.bad_lines for done in together) == 1
    assert [entry["id"] for entry in entries(together)] == [*range(3000), None]


def test_a_failure_in_a_process_is_a_failure_here(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: FileIO) -> Iterator[bulk_scan._Batch]:
        yield bulk_scan._Batch(1, [b'{"id": 1, "text": "a"}'], full=True)
        raise OSError("the disk is gone")

    monkeypatch.setattr(bulk_scan, "_batches", fail)

    with pytest.raises(OSError, match="the disk is gone"):
        scan(toy, b"", jobs=2)


def test_stopping_early_leaves_no_process_behind(toy: Path) -> None:
    import multiprocessing

    source = toy.parent / "texts.jsonl"
    source.write_bytes(lines(20_000))
    with FileIO(source) as file:
        results = scan_lines(Work(toy, "user"), load_policy(toy), file, jobs=2)
        next(results)
        results.close()

    assert multiprocessing.active_children() == []


def test_line_numbers_count_every_line_across_batches(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_scan, "READ_BYTES", 7)
    found = entries(scan(toy, b'\n{"id": 1, "text": "a"}\n\nbad\n{"id": 2, "text": "b"}\r\nworse'))

    assert [(entry["id"], entry.get("line")) for entry in found] == [(1, None), (None, 4), (2, None), (None, 6)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"[]", "not an object"),
        (b'"text"', "not an object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", 'no "text"'),
        (b'{"text": 3}', 'no "text"'),
        (b'{"id": NaN, "text": "a"}', "not JSON"),
        (b'{"id": [-Infinity], "text": "a"}', "not JSON"),
        (b'{"id": 1e999, "text": "a"}', "not JSON"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(toy: Path, line: bytes, error: str) -> None:
    (done,) = scan(toy, line)

    assert json.loads(done.output) == {"id": None, "line": 1, "error": error}
    assert done.bad_lines == 1


def test_a_line_has_a_limit_and_the_next_one_is_read(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_scan, "LINE_BYTES", 50)
    monkeypatch.setattr(bulk_scan, "READ_BYTES", 16)
    found = list(entries(scan(toy, b'{"id": 1, "text": "' + b"x" * 200 + b'"}\n{"id": 2, "text": "b"}\n')))

    assert found[0] == {"id": None, "line": 1, "error": "longer than 50 bytes"}
    assert found[1]["id"] == 2


def test_any_id_and_any_text_come_back(toy: Path) -> None:
    content = '{"id": {"a": [1]}, "text": "\\ud800 \\u0000 é 😀"}\n'
    (entry,) = entries(scan(toy, content.encode()))

    assert entry["id"] == {"a": [1]}
    assert entry["output"] == "\ud800 \x00 é 😀"


def test_offsets_are_code_points(toy: Path) -> None:
    (entry,) = entries(scan(toy, json.dumps({"id": 1, "text": f"😀 {KEY}"}).encode()))

    assert entry["findings"] == [{"rule": "keys", "match": "toy-key", "start": 2, "end": 22, "score": 1.0}]
