"""Judging: a request or a tool call against a policy gives a Decision, and every refusal gets its words here.

What lives here: the order of the controls and how their outcomes become one. What must not: an API's shapes, how a
detector scans, running text (``channel``).

Every control is asked, also after one has denied, so that the record is whole; the first denial is the one that the
client reads. What is not enforced (a policy or rule in monitor mode) is found and recorded all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from extproc.chat import REMOVED, RESPONSE_SCOPES, ChatRequest, Denial, Edit, JsonPath, Text, ToolCall
from extproc.detectors.base import NO_EXCHANGE, Exchange
from extproc.dialects.base import Dialect
from extproc.messages import Opinion, Question
from extproc.policy.compiler import CompiledPolicy
from extproc.policy.decision import UNHEARD, Action, Decision, Finding
from extproc.policy.denials import failure
from extproc.policy.marks import Marks, marks_for
from extproc.policy.masking import NO_MASKS, Masks, restored_arguments
from extproc.policy.parameters import Ruled, judge_parameters
from extproc.policy.reading import ARGUMENTS, read, read_arguments, read_planted, read_texts, rewrite, stricter
from extproc.policy.retries import OWASP as RETRIES_OWASP
from extproc.policy.second_opinion import TIER, Opinions
from extproc.policy.spotlight import spotlight
from extproc.policy.unseen import OWASP as UNSEEN_OWASP
from extproc.policy.unseen import said

_MODEL_OWASP: Final = ("LLM03:2025", "LLM04:2026")
_TOOL_OWASP: Final = ("LLM06:2025", "LLM03:2026")
_LIMIT_OWASP: Final = ("LLM10:2025", "LLM06:2026")
# What a client or a model named may be said back to it only where it cannot be anything but a name.
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one control says."""

    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()
    denial: Denial | None = None


# ---- requests ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """A request on which others are to be heard first. ``conclude`` takes their answers, in this order."""

    questions: tuple[Question, ...]
    policy: CompiledPolicy = field(repr=False)
    request: ChatRequest = field(repr=False)
    dialect: Dialect = field(repr=False)
    decision_id: str
    cooling: bool = False

    @property
    def not_inspected(self) -> list[str]:
        """What to say where the exchange ends before there are answers."""
        return [f"{TIER}:{question.detector}" for question in self.questions]


def judge_request(
    policy: CompiledPolicy, request: ChatRequest, dialect: Dialect, decision_id: str, cooling: bool = False
) -> Decision | Pending:
    """Judge a request: its model, its parameters, what cannot be read, its tools, then every text by its scope.

    What is refused anyway is decided without asking anybody. ``edits`` redact, mask and mark texts, strip tools and
    parameters, and clamp parameters; a denied request has none. The tag of its placeholders follows from
    ``decision_id``, as do its marks. ``cooling``: requests of its consumer were refused (``retries``).
    """
    opinions = Opinions()
    decision = _judge(policy, request, dialect, decision_id, opinions, cooling)
    if decision.denial is not None or not opinions.questions:
        return decision
    return Pending(opinions.questions, policy, request, dialect, decision_id, cooling)


def conclude(pending: Pending, answers: Sequence[Opinion]) -> Decision:
    """Judge a request once more, now with the answers. What is missing of them counts as skipped."""
    opinions = Opinions(dict(zip(pending.questions, answers, strict=False)), frozenset(pending.questions))
    return _judge(pending.policy, pending.request, pending.dialect, pending.decision_id, opinions, pending.cooling)


