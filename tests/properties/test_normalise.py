"""What holds for the reading of any text."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from extproc.detectors.normalise import normalise

# Text that exercises every step: entities, marks, jamo, lookalikes, lone letters, spaces, invisible characters.
LETTERS = "&lтAéßİﬁ\u200b한가が\u3099क\u093c \n\t.-,忽Ａ\U000e0061Σς"
PIECES = st.one_of(
    st.sampled_from(LETTERS), st.sampled_from(["amp;", "lt;", "#59;", "#x26;", "e\u0301", "  ", "a ", "b."])
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join), st.text(alphabet="abi .,-\n&;ltт\u200bé"))


@given(TEXTS)
@example("a b  c d")
@example("x y   z   w   v u")
@example("&&lt;lt;")
@example("＆ｌｔ；")
@example("가 ᆨ A")
@example("ᄒ ᅡ  ᄒ ᅡ  ᄒ ᅡ")
def test_a_reading_reads_as_itself(text: str) -> None:
    reading = normalise(text).text
    assert normalise(reading).text == reading


@given(TEXTS)
def test_every_place_leads_back_into_the_original_in_order(text: str) -> None:
    read = normalise(text)
    alignment = read.alignment()
    before = (0, 0)
    for at in range(len(read.text)):
        span = alignment.span(at, at + 1)
        assert 0 <= span[0] < span[1] <= len(text)
        assert before[0] <= span[0]
        assert before[1] <= span[1]
        before = span


@given(TEXTS, st.data())
def test_a_span_covers_the_places_in_it(text: str, data: st.DataObject) -> None:
    read = normalise(text)
    if not read.text:
        return
    start = data.draw(st.integers(0, len(read.text) - 1))
    end = data.draw(st.integers(start + 1, len(read.text)))
    alignment = read.alignment()
    assert alignment.span(start, end) == (alignment.span(start, start + 1)[0], alignment.span(end - 1, end)[1])


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_ascii_stays_ascii(text: str) -> None:
    assert normalise(text).text.isascii() or "&" in text
