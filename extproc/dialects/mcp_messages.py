"""What an MCP message says: the protocol's own vocabulary, and every text that is not part of it.

A message is read in one walk, whatever its method: a member or a value that the protocol itself defines says nothing,
because we know its very words; everything else is text, also in places that no version of the protocol has. So nothing
of a later version or of an extension goes unread. What lives here: that walk. What must not: headers, scopes, channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import Json, JsonPath
from extproc.dialects.members import Members
from extproc.dialects.untrusted import Found

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
_MODERN: Final = "2026-07-28"  # from here on: no session, routed by headers, errors are read at any HTTP status
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")

CALL: Final = "tools/call"
NAMED_BY: Final = {CALL: "name", "prompts/get": "name", "resources/read": "uri"}
"""The requests for one thing of the server's, and the parameter that says which."""

DEFINITIONS: Final = frozenset(
    {"initialize", "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}
)
"""The requests whose results tell a model what there is."""

METHODS: Final = frozenset(
    {
        *DEFINITIONS,
        *NAMED_BY,
        *("ping", "completion/complete", "logging/setLevel", "subscriptions/listen"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
        *("notifications/roots/list_changed", "notifications/tasks/status"),
    }
)
"""What a client may ask for or say, in any version of the protocol."""

_FROM_SERVER: Final = frozenset(
    {
        *("sampling/createMessage", "elicitation/create", "roots/list"),
        *("notifications/message", "notifications/elicitation/complete", "notifications/subscriptions/acknowledged"),
        *("notifications/tools/list_changed", "notifications/prompts/list_changed"),
        *("notifications/resources/list_changed", "notifications/resources/updated"),
    }
)
_PROTOCOL_NAMES: Final = (
    "jsonrpc id method params result error code message data _meta cursor nextCursor name title description "
    "version icons src sizes theme websiteUrl mimeType uri uriTemplate size text blob type role content contents "
    "messages annotations audience priority lastModified resource resourceLinks resources resourceTemplates "
    "prompts tools arguments argument required value values ref context completion total hasMore progress "
    "progressToken requestId reason level logger instructions serverInfo clientInfo capabilities protocolVersion "
    "supportedVersions requested supported inputSchema outputSchema structuredContent isError resultType "
    "cacheScope ttlMs execution taskSupport readOnlyHint destructiveHint idempotentHint openWorldHint "
    "systemPrompt includeContext modelPreferences hints costPriority speedPriority intelligencePriority "
    "temperature maxTokens stopSequences metadata model stopReason toolChoice mode input toolUseId action "
    "requestedSchema url elicitationId elicitations roots inputRequests inputResponses requestState task tasks "
    "taskId status statusMessage createdAt lastUpdatedAt ttl pollInterval notifications toolsListChanged "
    "promptsListChanged resourcesListChanged resourceSubscriptions listChanged subscribe logging completions "
    "sampling elicitation form experimental extensions list cancel call requests create createMessage"
)
_SCHEMA_NAMES: Final = (
    "$schema $id $ref $defs definitions properties items additionalProperties patternProperties prefixItems enum "
    "const default format pattern minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength "
    "maxLength minItems maxItems uniqueItems minProperties maxProperties anyOf oneOf allOf not if then else "
    "examples nullable deprecated readOnly writeOnly enumNames"
)
_META_NAMES: Final = ("clientInfo", "clientCapabilities", "serverInfo", "logLevel")
NAMES: Final = frozenset(
    {
        *_PROTOCOL_NAMES.split(),
        *_SCHEMA_NAMES.split(),
        *(f"io.modelcontextprotocol/{name}" for name in _META_NAMES),
        VERSION_KEY,
    }
)
"""Every name that the protocol, or JSON Schema in it, gives a member."""

_VALUES: Final = (
    "2.0 text image audio resource resource_link tool_use tool_result user assistant complete input_required "
    "public private endTurn stopSequence maxTokens toolUse accept decline cancel form url auto required none "
    "optional forbidden working completed failed cancelled ref/prompt ref/resource debug info notice warning "
    "error critical alert emergency 2024-11-05 2025-03-26 2025-06-18 2025-11-25 2026-07-28 object string integer "
    "number boolean array null"
)
_WORDS: Final = METHODS | _FROM_SERVER | frozenset(_VALUES.split())
# What stands below these is anyone's JSON: nothing in it is an image because it says so.
_FREE: Final = frozenset(
    {"_meta", "structuredContent", "arguments", "input", "data", "metadata", "experimental", "extensions"}
    | {"inputSchema", "outputSchema", "requestedSchema"}
)
_NUMBER_THAT_TELLS: Final = 10**8  # what could be a card's or a person's; sizes and counts are less
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]*+={0,2}")
_IMAGE_URL: Final = re.compile(r"data:image/[a-z0-9.+-]{1,32};base64,")


@dataclass(slots=True)
class Said:
    """The texts of a value, in document order, and one entry of ``chat.UNSEEN`` for each thing that is none."""

    texts: list[Found] = field(default_factory=list)
    not_inspected: list[str] = field(default_factory=list)


def said(value: Json, path: JsonPath) -> Said:
    """List every string and the keys of every object, save where the protocol's own words are all there is.

    In anyone's JSON whole numbers are listed, too, if they are long enough to tell something.

    The path of keys is their object's, so that an edit cannot leave them standing.
    """
    found = Said()
    stack = [(path, value, False)]
    while stack:
        place, current, free = stack.pop()
        if isinstance(current, str):
            if current and current not in _WORDS:
                found.texts.append(Found(place, current, keys=False))
        elif free and isinstance(current, int) and abs(current) >= _NUMBER_THAT_TELLS:
            found.texts.append(Found(place, str(current), keys=False))
        elif isinstance(current, list):
            stack.extend(((*place, index), current[index], free) for index in reversed(range(len(current))))
        elif isinstance(current, dict):
            if not NAMES.issuperset(current):
                found.texts.append(Found(place, "\n".join(current), keys=True))
            media = {} if free else _media(current)
            found.not_inspected += media.values()
            for name, member in reversed(current.items()):
                if name not in media or not _is_base64(member):
                    stack.append(((*place, name), member, free or name in _FREE))
    return found


def _media(members: Members) -> dict[str, str]:
    """The members that hold data which no detector reads, and what each of them is."""
    media = {}
    kind = members.get("type")
    if members.get("data") and kind in ("image", "audio"):
        media["data"] = str(kind)
    if members.get("blob") and "uri" in members:
        media["blob"] = "file"
    source = members.get("src")
    if isinstance(source, str) and _IMAGE_URL.match(source):
        media["src"] = "image"
    return media


def _is_base64(value: Json) -> bool:
    """Whether a string is data and nothing else; what is not is read as text."""
    if not isinstance(value, str):
        return False
    url = _IMAGE_URL.match(value)
    data = value[url.end() :] if url else value
    return len(data) % 4 == 0 and _BASE64.fullmatch(data) is not None


def is_modern(version: Json) -> bool:
    """Whether a protocol version is one without sessions, where headers say what the message is."""
    return isinstance(version, str) and _DATE.fullmatch(version) is not None and version >= _MODERN


def stated_version(params: Members) -> Json:
    """The protocol version that a message itself states; None where it does not."""
    meta = params.get("_meta")
    return meta.get(VERSION_KEY) if isinstance(meta, dict) else None
