"""What was inspected of an exchange and what was not, in the words of the record and of the response header.

What lives here: phrasing. What must not: judging, and anything that a client or a model wrote: all names are ours.

The header speaks while the answer has not come yet: for the request it says what happened, for the answer what is
planned. ``request=full, answer=partial;skipped="response.refusal"`` (a dictionary of RFC 9651). Texts that rules have
read, but on which a second opinion is missing, have a note: ``;note="tier2: skipped"``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from extproc.chat import RESPONSE_SCOPES
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import DecisionRecord
from extproc.policy.second_opinion import TIER

HEADER: Final = "x-sluicegate-coverage"
_RELAYED: Final = frozenset({"endpoint", "foreign_answer"})


def counted(entries: Iterable[str]) -> list[str]:
    """Each different entry with how often it is there, in order of first appearance: ``image:2``."""
    return [f"{entry}:{count}" for entry, count in Counter(entries).items()]


def header(policy: CompiledPolicy, record: DecisionRecord, *, judged: bool, answers: bool) -> tuple[str, str]:
    """The response header.

    ``judged``: there is a verdict on the request. ``answers``: an upstream's answer follows; otherwise we answer in its
    place.
    """
    if _RELAYED.intersection(record.not_inspected):
        return HEADER, "request=none, answer=none" if answers else "request=none"
    said = _member("request", counted(record.not_inspected)) if judged else "request=none"
    if answers:
        unread = [scope for scope in RESPONSE_SCOPES if not policy.by_scope[scope]]
        none = len(unread) == len(RESPONSE_SCOPES)
        said += ", answer=none" if none else ", " + _member("answer", unread)
    return HEADER, said


def _member(name: str, skipped: list[str]) -> str:
    if not skipped:
        return f"{name}=full"
    note = f';note="{TIER}: skipped"' if any(entry.startswith(f"{TIER}:") for entry in skipped) else ""
    return f'{name}=partial;skipped="{" ".join(skipped)}"{note}'
