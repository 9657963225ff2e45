"""Rules over whole texts: findings, the injection score, and what to cut out.

What lives here: the texts of a request, the arguments of a tool call, offsets into them. What must not: the other
controls, decisions, running text (``channel``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any, Final

from extproc.chat import Edit, Json, JsonPath, Text
from extproc.detectors.base import Match
from extproc.policy.arguments import is_json, unescape
from extproc.policy.compiler import CompiledPolicy, Rule
from extproc.policy.decision import Action, Finding

ARGUMENTS: Final = "response.tool_arguments"


@dataclass(frozen=True, slots=True)
class Cut:
    """Code points ``[start, end)`` that may not leave, and what takes their place."""

    start: int
    end: int
    marker: str


@dataclass(slots=True)
class Reading:
    """What the rules say of some text. ``score`` is None until a rule that scores has read something."""

    findings: list[Finding] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    score: float | None = None

    def saw(self, score: float) -> None:
        """Keep the strongest score."""
        self.score = score if self.score is None else max(self.score, score)


def read(rules: Iterable[Rule], scope: str, text: str, path: JsonPath = ()) -> Reading:
    """Run rules over one text."""
    reading = Reading()
    for rule in rules:
        scan = rule.detector.scan(text)
        if rule.scores:
            reading.saw(scan.score)
        for match in scan.matches:
            reading.findings.append(finding(rule, scope, match, path))
            marker = marker_for(rule, match)
            if marker is not None:
                reading.cuts.append(Cut(match.start, match.end, marker))
    return reading


def finding(rule: Rule, scope: str, match: Match, path: JsonPath = ()) -> Finding:
    """The finding that a match is under a rule."""
    return Finding(
        rule=rule.id,
        match=match.rule,
        scope=scope,
        action=rule.action,
        owasp=rule.owasp,
        path=path,
        start=match.start,
        end=match.end,
        score=match.score,
        monitored=rule.monitored,
    )


def marker_for(rule: Rule, match: Match) -> str | None:
    """What takes a match's place, or None where the rule leaves the text alone."""
    if rule.stream is None or rule.monitored or not Action.NEUTRALISE <= rule.action <= Action.REDACT:
        return None
    if rule.action is Action.NEUTRALISE and match.safe is not None:
        return match.safe
    return rule.stream.marker(match.rule)


def rewrite(text: str, cuts: Sequence[Cut]) -> str:
    """Take the cuts out of a text. Cuts that overlap become one, under the marker of the first."""
    out: list[str] = []
    at = 0
    for cut in sorted(cuts, key=lambda cut: cut.start):
        if cut.start >= at:
            out += (text[at : cut.start], cut.marker)
        at = max(at, cut.end)
    out.append(text[at:])
    return "".join(out)


# ---- requests ----


def read_texts(
    policy: CompiledPolicy, document: Mapping[str, Json], texts: Sequence[Text]
) -> tuple[Reading, tuple[Edit, ...]]:
    """Run the rules of each text's scope over it; return what they say and the edits that redact ``document``."""
    total = Reading()
    edits: dict[JsonPath, Edit] = {}
    for text in texts:
        reading = read(policy.by_scope[text.scope], text.scope, text.text, text.path)
        if reading.cuts and not _stands_at(document, text):
            # The text is not a string of the document, so it cannot be edited there: refuse instead.
            reading.findings = [stricter(found) for found in reading.findings]
        elif reading.cuts:
            edits[text.path] = Edit(text.path, rewrite(text.text, reading.cuts))
        total.findings += reading.findings
        if reading.score is not None:
            total.saw(reading.score)
    _read_joined(policy, texts, total)
    _read_seams(policy, texts, total)
    return total, tuple(edits.values())


def _read_joined(policy: CompiledPolicy, texts: Sequence[Text], total: Reading) -> None:
    """Read neighbouring user texts once more as one: a payload may be split so that no piece says anything."""
    rules = tuple(rule for rule in policy.by_scope["user"] if rule.scores)
    if not rules:
        return
    known = {(found.rule, found.path) for found in total.findings}
    for run in _user_runs(texts):
        joined = "\n".join(text.text for text in run)
        for rule in rules:
            scan = rule.detector.scan(joined)
            total.saw(scan.score)
            if not any((rule.id, text.path) in known for text in run):
                total.findings += [_place_in(run, rule, match) for match in scan.matches]


def _user_runs(texts: Sequence[Text]) -> Iterator[list[Text]]:
    for scope, group in groupby(texts, key=lambda text: text.scope):
        run = list(group)
        if scope == "user" and len(run) > 1:
            yield run


def _read_seams(policy: CompiledPolicy, texts: Sequence[Text], total: Reading) -> None:
    """Read the parts of one message as one, for what only comes about where they meet: templates may join them."""
    for (message, scope), group in groupby(texts, key=lambda text: (text.message, text.scope)):
        run = list(group)
        if message < 0 or len(run) < 2:
            continue
        joined = "".join(text.text for text in run)
        seams = list(accumulate(len(text.text) for text in run[:-1]))
        for rule in policy.by_scope[scope]:
            for match in rule.detector.scan(joined).matches:
                if any(match.start < seam < match.end for seam in seams):
                    total.findings.append(stricter(_place_in(run, rule, match, gap=0)))


def _place_in(run: Sequence[Text], rule: Rule, match: Match, gap: int = 1) -> Finding:
    """A finding in joined texts belongs to the text that it begins in, as far as that goes."""
    start, texts = match.start, iter(run)
    text = next(texts)
    while start > len(text.text) or (start == len(text.text) and not gap):
        start -= len(text.text) + gap
        text = next(texts)
    length = len(text.text)
    end = min(start + match.end - match.start, length)
    return finding(rule, text.scope, replace(match, start=start, end=end), text.path)


def _stands_at(document: Mapping[str, Json], text: Text) -> bool:
    node: Any = document
    for step in text.path:
        member = isinstance(node, Mapping) and step in node
        item = isinstance(node, list) and isinstance(step, int) and 0 <= step < len(node)
        if not member and not item:
            return False
        node = node[step]
    return bool(node == text.text)


# ---- tool calls ----


def read_arguments(policy: CompiledPolicy, arguments: str) -> Reading:
    """Run the rules for tool arguments over the text as it is, and over what it says once its escapes are undone.

    Offsets are those of the text. Where a redaction would leave broken JSON its finding denies.
    """
    rules = policy.by_scope[ARGUMENTS]
    reading = Reading()
    if not rules:
        return reading
    plain, offsets = unescape(arguments)
    found: dict[tuple[str, int, int], tuple[Rule, Match]] = {}
    for rule in rules:
        matches = list(rule.detector.scan(arguments).matches)
        if plain != arguments:
            there = rule.detector.scan(plain).matches
            matches += [replace(match, start=offsets[match.start], end=offsets[match.end]) for match in there]
        found |= {(rule.id, match.start, match.end): (rule, match) for match in matches}
    for rule, match in found.values():
        reading.findings.append(finding(rule, ARGUMENTS, match))
        marker = marker_for(rule, match)
        if marker is not None:
            reading.cuts.append(Cut(match.start, match.end, marker))
    if reading.cuts and is_json(arguments) and not is_json(rewrite(arguments, reading.cuts)):
        reading.findings = [stricter(item) for item in reading.findings]
    return reading


def stricter(found: Finding) -> Finding:
    """The finding where what it asks for cannot be done in place: a redaction becomes a denial."""
    edits = Action.NEUTRALISE <= found.action <= Action.REDACT
    return replace(found, action=Action.DENY) if edits and not found.monitored else found