def _judge(
    policy: CompiledPolicy, request: ChatRequest, dialect: Dialect, decision_id: str, opinions: Opinions, cooling: bool
) -> Decision:
    masks = Masks(decision_id)
    tools = _judge_tools(policy, request, dialect, decision_id)
    parameters = _judge_parameters(policy, request, decision_id)
    stripped = [edit for edit in parameters.edits if edit.value is REMOVED]
    texts = _remaining(request.texts, (*tools.edits, *stripped))
    read_now, unread = texts[: policy.limits.texts], texts[policy.limits.texts :]
    reading, edits = read_texts(policy, request.document, read_now, masks, opinions)
    spotlit = spotlight(
        policy.spotlighting,
        request,
        read_now,
        reading.findings,
        edits,
        decision_id,
        lambda note: dialect.with_system_note(request, note),
    )
    decision = _decide(
        (
            _judge_model(policy, request, decision_id),
            _judge_limits(policy, request, len(texts), decision_id),
            parameters,
            _judge_unseen(policy, dict.fromkeys(request.not_inspected), "user", decision_id),
            tools,
            _judge_calls(policy, request.calls, decision_id),
            _judge_retries(policy, reading.score, decision_id, cooling=cooling),
            _Outcome(spotlit.findings, spotlit.edits, _denial_of(policy, spotlit.findings, decision_id)),
            _judge_unheard(policy, opinions, decision_id),
        )
    )
    scopes = dict.fromkeys(text.scope for text in texts)
    skipped = [entry for scope in scopes for entry in policy.unread.get(scope, ())] + ["texts"] * bool(unread)
    return replace(
        decision,
        inspected=tuple(text.scope for text in read_now if policy.unread.get(text.scope) != (text.scope,)),
        not_inspected=(*request.not_inspected, *skipped, *spotlit.missed, *opinions.not_inspected),
        injection_score=reading.score or 0.0,
        second_opinions=tuple(opinions.noted),
        masks=masks.values() if decision.denial is None else NO_MASKS,
        marks=spotlit.marks if decision.denial is None else None,
    )


def _judge_retries(policy: CompiledPolicy, score: float | None, decision_id: str, *, cooling: bool) -> _Outcome:
    """Before the rules, so that whoever tries variants does not learn which of them a rule finds."""
    if not cooling or policy.retries is None or (score or 0.0) < policy.retries.score:
        return _Outcome()
    found = _control_finding(policy, "retries", "too_many_refusals", "user", RETRIES_OWASP)
    message = "too many requests like this one were refused"
    denial = Denial(message, "retries", decision_id, policy.refusal_status, "too_many_refusals")
    return _Outcome((found,), denial=denial if policy.enforces else None)


def _judge_unheard(policy: CompiledPolicy, opinions: Opinions, decision_id: str) -> _Outcome:
    """Texts of which nobody could say what they are, under rules that refuse then."""
    found = tuple(
        Finding(rule.id, UNHEARD, scope, Action.DENY, rule.owasp, monitored=rule.monitored)
        for rule, scope in opinions.unheard
    )
    refused = next((each.rule for each in found if not each.monitored), None)
    denial = None if refused is None else replace(failure(policy, "", decision_id), rule=refused)
    return _Outcome(found, denial=denial)


def _remaining(texts: Sequence[Text], edits: Sequence[Edit]) -> Sequence[Text]:
    """The texts that the edits leave in the request."""
    gone = {edit.path for edit in edits}
    depths = {len(path) for path in gone}
    return [text for text in texts if not any(text.path[:depth] in gone for depth in depths)] if gone else texts


def _judge_model(policy: CompiledPolicy, request: ChatRequest, decision_id: str) -> _Outcome:
    why = policy.models.refusal(request.model) if request.names_model else None
    if why is None:
        return _Outcome()
    found = _control_finding(policy, "models", "model_not_approved", "parameter", _MODEL_OWASP)
    denial = Denial(why, "models", decision_id, policy.refusal_status, "model_not_approved")
    return _Outcome((found,), denial=denial if policy.enforces else None)


def _judge_limits(policy: CompiledPolicy, request: ChatRequest, texts: int, decision_id: str) -> _Outcome:
    limits, parameters = policy.limits, request.parameters
    asked = (
        ("max_tokens", parameters.get("max_tokens", 0), limits.max_tokens),
        ("choices", parameters.get("choices", 0), limits.choices),
        ("texts", texts, limits.texts),
        ("parameters", len(request.settings), limits.texts),
    )
    # A negative number asks for no limit at all (Ollama's num_predict).
    over = [(name, limit) for name, count, limit in asked if limit is not None and not 0 <= count <= limit]
    if not over:
        return _Outcome()
    found = tuple(_control_finding(policy, "limits", name, "parameter", _LIMIT_OWASP) for name, _ in over)
    message = "; ".join(f"{name} may be at most {limit}" for name, limit in over)
    denial = Denial(message, "limits", decision_id, policy.refusal_status, "limit_exceeded")
    return _Outcome(found, denial=denial if policy.enforces else None)


