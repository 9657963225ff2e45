from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extproc.runtime import yaml_source
from extproc.runtime.yaml_source import BadYaml, read_yaml


def flaws(text: str) -> list[tuple[tuple[int, int], str]]:
    with pytest.raises(BadYaml) as caught:
        read_yaml(text)
    return [(flaw.mark, flaw.message) for flaw in caught.value.flaws]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1", {"a": 1}),
        ("[1, -2, 1.5, .5, 1e3, 1.0e3]", [1, -2, 1.5, 0.5, "1e3", 1000.0]),
        ("[true, False, null, ~, '']", [True, False, None, None, ""]),
        # YAML 1.1 made something else of these.
        ("[yes, on, No, 12:30, 0x1f, 017, 1_000, 2026-01-01, .inf, .nan, <<]",
         ["yes", "on", "No", "12:30", "0x1f", "017", "1_000", "2026-01-01", ".inf", ".nan", "<<"]),
        ("['1', \"true\", 'null']", ["1", "true", "null"]),
        ("a:\n", {"a": None}),
        ("a: |\n  1\n  2\n", {"a": "1\n2\n"}),
        ("{a: {}, b: []}", {"a": {}, "b": []}),
        ('{"a": [1, {"b": "c"}]}', {"a": [1, {"b": "c"}]}),
        ("9" * 30, "9" * 30),
        ("text", "text"),
    ],
)  # fmt: skip
def test_plain_data_is_read_by_the_rules_of_yaml_1_2(text: str, data: object) -> None:
    assert read_yaml(text).data == data


def test_every_node_has_a_mark_and_a_members_is_its_keys() -> None:
    source = read_yaml("a:\n  - b: 1\n    c: [x,\n      y]\n")

    assert source.marks == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", 0): (2, 5),
        ("a", 0, "b"): (2, 5),
        ("a", 0, "c"): (3, 5),
        ("a", 0, "c", 0): (3, 9),
        ("a", 0, "c", 1): (4, 7),
    }


def test_what_is_not_there_has_the_mark_of_what_should_hold_it() -> None:
    source = read_yaml("a:\n  - b: 1\n")

    assert source.mark(("a", 0, "missing", 3)) == (2, 5)
    assert source.mark(("nowhere",)) == (1, 1)


def test_all_flaws_are_told_at_once() -> None:
    assert flaws("a: 1\nb: &x {c: 1, c: 2}\na: *x\nd: !!python/object:os.system 1\n") == [
        ((2, 4), "anchors and aliases are not read"),
        ((2, 14), '"c" is here twice'),
        ((3, 1), '"a" is here twice'),
        ((3, 4), "anchors and aliases are not read"),
        ((4, 4), "tags are not read"),
    ]


@pytest.mark.parametrize("key", ["1", "true", "null", "~", "1.5", "? [a]", "? {a: b}", "[a, b]", "{a: b}"])
def test_a_key_is_text(key: str) -> None:
    assert "a key must be text" in flaws(f"{key}: 1\n")[0][1]


@pytest.mark.parametrize("text", ["", "# nothing", "---\na: 1\n---\nb: 2\n"])
def test_there_is_exactly_one_document(text: str) -> None:
    assert flaws(text) == [((1, 1), "must hold one document")]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a: [1", (2, 1)),
        ("a: 1\n b: 2\n", (2, 3)),
        ("a: '\n", (2, 1)),
        ("a: \x00", (1, 1)),
        ("*x", (1, 1)),
        ("\t- a", (1, 1)),
    ],
)
def test_what_is_not_yaml_is_told_with_its_place(text: str, mark: tuple[int, int]) -> None:
    assert flaws(text)[0][0] == mark


@pytest.mark.parametrize("text", ["[" * 33 + "]" * 33, "{a: " * 100_000, "- " * 100_000])
def test_nesting_has_an_end(text: str) -> None:
    assert flaws(text)[0][1] == "nested deeper than 32 levels"


def test_aliases_cannot_multiply() -> None:
    bomb = "l0: &l0 [x, x]\n" + "".join(f"l{n + 1}: &l{n + 1} [*l{n}, *l{n}]\n" for n in range(60))

    assert {message for _, message in flaws(bomb)} == {"anchors and aliases are not read"}


plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_is_written_quoted_is_read_back(data: Any) -> None:
    class Quoted(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))

    assert read_yaml(yaml.dump(data, Dumper=Quoted)).data == data


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#\n ,?", max_size=40))
def test_no_text_is_anything_but_read_or_refused(text: str) -> None:
    refused: BadYaml | None = None
    try:
        read_yaml(text)
    except BadYaml as error:
        refused = error

    assert refused is None or refused.flaws


def test_it_reads_the_same_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, {b: x}]\nc: |\n  d\n"
    fast = read_yaml(text)
    monkeypatch.setattr(yaml_source, "_LOADER", yaml.SafeLoader)

    assert read_yaml(text) == fast
