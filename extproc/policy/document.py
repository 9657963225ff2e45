"""The policy file as its author writes it: the schema, its defaults, and everything that can be wrong with it.

What lives here: pydantic models, used at load only, and the checks that need nothing but the document. What must not:
YAML, files, positions in a file, the request path.

A field's description is what editors show of it (JSON Schema); ``docs/policy.md`` says more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from extproc.chat import REQUEST_SCOPES, RESPONSE_SCOPES, WHOLE_SCOPES
from extproc.detectors import DETECTORS
from extproc.policy.external import ExternalDetector, SecondOpinionDocument
from extproc.policy.marks import SCOPES as SPOTLIT_SCOPES
from extproc.policy.models import BadName, check_entry
from extproc.policy.parameters import CALLED, CANNOT_BE_STRIPPED
from extproc.policy.section import STRICT, MaskingDocument, RetriesDocument, SpotlightingDocument
from extproc.policy.section import wrong as _wrong
from extproc.policy.unseen import UnseenAction

_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE: Final = re.compile(r"(\d{1,12})(B|KiB|MiB|GiB)?")
_ENDPOINT: Final = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (?:/|(?:/[\w.~!$&'()*+,=:@-]+)+)", re.ASCII)
_PATH: Final = re.compile(r"(?:/[\w.~!$&'()+,=:@-]+)+/?", re.ASCII)
_PARAMETER: Final = r"[\w.:$/*?-]{1,128}"
_ID: Final = r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
_PACK: Final = r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"
_OWASP: Final = r"^[A-Z]{2,5}[0-9]{2}:20[0-9]{2}$"
_SCOPES: Final = (*REQUEST_SCOPES, *RESPONSE_SCOPES)
# SDKs send the same request again on these, so a refusal with one of them would be asked for three times.
_RETRIED: Final = frozenset({408, 409, 425, 429})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word, or nothing where none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _size(value: object) -> object:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise _wrong('a size is a number of bytes or a number with KiB, MiB or GiB, such as "2MiB"')
        return int(match[1]) * _UNITS[match[2] or "B"]
    return value


def _scope(value: str) -> str:
    if value not in _SCOPES:
        raise _wrong(f'unknown scope "{value}"{did_you_mean(value, _SCOPES)}')
    return value


def _endpoint(value: str) -> str:
    segments = value.partition(" ")[2].split("/")
    if _ENDPOINT.fullmatch(value) is None or {".", ".."} & set(segments):
        raise _wrong('an endpoint is a method and a plain path, such as "GET /v1/models"; "*" is one path segment')
    if any("*" in segment for segment in segments if segment != "*"):
        raise _wrong('"*" stands for one whole path segment, as in "GET /v1/models/*"; there is no other pattern')
    return value


def _plain_path(value: str) -> str:
    if _PATH.fullmatch(value) is None or {".", ".."} & set(value.split("/")):
        raise _wrong('a path begins with "/" and is in normal form, such as "/v1/chat/completions"')
    return value


def _parameter(value: str) -> str:
    if re.fullmatch(_PARAMETER, value, re.ASCII) is None:
        raise _wrong("a parameter is named by letters, digits and ._:$/-; * and ? stand for others")
    if value in CALLED:
        raise _wrong(f'policies call "{value}" "{CALLED[value]}", whatever the API')
    return value


def _model(value: str) -> str:
    try:
        check_entry(value)
    except BadName as why:
        raise _wrong(str(why)) from None
    return value


Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=1, le=1 << 40),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 1, "pattern": f"^{_SIZE.pattern}$"}),
]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Scope = Annotated[str, AfterValidator(_scope), WithJsonSchema({"type": "string", "enum": list(_SCOPES)})]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
PlainPath = Annotated[str, AfterValidator(_plain_path)]
ParameterName = Annotated[str, AfterValidator(_parameter)]
Model = Annotated[str, AfterValidator(_model)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Owasp = Annotated[str, Field(pattern=_OWASP)]
DetectorName = Annotated[str, Field(pattern=_ID)]


class _Strict(BaseModel):
    """What every section is."""

    model_config = STRICT


class MetadataDocument(_Strict):
    """What the policy is called."""

    name: Annotated[str, Field(pattern=_ID, description="names the policy in audit lines and metrics")]


class LimitsDocument(_Strict):
    """What one exchange may use. Sizes are bytes, or numbers with KiB, MiB or GiB."""

    request_bytes: Annotated[Size, Field(description="largest request body")] = 2 << 20
    response_bytes: Annotated[Size, Field(description="largest frame, or answer that comes as one document")] = 8 << 20
    held_bytes: Annotated[Size, Field(description="most of a streamed answer that may wait for a decision")] = 1 << 20
    decide_s: Annotated[Seconds, Field(description="verdict on a request, from its last byte")] = 5.0
    exchange_s: Annotated[Seconds, Field(description="a whole exchange")] = 1800.0
    idle_s: Annotated[Seconds, Field(description="no event from either side")] = 300.0
    json_depth: Annotated[int, Field(ge=4, le=512, description="nesting of a request body")] = 64
    texts: Annotated[
        int, Field(ge=1, le=1_000_000, description="most separate texts, and parameters, in a request")
    ] = 10_000
    max_tokens: Annotated[int | None, Field(ge=1, description="largest output that may be asked for")] = None
    choices: Annotated[int | None, Field(ge=1, description="most answers to one request (n)")] = None


class EndpointsDocument(_Strict):
    """What is served besides the APIs that always are."""

    allow: Annotated[
        list[Endpoint],
        Field(description='method and path, such as "GET /api/tags"; what no guarded API claims passes unread'),
    ] = []
    deny: Annotated[list[Endpoint], Field(description="what is not served, though an API that always is has it")] = []
    aliases: Annotated[
        dict[PlainPath, PlainPath],
        Field(description='paths that stand for those of a guarded API: "/chat/completions": "/v1/chat/completions"'),
    ] = {}


class ModelsDocument(_Strict):
    """Which models may be asked for."""

    allow: Annotated[
        list[Model], Field(description="exact names or globs; spellings that mean the same are the same")
    ] = []
    pinned: Annotated[
        bool, Field(description="refuse names without a tag and `:latest`, unless listed letter for letter")
    ] = True


class ParameterDocument(_Strict):
    """What happens to a parameter: a word alone stands for its ``action``; limits are for one that is allowed."""

    action: Annotated[
        Literal["allow", "deny", "strip"], Field(description="strip: take it out of the request, which goes on")
    ] = "allow"
    max: Annotated[Number | None, Field(description="largest number; a negative one is over it unless min is set")] = (
        None
    )
    min: Annotated[Number | None, Field(description="smallest number")] = None
    max_items: Annotated[int | None, Field(ge=0, description="most members of an object, or elements of an array")] = (
        None
    )
    over: Annotated[
        Literal["clamp", "deny", "strip"] | None,
        Field(description="beyond a limit: bring it to the limit, refuse (the default), or take it out"),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"action": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        numbers = self.max is not None or self.min is not None
        if not self.model_fields_set:
            raise _wrong("says nothing: allow, deny, strip, or a limit")
        if self.action != "allow" and self.model_fields_set != {"action"}:
            raise _wrong("limits are for a parameter that is allowed")
        if numbers and self.max_items is not None:
            raise _wrong("max and min are for numbers, max_items is for the rest: one or the other")
        if self.over is not None and not numbers and self.max_items is None:
            raise _wrong('"over" needs a limit: max, min or max_items')
        if self.over == "clamp" and not numbers:
            raise _wrong("only a number can be clamped: over max_items, deny or strip")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise _wrong("min is larger than max")
        return self


Parameter = Annotated[
    ParameterDocument,
    WithJsonSchema(
        {"anyOf": [{"enum": ["allow", "deny", "strip"]}, ParameterDocument.model_json_schema()]}, mode="validation"
    ),
]


class NotInspectedDocument(_Strict):
    """What happens to content that no detector can read, in requests and answers."""

    default: Annotated[UnseenAction | None, Field(description="for all kinds that are not named here")] = None
    image: UnseenAction | None = None
    audio: UnseenAction | None = None
    video: UnseenAction | None = None
    file: Annotated[UnseenAction | None, Field(description="files as bytes or by id")] = None
    tokens: Annotated[UnseenAction | None, Field(description="a text as token ids")] = None
    history: Annotated[UnseenAction | None, Field(description="what the server remembers of earlier requests")] = None
    encrypted: Annotated[UnseenAction | None, Field(description="reasoning that only its maker can read")] = None
    embedding: Annotated[UnseenAction | None, Field(description="vectors")] = None
    query: Annotated[UnseenAction | None, Field(description="the query of the request's target")] = None


class ToolDocument(_Strict):
    """A tool that may be declared and called."""

    name: Annotated[str, Field(min_length=1, max_length=256, description="exact name or glob; case counts")]


class ToolsDocument(_Strict):
    """Which tools a request may declare. A call to a tool that is not allowed never leaves."""

    default: Annotated[
        Literal["strip", "deny", "allow"], Field(description="for all others: strip the declaration, deny, or allow")
    ] = "strip"
    allow: Annotated[list[ToolDocument], Field(description="the tools that may be used")] = []


class RuleDocument(_Strict):
    """A detector, where it reads, and what a finding leads to."""

    id: Annotated[str, Field(pattern=_ID, description="names the rule in audit lines, metrics and refusals")]
    detector: Annotated[str, Field(json_schema_extra={"enum": sorted(DETECTORS)}, description="what to look for")]
    pack: Annotated[
        str | None, Field(pattern=_PACK, description="rule pack, from packs/ beside the policy or as shipped")
    ] = None
    options: Annotated[dict[str, Any], Field(description="the detector's own settings")] = {}
    scope: Annotated[list[Scope], Field(min_length=1, description="whose text to read")]
    action: Annotated[
        Literal["flag", "spotlight", "neutralise", "mask", "redact", "deny"],
        Field(
            description="flag: record only; spotlight: mark the whole text as data; neutralise: make harmless; "
            "mask: a placeholder for the upstream, the value again for the client; redact: replace; deny: refuse or "
            "cut off"
        ),
    ]
    owasp: Annotated[list[Owasp], Field(description="the OWASP entries it answers, with their year: LLM01:2025")] = []
    mode: Annotated[
        Literal["enforce", "monitor"] | None,
        Field(description="monitor: record, act on nothing; default: the policy's"),
    ] = None
    second_opinion: Annotated[
        SecondOpinionDocument | None, Field(description="whom to ask where the detector is not sure")
    ] = None

    @field_validator("detector")
    @classmethod
    def _known_detector(cls, value: str) -> str:
        if value not in DETECTORS:
            raise _wrong(f'unknown detector "{value}"{did_you_mean(value, DETECTORS)}')
        return value

    @field_validator("scope")
    @classmethod
    def _readable_scopes(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if len(set(value)) != len(value):
            raise _wrong("a scope is named twice")
        kind = DETECTORS.get(info.data.get("detector", ""))
        answers = [scope for scope in value if scope in RESPONSE_SCOPES and scope not in WHOLE_SCOPES]
        if kind is not None and answers and not kind.streams:
            detector = info.data["detector"]
            raise _wrong(f'detector "{detector}" needs a whole text and cannot read {answers[0]}, which is streamed')
        return value

    @field_validator("action")
    @classmethod
    def _possible_action(cls, value: str, info: ValidationInfo) -> str:
        kind = DETECTORS.get(info.data.get("detector", ""))
        detector = info.data.get("detector", "")
        if kind is not None and value in ("neutralise", "mask", "redact") and not (kind.streams or kind.neutralises):
            raise _wrong(f'detector "{detector}" judges a text as a whole and gives no exact places to {value}')
        if kind is not None and value in ("mask", "redact") and not kind.streams:
            raise _wrong(f'detector "{detector}" cannot {value} what it finds; use neutralise or deny')
        if kind is not None and value == "neutralise" and not kind.neutralises:
            raise _wrong(f'detector "{detector}" knows no harmless form of what it finds; use redact or deny')
        answers = [scope for scope in info.data.get("scope", ()) if scope in RESPONSE_SCOPES]
        if value == "mask" and answers:
            raise _wrong(f"mask hides a value from the upstream, so it is for requests and cannot read {answers[0]}")
        vouched = [scope for scope in info.data.get("scope", ()) if scope not in SPOTLIT_SCOPES]
        if value == "spotlight" and vouched:
            known = ", ".join(SPOTLIT_SCOPES)
            raise _wrong(f"spotlight is for text that nobody vouches for ({known}) and cannot read {vouched[0]}")
        return value

    @field_validator("second_opinion")
    @classmethod
    def _unsure(cls, value: SecondOpinionDocument | None, info: ValidationInfo) -> SecondOpinionDocument | None:
        if value is not None and info.data.get("detector", "prompt_injection") != "prompt_injection":
            raise _wrong('only the detector "prompt_injection" is ever unsure: the others find or do not')
        return value


class RefusalDocument(_Strict):
    """How a refusal looks to the client."""

    status: Annotated[int, Field(ge=400, le=499, description="HTTP status of a refusal; not one that SDKs retry")] = 403
    style: Annotated[
        Literal["error", "message"], Field(description="error: the API's error; message: a 200 answer that says so")
    ] = "error"

    @field_validator("status")
    @classmethod
    def _final_status(cls, value: int) -> int:
        if value in _RETRIED:
            raise _wrong(f"SDKs send a request again after {value}; use one they take for an answer, such as 403")
        return value


class SpecDocument(_Strict):
    """What the policy says."""

    mode: Annotated[
        Literal["enforce", "monitor"],
        Field(description="monitor: judge and record, but refuse only what is unreadable or unnamed"),
    ] = "enforce"
    on_error: Annotated[Literal["deny"], Field(description="a bug, a deadline, an unreadable body")] = "deny"
    on_unknown: Annotated[
        Literal["deny", "allow"], Field(description="a request that is neither a guarded API nor in endpoints.allow")
    ] = "deny"
    on_unknown_parameter: Annotated[
        Literal["deny", "strip", "allow"], Field(description="a parameter that its API does not have")
    ] = "deny"
    limits: LimitsDocument = LimitsDocument()
    endpoints: EndpointsDocument = EndpointsDocument()
    models: ModelsDocument = ModelsDocument()
    parameters: Annotated[
        dict[ParameterName, Parameter], Field(description="by name or glob; all others that an API has are allowed")
    ] = {}
    not_inspected: NotInspectedDocument = NotInspectedDocument()
    tools: ToolsDocument = ToolsDocument()
    masking: MaskingDocument = MaskingDocument()
    spotlighting: SpotlightingDocument = SpotlightingDocument()
    detectors: Annotated[
        dict[DetectorName, ExternalDetector], Field(description="detectors outside of this process, by name")
    ] = {}
    rules: Annotated[list[RuleDocument], Field(description="in order; the strictest finding decides")] = []
    retries: RetriesDocument | None = None
    refusal: RefusalDocument = RefusalDocument()

    @field_validator("parameters")
    @classmethod
    def _can_be_stripped(cls, value: dict[str, ParameterDocument]) -> dict[str, ParameterDocument]:
        for name in CANNOT_BE_STRIPPED & value.keys():
            if "strip" in (value[name].action, value[name].over):
                raise _wrong(f'"{name}" cannot be taken out of a request: allow or deny it')
        return value


class PolicyDocument(_Strict):
    """A Sluicegate policy."""

    apiVersion: Literal["sluicegate.dev/v1"]  # noqa: N815 - as in Kubernetes
    kind: Literal["Policy"]
    metadata: MetadataDocument
    spec: SpecDocument


def json_schema() -> str:
    """Write the JSON Schema of a policy, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PolicyDocument.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"
