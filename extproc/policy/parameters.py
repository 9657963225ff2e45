"""Which parameters of a request may pass, by name: the defaults, what a policy says, the judging of one request.

What lives here: names, what each leads to, and the edits that take a parameter out or bring it down. What must not: how
an API spells a parameter (its dialect has a table), the words of a refusal as a whole (``engine``).

A policy's own word goes before the defaults, an exact name before a glob, a longer glob before a shorter one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from extproc.chat import REMOVED, ChatRequest, Edit, Json, JsonPath, Parameter

Treatment = Literal["allow", "deny", "strip"]
Over = Literal["clamp", "deny", "strip"]

DEFAULTS: Final[Mapping[str, tuple[Treatment, str]]] = MappingProxyType(
    {
        # What decides which conversation the model sees.
        "chat_template": ("deny", "prints another conversation than the one that was judged"),
        "template": ("deny", "prints another conversation than the one that was judged"),
        "raw": ("deny", "leaves the template out, so that a prompt can speak as anyone"),
        "continue_final_message": ("deny", "has the model go on with words that the client put into its mouth"),
        "unknown_role": ("deny", "templates print a role that they do not know as it is"),
        "session_params": ("deny", "goes on with a session that may be another client's"),
        "_debug_render_only": ("deny", "answers with the template and all that stands in it"),
        # What the model runs on.
        "lora*": ("deny", "another model than the one that is allowed"),
        "id_slot": ("deny", "picks the cache of another client"),
        "prompt_embeds": ("deny", "a prompt that nobody can read"),
        "input_embeds": ("deny", "a prompt that nobody can read"),
        "logits_processors": ("deny", "names code that the server runs"),
        "custom_logit_processor": ("deny", "is code that the server runs"),
        "custom_params": ("deny", "is read by such code"),
        "vllm_xargs": ("deny", "is read by plug-ins of the server"),
        "mm_processor_kwargs": ("deny", "reaches into the code that reads images"),
        "media_io_kwargs": ("deny", "reaches into the code that reads images"),
        "kv_transfer_params": ("deny", "names caches and hosts of the cluster"),
        "ec_transfer_params": ("deny", "names caches and hosts of the cluster"),
        "bootstrap_*": ("deny", "names caches and hosts of the cluster"),
        # What a server compiles: minutes of work, or a crash, for a few bytes.
        "grammar*": ("deny", "is compiled by the server"),
        "ebnf": ("deny", "is compiled by the server"),
        "regex": ("deny", "is compiled by the server"),
        "stop_regex": ("deny", "is compiled by the server"),
        "guided_grammar": ("deny", "is compiled by the server"),
        "guided_regex": ("deny", "is compiled by the server"),
        "guided_whitespace_pattern": ("deny", "is compiled by the server"),
        "guided_decoding_backend": ("deny", "picks the code that compiles"),
        "structural_tag": ("deny", "is compiled by the server"),
        "structured_outputs.grammar": ("deny", "is compiled by the server"),
        "structured_outputs.regex": ("deny", "is compiled by the server"),
        "structured_outputs.structural_tag": ("deny", "is compiled by the server"),
        "structured_outputs.whitespace_pattern": ("deny", "is compiled by the server"),
        "structured_outputs": ("deny", "is compiled by the server, where it is not an object of known members"),
        # Answers that would go around the gate.
        "background": ("deny", "the answer is fetched later, from another endpoint"),
        "parse_tool_calls": ("strip", "tool calls would come as text"),
        "chat_parser": ("strip", "decides what of the answer is a tool call"),
        "chat_format": ("strip", "decides what of the answer is a tool call"),
        "verbose": ("strip", "answers with the prompt as the server printed it"),
        "response_fields": ("strip", "gives the answer another shape"),
        "return_token_ids": ("strip", "copies of the text that cannot be read"),
        "return_prompt_token_ids": ("strip", "copies of the text that cannot be read"),
        "return_mm_kwargs": ("strip", "copies of images that cannot be read"),
        "return_tokens": ("strip", "copies of the text that cannot be read"),
        "return_tokens_as_token_ids": ("strip", "copies of the text that cannot be read"),
        "return_hidden_states": ("strip", "copies of the text that cannot be read"),
        # What belongs to whoever runs the server. A request means the same without it.
        "keep_alive": ("strip", "loads and unloads models for everybody"),
        "priority": ("strip", "goes before the requests of others"),
        "request_id": ("strip", "can be the name of another client's request"),
        "rid": ("strip", "can be the name of another client's request"),
        "session_id": ("strip", "can be the name of another client's session"),
        "data_parallel_rank": ("strip", "picks a part of the server"),
        "routed_dp_rank": ("strip", "picks a part of the server"),
        "disagg_prefill_dp_rank": ("strip", "picks a part of the server"),
        "ignore_eos": ("strip", "keeps the model busy after its answer"),
        **dict.fromkeys(
            (
                *("num_gpu", "main_gpu", "num_thread", "num_batch", "use_mmap", "use_mlock", "low_vram", "numa"),
                *("f16_kv", "logits_all", "vocab_only"),
            ),
            ("strip", "reloads the model for everybody"),
        ),
    }
)
"""What is not simply allowed unless a policy says so, and why."""

CALLED: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("max_completion_tokens", "max_output_tokens", "maxOutputTokens", "n_predict", "num_predict"), "max_tokens"
        ),
        **dict.fromkeys(("n", "n_cmpl", "candidateCount"), "choices"),
        **dict.fromkeys(("options.num_predict", "generationConfig.maxOutputTokens"), "max_tokens"),
        "options.num_ctx": "num_ctx",
        "stop_sequences": "stop",
        "stopSequences": "stop",
    }
)
"""Names that APIs use, and what policies call those parameters instead."""

NAMES: Final = frozenset(name for name in DEFAULTS if "*" not in name) | frozenset(
    (
        *("max_tokens", "choices", "temperature", "top_p", "top_k", "min_p", "stop", "seed", "frequency_penalty"),
        *("presence_penalty", "logprobs", "top_logprobs", "logit_bias", "best_of", "echo", "suffix", "response_format"),
        *("grammar", "json_schema", "guided_json", "guided_choice", "lora", "chat_template_kwargs", "tool_choice"),
        *("parallel_tool_calls", "user", "metadata", "store", "service_tier", "stream", "stream_options", "thinking"),
        *("reasoning_effort", "cache_prompt", "truncate", "dimensions", "encoding_format", "num_ctx", "prefill"),
        *("cache_salt", "format", "think"),
    )
)
"""The best known names, for hints."""

# An empty list of adapters switches off those that the server runs with.
_OFF_IS_ON: Final = frozenset({"lora*"})
CANNOT_BE_STRIPPED: Final = frozenset({"unknown_role", "mcp_method"})
"""What a request cannot do without: there would be a message that nobody says, or one that asks for nothing."""


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """What happens to a parameter. ``most`` and ``least`` are for numbers, ``most_items`` for the size of others.

    ``over`` is what happens to an allowed one beyond its limit. ``unless_off``: false and what is empty may pass, since
    clients send their switches along.
    """

    treatment: Treatment
    most: int | float | None = None
    least: int | float | None = None
    most_items: int | None = None
    over: Over = "deny"
    unless_off: bool = False


_ALLOW: Final = ParameterRule("allow")


class Ruled(NamedTuple):
    """A parameter that may not pass as it is. ``edit`` is what has to be done to it; None: ``why`` it is refused.

    ``why`` may be shown to the client if the parameter's name may be.
    """

    parameter: Parameter
    edit: Edit | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class ParameterPolicy:
    """``globs`` are a policy's own, the longest first. ``resolved`` remembers those that dialects know: few."""

    exact: Mapping[str, ParameterRule]
    globs: tuple[tuple[re.Pattern[str], ParameterRule], ...]
    unknown: Treatment
    resolved: dict[str, ParameterRule] = field(default_factory=dict, repr=False, compare=False)

    def rule(self, name: str, *, known: bool) -> ParameterRule:
        """What happens to a parameter of this name."""
        if not known:
            return self._resolve(name) or ParameterRule(self.unknown)
        rule = self.resolved.get(name)
        if rule is None:
            rule = self.resolved[name] = self._resolve(name) or _ALLOW
        return rule

    def _resolve(self, name: str) -> ParameterRule | None:
        return self.exact.get(name) or _first(self.globs, name) or _BY_NAME.get(name) or _first(_BY_GLOB, name)


