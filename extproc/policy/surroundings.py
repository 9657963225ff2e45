"""Where running text stands: in a URL, in the target of a link, in an HTML tag, or in plain text.

What lives here: a small state machine over characters, one for each channel that is restored. What must not:
placeholders, rules, rendering.

**Why.** A document that the model reads may ask it to put what the user said into the address of an image. Clients
fetch images unasked, so a value that the gate puts back there has left the house. So values come back in plain text
only, and where the readers of Markdown and HTML differ on what is plain, it is not. Whatever could be an address to
one of them counts as one:

- what follows ``//``, ``www.``, ``mailto:`` and the like, a character reference (``&#47;``), or the path of a bare
  domain, up to white space or ``<``. Quotes and brackets do not end it: to GitHub's Markdown they are part of it;
- from ``](`` to the parenthesis that ends it, and what follows ``]:``;
- a tag, read as browsers do, from each ``<`` that may begin one. Several such readings run side by side, since a ``<``
  in a code span begins none. A blank line ends what is left open, as in Markdown, unless there was one of the few tags
  whose blocks hold blank lines. A ``>`` at the start of a line may be a quotation's, and ends nothing;
- a style sheet or a script, which may name addresses in ways of its own, up to the tag that ends it.

The state after a text is a function of the text alone: characters are taken one by one, and only those are skipped that
cannot change it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_TAIL: Final = 16  # code points that are looked back at; the longest scheme fits
_SPECIALS: Final = frozenset("<]/\\.:;?#")
_SPECIAL: Final = re.compile(r"[<\]/\\.:;?#]")
_SPACES: Final = frozenset(" \t\n\v\f\r")  # only ASCII ends an address
_SLASHES: Final = frozenset("/\\")
_SCHEMES: Final = re.compile(
    r"(?<![a-z])(?:mailto|tel|smsto|sms|xmpp|sips?|data|javascript|vbscript|blob|file|magnet|skype|callto):\Z",
    re.IGNORECASE,
)
_ENTITY: Final = re.compile(r"&#?[A-Za-z0-9]{1,12};\Z")

# How a browser reads a tag: what each state becomes at a character of each kind; "" is out of it. The states: (T)ag
# name, (B)efore an attribute, its (N)ame, (A)fter the name, before the (V)alue, the value in (D)ouble quotes, in
# (S)ingle ones, (U)nquoted. (G) is Markdown's own: the target of a link in angle brackets. (R) is the raw text of a
# style sheet or a script.
_TAG: Final[Mapping[str, Mapping[str, str]]] = {
    "T": {" ": "B", "/": "B", ">": "", "": "T"},
    "B": {" ": "B", "/": "B", ">": "", "": "N"},
    "N": {" ": "A", "/": "B", "=": "V", ">": "", "": "N"},
    "A": {" ": "A", "/": "B", "=": "V", ">": "", "": "N"},
    "V": {" ": "V", '"': "D", "'": "S", ">": "", "": "U"},
    "D": {'"': "B", "": "D"},
    "S": {"'": "B", "": "S"},
    "U": {" ": "B", ">": "", "": "U"},
    "G": {"\n": "", ">": "", "": "G"},
    "R": {"": "R"},
}
_RAW: Final = re.compile(r"<(?:script|style)[\s/>]\Z", re.IGNORECASE)
_RAW_ENDS: Final = re.compile(r"</(?:script|style)\Z", re.IGNORECASE)
_HOLDS_BLANKS: Final = re.compile(r"<(?:[!?]|(?:pre|script|style|textarea)[\s>])\Z", re.IGNORECASE)
_HTML_SPACES: Final = frozenset(" \t\n\f\r")
_OPENS_TAG: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/!?")


class Surroundings:
    """What the text of one channel is in the middle of. Bounded, and linear in what is fed."""

    __slots__ = ("_address", "_awaited", "_blank", "_depth", "_domain", "_holds", "_quoting", "_tags", "_tail")

    def __init__(self) -> None:
        self._tail = "\n"
        self._blank = True  # nothing but white space on this line so far; kept up only while something is open
        self._address = False  # in an address
        self._domain = False  # behind what may be a bare domain: a path makes it an address
        self._awaited = False  # behind "](" or "]:", where the target is to come
        self._depth = 0  # parentheses open since "]("
        self._tags = ""  # the states of the tags that may be open
        self._holds = False  # there was one behind which blank lines end nothing
        self._quoting = False  # nothing on this line so far but what may mark a quotation; kept up like ``_blank``

    @property
    def plain(self) -> bool:
        """Whether what comes next stands in plain text."""
        return not (self._address or self._awaited or self._depth or self._tags)

    @property
    def bracketed(self) -> bool:
        """Whether a "<" stands just before, which makes a tag of most of what may come next."""
        return self._tail[-1] == "<"

    def feed(self, text: str) -> None:
        """Take the next text."""
        at, size = 0, len(text)
        while at < size:
            if self._tail[-1] not in _SPECIALS and self._closed():
                found = _SPECIAL.search(text, at)
                start, at = at, size if found is None else found.start()
                self._tail = (self._tail + text[max(start, at - _TAIL) : at])[-_TAIL:]
                self._blank = False
                if at == size:
                    return
            self._step(text[at])
            at += 1

    def _closed(self) -> bool:
        """Whether nothing is open that a character other than the special ones could end."""
        return not (self._address or self._domain or self._awaited or self._depth or self._tags)

    def _step(self, char: str) -> None:
        before, self._tail = self._tail[-1], (self._tail + char)[-_TAIL:]
        if self._tags and not (char == ">" and self._quoting):
            self._tags = _next_tags(self._tags, char, before)
        if (char in _SPACES or char in ">!?") and not self._holds:
            self._holds = _HOLDS_BLANKS.search(self._tail) is not None
        self._raw(char)
        if char in _SPACES:
            self._address = self._domain = False
            if char == "\n":
                if self._blank:
                    self._tags, self._depth, self._awaited = self._tags if self._holds else "", 0, False
                self._blank = self._quoting = True
            return
        self._blank = False
        self._quoting = self._quoting and char == ">"
        if self._awaited:
            self._awaited = False
            if char == "<":
                self._tags += "G" if "G" not in self._tags else ""
            else:
                self._address = True
        if char == "<":
            self._address = self._domain = False
        elif before == "<" and char in _OPENS_TAG and "T" not in self._tags:
            self._tags += "T"
        self._brackets(char, before)
        if not self._address:
            self._words(char, before)

    def _raw(self, char: str) -> None:
        """Follow style sheets and scripts, which hold blank lines."""
        if char in _SPACES or char in "/>":
            if "R" not in self._tags and _RAW.search(self._tail) is not None:
                self._tags += "R"
                self._holds = True
        elif "R" in self._tags and char in "eEtT" and _RAW_ENDS.search(self._tail) is not None:
            self._tags = self._tags.replace("R", "")

    def _brackets(self, char: str, before: str) -> None:
        """Follow the targets of links. A parenthesis that is escaped opens one more level, but closes none."""
        if char == "(":
            self._awaited = self._awaited or before == "]"
            self._depth += 1 if before == "]" or self._depth else 0
        elif char == ":":
            self._awaited = self._awaited or before == "]"
        elif char == ")" and self._depth and before != "\\":
            self._depth -= 1

    def _words(self, char: str, before: str) -> None:
        """Look for the beginning of an address in a run of characters without white space."""
        if char in _SLASHES:
            self._address = self._domain or before in _SLASHES
        elif char in "?#":
            self._address = self._domain
        elif char == ":":
            self._address = _SCHEMES.search(self._tail) is not None
        elif char == ";":  # "&#47;" is a slash to those who look for addresses once references are undone
            self._address = _ENTITY.search(self._tail) is not None
        elif char == ".":
            self._address = self._tail[-4:-1].lower() == "www"
        elif before == "." and char.isalnum() and self._tail[-3:-2].isalnum():
            self._domain = True


def _next_tags(tags: str, char: str, before: str) -> str:
    states: dict[str, None] = {}
    for tag in tags:
        row = _TAG[tag]
        if tag == "G":
            state = "G" if before == "\\" else row.get(char, "G")
        else:
            state = row.get(" " if char in _HTML_SPACES else char, row[""])
        if state:
            states[state] = None
    return "".join(states)
