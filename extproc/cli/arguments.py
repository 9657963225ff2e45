"""Types of arguments that several verbs take, and how ``--help`` shows their defaults.

What lives here: text in, value out, or a sentence that says what was expected. What must not: what a verb does with it.
"""

from __future__ import annotations

import argparse

from extproc.runtime.transports.endpoint import Endpoint

_NO_DEFAULT: tuple[object, ...] = (None, False, "", [], argparse.SUPPRESS)


class HelpFormatter(argparse.HelpFormatter):
    """Adds each option's default, where it has one that its help does not name in words."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text is None or "default" in text or not action.option_strings or action.default in _NO_DEFAULT:
            return text
        return f"{text} (default: %(default)s)"


def endpoint(text: str) -> Endpoint:
    """Read where to listen."""
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """Read a count."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """Read a span of time."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number of seconds")
    return value