def compile_parameters(named: Mapping[str, ParameterRule], unknown: Treatment) -> ParameterPolicy:
    """Compile what a policy says, by exact name or glob."""
    exact = {name: rule for name, rule in named.items() if not is_glob(name)}
    return ParameterPolicy(MappingProxyType(exact), _globs(named), unknown)


def is_glob(name: str) -> bool:
    """Say whether a name stands for several."""
    return "*" in name or "?" in name


def judge_parameters(policy: ParameterPolicy, request: ChatRequest, most: int) -> list[Ruled]:
    """Judge the first so many parameters of a request; return those that may not pass as they are, in order."""
    out: list[Ruled] = []
    for parameter in request.settings[:most]:
        rule = policy.rule(parameter.name, known=parameter.known)
        if rule is not _ALLOW:
            ruled = _ruled(rule, parameter, request)
            if ruled is not None:
                out.append(ruled)
    return out


def _ruled(rule: ParameterRule, parameter: Parameter, request: ChatRequest) -> Ruled | None:
    if parameter.value is None and _at(request.document, parameter.path) is None:
        return None  # null is absent; what is no member of its own has no value either, but something stands there
    if rule.unless_off and _is_off(parameter.value):
        return None
    if rule.treatment == "strip":
        return _stripped(parameter, request)
    if rule.treatment == "deny":
        return Ruled(parameter, None, "is not allowed")
    over = _over(rule, parameter, request)
    if over is None:
        return None
    limit, why = over
    if limit is None or rule.over == "deny":
        return Ruled(parameter, None, why)
    if rule.over == "strip":
        return _stripped(parameter, request)
    return Ruled(parameter, Edit(parameter.path, limit))


