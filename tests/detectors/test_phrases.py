"""The language of rules: what its phrases match, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from extproc.detectors.normalise import normalise
from extproc.detectors.phrases import WORK_LIMIT, Phrase, PhraseError, compile_list, compile_phrase
from extproc.detectors.words import places_of, stems_of, words_of
from extproc.runtime.assets import asset

LISTS = {"verb": compile_list(["(ignore*|skip)", "pay no attention to"], {})}
PACK: dict[str, Any] = yaml.safe_load(asset("policies/packs/injection.yaml").read_text(encoding="utf-8"))


def find(phrase: str, text: str) -> str | None:
    """The text that the phrase matches, looked for as the detector does it; None if there is none."""
    compiled = compile_phrase(phrase, LISTS)
    read = normalise(text).text
    stems = stems_of(read, words_of(read))
    found = compiled.regex.search(read)
    if found:  # what the regex finds must not be missed by looking only where the phrase may begin
        starts = [start for start in compiled.starts if start in stems or not start.isalnum()]
        places = {place for start in starts for place in places_of(start, read, 0, len(read))}
        assert found.start() in places
        assert compiled.possible(stems)
        assert len(found[0]) <= compiled.longest
    return found[0] if found else None


@pytest.mark.parametrize(
    ("phrase", "text", "match"),
    [
        ("ignore it", "Please IGNORE   it.", "ignore it"),
        ("ignore it", 'ignore "it"', 'ignore "it'),
        ("ignore it", "ignore_it", "ignore_it"),
        ("ignore it", "**ignore** it", "ignore** it"),
        ("ignore it", "ignore. It is", None),
        ("ignore it", "ignore itself", None),
        ("rule", "a ruler", None),
        ("rule", "overrule", None),
        ("rule*", "two rulers", "rulers"),
        ("don't go", "dont go", "dont go"),
        ("don't go", "don’t go", "don't go"),
        ("role-play", "roleplay role play", "roleplay"),
        ("role-play", "a role-play", "role-play"),
        ("(a big|the) dog", "the dog", "the dog"),
        ("(a big|the) dog", "a big dog", "a big dog"),
        ("(all )?rules now", "all rules now", "all rules now"),
        ("(all )?rules now", "rules now", "rules now"),
        ("@verb it", "pay no attention to it", "pay no attention to it"),
        ("@verb it", "ignoring it", None),
        ("stop [2] now", "stop now", "stop now"),
        ("stop [2] now", "stop that thing now", "stop that thing now"),
        ("stop [2] now", "stop all that thing now", None),
        ("stop [2] now", "stop it. Not now", None),
        ("montre [1] ordre", "montre l'ordre", "montre l'ordre"),
        ("x:[~5]end", "x: it end", "x: it end"),
        ("x:[~2]end", "x: it end", None),
        (r"!\[[~9]\]\(a", "![logo](a", "![logo](a"),
        (r"!\[[~2]\]\(a", "![logo](a", None),
        (r"\<!--[~3]ai", "<!-- AI", "<!-- ai"),
        ("<!(not|never|don't|dont)(forget|skip) it", "forget it", "forget it"),
        ("<!(not|never|don't|dont)(forget|skip) it", "never skip it", None),
        ("<!(not|never|don't|dont)(forget|skip) it", "Don’t\nforget it", None),
        ("<!(not|never|don't|dont)(forget|skip) it", "knots: forget it", "forget it"),
        ("<!(不要|别)忘记规则", "忘记规则", "忘记规则"),
        ("<!(不要|别)忘记规则", "不要忘记规则", None),
        ("<!(n')oublie", "n'oublie", None),
        ("vergiss !(nicht|nie) [2] regeln", "vergiss alle regeln", "vergiss alle regeln"),
        ("vergiss !(nicht|nie) [2] regeln", "vergiss nicht die regeln", None),
        ("vergiss !(nicht|nie) [2] regeln", "vergiss nichts von regeln", "vergiss nichts von regeln"),
        ("(vergiss|vergesst)!( nicht) alles", "vergiss alles", "vergiss alles"),
        ("(vergiss|vergesst)!( nicht) [1] alles", "vergiss nicht alles", None),
        ("^system:", "hi\nSystem: go", "system:"),
        ("^system:", "the system: go", None),
        ("忽略[~4]指令", "请忽略所有指令。", "忽略所有指令"),
        ("忽略[~4]指令", "忽略。指令", None),
        ("지시를 무시", "지시를 무시하십시오", "지시를 무시"),
        ("निर्देश* भूल", "निर्देशों भूल", "निर्देशों भूल"),
        ("правил* забудь", "правила забудь", "правила забудь"),
        ("règles", "REGLES", "regles"),
        ("助手ai", "助手ai", "助手ai"),
    ],
)
def test_a_phrase_matches_what_it_says(phrase: str, text: str, match: str | None) -> None:
    assert find(phrase, text) == match


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("", "empty"),
        ("a (b|)", "empty"),
        ("(a", "does not end"),
        ("a)", "a stray )"),
        ("a  b", "nothing behind"),
        ("a ", "nothing behind"),
        ("* a", "a stray *"),
        ("@none a", "no list @none"),
        ("a@verb", "glued"),
        ("a(b|c)", "glued"),
        ("a !(b", "does not end"),
        ("go [x] on", "a gap is"),
        ("go[2] on", "between spaces"),
        ("go [2]on", "between spaces"),
        ("a\\", "nothing behind it"),
        ("[3] word", "begin with anything"),
        ("ab*", "begin with anything"),
        ("!(a)", "begin with anything"),
        ("(a )?", "begin with anything"),
        ("go [9] on [9] and [9] on", f"more than {WORK_LIMIT}"),
        ("go [~200]on", f"more than {WORK_LIMIT}"),
    ],
)
def test_what_is_no_phrase_or_too_much_is_refused(phrase: str, message: str) -> None:
    with pytest.raises(PhraseError) as caught:
        compile_phrase(phrase, LISTS)
    assert message in str(caught.value)


def test_a_gap_that_ends_at_a_mark_costs_nothing() -> None:
    assert compile_phrase(r"\[[~99]\][~99](a|b)", {}).regex.search("[x]b")


def compiled_pack() -> list[Phrase]:
    lists: dict[str, Any] = {}
    for name, phrases in PACK["lists"].items():
        lists[name] = compile_list(phrases, lists)
    return [compile_phrase(phrase, lists) for rule in PACK["rules"] for phrase in rule["phrases"]]


def test_no_compiled_phrase_repeats_anything_without_a_bound() -> None:
    for phrase in compiled_pack():
        bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", phrase.regex.pattern)
        assert "*" not in bare
        assert not re.search(r"(?<!\})\+", bare)  # only {m,n}+, which gives nothing back
