"""What becomes of content that no detector can read, by its kind.

What lives here: the kinds' defaults, OWASP entries and names. What must not: how a dialect finds such content, the
refusal (``engine``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from extproc.chat import UNSEEN
from extproc.policy.decision import Action

UnseenAction = Literal["allow", "flag", "deny"]

_INJECTION: Final = ("LLM01:2025", "LLM01:2026")
_DISCLOSURE: Final = ("LLM02:2025", "LLM02:2026")

DEFAULTS: Final[Mapping[str, UnseenAction]] = MappingProxyType(
    {
        "image": "flag",
        "audio": "flag",
        "video": "flag",
        "file": "flag",
        "tokens": "deny",  # the client has the text, too, and could send that
        "history": "deny",  # the client has it, too, or it is another's
        "encrypted": "allow",  # clients must send it back unchanged, and only its maker can read it
        "embedding": "allow",  # what embedding APIs are for
        "query": "allow",  # keys and the like, which reach no prompt
    }
)
OWASP: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(UNSEEN, (*_INJECTION, *_DISCLOSURE)),
        "encrypted": _DISCLOSURE,
        "embedding": _DISCLOSURE,
        "query": _INJECTION,
    }
)
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image": "images",
        "audio": "audio",
        "video": "videos",
        "file": "files",
        "tokens": "texts as token ids",
        "history": "conversations that the server remembers",
        "encrypted": "encrypted contents",
        "embedding": "embeddings",
        "query": "queries",
    }
)


def compile_unseen(default: UnseenAction | None, named: Mapping[str, UnseenAction | None]) -> Mapping[str, Action]:
    """What a policy says of each kind: its own word, else its default, else ours."""
    words = {kind: named.get(kind) or default or DEFAULTS[kind] for kind in UNSEEN}
    return MappingProxyType({kind: Action[word.upper()] for kind, word in words.items()})


def said(kinds: list[str]) -> str:
    """Why content of these kinds is refused; fit for the client."""
    return f"{' and '.join(_WORDS[kind] for kind in kinds)} cannot be inspected here"
