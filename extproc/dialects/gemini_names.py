"""Gemini's members: both spellings of each, which of them are objects, and what policies call the settings.

Google's servers read JSON as a form of Protocol Buffers, in which every member has two names, ``systemInstruction`` and
``system_instruction``, and in which one object may stand for an array of one. Servers disagree about which name wins
where both are there, so that is refused. Values keep their paths as they were sent.

What lives here: names, and the little that depends on them alone. What must not: who speaks where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final

from extproc.chat import Json, JsonPath, Malformed
from extproc.dialects.members import Members
from extproc.dialects.settings import Names
from extproc.strict_json import Shape

_HUMP: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")
_UNDERSCORE: Final = re.compile(r"(?<=[A-Za-z0-9])_([A-Za-z0-9])")


def camel(name: str) -> str:
    """A member's name as Google's documentation writes it."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name) if "_" in name else name


def spelled(members: Members, name: str) -> str:
    """The name under which a member is there; ``name`` itself where it is not."""
    snake = _snake(name)
    return snake if snake in members else name


def member(members: Members, name: str) -> Json:
    """The value of a member in either spelling, None where it is absent."""
    return members.get(spelled(members, name))


def each(members: Members, name: str, path: JsonPath) -> Iterator[tuple[JsonPath, dict[str, Json]]]:
    """The objects of a repeated member and where they stand; ``path`` is that of ``members``.

    Raises:
        Malformed: it holds something else.
    """
    name = spelled(members, name)
    value = members.get(name)
    place = (*path, name)
    if isinstance(value, dict):
        yield place, value
    elif isinstance(value, list):
        for index, element in enumerate(value):
            if not isinstance(element, dict):
                raise Malformed(f"'{name}' must hold objects only")
            yield (*place, index), element
    elif value is not None:
        raise Malformed(f"'{name}' must be an array")


def forbid_twins(value: Json, shape: Shape | None) -> None:
    """Refuse an object that has one member in both spellings, wherever the API decodes members.

    Raises:
        Malformed: it has.
    """
    if shape is None:
        return
    if isinstance(value, dict):
        if any("_" in name for name in value) and len(set(map(camel, value))) < len(value):
            raise Malformed("the JSON body has the same member in two spellings")
        for name, inner in value.items():
            forbid_twins(inner, shape.members.get(name))
    elif isinstance(value, list) and shape.each is not None:
        for element in value:
            forbid_twins(element, shape.each)


def _snake(name: str) -> str:
    return _HUMP.sub(lambda match: f"_{match[0].lower()}", name)


# ---- shapes ------------------------------------------------------------------------------------------------------


def both(*names: str, **nested: Shape) -> Shape:
    """The shape of an object with these members in both spellings."""
    members: dict[str, Shape | None] = {**dict.fromkeys(names), **nested}
    return Shape(members | {_snake(name): shape for name, shape in members.items()})


def many(shape: Shape) -> Shape:
    """The shape of an array of such objects, or of one of them in its place."""
    return Shape(shape.members, each=shape)


_BLOB: Final = both("mimeType", "data", "displayName")
_FILE: Final = both("fileUri", "mimeType", "displayName")
_ABOUT: Final = (
    *("mediaResolution", "videoMetadata", "mediaProcessing", "documentMetadata", "spreadsheetMetadata"),
    *("audioMetadata", "speechMetadata", "partMetadata", "audioTranscription", "toolCall", "toolResponse"),
)
_RESULT_PART: Final = both("text", *_ABOUT, inlineData=_BLOB, fileData=_FILE)
_PART: Final = both(
    *("text", "thought", "thoughtSignature"),
    *_ABOUT,
    inlineData=_BLOB,
    fileData=_FILE,
    functionCall=both("id", "name", "args", "partialArgs", "willContinue"),
    functionResponse=both("id", "name", "response", "willContinue", "scheduling", parts=many(_RESULT_PART)),
    executableCode=both("id", "language", "code"),
    codeExecutionResult=both("id", "outcome", "output"),
)
CONTENT: Final = both("role", parts=many(_PART))

