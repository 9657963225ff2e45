"""Spotlighting: the texts of a request that rules want marked as data, their edits, and what the model is told.

What lives here: which texts are marked and what becomes of their findings. What must not: what marks look like
(``marks``), where an API has room for a note (its dialect), rules.

Marked is the text that is left once the other rules have edited it. What is no more than a name (an id, a type, a key)
is left alone: upstreams look things up by it. Nothing is left out in silence: a text that cannot be marked is named in
``not_inspected``, and refused where the policy says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from extproc.chat import ChatRequest, Edit, Text
from extproc.detectors.any_text import ANY
from extproc.policy.decision import Action, Finding
from extproc.policy.marks import Marks, Spotlighting, marks_for
from extproc.policy.reading import stands_at

Tell: TypeAlias = Callable[[str], tuple[Edit, ...]]
"""Gives the edits that tell the model something as its system would; none where the request has no place for it."""

# Members that programs read; and how long a word may be in any other and still say no more than a name.
_NAMED: Final = frozenset({"id", "type", "name", "model", "role", "status", "source", "url", "uri", "signature"})
_NAMED_ENDS: Final = ("_id", "Id", "_type", "Type", "_name", "Name", "_url", "Url", "Uri")
_WORD: Final = re.compile(r"[\x21-\x7e]*")
_WORD_CHARS: Final = 32
# What a schema says in words; all else in it is read by programs.
_SAID_OF_TOOLS: Final = frozenset({"description", "title"})


@dataclass(frozen=True, slots=True)
class Spotlit:
    """What came of it. ``findings`` are all that there were, ``missed`` has an entry for each text left unmarked."""

    findings: tuple[Finding, ...]
    edits: tuple[Edit, ...]
    marks: Marks | None = None
    missed: tuple[str, ...] = ()


def spotlight(
    how: Spotlighting,
    request: ChatRequest,
    texts: Sequence[Text],
    findings: Sequence[Finding],
    edits: Sequence[Edit],
    decision_id: str,
    tell: Tell,
) -> Spotlit:
    """Mark the texts that findings ask it for, on top of ``edits``; each path has one edit in the end."""
    wanted = _wanted(texts, findings)
    if not wanted:
        return Spotlit(tuple(findings), tuple(edits))
    left = {edit.path: edit for edit in edits}
    marks = marks_for(how.method, decision_id, (text.text for text in request.texts))
    note = tell(how.tells(marks))
    done: dict[int, Edit] = {}
    named, missed = set(), []
    for at, text in wanted.items():
        stands = stands_at(request.document, text)
        if _is_name(text, stands=stands):
            named.add(at)
            continue
        plain = left[text.path].value if text.path in left else text.text
        if note and stands and isinstance(plain, str) and _has_room(text):
            marked = marks.put_on(plain)
            if marked != plain:
                done[at] = Edit(text.path, marked)
                continue
        missed.append(f"{text.scope}:spotlight")
    fates = {(text.path, text.scope): at for at, text in wanted.items() if at not in named}
    told = [_fate(found, fates.get((found.path, found.scope)), done, how) for found in findings]
    left |= {edit.path: edit for edit in done.values()}
    kept = tuple(found for found in told if found is not None)
    return Spotlit(kept, (*left.values(), *(note if done else ())), marks if done else None, tuple(missed))


def _asks(found: Finding) -> bool:
    return found.action is Action.SPOTLIGHT and not found.monitored


def _wanted(texts: Sequence[Text], findings: Iterable[Finding]) -> dict[int, Text]:
    """The texts to mark, by their place in the list.

    What is found where the parts of a message meet belongs to more than one of them, so all its parts are marked. The
    parts of what a user says are not: one of them may be the question.
    """
    places = {(found.path, found.scope) for found in findings if _asks(found)}
    if not places:
        return {}
    found = {at: text for at, text in enumerate(texts) if (text.path, text.scope) in places}
    messages = {(text.message, text.scope) for text in found.values() if text.message >= 0 and text.scope != "user"}
    return {at: text for at, text in enumerate(texts) if at in found or (text.message, text.scope) in messages}


def _is_name(text: Text, *, stands: bool) -> bool:
    """Whether a text is one that programs read, and no more than a word."""
    key = next((step for step in reversed(text.path) if isinstance(step, str)), "")
    named = stands and (key in _NAMED or key.endswith(_NAMED_ENDS))
    words = [text.text] if stands else text.text.split("\n")  # the keys of an object are one text
    return all(_WORD.fullmatch(word) and (named or len(word) <= _WORD_CHARS) for word in words)


def _has_room(text: Text) -> bool:
    return text.scope != "tool_definition" or text.path[-1] in _SAID_OF_TOOLS


def _fate(found: Finding, at: int | None, done: dict[int, Edit], how: Spotlighting) -> Finding | None:
    """What becomes of a finding. That there is a name is worth no note where a rule only asks for any text."""
    if not _asks(found) or at in done:
        return found
    if at is None:
        return None if found.match == ANY else replace(found, action=Action.FLAG)
    return replace(found, action=Action.DENY if how.denies else Action.FLAG)
