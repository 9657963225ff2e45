"""Which characters of running text may begin improper output? One search for each state that a scan can be in.

What lives here: the patterns. What must not: what a place turns out to be (output_scan). The name of the group that
matched says which handler decides the place; a place at the end of the text is one, too, where more may make it one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from extproc.detectors import unseen

Search: TypeAlias = Callable[[str, int], re.Match[str] | None]

# Each pattern is a class of characters, which the engine finds fast, and what tells why one of them matters.
_MOST: Final = rf"\r\n{unseen.CONTROLS}{unseen.STARTS}"
_ANYWHERE: Final = rf"(?P<control>(?<=[{unseen.CONTROLS}]))|(?P<invisible>(?<=[{unseen.STARTS}]))"
_LINE: Final = r"(?P<line>(?<=[\r\n]))"
_LINE_THAT_MATTERS: Final = r"(?P<line>(?<=[\r\n])(?=[ \t\r\n<>`~*+0-9\[-]|\Z))"
_TEXT: Final = (
    rf"{_ANYWHERE}|(?P<tag>(?<=<)(?=[A-Za-z!?/]|\Z))|(?P<tick>(?<=`))|(?P<image>(?<=!\[))|(?P<definition>(?<=\]:))"
    r"|(?P<link>(?<=\()(?=[\x00-\x20<]{0,33}+(?:[A-Za-z&\\/]|\Z))|(?<=\]\())"
    r"|(?P<address>(?<![A-Za-z0-9].)(?:"
    r"(?<=[hH])(?:\Z|[tT](?:\Z|[tT](?:\Z|[pP](?:\Z|:|[sS](?:\Z|:)))))|(?<=[wW])(?:\Z|[wW](?:\Z|[wW](?:\Z|\.)))))"
    r"|(?P<rest>(?<=[pPsS]:)(?:\Z|/(?:\Z|/)))"
)
_TEXT_CHARACTERS: Final = rf"{_MOST}<`\[:(hHwW"
_TAG: Final = (
    r"(?P<close>(?<=>))|(?P<quote>(?<=[\"']))|(?P<equals>(?<==))"
    r"|(?P<relative>(?<=[\x00- ,\"'(;=][/\\])(?:\Z|[/\\]))"
    r"|(?P<handler>(?<![A-Za-z0-9_-].)(?<=[oO])(?:\Z|[nN](?:\Z|[A-Za-z])))"
)


def _compiled(characters: str, *kinds: str) -> Search:
    return re.compile(f"[{characters}](?:{'|'.join(kinds)})", re.DOTALL).search


IN_CODE: Final = _compiled(_MOST, _LINE, _ANYWHERE)
IN_TEXT: Final = _compiled(_TEXT_CHARACTERS, _LINE_THAT_MATTERS, _TEXT)
IN_SPAN: Final = _compiled(rf"{_TEXT_CHARACTERS}|", _LINE, _TEXT, r"(?P<cell>(?<=\|))")
IN_LINK: Final = _compiled(
    rf"{_TEXT_CHARACTERS}| \t\x0b\f)\"'\\\[\]", _LINE, _TEXT, r"(?P<cell>(?<=\|))", r"(?P<part>)"
)
IN_TAG: Final = _compiled(rf"{_TEXT_CHARACTERS}>\"'=oO/\\", _LINE, _TEXT, _TAG)