def _judge_parameters(policy: CompiledPolicy, request: ChatRequest, decision_id: str) -> _Outcome:
    ruled = judge_parameters(policy.parameters, request, policy.limits.texts)
    if not ruled:
        return _Outcome()
    found = tuple(_parameter_finding(policy, each) for each in ruled)
    if not policy.enforces:
        return _Outcome(found)
    refused = [each for each in ruled if each.edit is None]
    if not refused:
        return _Outcome(found, tuple(each.edit for each in ruled if each.edit is not None))
    message = "; ".join(dict.fromkeys(map(_parameter_refused, refused[:8])))
    denial = Denial(message, "parameters", decision_id, policy.refusal_status, "parameter_not_allowed")
    return _Outcome(found, denial=denial)


def _parameter_finding(policy: CompiledPolicy, ruled: Ruled) -> Finding:
    action = Action.DENY if ruled.edit is None else Action.REDACT
    parameter = ruled.parameter
    # The name of one that no API has is the client's own words.
    match = parameter.name if parameter.known else "unknown"
    return _control_finding(policy, "parameters", match, "parameter", _LIMIT_OWASP, action, parameter.path)


def _parameter_refused(ruled: Ruled) -> str:
    name = ruled.parameter.name
    return f'parameter "{name}" {ruled.why}' if _NAME.fullmatch(name) else f"a parameter {ruled.why}"


def _judge_unseen(policy: CompiledPolicy, kinds: Iterable[str], scope: str, decision_id: str) -> _Outcome:
    asked = [(kind, policy.unseen[kind]) for kind in kinds]
    found = tuple(
        _control_finding(policy, "not_inspected", kind, scope, UNSEEN_OWASP[kind], action)
        for kind, action in asked
        if action is not Action.ALLOW
    )
    refused = [kind for kind, action in asked if action is Action.DENY]
    if not refused or not policy.enforces:
        return _Outcome(found)
    message = said(refused)
    denial = Denial(message, "not_inspected", decision_id, policy.refusal_status, "content_not_inspected")
    return _Outcome(found, denial=denial)


def _judge_tools(policy: CompiledPolicy, request: ChatRequest, dialect: Dialect, decision_id: str) -> _Outcome:
    refused = [tool for tool in request.tools if not policy.tools.allows(tool.name)]
    if not refused:
        return _Outcome()
    strips = policy.tools.default == "strip"
    match, action = ("tool_stripped", Action.REDACT) if strips else ("tool_not_allowed", Action.DENY)
    found = tuple(
        _control_finding(policy, "tools", match, "tool_definition", _TOOL_OWASP, action, tool.path) for tool in refused
    )
    if not policy.enforces:
        return _Outcome(found)
    names = frozenset(tool.name for tool in refused)
    edits = dialect.without_tools(request, names) if strips else ()
    if edits:
        return _Outcome(found, edits)
    return _Outcome(found, denial=_tool_denial(policy, sorted(names), decision_id))


def _judge_calls(policy: CompiledPolicy, calls: Sequence[ToolCall], decision_id: str) -> _Outcome:
    """Tools that the request itself would run. There is nothing to strip: without its call it is no request."""
    refused = [call.name for call in calls if not policy.tools.allows(call.name)]
    if not refused:
        return _Outcome()
    found = tuple(_control_finding(policy, "tools", "tool_not_allowed", "parameter", _TOOL_OWASP) for _ in refused)
    return _Outcome(found, denial=_tool_denial(policy, refused, decision_id) if policy.enforces else None)


# ---- answers -----------------------------------------------------------------------------------------------------


def judge_call(
    policy: CompiledPolicy,
    call: ToolCall,
    decision_id: str,
    masks: Mapping[str, str] = NO_MASKS,
    exchange: Exchange = NO_EXCHANGE,
    marks: Marks | None = None,
) -> Decision:
    """Judge a complete tool call: is the tool allowed, and what is in its arguments.

    A change is one Edit at path ``()`` whose value is the whole new arguments text. The rules read the arguments as the
    upstream wrote them, less our own ``marks``; then ``masks`` are put back if the policy names the tool for that.
    """
    said = call.arguments if marks is None else marks.taken_off(call.arguments)
    tool = _Outcome()
    if not policy.tools.allows(call.name):
        found = _control_finding(policy, "tools", "tool_not_allowed", ARGUMENTS, _TOOL_OWASP)
        # The model made the name up: it may be anything, a secret included, and is not said back.
        denial = _tool_denial(policy, [], decision_id) if policy.enforces else None
        tool = _Outcome((found,), denial=denial)
    reading = read_arguments(policy, said, exchange)
    reading.findings += map(stricter, read(policy.by_scope[ARGUMENTS], ARGUMENTS, call.name).findings)
    arguments = rewrite(said, reading.cuts) if reading.cuts else said
    if masks and policy.restores_in.allows(call.name):
        arguments = restored_arguments(arguments, masks)
    edits = (Edit((), arguments),) if arguments != call.arguments else ()
    texts = _Outcome(tuple(reading.findings), edits, _denial_of(policy, reading.findings, decision_id))
    return _decide((tool, texts))


