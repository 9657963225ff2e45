"""What counts as plain text, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.surroundings import Surroundings


def plain(text: str) -> bool:
    around = Surroundings()
    around.feed(text)
    return around.plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello ",
        "mail: ",
        "mail:",
        "a < b ",
        "1 <2 ",
        "e.g. and/or ",
        "and/or",
        "e.g.",
        "3.14",
        "key=",
        '{"a": "',
        "https://a.example/x ",
        "https://a.example\n",
        "https://a.example<br>",
        "[a](https://a.example) ",
        "[a](/x (y) z) ",
        "[a](x) (",
        "a[0] (",
        "[a]: https://a.example ",
        "[a]: x\n",
        "<b>",
        '<a href="x>y">',
        "<a href='x'>",
        "<a b=c d = 'e' f/>",
        "<a b>",
        "<a =b>",
        "<a b =>",
        "<https://a.example> ",
        "<!-- x -->",
        "</p>",
        "<style>a {}</style>",
        "<script >a</SCRIPT >\nb ",
        "<styles>",
        "`a <b`\n\n",
        "<prefix \n\n",
        "](a\n \t\n",
        "hotel:",
        "a; b;",
        "(",
        ")",
    ],
)
def test_plain_text(text: str) -> None:
    assert plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "see https://a.example/?q=",
        "https://a.example/(",
        "https://a.example/)",
        'https://a.example/"',
        "https://a.example/>",
        "https://a.example/\u00a0",
        "https:\\/a.example",
        "//a.example/",
        "WWW.",
        "www.a",
        "mailto:",
        "(MailTo:x",
        "tel:",
        "https:&#47;&#47;a.example&#47;",
        "a&sol;",
        "javascript:",
        "a.example/",
        "a.example?",
        "a.example#x",
        "a.example:80/x",
        "[a](",
        "[a](x",
        "[a]( ",
        "[a](\n",
        "[a](x (y) ",
        "[a](x \\) ",
        "![](<b ",
        "![](<//b\\>/c) ",
        "[a]:",
        "[a]: ",
        "[a]:\n",
        "[a]: <x ",
        "[a]: <x y",
        "<b",
        "<b ",
        "</",
        "<!",
        "<?x ",
        "<img src=",
        "<img src= ",
        "<img alt='>' ",
        '<img alt=">" src="//a/ ',
        '<img a" b="> ',
        '<img ="a b="> ',
        "<img a/b='> ",
        "<img a = '>",
        "<https://a.example ",
        "<a\n",
        "<pre\n\n",
        "<pre><b\n\n",
        "<!--x--!><b\n\n",
        "<?><b\n\n",
        "> <b\n>\n > > ",
        '<SCRIPT\tsrc="\n\n',
        '<style>a {background: url("//b/ ',
        "<style>\n\na {} ",
        "<Style/a>b ",
        "<script a='b'>c ",
        "<script></style ",
        '`<b x="` <img alt=">" title="',
    ],
)
def test_what_may_be_an_address_or_a_tag(text: str) -> None:
    assert not plain(text)


pieces = st.one_of(
    st.sampled_from(
        [
            "<",
            ">",
            "](",
            "]:",
            ")",
            "(",
            " ",
            "\n",
            "\n\n",
            "//",
            "www.",
            "mailto:",
            "a.b/",
            "<img ",
            '="',
            "'",
            "\\",
            "=",
        ]
    ),
    st.text("ab.:/#?<>()[]=\"'\\ \n", max_size=6),
    st.text(max_size=4),
)
texts = st.lists(pieces, max_size=14).map("".join)


@given(texts, st.integers(0, 80))
def test_how_the_text_is_cut_changes_nothing(text: str, place: int) -> None:
    at = place % (len(text) + 1)
    whole, cut, single = Surroundings(), Surroundings(), Surroundings()
    whole.feed(text[:at])
    for char in text[:at]:
        single.feed(char)
    for piece in (text[: at // 2], text[at // 2 : at]):
        cut.feed(piece)

    assert whole.plain == cut.plain == single.plain
    assert whole.bracketed == single.bracketed == text[:at].endswith("<")


@given(texts)
def test_a_blank_line_ends_whatever_is_open(text: str) -> None:
    assert plain(text + "x\n\n") or "<!" in text or "<?" in text
