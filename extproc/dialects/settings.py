"""The settings of a request, by the names that policies use.

What lives here: one walk for all dialects. What must not: which settings there are (each dialect has its table), and
which of them may pass (``policy.parameters``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from extproc.chat import JsonPath, Parameter
from extproc.dialects.members import Members

Names = Mapping[str, str]
"""The settings that an API knows: where each stands, as a dotted path, and what policies call it."""


def named(*same: str, **other: str) -> Names:
    """A table: these are called what the API calls them, and those something else."""
    return {**{name: name for name in same}, **other}


def read_settings(document: Members, known: Names, content: Collection[str]) -> tuple[Parameter, ...]:
    """List every member of a document that is not ``content``.

    An object is descended into where ``known`` has names below it (``options.num_ctx``); all else is one setting.
    """
    inner = {name.rpartition(".")[0] for name in known if "." in name}
    inner |= {path[:at] for path in inner for at, character in enumerate(path) if character == "."}
    return tuple(_settings(document, (), known, inner, content))


def _settings(
    members: Members, path: JsonPath, known: Names, inner: Collection[str], content: Collection[str]
) -> Iterator[Parameter]:
    for name, value in members.items():
        place = (*path, name)
        dotted = ".".join(map(str, place))
        if dotted in content:
            continue
        if dotted in inner and isinstance(value, dict):
            yield from _settings(value, place, known, inner, content)
        else:
            yield Parameter(known.get(dotted, dotted), place, value, dotted in known or dotted in inner)
