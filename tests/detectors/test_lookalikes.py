"""What a single code point is read as."""

from __future__ import annotations

import re
import sys

import pytest

from extproc.detectors.lookalikes import CONTROL, LOOKALIKE_SCRIPTS, LOOKALIKES, read


@pytest.mark.parametrize(
    ("char", "reading"),
    [
        ("Ｉ", "I"),  # fullwidth
        ("𝐩", "p"),  # mathematical bold
        ("ⓖ", "g"),
        ("🅖", "g"),
        ("🇬", "g"),
        ("\U000e0067", "g"),  # a tag
        ("ɢ", "g"),
        ("é", "e"),
        ("Ł", "l"),
        ("ß", "ss"),
        ("\N{LATIN SMALL LIGATURE FI}", "fi"),
        ("…", "..."),
        ("“", '"'),
        ("’", "'"),
        ("\N{NO-BREAK SPACE}", " "),
        ("\N{LINE SEPARATOR}", "\n"),
        ("\t", " "),
        ("\N{ZERO WIDTH SPACE}", ""),
        ("\N{RIGHT-TO-LEFT OVERRIDE}", ""),
        ("\N{VARIATION SELECTOR-17}", ""),
        ("\N{COMBINING ACUTE ACCENT}", ""),
        ("\x08", CONTROL),
    ],
)
def test_what_looks_like_a_letter_reads_as_it(char: str, reading: str) -> None:
    assert read(char) == reading


@pytest.mark.parametrize(
    "char",
    [
        "ि",  # a Hindi vowel
        "่",  # a Thai tone
        "が",  # voiced kana
        "한",
        "忽",
        "ا",
        "я",
    ],
)
def test_what_carries_a_word_of_another_script_stays(char: str) -> None:
    assert read(char) == char


def test_every_reading_reads_as_itself_in_lower_case() -> None:
    unstable = []
    for point in range(sys.maxunicode + 1):
        folded = read(chr(point)).casefold()
        if folded != chr(point) and "".join(map(read, folded)).casefold() != folded:
            unstable.append(hex(point))
    assert not unstable


def test_lower_case_never_changes_the_length_of_a_reading() -> None:
    longer = [hex(point) for point in range(0x30000) if any(len(char.casefold()) != 1 for char in read(chr(point)))]
    assert not longer


def test_a_lookalike_stands_for_one_ascii_letter() -> None:
    assert all(len(latin) == 1 and latin.isascii() and latin.isalpha() for latin in LOOKALIKES.values())
    assert not any(chr(point).isascii() for point in LOOKALIKES)


def test_capitals_imitate_what_they_look_like() -> None:
    assert "ΝΗΥ".translate(LOOKALIKES) == "NHY"
    assert "νη".translate(LOOKALIKES) == "vn"


def test_lower_case_brings_no_lookalike_to_light() -> None:
    imitates = re.compile(f"[{LOOKALIKE_SCRIPTS}]")
    for point in range(0x30000):
        char, low = chr(point), chr(point).casefold()
        if read(char) == char != low and len(low) == 1:
            assert bool(imitates.match(char)) == bool(imitates.match(low))
            assert (ord(low) in LOOKALIKES) <= (point in LOOKALIKES)
