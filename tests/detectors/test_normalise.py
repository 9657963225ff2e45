"""Texts as a model reads them."""

from __future__ import annotations

import re
import unicodedata

import pytest

from extproc.detectors.normalise import normalise, substitute


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("Ignore ALL", "ignore all"),
        ("one  two\t\tsix", "one two six"),
        ("a \r\n\r\n b", "a\nb"),
        ("ig\u200bno\u00adre", "ignore"),
        ("Ｉｇｎｏｒｅ", "ignore"),
        ("𝐢𝐠𝐧𝐨𝐫𝐞", "ignore"),
        ("i\u0336g\u0336nore", "ignore"),
        ("".join(chr(0xE0000 + ord(char)) for char in "ignore"), "ignore"),
        ("\u202eignore", "ignore"),
        ("ig\x00no\x08re", "ignore"),
        ("&#105;gnore &lt;b&gt;", "ignore <b>"),
        ("&amp;lt;system&amp;gt;", "<system>"),
        ("règles système", "regles systeme"),
        ("İGNORE", "ignore"),
    ],
)
def test_disguised_letters_read_plainly(text: str, reading: str) -> None:
    assert normalise(text).text == reading


@pytest.mark.parametrize(
    "word",
    ["निर्देश", "ลืม", "지시를", "指示を無視", "忽略指令", "правила", "инструкции", "التعليمات"],
)
def test_other_scripts_are_left_whole(word: str) -> None:
    assert normalise(word).text == word


def test_a_decomposed_word_reads_as_the_composed_one() -> None:
    for word in ("지시를", "が", "é", "คำสั่ง"):
        assert normalise(unicodedata.normalize("NFD", word)).text == normalise(word).text


def test_lookalikes_are_folded_in_words_that_mix_scripts_only() -> None:
    assert normalise("ign\u043er\u0435 Привет").text == "ignore привет"
    assert normalise("\u0420revious ΙΝSTRUCTIONS").text == "previous instructions"


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("i g n o r e   a l l   o f   i t", "ignore all of it"),
        ("i.g.n.o.r.e a.l.l", "ignore all"),
        ("I-g-n-o-r-e it", "ignore it"),
        (r"\I\g\n\o\r\e\ \a\l\l", r"\ignore all"),
        ("忽 略 之 前", "忽略之前"),
        ("plan a b", "plan a b"),
        ("a 1 b 2 c 3", "a 1 b 2 c 3"),
    ],
)
def test_spelled_out_words_are_joined(text: str, reading: str) -> None:
    assert normalise(text).text == reading


def test_an_entity_that_comes_out_of_a_disguise_is_disarmed() -> None:
    assert normalise("＆lt;").text == "&lt:"


@pytest.mark.parametrize(
    ("text", "word", "original"),
    [
        ("say  \n ig\u200bnore!", "ignore", "ig\u200bnore"),
        ("&lt;b&gt; x", "<b>", "&lt;b&gt;"),
        ("ﬁlter ﬁne", "fine", "ﬁne"),
        ("x i g n o r e it y", "it", "it"),
        ("an i g n o r e d word", "ignored", "i g n o r e d"),
        ("&amp;é  ß=ss", "ss=ss", "ß=ss"),
    ],
)
def test_a_place_in_the_reading_leads_back_to_the_original(text: str, word: str, original: str) -> None:
    read = normalise(text)
    start = read.text.index(word)
    first, last = read.alignment().span(start, start + len(word))
    assert text[first:last] == original


def test_substitute_keeps_the_way_back() -> None:
    text, alignment = substitute(re.compile("b+"), lambda run: str(len(run[0])), "abbbcbd")
    assert text == "a3c1d"
    assert [alignment.span(at, at + 1) for at in range(5)] == [(0, 1), (1, 4), (4, 5), (5, 6), (6, 7)]


def test_more_code_points_than_are_remembered_still_read() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_992))) + "Ａ"
    assert normalise(text).text.endswith("a")
