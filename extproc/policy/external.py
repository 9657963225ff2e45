"""Detectors outside of this process, as a policy's author writes them: ``spec.detectors`` and ``second_opinion``.

What lives here: pydantic models, used at load only, and by the shell to know whom to ask and how. What must not: the
asking (``runtime.detectors``).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

OnTimeout: TypeAlias = Literal["deny", "allow", "tier1"]

PROMPTS: Final = ("llama_guard", "granite_guardian", "shieldgemma", "plain")
PLACE: Final = "{text}"


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("policy", "{message}", {"message": message})


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not value.isascii() or any(character <= " " for character in value):
        raise _wrong('a URL such as "http://ollama:11434/v1/chat/completions"')
    if parts.username is not None:
        raise _wrong("no credentials in the URL: name an environment variable with api_key_env")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value.startswith("unix://") and len(value) > len("unix://"):
        return value
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _wrong('"host:port" or "unix:///path"')
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Url = Annotated[str, AfterValidator(_url)]
Path = Annotated[str, Field(min_length=1, max_length=4096)]
Word = Annotated[str, Field(pattern=r"^\S+$", max_length=64)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable with the key")]


class _Strict(BaseModel):
    """No unknown fields, no guessing of types, no changes after."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class _External(_Strict):
    """What every kind has."""

    timeout_s: Annotated[float, Field(gt=0, le=60, description="how long a request waits for its answers")] = 0.5
    concurrency: Annotated[int, Field(ge=1, le=256, description="questions asked at the same time")] = 4
    budget: Annotated[int, Field(ge=1, le=100_000, description="questions asked or waiting; what is more, is not")] = 32
    per_request: Annotated[int, Field(ge=1, le=1000, description="most questions about one request")] = 8
    cache: Annotated[int, Field(ge=0, le=10_000_000, description="answers remembered, by fingerprints of texts")] = 1000
    max_chars: Annotated[int, Field(ge=1, le=10_000_000, description="the longest text that is asked about")] = 20_000
    threshold: Annotated[Share, Field(description="a score from here on is a finding")] = 0.5


class OnnxDetector(_External):
    """A classifier that runs in this process, in threads of its own (extra ``sluicegate[onnx]``)."""

    kind: Literal["onnx"]
    model: Annotated[Path, Field(description="the .onnx file; a relative path is beside the policy")]
    tokenizer: Annotated[Path, Field(description="its tokenizer.json")]
    label: Annotated[
        Annotated[int, Field(ge=0)] | str,
        Field(description="the class that is an attack: index, or name in config.json"),
    ] = 1
    max_tokens: Annotated[int, Field(ge=8, le=8192, description="tokens read at once; more: in windows")] = 512


class ChatDetector(_External):
    """A guard model behind an OpenAI-compatible chat API."""

    kind: Literal["chat"]
    url: Url
    model: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: Annotated[
        str, Field(description=f"{', '.join(PROMPTS)}; or your own, with {PLACE} where the text goes")
    ] = "llama_guard"
    system: Annotated[
        str | None, Field(description="a system message, such as the risk that Granite Guardian checks")
    ] = None
    safe: Annotated[list[Word], Field(description="first words of an answer that mean safe; own prompts only")] = []
    unsafe: Annotated[list[Word], Field(description="first words of an answer that mean unsafe; own prompts only")] = []
    api_key_env: EnvName | None = None

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, value: str) -> str:
        if value not in PROMPTS and value.count(PLACE) != 1:
            raise _wrong(f"one of {', '.join(PROMPTS)}, or a text with {PLACE} in it, once")
        return value

    @model_validator(mode="after")
    def _can_be_understood(self) -> Self:
        own = self.prompt not in PROMPTS
        said = [word.casefold() for word in (*self.safe, *self.unsafe)]
        if own and not (self.safe and self.unsafe):
            raise _wrong('an own prompt needs "safe" and "unsafe": the words that its answers begin with')
        if not own and said:
            raise _wrong(f'"{self.prompt}" has answers of its own: "safe" and "unsafe" are for own prompts')
        if len(set(said)) != len(said):
            raise _wrong("a word means safe or unsafe, once")
        return self


class GrpcDetector(_External):
    """A service of yours that speaks ``protos/detector.proto``."""

    kind: Literal["grpc"]
    address: Annotated[str, AfterValidator(_address), Field(description="host:port or unix:///path")]
    tls_ca: Annotated[Path | None, Field(description="certificates to trust (PEM); without it there is no TLS")] = None
    tls_cert: Annotated[Path | None, Field(description="our certificate (PEM)")] = None
    tls_key: Annotated[Path | None, Field(description="and its key")] = None

    @model_validator(mode="after")
    def _whole_identity(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None) or (self.tls_cert is not None and self.tls_ca is None):
            raise _wrong("tls_cert and tls_key come together, and with tls_ca")
        return self


class ModerationDetector(_External):
    """A moderation endpoint in OpenAI's form."""

    kind: Literal["moderation"]
    url: Url
    model: Annotated[str, Field(max_length=256, description="empty: the endpoint's own")] = ""
    categories: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]],
        Field(description="the largest of their scores counts; without any it is `flagged` that does"),
    ] = []
    api_key_env: EnvName | None = None


EXTERNAL: Final = ("onnx", "chat", "grpc", "moderation")

ExternalDetector: TypeAlias = Annotated[
    OnnxDetector | ChatDetector | GrpcDetector | ModerationDetector, Field(discriminator="kind")
]


class SecondOpinionDocument(_Strict):
    """Whom a rule asks about the texts whose score lies in the band."""

    detector: Annotated[str, Field(alias="from", description="one of spec.detectors")]
    band: Annotated[
        list[Share], Field(min_length=2, max_length=2, description="the scores that are uncertain: from, to")
    ]
    on_timeout: Annotated[
        OnTimeout, Field(description="no answer, for whatever reason: refuse, let through, or the rule's own verdict")
    ] = "tier1"

    @field_validator("band")
    @classmethod
    def _in_order(cls, value: list[float]) -> list[float]:
        if value[0] >= value[1]:
            raise _wrong("the band goes from the lower score to the higher one")
        return value
