"""Rules over whole texts: findings, the injection score, and what to cut out.

What lives here: the texts of a request, the arguments of a tool call, offsets into them. What must not: the other
controls, decisions, running text (``channel``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any, Final

from extproc.chat import Edit, Json, JsonPath, Text
from extproc.detectors.base import NO_EXCHANGE, Exchange, Match
from extproc.policy.arguments import is_json, unescape
from extproc.policy.compiler import CompiledPolicy, Rule
from extproc.policy.decision import Action, Finding
from extproc.policy.masking import INERT, Masks, lookalikes
from extproc.policy.second_opinion import NOBODY_ASKED, Opinions

ARGUMENTS: Final = "response.tool_arguments"
GONE: Final = "[REDACTED]"
# What may be looked through for strings of JSON text that its edit may have edited as well: a second or so.
_SEARCHED_CHARS_MAX: Final = 1 << 29


@dataclass(frozen=True, slots=True)
class Cut:
    """Code points ``[start, end)`` that may not leave, and what takes their place.

    That is ``marker``, or with ``Action.MASK`` a placeholder that names what was found by this word.
    """

    start: int
    end: int
    marker: str
    action: Action = Action.REDACT


@dataclass(slots=True)
class Reading:
    """What the rules say of some text. ``score`` is None until a rule that scores has read something."""

    findings: list[Finding] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    score: float | None = None

    def saw(self, score: float) -> None:
        """Keep the strongest score."""
        self.score = score if self.score is None else max(self.score, score)


def read(
    rules: Iterable[Rule], scope: str, text: str, path: JsonPath = (), opinions: Opinions = NOBODY_ASKED
) -> Reading:
    """Run rules over one text."""
    reading = Reading()
    for rule in rules:
        scan = rule.detector.scan(text)
        if rule.scores:
            reading.saw(scan.score)
        for match in opinions.weigh(rule, scope, text, scan).matches:
            found, cuts = finding(rule, scope, match, path), _cuts(rule, match)
            # What has no harmless form, and no marker either, may not pass as it is.
            reading.findings.append(found if cuts else stricter(found))
            reading.cuts += cuts
    return reading


def read_planted(rules: Iterable[Rule], scope: str, text: str, path: JsonPath = ()) -> Reading:
    """Take out what looks like a placeholder, in a scope in which a rule masks: the model could take it for one."""
    places = lookalikes(text)
    rule = next((rule for rule in rules if rule.masks), None) if places else None
    if rule is None:
        return Reading()
    found = [finding(rule, scope, Match(start, end, "placeholder"), path) for start, end in places]
    return Reading(
        [replace(item, action=Action.NEUTRALISE) for item in found],
        [Cut(start, end, INERT, Action.NEUTRALISE) for start, end in places],
    )


def _cuts(rule: Rule, match: Match) -> list[Cut]:
    if rule.masks:
        return [Cut(match.start, match.end, match.rule, Action.MASK)]
    marker = marker_for(rule, match)
    return [] if marker is None else [Cut(match.start, match.end, marker, rule.action)]


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
    if rule.monitored or not Action.NEUTRALISE <= rule.action <= Action.REDACT:
        return None
    if rule.action is Action.NEUTRALISE and match.safe is not None:
        return match.safe
    return None if rule.stream is None else rule.stream.marker(match.rule)


def rewrite(text: str, cuts: Sequence[Cut], masks: Masks | None = None) -> str:
    """Take the cuts out of a text. Cuts that overlap become one, under the strictest, and of those the first.

    ``masks`` makes the placeholders; without it there may be no cut that asks for one.
    """
    out: list[str] = []
    at = 0
    for cut in _apart(cuts):
        marker = cut.marker
        if cut.action is Action.MASK:
            assert masks is not None
            marker = masks.placeholder(cut.marker, text[cut.start : cut.end])
        out += (text[at : cut.start], marker)
        at = cut.end
    out.append(text[at:])
    return "".join(out)


def _apart(cuts: Sequence[Cut]) -> list[Cut]:
    """The cuts in order, those that overlap as one."""
    out: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: cut.start):
        if out and cut.start < out[-1].end:
            out[-1] = _both(out[-1], cut)
        else:
            out.append(cut)
    return out


def _both(first: Cut, second: Cut) -> Cut:
    """Two cuts that overlap as one. A harmless form does not stand: it holds text that the other would have changed."""
    strictest = second if second.action > first.action else first
    same = (first.start, first.end, first.marker) == (second.start, second.end, second.marker)
    marker = strictest.marker if same or strictest.action is not Action.NEUTRALISE else GONE
    return replace(strictest, start=first.start, end=max(first.end, second.end), marker=marker)


# ---- requests ----


def read_texts(
    policy: CompiledPolicy,
    document: Mapping[str, Json],
    texts: Sequence[Text],
    masks: Masks,
    opinions: Opinions = NOBODY_ASKED,
) -> tuple[Reading, tuple[Edit, ...]]:
    """Run the rules of each text's scope over it; return what they say and the edits that redact ``document``.

    What is masked is added to ``masks``.
    """
    total = Reading()
    edits: dict[JsonPath, Edit] = {}
    edited = _Edited(edits, masks)
    for text in texts:
        rules = policy.by_scope[text.scope]
        reading = read(rules, text.scope, text.text, text.path, opinions)
        planted = read_planted(rules, text.scope, text.text, text.path)
        if not reading.cuts and not planted.cuts:
            pass
        elif stands_at(document, text):
            cuts = reading.cuts + planted.cuts
            edits[text.path] = Edit(text.path, rewrite(text.text, cuts, masks))
            total.findings += planted.findings
        elif not edited.already(text, reading.cuts):
            # The text is not a string of the document, so it cannot be edited there: refuse instead.
            reading.findings = [stricter(found) for found in reading.findings]
        total.findings += reading.findings
        if reading.score is not None:
            total.saw(reading.score)
    _read_joined(policy, texts, total, opinions)
    _read_seams(policy, texts, total, opinions)
    return total, tuple(edits.values())


def _read_joined(policy: CompiledPolicy, texts: Sequence[Text], total: Reading, opinions: Opinions) -> None:
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
                starts = _starts(run, gap=1)
                scan = opinions.weigh(rule, "user", joined, scan)
                total.findings += [_place_in(run, starts, rule, match) for match in scan.matches]


def _user_runs(texts: Sequence[Text]) -> Iterator[list[Text]]:
    for scope, group in groupby(texts, key=lambda text: text.scope):
        run = list(group)
        if scope == "user" and len(run) > 1:
            yield run


def _read_seams(policy: CompiledPolicy, texts: Sequence[Text], total: Reading, opinions: Opinions) -> None:
    """Read the parts of one message as one, for what only comes about where they meet: templates may join them.

    So they may the parts of a system prompt, which in some APIs is no message.
    """
    for (message, scope), group in groupby(texts, key=lambda text: (text.message, text.scope)):
        run = list(group)
        if len(run) < 2 or (message < 0 and scope != "system"):
            continue
        joined = "".join(text.text for text in run)
        starts = _starts(run, gap=0)
        for rule in policy.by_scope[scope]:
            scan = rule.detector.scan(joined)
            if not any(_spans_seam(starts, match) for match in scan.matches):
                continue
            across = [
                match for match in opinions.weigh(rule, scope, joined, scan).matches if _spans_seam(starts, match)
            ]
            total.findings += [stricter(_place_in(run, starts, rule, match)) for match in across]


def _spans_seam(starts: Sequence[int], match: Match) -> bool:
    following = bisect_right(starts, match.start)
    return following < len(starts) and starts[following] < match.end


def _starts(run: Sequence[Text], gap: int) -> list[int]:
    """Where each text begins when they are joined with so many characters between them."""
    return list(accumulate((len(text.text) + gap for text in run[:-1]), initial=0))


def _place_in(run: Sequence[Text], starts: Sequence[int], rule: Rule, match: Match) -> Finding:
    """A finding in joined texts belongs to the text that it begins in, as far as that goes."""
    at = bisect_right(starts, match.start) - 1
    text, start = run[at], match.start - starts[at]
    end = min(start + match.end - match.start, len(text.text))
    return finding(rule, text.scope, replace(match, start=start, end=end), text.path)


class _Edited:
    """What the edits so far have made of the JSON texts that other texts stand in."""

    def __init__(self, edits: Mapping[JsonPath, Edit], masks: Masks) -> None:
        self._edits: Final = edits
        self._masks: Final = masks
        self._plain: Final[dict[JsonPath, str]] = {}
        self._left = _SEARCHED_CHARS_MAX

    def already(self, text: Text, cuts: Sequence[Cut]) -> bool:
        """Whether the edit of the JSON text that a string stands in has done all that the string itself asks for.

        A JSON text may hold thousands of strings, so there is an end to the looking: behind it the answer is no.
        """
        plain = self._plain_at(text.path)
        if plain is None:
            return False
        self._left -= len(plain) * (len(cuts) + 1)
        if self._left < 0:
            return False
        gone = all(text.text[cut.start : cut.end] not in plain for cut in cuts)
        return gone and rewrite(text.text, cuts, self._masks) in plain

    def _plain_at(self, path: JsonPath) -> str | None:
        if path not in self._plain:
            edit = self._edits.get(path)
            if edit is None or not isinstance(edit.value, str):
                return None
            self._plain[path] = unescape(edit.value)[0]
        return self._plain[path]


def stands_at(document: Mapping[str, Json], text: Text) -> bool:
    """Whether a text is a string of the document by itself: at its path there is that and nothing else."""
    node: Any = document
    for step in text.path:
        member = isinstance(node, Mapping) and step in node
        item = isinstance(node, list) and isinstance(step, int) and 0 <= step < len(node)
        if not member and not item:
            return False
        node = node[step]
    return bool(node == text.text)


# ---- tool calls ----


def read_arguments(policy: CompiledPolicy, arguments: str, exchange: Exchange = NO_EXCHANGE) -> Reading:
    """Run the rules for tool arguments over the text as it is, and over what it says once its escapes are undone.

    Offsets are those of the text. Where a redaction would leave broken JSON its finding denies. ``exchange`` is the one
    that the call belongs to.
    """
    rules = policy.by_scope[ARGUMENTS]
    reading = Reading()
    if not rules:
        return reading
    plain, offsets = unescape(arguments)
    found: dict[tuple[str, int, int], tuple[Rule, Match]] = {}
    for rule in rules:
        matches = _matches(rule, arguments, exchange)
        if plain != arguments:
            there = _matches(rule, plain, exchange)
            matches += [replace(match, start=offsets[match.start], end=offsets[match.end]) for match in there]
        found |= {(rule.id, match.start, match.end): (rule, match) for match in matches}
    for rule, match in found.values():
        reading.findings.append(finding(rule, ARGUMENTS, match))
        reading.cuts += _cuts(rule, match)
    if reading.cuts and is_json(arguments) and not is_json(rewrite(arguments, reading.cuts)):
        reading.findings = [stricter(item) for item in reading.findings]
    return reading


def _matches(rule: Rule, text: str, exchange: Exchange) -> list[Match]:
    """What a rule for answers finds in a whole text of an exchange: what it would find in running text."""
    assert rule.stream is not None, "only rules that can decide on running text may name a response scope"
    matches: list[Match] = []
    for span in rule.stream.stream(exchange).feed(text, True):
        if span.opens:
            matches.append(Match(span.start, span.end, span.rule, safe=span.safe))
        else:
            matches[-1] = replace(matches[-1], end=span.end)
    return matches


def stricter(found: Finding) -> Finding:
    """The finding where what it asks for cannot be done in place: a redaction becomes a denial."""
    edits = Action.NEUTRALISE <= found.action <= Action.REDACT
    return replace(found, action=Action.DENY) if edits and not found.monitored else found
