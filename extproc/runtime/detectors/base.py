"""What a kind of external detector is to the rest: a client that gives one text a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class DetectorError(Exception):
    """A detector cannot work here. ``field`` of its section is to blame; ``str()`` says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Unanswered(Exception):  # noqa: N818 - it says what the question is
    """There is no score: ``why`` is one of ``messages.SKIPPED``. What the other side said goes nowhere."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Client(Protocol):
    """Asks one external detector. Lives in one event loop, which it never blocks."""

    async def start(self) -> None:
        """Get ready.

        Raises:
            DetectorError: it cannot work here.
        """
        ...

    async def ask(self, scope: str, text: str) -> float:
        """Score one text. May be cancelled at any time, and is when it takes too long.

        Raises:
            Unanswered: there is no score.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. Never raises."""
        ...


def need_key(name: str | None, environ: Mapping[str, str]) -> None:
    """See that the environment has a key where one is named.

    Raises:
        DetectorError: it has none, or one that no header can carry.
    """
    if name is not None and not environ.get(name):
        raise DetectorError("api_key_env", f"the environment has no {name}")
    if name is not None and not (environ[name].isascii() and environ[name].isprintable()):
        raise DetectorError("api_key_env", f"{name} holds what no header can carry")


def need_file(field: str, path: str, folder: Path) -> str:
    """The path of a file that is there; a relative one is beside the policy.

    Raises:
        DetectorError: it is not there, or no file.
    """
    found = folder / path
    if not found.is_file():
        raise DetectorError(field, f"there is no file {found}")
    return str(found)
