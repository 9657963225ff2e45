"""The values that a policy names by their place: secrets in files and in the environment of this process.

What lives here: reading them, and what makes a place unusable. What must not: what is done with a value, when to read
again. A value goes into the options that a detector is built from and nowhere else: not into the policy document, its
revision, an error, a warning or a log line.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from extproc.chat import Json
from extproc.detectors.exact_values import Value, least_length, long_enough
from extproc.detectors.pack import Fields, PackError, Place
from extproc.policy.problems import Problem

VALUE_BYTES: Final = 64 << 10
"""The largest file of values, and the largest value."""

VALUES_MOST: Final = 2000

TOTAL_BYTES: Final = 1 << 20
"""The most that all values of a rule may have: each is kept in some two dozen spellings."""

_KEY: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a detector is built from. ``digest`` is the same for the same values, and tells nobody anything of them.

    ``notes`` says what is not looked for, at its place in the options.
    """

    options: Mapping[str, Any]
    digest: str
    notes: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """The options of an ``exact_values`` rule, as its author writes them."""

    files: tuple[str, ...]
    env: tuple[str, ...]
    lines: bool
    optional: bool
    min_length: int

    @classmethod
    def of(cls, options: Mapping[str, Json]) -> Named:
        """Check the options.

        Raises:
            PackError: at the one that is wrong.
        """
        fields = Fields(options, ("options",))
        named = cls(
            files=fields.strings("files", ()),
            env=fields.strings("env", ()),
            lines=fields.flag("lines", default=False),
            optional=fields.flag("optional", default=False),
            min_length=least_length(fields),
        )
        fields.close()
        if not named.files and not named.env:
            raise PackError(("options",), "must name files or env")
        return named


def patterns_of(named: Named, folder: Path) -> tuple[str, ...]:
    """Give the files' patterns; one that is not absolute begins at ``folder``, the policy's."""
    base = glob.escape(str(folder))
    return tuple(pattern if pattern.startswith("/") else f"{base}/{pattern}" for pattern in named.files)


def resolve(named: Named, folder: Path, environ: Mapping[str, str]) -> Resolved:
    """Read all values.

    Raises:
        PackError: at the option whose file or variable is not there or cannot be read, or at the options where they
            leave nothing to look for.
    """
    found = _Found(named)
    for index, pattern in enumerate(patterns_of(named, folder)):
        _read_files(found, ("options", "files", index), pattern)
    for index, name in enumerate(named.env):
        where: Place = ("options", "env", index)
        if name in environ:
            found.add(where, f"env.{name}", _bounded(where, name, os.fsencode(environ[name])))
        elif not named.optional:
            raise PackError(where, "no such environment variable")
    if not found.values and not named.optional:
        raise PackError(("options",), "leave no value to look for")
    if len(found.values) > VALUES_MOST:
        raise PackError(("options",), f"name more than {VALUES_MOST} values")
    if sum(len(value.data) for value in found.values) > TOTAL_BYTES:
        raise PackError(("options",), f"name values of more than {TOTAL_BYTES} bytes")
    values = tuple(found.values)
    options = {"values": values, "min_length": named.min_length}
    return Resolved(options, _digest(values), tuple(found.notes))


def expand(pattern: str) -> list[Path]:
    """Give the files that a pattern stands for now, in order: a path, or all that match ``*`` ``?`` ``[abc]``.

    A directory stands for the files in it. Names that begin with ``..`` are how Kubernetes swaps a whole volume at
    once; what they hold is seen under its own name.
    """
    places = glob.glob(pattern, include_hidden=True) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
    files: set[Path] = set()
    for place in map(Path, places):
        files.update((file for file in place.iterdir() if not file.is_dir()) if _lists(place) else (place,))
    return [file for file in sorted(files) if not any(part.startswith("..") for part in _own_parts(file, pattern))]


def _lists(place: Path) -> bool:
    # Unlike Path.is_dir, this raises nothing where a directory above may not be entered, or at a name that is too long.
    return os.path.isdir(place) and os.access(place, os.R_OK | os.X_OK)  # noqa: PTH112


def _own_parts(file: Path, pattern: str) -> set[str]:
    """The parts of a path that its pattern did not spell."""
    return set(file.parts) - set(Path(pattern).parts)


@dataclass(slots=True)
class _Found:
    """The values of one rule so far."""

    named: Named
    values: list[Value] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def add(self, where: Place, source: str, data: bytes) -> None:
        value = Value(source, data.strip())
        if long_enough(value, self.named.min_length):
            self.values.append(value)
        else:
            short = f"{source} has fewer than {self.named.min_length} characters and is not looked for"
            self.notes.append(Problem(where, short))


def _read_files(found: _Found, where: Place, pattern: str) -> None:
    try:
        files = expand(pattern)
    except OSError as error:  # a directory that went away meanwhile
        raise PackError(where, error.strerror or "cannot be read") from None
    if not files and not found.named.optional:
        raise PackError(where, "no file matches")
    for path in files:
        data = _read(where, path, found.named.optional)
        for text in () if data is None else _texts(data, found.named.lines):
            found.add(where, f"file.{path.parent.name}/{path.name}", text)


def _texts(data: bytes, lines: bool) -> Iterator[bytes]:
    if not lines:
        yield data
        return
    yield from (line.strip() for line in data.split(b"\n") if line.strip())


def _read(where: Place, path: Path, optional: bool) -> bytes | None:
    try:
        # A pipe without a writer must not hold up the start.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(VALUE_BYTES + 1) or b""
    except FileNotFoundError:
        if optional:
            return None
        raise PackError(where, "no such file") from None
    except OSError as error:
        raise PackError(where, f"{path.name}: {error.strerror or 'cannot be read'}") from None
    except ValueError:  # a null character
        raise PackError(where, "no file can have this name") from None
    return _bounded(where, path.name, data).removeprefix(codecs.BOM_UTF8)


def _bounded(where: Place, name: str, data: bytes) -> bytes:
    if len(data) > VALUE_BYTES:
        raise PackError(where, f"{name}: larger than {VALUE_BYTES} bytes")
    return data


def _digest(values: tuple[Value, ...]) -> str:
    digest = hashlib.blake2b(key=_KEY)
    for value in values:
        for part in (os.fsencode(value.source), value.data):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