def _is_off(value: Json) -> bool:
    return value is False or (isinstance(value, str | list | dict) and not value)


def _stripped(parameter: Parameter, request: ChatRequest) -> Ruled:
    if parameter.name in CANNOT_BE_STRIPPED or _at(request.document, parameter.path) is REMOVED:
        return Ruled(parameter, None, "is not allowed")
    return Ruled(parameter, Edit(parameter.path, REMOVED))


def _over(rule: ParameterRule, parameter: Parameter, request: ChatRequest) -> tuple[int | float | None, str] | None:
    """The limit that a value is beyond, and how to say so; None for the limit where the value cannot be measured."""
    value = parameter.value
    if rule.most_items is not None:
        items = len(value) if isinstance(value, list | dict) else 1 if isinstance(value, str) else None
        if items is None:
            return None, "must be an object or an array"
        return (rule.most_items, f"may have at most {rule.most_items} items") if items > rule.most_items else None
    if rule.most is None and rule.least is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, "must be a number"
    if rule.most is not None and (value > rule.most or _is_unlimited(rule, parameter.name, value, request)):
        return rule.most, f"may be at most {rule.most}"
    if rule.least is not None and value < rule.least:
        return rule.least, f"must be at least {rule.least}"
    return None


def _is_unlimited(rule: ParameterRule, name: str, value: float, request: ChatRequest) -> bool:
    """Many servers read a negative number as "no limit", some a zero too: the dialect knows what the largest means."""
    if value <= 0 and name == "max_tokens" and rule.most is not None:
        return value < 0 or request.parameters.get(name, 0) > rule.most
    return value < 0 and rule.least is None


def _at(document: Mapping[str, Json], path: JsonPath) -> object:
    """What stands at a place; REMOVED for nothing at all."""
    node: object = document
    for step in path:
        if isinstance(node, Mapping):
            node = node.get(step, REMOVED)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            return REMOVED
    return node


def _first(globs: Iterable[tuple[re.Pattern[str], ParameterRule]], name: str) -> ParameterRule | None:
    return next((rule for pattern, rule in globs if pattern.match(name)), None)


def _globs(named: Mapping[str, ParameterRule]) -> tuple[tuple[re.Pattern[str], ParameterRule], ...]:
    globs = sorted((name for name in named if is_glob(name)), key=len, reverse=True)
    return tuple((re.compile(translate(name)), named[name]) for name in globs)


_DEFAULT_RULES: Final = {
    name: ParameterRule(treatment, unless_off=treatment == "deny" and name not in _OFF_IS_ON)
    for name, (treatment, _) in DEFAULTS.items()
}
_BY_NAME: Final = {name: rule for name, rule in _DEFAULT_RULES.items() if not is_glob(name)}
_BY_GLOB: Final = _globs(_DEFAULT_RULES)
