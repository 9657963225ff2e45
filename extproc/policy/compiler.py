"""A checked policy document becomes what the request path looks things up in: CompiledPolicy.

What lives here: everything that can be worked out at load. What must not: files, YAML, judging.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, cast

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES
from extproc.detectors import DETECTORS
from extproc.detectors.base import Detector, StreamDetector
from extproc.policy.decision import Action
from extproc.policy.document import LimitsDocument, ParameterDocument, PolicyDocument, RuleDocument
from extproc.policy.external import ExternalDetector, OnTimeout, SecondOpinionDocument
from extproc.policy.marks import Spotlighting
from extproc.policy.models import ModelAllowlist, compile_models
from extproc.policy.parameters import ParameterPolicy, ParameterRule, Treatment, compile_parameters
from extproc.policy.retries import Retries, compile_retries
from extproc.policy.section import SpotlightingDocument
from extproc.policy.tools import ToolPolicy, compile_tools
from extproc.policy.unseen import compile_unseen

Mode = Literal["enforce", "monitor"]
RefusalStyle = Literal["error", "message"]

INJECTION: Final = "prompt_injection"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may use. ``held_bytes`` is for streams only; None is no limit."""

    request_bytes: int
    response_bytes: int
    held_bytes: int
    decide_s: float
    exchange_s: float
    idle_s: float
    json_depth: int
    texts: int
    max_tokens: int | None
    choices: int | None


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Whom a rule asks where its own detector is not sure: where that scores from ``low`` to ``high``, both included.

    What the other one scores at ``threshold`` or above is a finding. Of one request it is asked at most
    ``questions_max`` times.
    """

    detector: str
    low: float
    high: float
    on_timeout: OnTimeout
    threshold: float
    questions_max: int

    def wanted(self, score: float) -> bool:
        """Whether the rule's own detector is not sure."""
        return self.low <= score <= self.high


@dataclass(frozen=True, slots=True)
class Rule:
    """A detector, where it reads, and what a finding asks for. ``monitored``: findings are recorded, not acted on.

    ``stream`` is the detector again where it can decide on running text. ``scores``: its score is the injection score.
    ``inspects``: it looks at what a text says.
    """

    id: str
    detector: Detector
    stream: StreamDetector | None
    scopes: tuple[str, ...]
    action: Action
    owasp: tuple[str, ...]
    monitored: bool
    scores: bool
    inspects: bool = True
    second: SecondOpinion | None = None

    @property
    def masks(self) -> bool:
        """Whether it puts placeholders in the place of what it finds."""
        return self.action is Action.MASK and not self.monitored


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """Immutable and shared; a Session keeps the one it started with.

    ``by_scope`` holds the rules of each scope, in the policy's order. ``unread`` holds, for each request scope, what
    does not read it, as the audit names it. ``restores_in`` allows the tools whose arguments get masked values back.
    ``unseen``: what happens to each kind of content that no detector reads. ``external``: the detectors outside of this
    process that rules ask for a second opinion, by name; only the shell looks at what they are.
    """

    name: str
    revision: str
    mode: Mode
    on_error: Action
    on_unknown: Action
    limits: Limits
    endpoints: re.Pattern[str] | None
    denied_endpoints: re.Pattern[str] | None
    aliases: Mapping[str, str]
    models: ModelAllowlist
    parameters: ParameterPolicy
    unseen: Mapping[str, Action]
    tools: ToolPolicy
    restores_in: ToolPolicy
    spotlighting: Spotlighting
    rules: tuple[Rule, ...]
    by_scope: Mapping[str, tuple[Rule, ...]]
    unread: Mapping[str, tuple[str, ...]]
    refusal_style: RefusalStyle
    refusal_status: int
    external: Mapping[str, ExternalDetector] = field(default_factory=dict)
    retries: Retries | None = None

    @property
    def enforces(self) -> bool:
        """Whether the controls are enforced. A rule has its own word, and endpoints always are."""
        return self.mode == "enforce"

    def canonical(self, path: str) -> str:
        """The path that an alias stands for; any other is its own."""
        return self.aliases.get(path, path)

    def serves(self, method: str, path: str, canonical: str, *, named_only: bool) -> bool:
        """Say whether an endpoint is served. ``named_only``: not unless the policy names it, or allows the unknown."""
        names = (f"{method} {path}", f"{method} {canonical}")
        if any(_matches(self.denied_endpoints, name) for name in names):
            return False
        return not named_only or self.on_unknown is Action.ALLOW or self.names(method, path, canonical)

    def names(self, method: str, path: str, canonical: str) -> bool:
        """Say whether ``endpoints.allow`` names an endpoint."""
        return any(_matches(self.endpoints, f"{method} {each}") for each in (path, canonical))