def judge_unseen(policy: CompiledPolicy, kind: str, decision_id: str) -> Decision:
    """Judge content of an answer that no detector can read, one of ``chat.UNSEEN``. There is nothing to edit."""
    return _decide((_judge_unseen(policy, (kind,), "response.content", decision_id),))


# ---- single texts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextJudgement:
    """What becomes of one text. ``output`` is what would leave, None if nothing would; ``score`` as in Reading."""

    action: Action
    findings: tuple[Finding, ...]
    score: float | None
    output: str | None


def judge_text(policy: CompiledPolicy, scope: str, text: str) -> TextJudgement:
    """Judge one text as if it had come alone in this scope. Placeholders and marks in its output are no exchange's.

    Raises:
        KeyError: there is no such scope.
    """
    rules = policy.by_scope[scope]
    reading = read_arguments(policy, text) if scope == ARGUMENTS else read(rules, scope, text)
    planted = read_planted(rules, scope, text)
    reading.findings += planted.findings
    action = max((_acted(found) for found in reading.findings), default=Action.ALLOW)
    output = None if action is Action.DENY else rewrite(text, reading.cuts + planted.cuts, Masks(""))
    if output is not None and any(_acted(found) is Action.SPOTLIGHT for found in reading.findings):
        output = marks_for(policy.spotlighting.method, "", (text,)).put_on(output)
    return TextJudgement(action, tuple(reading.findings), reading.score, output)


# ---- one decision ------------------------------------------------------------------------------------------------


def _decide(outcomes: Sequence[_Outcome]) -> Decision:
    findings = tuple(found for outcome in outcomes for found in outcome.findings)
    denial = next((outcome.denial for outcome in outcomes if outcome.denial is not None), None)
    action = max((_acted(found) for found in findings), default=Action.ALLOW)
    if denial is not None:
        return Decision(Action.DENY, findings, denial=denial)
    return Decision(action, findings, tuple(edit for outcome in outcomes for edit in outcome.edits))


def _acted(found: Finding) -> Action:
    """What became of a finding: one that is only monitored is a note."""
    return min(found.action, Action.FLAG) if found.monitored else found.action


def _control_finding(
    policy: CompiledPolicy,
    control: str,
    match: str,
    scope: str,
    owasp: tuple[str, ...],
    action: Action = Action.DENY,
    path: JsonPath = (),
) -> Finding:
    return Finding(control, match, scope, action, owasp, path, monitored=not policy.enforces)


def _denial_of(policy: CompiledPolicy, findings: Sequence[Finding], decision_id: str) -> Denial | None:
    for found in findings:
        if found.action is Action.DENY and not found.monitored:
            return finding_denied(policy, found, decision_id)
    return None


# ---- the words of a refusal --------------------------------------------------------------------------------------


def finding_denied(policy: CompiledPolicy, found: Finding, decision_id: str, *, in_answer: bool = False) -> Denial:
    """Refuse for a finding. The message names the rule, never what it found.

    ``in_answer``: it stood in an answer, whose texts can have scopes of requests (MCP's results).
    """
    what = "answer" if in_answer or found.scope in RESPONSE_SCOPES else "request"
    return Denial(f'the {what} was stopped by the rule "{found.rule}"', found.rule, decision_id, policy.refusal_status)


def unknown_endpoint(policy: CompiledPolicy, method: str, path: str, decision_id: str) -> Denial:
    """Refuse a method and path that no dialect claims and the policy does not allow."""
    name = f"{method} {path}" if _NAME.fullmatch(method) and _NAME.fullmatch(path) else "this endpoint"
    return Denial(
        f"{name} is not allowed here", "endpoints", decision_id, policy.refusal_status, "endpoint_not_allowed"
    )


def _tool_denial(policy: CompiledPolicy, names: Sequence[str], decision_id: str) -> Denial:
    named = ", ".join(f'"{name}"' for name in names[:8] if _NAME.fullmatch(name))
    message = f"these tools are not allowed: {named}" if named else "a tool is not allowed"
    return Denial(message, "tools", decision_id, policy.refusal_status, "tool_not_allowed")
