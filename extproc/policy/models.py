"""Which models may be asked for: one normal form for all spellings of a name, and the allowlist over it.

What lives here: names. What must not: digests, what an upstream serves.

A name is ``[scheme://][host/][namespace/]model[:tag][:local]``, read as Ollama reads it: the scheme goes, the missing
parts are filled in (registry.ollama.ai, library, latest), ASCII case does not count. Names of other runtimes
(``gpt-4o``, ``meta-llama/Llama-3.1-8B-Instruct``) fit the same grammar, and the allowlist is read in the same way, so
both sides of the comparison agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"
NAME_CHARS: Final = 256

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://")
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_GLOB: Final = re.compile(r"[*?\[]")
_CHARACTER_SET: Final = re.compile(r"\[!?+\]?+[^\]]*+\]")


class BadName(ValueError):  # noqa: N818 - what it is
    """Not a model name. ``str()`` does not quote it."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name in normal form. ``tagged`` is not part of its identity: whether a tag was spelled out."""

    host: str
    namespace: str
    model: str
    tag: str
    tagged: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def moves(self) -> bool:
        """Whether the name means another model after the next pull: no tag, or ``latest``."""
        return self.tag == DEFAULT_TAG

    @property
    def leaves(self) -> bool:
        """Whether Ollama would send the prompt to its cloud instead of running the model here."""
        return self.tag == "cloud" or self.tag.endswith("-cloud")


def normalise(name: str) -> ModelName:
    """Read a model name.

    Raises:
        BadName: it is empty, too long, or holds what no name holds: spaces inside, control characters, a backslash,
            ``..``, an empty part.
    """
    name = name.strip(" \t\r\n").translate(_ASCII_LOWER)
    if not name:
        raise BadName("a model must be named")
    if len(name) > NAME_CHARS:
        raise BadName(f"the model name is longer than {NAME_CHARS} characters")
    if not name.isprintable() or " " in name or "\\" in name or ".." in name:
        raise BadName("the model name has characters that no model name has")
    scheme = _SCHEME.match(name)
    rest = name[scheme.end() :] if scheme else name
    rest = rest.removesuffix(":local")
    path, _, last = rest.rpartition("/")
    model, colon, tag = last.rpartition(":")
    if not colon:
        model, tag = last, DEFAULT_TAG
    above, slash, namespace = path.rpartition("/")
    host = above if slash else DEFAULT_HOST
    if not path:
        host, namespace = ("", "") if rest.startswith("/") else (DEFAULT_HOST, DEFAULT_NAMESPACE)
    if not model or not tag or "//" in rest:
        raise BadName("the model name has an empty part")
    return ModelName(host, namespace, model, tag, tagged=bool(colon))


@dataclass(frozen=True, slots=True)
class _Glob:
    """A pattern, part by part. None: that part may be anything."""

    host: re.Pattern[str] | None
    namespace: re.Pattern[str] | None
    model: re.Pattern[str]
    tag: re.Pattern[str] | None

    def matches(self, name: ModelName) -> bool:
        return (
            (self.host is None or self.host.match(name.host) is not None)
            and (self.namespace is None or self.namespace.match(name.namespace) is not None)
            and self.model.match(name.model) is not None
            and (self.tag is None or self.tag.match(name.tag) is not None)
        )


def _compile_glob(pattern: str) -> _Glob:
    name = normalise(pattern)
    if pattern.strip() == "*":
        return _Glob(None, None, re.compile(""), None)
    part = [re.compile(translate(text)) for text in (name.host, name.namespace, name.model, name.tag)]
    return _Glob(part[0], part[1], part[2], part[3] if name.tagged else None)


@dataclass(frozen=True, slots=True)
class ModelAllowlist:
    """What may be asked for. Exact entries stand for themselves; with ``pinned`` no glob admits a name that moves."""

    exact: frozenset[ModelName]
    globs: tuple[_Glob, ...]
    pinned: bool

    @property
    def empty(self) -> bool:
        """Whether no model may be asked for."""
        return not self.exact and not self.globs

    def refusal(self, name: str) -> str | None:
        """Say why this model may not be used, or None if it may. Fit for the client."""
        try:
            model = normalise(name)
        except BadName as why:
            return str(why)
        if model in self.exact:
            return None
        said = f'model "{name.strip()}" is not approved'
        if model.leaves:
            return f"{said}: it runs outside this cluster"
        if self.pinned and model.moves:
            return f'{said}: name one with a tag other than "latest"'
        return None if any(glob.matches(model) for glob in self.globs) else said


def is_glob(entry: str) -> bool:
    """Say whether an entry of an allowlist is a pattern."""
    return _GLOB.search(entry) is not None


def check_entry(entry: str) -> None:
    """Check an entry of an allowlist.

    Raises:
        BadName: it is not a name or a pattern of names.
    """
    name = normalise(entry)
    # Part by part, as it is matched: a set cannot hold a "/", nor the ":" before the tag.
    if any("[" in _CHARACTER_SET.sub("", part) for part in (name.host, name.namespace, name.model, name.tag)):
        raise BadName('"[" begins a set of characters and needs a "]" in the same part of the name')


def admits_nothing(entry: str, pinned: bool) -> bool:
    """Say whether an entry is a pattern of names that no pattern may admit."""
    if not is_glob(entry):
        return False
    name = normalise(entry)
    return name.tagged and (name.leaves or (pinned and name.moves))


def compile_models(allow: Iterable[str], pinned: bool) -> ModelAllowlist:
    """Read an allowlist.

    Raises:
        BadName: an entry is not a name or a pattern of names.
    """
    entries = list(allow)
    exact = frozenset(normalise(entry) for entry in entries if not is_glob(entry))
    globs = tuple(_compile_glob(entry) for entry in entries if is_glob(entry))
    return ModelAllowlist(exact, globs, pinned)
