from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from extproc.detectors.pack import PackError
from extproc.runtime import values
from extproc.runtime.store import PolicyErrors, PolicySource
from extproc.runtime.values import Named, Resolved, expand, resolve

FIRST, SECOND = "first-value-1", "second-value-2"


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A Secret as Kubernetes mounts it: every key a link into a directory that one more link names."""
    volume = tmp_path / "app"
    swap(volume, "..2026_1", {"token": FIRST + "\n", "password": SECOND, ".dockercfg": "a third value"})
    return volume


def swap(volume: Path, name: str, content: dict[str, str]) -> None:
    (volume / name).mkdir(parents=True)
    for key, text in content.items():
        (volume / name / key).write_text(text)
        if not (volume / key).is_symlink():
            (volume / key).symlink_to(Path("..data") / key)
    (volume / "..new").symlink_to(name)
    (volume / "..new").rename(volume / "..data")


def read(folder: Path, environ: dict[str, str] | None = None, **options: Any) -> Resolved:
    return resolve(Named.of(options), folder, environ or {})


def found(resolved: Resolved) -> dict[str, bytes]:
    return {value.source: value.data for value in resolved.options["values"]}


def error(folder: Path, **options: Any) -> str:
    with pytest.raises(PackError) as caught:
        read(folder, **options)
    return str(caught.value)


@pytest.mark.parametrize("pattern", ["app", "app/*", "{folder}/app", "{folder}/app/*", "*"])
def test_a_mounted_secret_gives_each_key_once(tmp_path: Path, mounted: Path, pattern: str) -> None:
    assert mounted.is_dir()
    assert found(read(tmp_path, files=[pattern.format(folder=tmp_path)])) == {
        "file.app/.dockercfg": b"a third value",
        "file.app/password": SECOND.encode(),
        "file.app/token": FIRST.encode(),
    }


def test_a_pattern_begins_at_the_policys_folder_whatever_that_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "[a]*"
    folder.mkdir()
    (folder / "key").write_text(FIRST)
    assert list(found(read(folder, files=["key"]))) == list(found(read(folder, files=["k*"]))) == ["file.[a]*/key"]


def test_the_environment_gives_values_too(tmp_path: Path) -> None:
    resolved = read(tmp_path, {"API_KEY": FIRST, "OTHER": SECOND}, env=["API_KEY"])
    assert found(resolved) == {"env.API_KEY": FIRST.encode()}


def test_a_file_may_hold_a_value_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"one-value-1\r\n\n  two-value-2  \nshort\n")
    resolved = read(tmp_path, files=["list"], lines=True)
    assert [value.data for value in resolved.options["values"]] == [b"one-value-1", b"two-value-2"]
    assert [note.where for note in resolved.notes] == [("options", "files", 0)]


def test_a_short_value_is_noted_and_not_shown(tmp_path: Path) -> None:
    resolved = read(tmp_path, {"PIN": "0815", "KEY": FIRST}, env=["PIN", "KEY"])
    assert list(found(resolved)) == ["env.KEY"]
    assert [(note.where, note.message) for note in resolved.notes] == [
        (("options", "env", 0), "env.PIN has fewer than 8 characters and is not looked for")
    ]


def test_the_digest_tells_values_apart_and_nothing_else(tmp_path: Path) -> None:
    first = read(tmp_path, {"A": FIRST}, env=["A"]).digest
    assert first == read(tmp_path, {"A": FIRST, "B": SECOND}, env=["A"]).digest
    assert first != read(tmp_path, {"A": SECOND}, env=["A"]).digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options: must name files or env"),
        ({"files": []}, "options: must name files or env"),
        ({"files": "app"}, "options.files: must be a list"),
        ({"files": ["gone"]}, "options.files[0]: no such file"),
        ({"files": ["here", "gone*"]}, "options.files[1]: no file matches"),
        ({"files": ["empty"]}, "options.files[0]: no file matches"),
        ({"env": ["GONE"]}, "options.env[0]: no such environment variable"),
        ({"files": ["short"]}, "options: leave no value to look for"),
        ({"files": ["large"]}, "options.files[0]: large: larger than 65536 bytes"),
        ({"files": ["pipe"]}, "options: leave no value to look for"),
        ({"files": ["here"], "min_length": 2}, "options.min_length: must be a whole number of at least 6"),
        ({"files": ["here"], "values": {"a": FIRST}}, "options.values: is not a known field"),
    ],
)
def test_what_cannot_be_used_is_said_at_its_place(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    (tmp_path / "here").write_text(FIRST)
    (tmp_path / "short").write_text("1234")
    (tmp_path / "large").write_text("x" * 65537)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert error(tmp_path, **options) == message


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(FIRST)

    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(values.os, "open", refuse)
    assert error(tmp_path, files=["key"]) == "options.files[0]: key: Permission denied"


def test_a_byte_order_mark_is_no_part_of_a_value(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbf" + FIRST.encode() + b"\r\n")
    assert list(found(read(tmp_path, files=["key"])).values()) == [FIRST.encode()]
    assert list(found(read(tmp_path, files=["key"], lines=True)).values()) == [FIRST.encode()]


def test_a_file_name_may_be_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).write_text(FIRST)
    assert list(found(read(tmp_path, files=["*"])).values()) == [FIRST.encode()]


def test_paths_that_no_file_can_have_are_errors_at_their_place(tmp_path: Path) -> None:
    assert error(tmp_path, files=["a\0b"]) == "options.files[0]: no file can have this name"
    assert error(tmp_path, files=["x" * 300]).endswith("File name too long")


def test_a_path_below_a_directory_that_may_not_be_entered_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(values.os, "open", refuse)
    monkeypatch.setattr(Path, "stat", refuse)
    assert error(tmp_path, files=["key"]) == "options.files[0]: key: Permission denied"


def test_a_directory_that_goes_away_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()

    def gone(_path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "iterdir", gone)
    assert error(tmp_path, files=["app"]) == "options.files[0]: No such file or directory"


def test_a_variable_has_the_bound_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"^options.env\[0\]: A: larger than 65536 bytes$"):
        read(tmp_path, {"A": "x" * 65537}, env=["A"])


def test_values_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "TOTAL_BYTES", 26)
    (tmp_path / "list").write_text(f"{FIRST}\n{SECOND}")
    assert error(tmp_path, files=["list"], lines=True) == "options: name values of more than 26 bytes"


def test_too_many_values_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n".join(f"value-number-{number}" for number in range(2001)))
    assert error(tmp_path, files=["list"], lines=True) == "options: name more than 2000 values"


def test_with_optional_nothing_need_be_there(tmp_path: Path) -> None:
    assert found(read(tmp_path, files=["gone", "gone*"], env=["GONE"], optional=True)) == {}


def test_a_directory_that_may_not_be_listed_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values.os, "access", lambda *_arguments: False)
    assert expand(str(tmp_path)) == [tmp_path]


# ---- in a policy

POLICY = """apiVersion: sluicegate.dev/v1
kind: Policy
metadata: {name: test}
spec:
  rules:
    - id: own
      detector: exact_values
      options: OPTIONS
      scope: [user, response.content]
      action: redact
      owasp: ["LLM02:2025"]
