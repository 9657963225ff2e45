"""OpenAI's embeddings: texts go in, vectors come out. vLLM takes conversations in their place, too."""

from __future__ import annotations

from typing import Final

from extproc.chat import ChatRequest, Json, JsonPath, Malformed, RequestHead
from extproc.dialects.documents import OneDocument
from extproc.dialects.members import Members, fields, required_string
from extproc.dialects.openai_chat import error, read_messages
from extproc.dialects.prompt_templates import check_template_arguments
from extproc.dialects.settings import Names, named, read_settings
from extproc.dialects.turns import turn_settings
from extproc.dialects.untrusted import ROLE_SCOPES, Untrusted
from extproc.strict_json import JsonLimits, Shape, read

_KNOWN: Final[Names] = named(
    *("dimensions", "encoding_format", "user"),
    # what servers add
    *("truncate_prompt_tokens", "truncation_side", "truncate", "add_special_tokens", "priority", "request_id"),
    *("embed_dtype", "endianness", "normalize", "use_activation", "input_type", "embd_normalize", "cache_salt"),
    *("chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"),
    *("mm_processor_kwargs", "media_io_kwargs", "rid"),
    lora_path="lora",
)
_CONTENT: Final = frozenset({"model", "input", "messages"})
_REQUEST: Final = fields("model", "input", *_KNOWN, messages=Shape(each=fields("role", "content", "name")))


class OpenAiEmbeddings(OneDocument):
    """``POST /v1/embeddings``."""

    name = "openai.embeddings"
    named_only = False
    phrase = staticmethod(error)

    def claims(self, method: str, path: str) -> bool:
        """Say whether this method and exact path is embeddings."""
        return method == "POST" and path == "/v1/embeddings"

    def read_request(self, head: RequestHead, body: bytes, limits: JsonLimits) -> ChatRequest:  # noqa: ARG002
        """Read a request body strictly."""
        document = read(body, _REQUEST, limits)
        untrusted = Untrusted()
        check_template_arguments(document)
        messages: list[dict[str, Json]] = []
        if document.get("messages") is not None:
            messages = read_messages(document, untrusted)
        elif document.get("input") is None:
            raise Malformed("'input' is required")
        read_input(document, untrusted)
        untrusted.parameters(document, _CONTENT)
        return ChatRequest(
            dialect=self.name,
            model=required_string(document, "model"),
            stream=False,
            document=document,
            texts=tuple(untrusted.texts),
            not_inspected=tuple(untrusted.not_inspected),
            settings=(*read_settings(document, _KNOWN, _CONTENT), *turn_settings(messages, ROLE_SCOPES)),
        )


def read_input(document: Members, untrusted: Untrusted) -> None:
    """List the texts to embed: a string, token ids, or a list of either; some servers take parts and messages there.

    Raises:
        Malformed: it is something else.
    """
    value = document.get("input")
    if value is None:
        return
    if isinstance(value, str):
        untrusted.add("user", value, ("input",))
        return
    if not isinstance(value, list):
        raise Malformed("'input' must be a string or an array")
    if any(type(element) in (int, float) for element in value):
        untrusted.media("tokens", value, ("input",))
        return
    for index, element in enumerate(value):
        _read_element(element, ("input", index), untrusted)


def _read_element(element: Json, path: JsonPath, untrusted: Untrusted) -> None:
    if isinstance(element, list):
        untrusted.media("tokens", element, path)
    elif isinstance(element, dict) and isinstance(element.get("content"), list):
        untrusted.content("user", element["content"], (*path, "content"), -1)
        rest = {name: value for name, value in element.items() if name != "content"}
        untrusted.walk("user", rest, path, keys=True)
    elif isinstance(element, str | dict):
        untrusted.part("user", element, path, -1)
    else:
        raise Malformed("'input' must hold texts or token ids")
