"""A second opinion: what an external detector says of texts of which a rule's own detector (tier 1) is not sure.

What lives here: when to ask, and what an answer, or none, makes of what tier 1 found. What must not: the asking, which
takes time and may fail (the shell's), findings and denials (``engine``).

A request is judged up to twice. The first time nobody has been asked: the texts in a rule's band are noted as
questions, and count as harmless. The second time the answers are there, and each text is what its answer says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.detectors.base import Match, Scan
from extproc.messages import SKIPPED, Opinion, Question
from extproc.policy.compiler import Rule, SecondOpinion

MATCH: Final = "second_opinion"
TIER: Final = "tier2"


class Opinions:
    """The opinions on the texts of one request: to be asked for (``answers`` is None), or given.

    ``asked`` are the questions that were asked, also those that nobody answered.
    """

    def __init__(
        self, answers: Mapping[Question, Opinion] | None = None, asked: frozenset[Question] = frozenset()
    ) -> None:
        self.noted: Final[list[str]] = []
        """What became of each uncertain text: ``guard:confirmed``, ``guard:cleared``, ``guard:skipped:timeout`` ..."""
        self.not_inspected: Final[list[str]] = []
        self.unheard: Final[list[tuple[Rule, str]]] = []
        """Each rule that refuses what nobody could judge, and the scope of the text."""
        self._answers: Final = answers
        self._asked: Final = asked
        self._open: Final[dict[Question, tuple[SecondOpinion, float]]] = {}

    @property
    def questions(self) -> tuple[Question, ...]:
        """What to ask: of each detector as much as the policy allows, the most suspicious texts first."""
        chosen: list[Question] = []
        left: dict[str, int] = {}
        for question, (second, _) in sorted(self._open.items(), key=lambda entry: -entry[1][1]):
            left.setdefault(question.detector, second.questions_max)
            if left[question.detector] > 0:
                left[question.detector] -= 1
                chosen.append(question)
        return tuple(chosen)

    def weigh(self, rule: Rule, scope: str, text: str, scan: Scan) -> Scan:
        """What a rule's own scan of a text comes to. Outside of the band it is what it is."""
        second = rule.second
        if second is None or not second.wanted(scan.score):
            return scan
        question = Question(second.detector, scope, text)
        if self._answers is None:
            self._open[question] = (second, scan.score)
            self.noted.append(f"{second.detector}:not_asked")
            return Scan(score=scan.score)
        opinion = _checked(self._answers.get(question), asked=question in self._asked)
        if opinion.score is None:
            return self._unheard(rule, second, scope, scan, opinion.skipped)
        found = opinion.score >= second.threshold
        self.noted.append(f"{second.detector}:{'confirmed' if found else 'cleared'}")
        return Scan((Match(0, len(text), MATCH, opinion.score),) if found else (), scan.score)

    def _unheard(self, rule: Rule, second: SecondOpinion, scope: str, scan: Scan, why: str) -> Scan:
        self.noted.append(f"{second.detector}:skipped:{why}")
        self.not_inspected.append(f"{TIER}:{second.detector}")
        if second.on_timeout == "tier1":
            return scan
        if second.on_timeout == "deny":
            self.unheard.append((rule, scope))
        return Scan(score=scan.score)


class _NobodyAsked(Opinions):
    """For texts that are judged alone: tier 1's word counts."""

    def weigh(self, rule: Rule, scope: str, text: str, scan: Scan) -> Scan:  # noqa: ARG002
        return scan


NOBODY_ASKED: Final[Opinions] = _NobodyAsked()


def _checked(opinion: Opinion | None, *, asked: bool) -> Opinion:
    """An opinion that is one: with a score from 0 to 1, or with a known reason for having none."""
    if opinion is None:
        return Opinion(skipped="unanswered" if asked else "too_many")
    if opinion.score is None:
        return opinion if opinion.skipped in SKIPPED else Opinion(skipped="error")
    return opinion if 0 <= opinion.score <= 1 else Opinion(skipped="garbage")  # NaN is not between them
