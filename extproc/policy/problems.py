"""What is wrong with a policy, all of it at once, each thing at its place in the document.

What lives here: from parsed data to a PolicyDocument or a list of problems, and the warnings about one that is valid.
What must not: lines and columns, which only the reader of the file knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extproc.chat import REQUEST_SCOPES, JsonPath
from extproc.dialects import dialect_for
from extproc.policy.document import ParameterDocument, PolicyDocument, RuleDocument, did_you_mean
from extproc.policy.external import EXTERNAL
from extproc.policy.models import admits_nothing
from extproc.policy.parameters import NAMES, is_glob

# Named in the design of the policy file, but not by this version.
_LATER: Final = frozenset({"lock", "arguments", "when", "match"})
_METHODS: Final = ("POST", "GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")
_SAID_BETTER: Final = {
    "missing": "is missing",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "string_type": "must be text; quote it if it looks like a number",
    "union_tag_invalid": "kind must be one of {expected_tags}",
    "union_tag_not_found": "needs a kind",
    "string_pattern_mismatch": 'must match "{pattern}"',
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and the keys and indexes that lead there from the document's root."""

    where: JsonPath
    message: str


def place(where: JsonPath) -> str:
    """Write a place as its author would: ``spec.rules[1].detector``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).lstrip(".")


def inspect(data: Any) -> tuple[PolicyDocument | None, list[Problem]]:
    """Check parsed data; return the document, or None and everything that is wrong with it."""
    problems = list(_same_ids(data))
    try:
        document = PolicyDocument.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [*(_problem(detail) for detail in details), *problems]
    problems += [*_claimed_aliases(document), *_wrong_second_opinions(document)]
    return (None if problems else document), problems


def valid_rules(data: Any) -> Iterator[tuple[int, RuleDocument]]:
    """Give the rules that are valid by themselves, with their index, so that more can be said of them."""
    for index, rule in enumerate(_rules(data)):
        try:
            yield index, RuleDocument.model_validate(rule)
        except ValidationError:
            continue


def warnings(document: PolicyDocument) -> list[Problem]:
    """Say what is allowed but probably not meant."""
    spec = document.spec
    found = [
        Problem(("spec", "rules", index), f'rule "{rule.id}" names no OWASP entry')
        for index, rule in enumerate(spec.rules)
        if not rule.owasp
    ]
    found += [
        Problem(("spec", "rules", index, "scope"), "masks what the user says, but not 'assistant', which repeats it")
        for index, rule in enumerate(spec.rules)
        if rule.action == "mask" and "user" in rule.scope and "assistant" not in rule.scope
    ]
    found += [
        Problem(("spec", "rules", index, "scope"), "marks all that the user says as data: the model will do none of it")
        for index, rule in enumerate(spec.rules)
        if rule.action == "spotlight" and rule.detector == "any_text" and "user" in rule.scope
    ]
    asked = {rule.second_opinion.detector for rule in spec.rules if rule.second_opinion is not None}
    found += [
        Problem(("spec", "detectors", name), "no rule asks it: name it in a rule's second_opinion")
        for name in spec.detectors
        if name not in asked
    ]
    if spec.retries is not None and not any(map(_refuses_injection, spec.rules)):
        found.append(Problem(("spec", "retries"), "no rule refuses requests for prompt_injection: nothing is counted"))
    if spec.on_unknown == "allow":
        found.append(Problem(("spec", "on_unknown"), "every endpoint that is not guarded passes unread"))
    if spec.on_unknown_parameter == "allow":
        found.append(Problem(("spec", "on_unknown_parameter"), "parameters that nobody has judged reach the upstream"))
    found += _parameter_warnings(spec.parameters)
    found += [
        Problem(("spec", "endpoints", "aliases", alias), f'"{path}" is no API that is guarded')
        for alias, path in spec.endpoints.aliases.items()
        if not _claimed(path)
    ]
    if spec.tools.default == "allow":
        found.append(Problem(("spec", "tools", "default"), "every tool may be declared and called"))
    if "*" in spec.models.allow:
        found.append(Problem(("spec", "models", "allow"), "every model may be asked for"))
    found += [
        Problem(("spec", "models", "allow", index), f'"{entry}" admits nothing: list such names letter for letter')
        for index, entry in enumerate(spec.models.allow)
        if admits_nothing(entry, spec.models.pinned)
    ]
    return found


def _refuses_injection(rule: RuleDocument) -> bool:
    reads_requests = any(scope in REQUEST_SCOPES for scope in rule.scope)
    return rule.detector == "prompt_injection" and rule.action == "deny" and reads_requests


def _parameter_warnings(parameters: Mapping[str, ParameterDocument]) -> Iterator[Problem]:
    for name, said in parameters.items():
        where = ("spec", "parameters", name)
        hint = "" if is_glob(name) or name in NAMES else did_you_mean(name, NAMES)
        if hint:
            yield Problem(where, f'no well-known parameter is called "{name}"{hint}')
        if name == "*" and said.action == "allow":
            yield Problem(where, "every parameter may be set, also those that are refused by default")


def _claimed_aliases(document: PolicyDocument) -> Iterator[Problem]:
    """An alias of a path that an API has would have it read as another."""
    for alias in document.spec.endpoints.aliases:
        if _claimed(alias):
            yield Problem(("spec", "endpoints", "aliases", alias), f'"{alias}" is the path of an API that is guarded')


def _wrong_second_opinions(document: PolicyDocument) -> Iterator[Problem]:
    """Rules that ask a detector that there is not, and detectors that would answer after the verdict."""
    spec = document.spec
    for index, rule in enumerate(spec.rules):
        asked = None if rule.second_opinion is None else rule.second_opinion.detector
        if asked is not None and asked not in spec.detectors:
            place_of = ("spec", "rules", index, "second_opinion", "from")
            yield Problem(place_of, f'spec.detectors has no "{asked}"{did_you_mean(asked, spec.detectors)}')
    for name, detector in spec.detectors.items():
        if detector.timeout_s >= spec.limits.decide_s:
            where = ("spec", "detectors", name, "timeout_s")
            yield Problem(where, f"must be less than limits.decide_s, which is {spec.limits.decide_s:g}")


def _claimed(path: str) -> bool:
    return any(dialect_for(method, path) is not None for method in _METHODS)


def _rules(data: Any) -> list[Any]:
    spec = data.get("spec") if isinstance(data, Mapping) else None
    rules = spec.get("rules") if isinstance(spec, Mapping) else None
    return rules if isinstance(rules, list) else []


def _same_ids(data: Any) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, rule in enumerate(_rules(data)):
        name = rule.get("id") if isinstance(rule, Mapping) else None
        if isinstance(name, str):
            if name in seen:
                yield Problem(("spec", "rules", index, "id"), f'another rule is called "{name}"')
            seen.add(name)


def _problem(detail: ErrorDetails) -> Problem:
    where, kind = _without_kind(detail["loc"]), detail["type"]
    if where[-1:] == ("[key]",):
        where = where[:-1]  # pydantic's word for the key of a mapping
    if kind == "extra_forbidden":
        return Problem(where, _unknown_field(where))
    context = detail.get("ctx", {})
    if kind in _SAID_BETTER:
        return Problem(where, _SAID_BETTER[kind].format_map(context))
    message = detail["msg"]
    return Problem(where, message.replace("Input should be", "must be", 1))


def _without_kind(where: JsonPath) -> JsonPath:
    """pydantic names the kind of an external detector as a step of its own, which the file does not have."""
    known = where[:2] == ("spec", "detectors") and len(where) > 3 and where[3] in EXTERNAL
    return (*where[:3], *where[4:]) if known else where


def _unknown_field(where: JsonPath) -> str:
    name = str(where[-1])
    if name in _LATER:
        return f'"{name}" is not supported by this version'
    return f'unknown field "{name}"{did_you_mean(name, _fields_at(where[:-1]))}'


def _fields_at(where: JsonPath) -> Mapping[str, Any]:
    """The fields that the schema has at a place."""
    model: Any = PolicyDocument
    for step in where:
        if get_origin(model) is dict:
            model = get_args(get_args(model)[1])[0]
        elif isinstance(step, str):
            annotation = model.model_fields[step].annotation
            model = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    several = get_args(model) if get_origin(model) is UnionType else (model,)  # kinds, or one that may be absent
    models = [each for each in several if each is not NoneType]
    return {field.alias or name: field for each in models for name, field in each.model_fields.items()}