_SCHEMA: Final = both(
    *("type", "format", "title", "description", "nullable", "enum", "items", "properties", "required", "example"),
    *("anyOf", "default", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength"),
    *("minProperties", "maxProperties", "propertyOrdering", "additionalProperties"),
)
_DECLARATION: Final = both(
    *("name", "description", "parametersJsonSchema", "responseJsonSchema", "behavior"),
    parameters=_SCHEMA,
    response=_SCHEMA,
)
_TOOL: Final = both(
    *("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "fileSearch", "computerUse"),
    *("googleMaps", "mcpServers", "retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch"),
    functionDeclarations=many(_DECLARATION),
)
_CALLING: Final = both("mode", "allowedFunctionNames", "streamFunctionCallArguments")
_GENERATION_NAMES: Final = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "candidateCount": "choices",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
    "thinkingConfig": "thinking",
    **dict.fromkeys(
        ("responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema", "responseFormat"),
        "response_format",
    ),
    "responseModalities": "modalities",
    **{
        name: name
        for name in (
            *("mediaResolution", "speechConfig", "imageConfig", "audioTimestamp", "enableEnhancedCivicAnswers"),
            *("enableAffectiveDialog", "translationConfig", "audioTranscriptionConfig"),
        )
    },
}
# Known to be there, but not what they would switch to: these two choose another model than the one that was approved.
_ROUTING: Final = ("routingConfig", "modelSelectionConfig")
_RESPONSE_FORMAT: Final = both("text", "image", "audio", "video")
GENERATE: Final = both(
    *("model", "safetySettings", "cachedContent", "labels", "serviceTier", "store", "continuationToken"),
    "modelArmorConfig",
    contents=many(CONTENT),
    systemInstruction=CONTENT,
    tools=many(_TOOL),
    toolConfig=both(
        "includeServerSideToolInvocations",
        functionCallingConfig=_CALLING,
        retrievalConfig=both("latLng", "languageCode"),
    ),
    generationConfig=both(
        *_GENERATION_NAMES, *_ROUTING, responseFormat=many(_RESPONSE_FORMAT), thinkingConfig=both("thinkingBudget")
    ),
)
COUNT: Final = Shape({**GENERATE.members, **both(generateContentRequest=GENERATE).members})
_EMBED_SETTINGS: Final = ("taskType", "title", "outputDimensionality", "autoTruncate", "documentOcr")
EMBED: Final = both(
    *("model", *_EMBED_SETTINGS, "audioTrackExtraction"),
    content=CONTENT,
    embedContentConfig=both(*_EMBED_SETTINGS, "audioTrackExtraction", "mimeType"),
)
BATCH: Final = both(requests=many(EMBED))


# ---- settings ----------------------------------------------------------------------------------------------------


def _spellings(dotted: str) -> Iterator[str]:
    return map(".".join, product(*({step, _snake(step)} for step in dotted.split("."))))


def spellings(*names: str) -> frozenset[str]:
    """These dotted paths in all mixtures of both spellings."""
    return frozenset(spelling for name in names for spelling in _spellings(name))


def _table(names: Mapping[str, str]) -> Names:
    return {spelling: called for name, called in names.items() for spelling in _spellings(name)}


SETTINGS: Final = _table(
    {
        **{f"generationConfig.{name}": called for name, called in _GENERATION_NAMES.items()},
        "safetySettings": "safetySettings",
        "cachedContent": "cachedContent",
        "labels": "metadata",
        "serviceTier": "service_tier",
        "store": "store",
        "toolConfig.functionCallingConfig": "tool_choice",
        "toolConfig.retrievalConfig": "retrievalConfig",
        "toolConfig.includeServerSideToolInvocations": "includeServerSideToolInvocations",
    }
)
NOT_SETTINGS: Final = spellings(
    *("model", "contents", "systemInstruction", "tools", "generateContentRequest", "content", "requests")
)
EMBED_SETTINGS: Final = _table(
    {
        f"{prefix}{name}": called
        for prefix in ("", "embedContentConfig.")
        for name, called in {
            "taskType": "taskType",
            "title": "title",
            "outputDimensionality": "dimensions",
            "autoTruncate": "truncate",
            "documentOcr": "documentOcr",
            "audioTrackExtraction": "audioTrackExtraction",
            "mimeType": "mimeType",
        }.items()
    }
)