"""


def policy(folder: Path, options: str, environ: dict[str, str] | None = None) -> PolicySource:
    path = folder / "policy.yaml"
    path.write_text(POLICY.replace("OPTIONS", options))
    return PolicySource(path, environ or {})


def test_a_policy_finds_the_values_that_it_names(tmp_path: Path, mounted: Path) -> None:
    loaded = policy(tmp_path, f'{{files: ["{mounted}/*"], env: [KEY]}}', {"KEY": "fourth-value"}).read()
    detector = loaded.policy.rules[0].detector
    text = f"{FIRST} fourth-value"
    assert [match.rule for match in detector.scan(text).matches] == ["file.app.token", "env.key"]


def test_no_value_enters_the_document_the_revision_or_a_representation(tmp_path: Path) -> None:
    first = policy(tmp_path, "{env: [KEY]}", {"KEY": FIRST}).read()
    second = policy(tmp_path, "{env: [KEY]}", {"KEY": SECOND}).read()
    assert first.policy.revision == second.policy.revision
    assert FIRST not in f"{first!r} {first.document.model_dump()} {first.policy.rules!r}"


def test_a_place_that_is_not_there_is_an_error_with_its_line(tmp_path: Path) -> None:
    source = policy(tmp_path, "{files: [gone]}")
    with pytest.raises(PolicyErrors) as caught:
        source.read()
    assert str(caught.value) == f"{tmp_path}/policy.yaml:8:25: spec.rules[0].options.files[0]: no such file"


def test_what_is_not_looked_for_is_a_warning_with_its_line(tmp_path: Path) -> None:
    loaded = policy(tmp_path, "{env: [PIN, KEY]}", {"PIN": "0815", "KEY": FIRST}).read()
    expected = "spec.rules[0].options.env[0]: env.PIN has fewer than 8 characters and is not looked for"
    assert [str(note).partition("policy.yaml:8:23: ")[2] for note in loaded.overlooked] == [expected]
    assert loaded.warnings == loaded.overlooked
