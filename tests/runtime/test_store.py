from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from extproc.detectors import DetectorKind
from extproc.detectors.pack import Fields
from extproc.runtime import store
from extproc.runtime.store import FILE_BYTES, PolicyErrors, default_policy, load_policy, read_policy
from tests.policy.fakes import WordDetector

HEAD = "apiVersion: sluicegate.dev/v1\nkind: Policy\nmetadata: {name: test}\n"
RULE = "{id: %s, detector: secrets, scope: [user], action: deny%s}"


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[WordDetector]:
    """Detectors of plain words stand in for the real kinds; a pack is a list of words."""
    made: list[WordDetector] = []

    def build(pack: Mapping[str, Any], options: Mapping[str, Any]) -> WordDetector:
        fields, chosen = Fields(pack), Fields(options, ("options",))
        made.append(WordDetector(*fields.strings("words"), chosen.string("marker", "-")))
        fields.close()
        chosen.close()
        return made[-1]

    kinds = {name: DetectorKind(build, pack="words", streams=True) for name in ("secrets", "special_tokens")}
    monkeypatch.setattr(store, "DETECTORS", kinds)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "words.yaml").write_text("words: [key]\n")
    return tmp_path


def write(folder: Path, spec: str, name: str = "policy.yaml") -> Path:
    path = folder / name
    path.write_text(f"{HEAD}spec:\n{spec}", encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        read_policy(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_policy_comes_with_its_detectors(folder: Path) -> None:
    policy = load_policy(write(folder, f"  rules: [{RULE % ('a', '')}]\n"))

    assert policy.name == "test"
    assert policy.rules[0].detector.scan("a key").matches[0].start == 2


def test_rules_with_the_same_pack_and_options_share_a_detector(folder: Path, built: list[WordDetector]) -> None:
    rules = [RULE % ("a", ""), RULE % ("b", ""), RULE % ("c", ", options: {marker: x}")]
    policy = load_policy(write(folder, f"  rules: [{', '.join(rules)}]\n"))

    assert policy.rules[0].detector is policy.rules[1].detector
    assert len(built) == 2


def test_a_pack_beside_the_policy_goes_before_the_one_that_ships(folder: Path) -> None:
    (folder / "packs" / "injection.yaml").write_text("words: [mine]\n")
    policy = load_policy(write(folder, f"  rules: [{RULE % ('a', ', pack: injection')}]\n"))

    assert policy.rules[0].detector.scan("mine").matches


def test_everything_that_is_wrong_is_told_with_its_line_and_column(folder: Path) -> None:
    (folder / "packs" / "broken.yaml").write_text("words:\n  - a\n  - 3\n")
    spec = (
        "  mod: enforce\n"
        "  rules:\n"
        "    - {id: a, detector: secret, scope: [user], action: deny}\n"
        f"    - {RULE % ('b', ', pack: broken')}\n"
        f"    - {RULE % ('c', ', pack: broken')}\n"
        f"    - {RULE % ('d', ', pack: nowhere')}\n"
        f"    - {RULE % ('e', ', options: {marker: 3}')}\n"
    )

    nowhere = 'no pack "nowhere" in packs/ beside this policy, nor among those that ship'
    assert problems(write(folder, spec)) == [
        'policy.yaml:5:3: spec.mod: unknown field "mod"; did you mean "mode"?',
        'policy.yaml:7:15: spec.rules[0].detector: unknown detector "secret"; did you mean "secrets"?',
        f"policy.yaml:10:63: spec.rules[3].pack: {nowhere}",
        "policy.yaml:11:73: spec.rules[4].options.marker: must be a non-empty string",
        "packs/broken.yaml:3:5: words[1]: must be a non-empty string",
    ]


def test_yaml_that_cannot_be_read_is_told_with_its_place(folder: Path) -> None:
    assert problems(write(folder, "  mode: enforce\n  mode: monitor\n")) == ['policy.yaml:6:3: "mode" is here twice']


def test_a_pack_that_cannot_be_read_is_told_with_its_place(folder: Path) -> None:
    (folder / "packs" / "words.yaml").write_text("words: [")

    assert problems(write(folder, f"  rules: [{RULE % ('a', '')}]\n"))[0].startswith("packs/words.yaml:2:1: not YAML")


def test_a_file_that_cannot_be_read_is_a_problem(folder: Path) -> None:
    assert problems(folder / "none.yaml") == ["none.yaml:1:1: No such file or directory"]
    (folder / "latin.yaml").write_bytes(b"a: b\nc: \xe9\n")
    assert problems(folder / "latin.yaml") == ["latin.yaml:2:1: not UTF-8"]
    (folder / "huge.yaml").write_bytes(b"#" * (FILE_BYTES + 1))
    assert problems(folder / "huge.yaml") == [f"huge.yaml:1:1: larger than {FILE_BYTES} bytes"]


def test_a_byte_order_mark_is_no_part_of_a_policy(folder: Path) -> None:
    path = write(folder, "  mode: monitor\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert load_policy(path).mode == "monitor"


def test_warnings_have_their_place(folder: Path) -> None:
    path = write(folder, f"  rules:\n    - {RULE % ('a', '')}\n")

    assert [str(note) for note in read_policy(path).warnings] == [
        f'{path}:6:7: spec.rules[0]: rule "a" names no OWASP entry'
    ]


def test_the_revision_changes_with_whatever_decides(folder: Path) -> None:
    path = write(folder, f"  rules: [{RULE % ('a', '')}]\n")
    first = load_policy(path).revision
    (folder / "packs" / "words.yaml").write_text("words: [key, other]\n")
    with_pack = load_policy(path).revision
    write(folder, f"  mode: monitor\n  rules: [{RULE % ('a', '')}]\n")
    with_mode = load_policy(path).revision

    assert len({first, with_pack, with_mode}) == 3
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 2 * hashlib.sha256().digest_size


def test_the_revision_of_a_policy_outlives_sections_that_come_later(folder: Path) -> None:
    """A new section with a default must not be told where it is not used: `_said` leaves it out."""
    policy = load_policy(write(folder, f"  rules: [{RULE % ('a', '')}]\n"))

    assert policy.revision == "sha256:6c9ecc988f8960c53cec720a24a39bb2fe02327c8a3469188d27e0e3638bb527"


def test_the_revision_is_of_what_is_meant_not_of_how_it_is_written(folder: Path) -> None:
    first = load_policy(write(folder, "  mode: enforce\n  limits: {request_bytes: 1KiB}\n"))
    second = load_policy(write(folder, "  # a note\n  limits:\n    request_bytes: 1024\n", "other.yaml"))

    assert first.revision == second.revision


def test_without_a_path_it_is_the_policy_that_ships() -> None:
    assert default_policy().name == "default.yaml"