def compile_policy(document: PolicyDocument, detectors: Mapping[str, Detector], revision: str) -> CompiledPolicy:
    """Compile a document. ``detectors`` holds one built detector for each rule id."""
    spec = document.spec
    rules = tuple(_rule(rule, detectors[rule.id], spec.mode, spec.detectors) for rule in spec.rules)
    return CompiledPolicy(
        name=document.metadata.name,
        revision=revision,
        mode=spec.mode,
        on_error=Action[spec.on_error.upper()],
        on_unknown=Action[spec.on_unknown.upper()],
        limits=_limits(spec.limits),
        endpoints=_endpoints(spec.endpoints.allow),
        denied_endpoints=_endpoints(spec.endpoints.deny, segment="[^/]+"),
        aliases=MappingProxyType(dict(spec.endpoints.aliases)),
        models=compile_models(spec.models.allow, spec.models.pinned),
        parameters=_parameters(spec.parameters, spec.on_unknown_parameter),
        unseen=compile_unseen(spec.not_inspected.default, spec.not_inspected.model_dump()),
        tools=compile_tools(spec.tools.default, (tool.name for tool in spec.tools.allow)),
        restores_in=compile_tools("deny", spec.masking.restore_in_tools),
        spotlighting=_spotlighting(spec.spotlighting),
        rules=rules,
        by_scope=_by_scope(rules),
        unread=_unread(rules),
        refusal_style=spec.refusal.style,
        refusal_status=spec.refusal.status,
        external=_asked(rules, spec.detectors),
        retries=compile_retries(spec.retries, (rule.id for rule in rules if rule.scores), spec.mode == "enforce"),
    )


def _rule(rule: RuleDocument, detector: Detector, mode: Mode, external: Mapping[str, ExternalDetector]) -> Rule:
    return Rule(
        id=rule.id,
        detector=detector,
        stream=cast("StreamDetector", detector) if DETECTORS[rule.detector].streams else None,
        scopes=tuple(rule.scope),
        action=Action[rule.action.upper()],
        owasp=tuple(rule.owasp),
        monitored=(rule.mode or mode) == "monitor",
        scores=rule.detector == INJECTION,
        inspects=DETECTORS[rule.detector].inspects,
        second=None if rule.second_opinion is None else _second(rule.second_opinion, external),
    )


def _spotlighting(said: SpotlightingDocument) -> Spotlighting:
    return Spotlighting(said.method, said.note, said.unavailable == "deny")


def _second(said: SecondOpinionDocument, external: Mapping[str, ExternalDetector]) -> SecondOpinion:
    asked, (low, high) = external[said.detector], said.band
    return SecondOpinion(said.detector, low, high, said.on_timeout, asked.threshold, asked.per_request)


def _asked(rules: Iterable[Rule], external: Mapping[str, ExternalDetector]) -> Mapping[str, ExternalDetector]:
    names = dict.fromkeys(rule.second.detector for rule in rules if rule.second is not None)
    return MappingProxyType({name: external[name] for name in names})


def _limits(limits: LimitsDocument) -> Limits:
    return Limits(**limits.model_dump())


def _parameters(named: Mapping[str, ParameterDocument], unknown: Treatment) -> ParameterPolicy:
    rules = {
        name: ParameterRule(said.action, _plain(said.max), _plain(said.min), said.max_items, said.over or "deny")
        for name, said in named.items()
    }
    return compile_parameters(rules, unknown)


def _plain(number: float | None) -> int | float | None:
    return int(number) if number is not None and number.is_integer() else number


# What ``*`` stands for where it allows: one path segment, which cannot hide a step up or an escape.
_PLAIN_SEGMENT: Final = r"(?!\.\.?(?:/|$))[^/%;?#\\]+"


def _endpoints(entries: Iterable[str], segment: str = _PLAIN_SEGMENT) -> re.Pattern[str] | None:
    patterns = [re.escape(entry).replace(r"\*", segment) for entry in entries]
    return re.compile("|".join(patterns)) if patterns else None


def _matches(endpoints: re.Pattern[str] | None, name: str) -> bool:
    return endpoints is not None and endpoints.fullmatch(name) is not None


def _by_scope(rules: Sequence[Rule]) -> Mapping[str, tuple[Rule, ...]]:
    scopes = (*REQUEST_SCOPES, *RESPONSE_SCOPES)
    return MappingProxyType({scope: tuple(rule for rule in rules if scope in rule.scopes) for scope in scopes})


def _unread(rules: Sequence[Rule]) -> Mapping[str, tuple[str, ...]]:
    scored = any(rule.scores for rule in rules)
    unread: dict[str, tuple[str, ...]] = {}
    for scope in REQUEST_SCOPES:
        reading = [rule for rule in rules if scope in rule.scopes and rule.inspects]
        if not reading:
            unread[scope] = (scope,)
        elif scored and not any(rule.scores for rule in reading):
            unread[scope] = (f"{scope}:{INJECTION}",)
    return MappingProxyType(unread)
