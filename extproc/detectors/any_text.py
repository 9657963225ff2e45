"""Any text that is not blank, for rules that act on all that stands in a scope. It looks for nothing, so a text that no
other rule reads still counts as not inspected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.chat import Json
from extproc.detectors.base import Match, Scan
from extproc.detectors.pack import Fields

ANY: Final = "any"
"""The rule that every match names."""


class AnyText:
    """Matches a text as a whole."""

    name = "any_text"

    def scan(self, text: str) -> Scan:
        """Match the text, unless there is nothing but white space."""
        return Scan() if not text or text.isspace() else Scan((Match(0, len(text), ANY),))


def build(_pack: Mapping[str, Json], options: Mapping[str, Json]) -> AnyText:
    """Build the detector, which has no options.

    Raises:
        PackError: there is one.
    """
    Fields(options, ("options",)).close()
    return AnyText()
