"""Where a request's untrusted text is found: the walk over free-form JSON, and the list that a dialect fills.

What is not known to be harmless is text: an unknown member of a message is inspected like the message itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from extproc.chat import Json, JsonPath, Malformed, Text
from extproc.dialects.members import Members, required_string, string

ROLE_SCOPES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool_result",
    "function": "tool_result",
}
_MEDIA: Final = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
    "file": "file",
    "image_embeds": "embedding",
    "audio_embeds": "embedding",
    "prompt_embeds": "embedding",
}
_PARTS: Final = frozenset({*_MEDIA, "text", "refusal", "thinking", "reasoning", "input_text", "output_text"})
_MEDIA_NAMES: Final = frozenset({"url", "detail", "data", "format", "file_data", "file_id", "filename", "uuid", "id"})
# Where base64 stands bare; anywhere else it says so itself.
_DATA: Final = frozenset({"data", "file_data", "image", "audio", "video", "image_embeds", "audio_embeds"})
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-\r\n"
_DATA_URL: Final = re.compile(r"data:[A-Za-z0-9.+/-]*(?:;[A-Za-z0-9=._-]+)*;base64,")
_DATA_URL_CHARS: Final = 256  # of what stands before the data
# What generation stops at, which reaches no prompt; clients name control tokens there.
_STOPS: Final = frozenset({("stop",), ("options", "stop")})
# What an answer must match becomes a grammar: a regular expression in it reaches no prompt either.
_ANSWER_SCHEMAS: Final = frozenset({"response_format", "format", "json_schema"})
# What members are called: words, or too short for a secret.
NAME: Final = re.compile(r"[A-Za-z0-9_.:$-]{0,16}|(?:[A-Z]?[a-z]{1,16}[_.-]?){1,8}")
# Without a closing quote it runs to the end: were one needed, every later quote would look through the rest again.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def is_base64(text: str) -> bool:
    """Whether a text is nothing but base64, which is data of no text that a detector reads."""
    return not text.encode("utf-8", "surrogatepass").translate(None, _BASE64)


def _is_data_url(text: str) -> bool:
    head = _DATA_URL.match(text, 0, _DATA_URL_CHARS)
    return head is not None and is_base64(text[head.end() :])


class Found(NamedTuple):
    """A string of a free-form value; with ``keys`` it is the keys of the object at ``path``, one a line."""

    path: JsonPath
    text: str
    keys: bool


def strings(value: Json, path: JsonPath) -> Iterator[Found]:
    """Walk a value in document order: every string, and each object's keys before its members."""
    stack = [(path, value)]
    while stack:
        place, current = stack.pop()
        if isinstance(current, str):
            yield Found(place, current, keys=False)
        elif isinstance(current, dict):
            yield Found(place, "\n".join(current), keys=True)
            stack.extend(((*place, key), member) for key, member in reversed(current.items()))
        elif isinstance(current, list):
            stack.extend(((*place, index), current[index]) for index in reversed(range(len(current))))


@dataclass(slots=True)
class Untrusted:
    """The untrusted content of one request, in document order."""

    texts: list[Text] = field(default_factory=list)
    not_inspected: list[str] = field(default_factory=list)

    def add(self, scope: str, text: str, path: JsonPath, message: int = -1) -> None:
        """List one text; an empty one says nothing."""
        if text:
            self.texts.append(Text(scope, text, path, message))

    def walk(self, scope: str, value: Json, path: JsonPath, message: int = -1, *, keys: bool = False) -> None:
        """List every string of a value; with ``keys`` also what its objects' keys say, and its own.

        The path of keys is their object's, so that an edit cannot leave them standing.
        """
        if keys:
            self.name(scope, path, message)
        for found in strings(value, path):
            if keys or not found.keys:
                self.add(scope, found.text, found.path, message)

    def parameters(self, document: Members, content: Collection[str]) -> None:
        """List what all members of the request but these say."""
        for name, value in document.items():
            if name not in content:
                self.parameter(name, value)

    def parameter(self, name: str, value: Json) -> None:
        """List what a member of the request that is not known to be anything else says."""
        self.name("parameter", (name,))
        for found in strings(value, (name,)):
            steers = not found.keys and _reaches_no_prompt(found.path)
            self.add("steering" if steers else "parameter", found.text, found.path)

    def name(self, scope: str, path: JsonPath, message: int = -1) -> None:
        """List what a member is called, unless it is called like one; its path is its object's."""
        name = path[-1] if path else None
        if isinstance(name, str) and not NAME.fullmatch(name):
            self.add(scope, name, path[:-1], message)

    def arguments(self, text: str, path: JsonPath, message: int) -> None:
        """List the arguments of an earlier call: as they stand, and every string in them that escapes hide.

        Chat templates decode arguments before they print them.
        """
        self.add("assistant", text, path, message)
        for match in _STRING.finditer(text):
            if "\\" not in match[0]:
                continue
            try:
                self.add("assistant", json.loads(match[0], strict=False), path, message)
            except json.JSONDecodeError:  # no parser reads it, so it is printed as it stands
                continue

    def role(self, message: Members, index: int) -> str:
        """The scope of a message by its role. Chat templates print unknown roles as they are, so those are text too."""
        role = required_string(message, "role")
        if role not in ROLE_SCOPES:
            self.add("user", role, ("messages", index, "role"), index)
        return ROLE_SCOPES.get(role, "user")

    def content(self, scope: str, content: Json, path: JsonPath, message: int) -> None:
        """List a message's content: nothing, a string, or parts.

        Raises:
            Malformed: it is something else.
        """
        if content is None or isinstance(content, str):
            self.add(scope, content or "", path, message)
        elif isinstance(content, list):
            for index, part in enumerate(content):
                self.part(scope, part, (*path, index), message)
        else:
            raise Malformed("'content' must be a string or an array of parts")

    def part(self, scope: str, part: Json, path: JsonPath, message: int) -> None:
        """List one part of a content: a string, or an object of text and media.

        Raises:
            Malformed: it is something else.
        """
        if isinstance(part, str):
            self.add(scope, part, path, message)
            return
        if not isinstance(part, dict):
            raise Malformed("'content' must be a string or an array of parts")
        kind = string(part, "type") or ""
        if kind not in _PARTS:
            self.add(scope, kind, (*path, "type"), message)
        for name, member in part.items():
            if name in _MEDIA and member is not None:
                self.media(_MEDIA[name], member, (*path, name), message, scope=scope)
            elif name != "type":
                self.walk(scope, member, (*path, name), message, keys=True)

    def media(self, kind: str, value: Json, path: JsonPath, message: int = -1, *, scope: str = "user") -> None:
        """List a thing of ``chat.UNSEEN``, and the text that comes with it: an address, a title, data that is no data.

        A server fetches what is no data, so an address is both: a text that leaves, and an image that nobody saw.
        """
        self.not_inspected.append(kind)
        for found in strings(value, path):
            place = found.path[-1]
            if found.keys:
                unknown = [key for key in found.text.split("\n") if key not in _MEDIA_NAMES]
                self.add(scope, "\n".join(unknown), found.path, message)
            elif place == "filename":
                self.add("document", found.text, found.path, message)
            elif not _is_data_url(found.text) and not (place in _DATA and is_base64(found.text)):
                self.add(scope, found.text, found.path, message)


def _reaches_no_prompt(path: JsonPath) -> bool:
    place = path[:-1] if isinstance(path[-1], int) else path
    return place in _STOPS or (path[-1] == "pattern" and path[0] in _ANSWER_SCHEMAS)
