from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from extproc.runtime import model_files
from extproc.runtime.model_files import ModelFile, ModelFileError


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        ModelFile(path).data()
    return str(caught.value).replace(str(path), path.name)


def test_a_model_is_what_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"a": [1, "é"]}', encoding="utf-8")
    model = ModelFile(path)
    path.write_text("{}")
    assert model.data() == {"a": [1, "é"]}
    assert model.path == path
    assert model.digest == hashlib.sha256('{"a": [1, "é"]}'.encode()).hexdigest()


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.json") == "none.json: No such file or directory"
    (tmp_path / "folder.json").mkdir()
    assert refused(tmp_path / "folder.json") == "folder.json: Is a directory"


def test_a_file_is_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "FILE_BYTES", 10)
    path = tmp_path / "m.json"
    path.write_text('{"a": 123}')
    assert ModelFile(path).data() == {"a": 123}
    path.write_text('{"a": 1234}')
    assert refused(path) == "m.json: larger than 10 bytes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "m.json: not JSON: "),
        (b'{"a": ', "m.json: not JSON: "),
        (b'{"a": "\xff"}', "m.json: not JSON: "),
        (b"[" * 100_000, "m.json: not JSON: "),
        (b"[]", "m.json: must be a JSON object"),
        (b"3", "m.json: must be a JSON object"),
    ],
    ids=["empty", "cut", "not UTF-8", "deep", "list", "number"],
)
def test_what_is_no_json_object_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    assert refused(path).startswith(message)
