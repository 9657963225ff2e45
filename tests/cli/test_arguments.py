"""Arguments say what was expected, and help says what goes without them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from extproc.cli import VERBS, main
from extproc.cli.arguments import HelpFormatter, endpoint, positive, seconds


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (endpoint, "nonsense", "HOST:PORT"),
        (positive, "0", "whole number of at least 1"),
        (positive, "-1", "whole number"),
        (positive, "two", "whole number"),
        (seconds, "-4", "positive number of seconds"),
        (seconds, "nan", "positive number"),
        (seconds, "inf", "positive number"),
        (seconds, "soon", "positive number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(read: Callable[[str], Any], text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)


def test_help_names_a_default_once_and_only_where_there_is_one() -> None:
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    parser.add_argument("--port", default=80, help="a port")
    parser.add_argument("--cores", default=0, help="processes (default: one per core)")
    parser.add_argument("--name", help="a name")
    parser.add_argument("--loud", action="store_true", help="a flag")
    text = parser.format_help()
    assert "a port (default: 80)\n" in text
    assert text.count("default") == 2


@pytest.mark.parametrize("verb", [name for name, _ in VERBS])
def test_every_verb_explains_itself_without_inner_names(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "default: None" not in text
    assert "default: False" not in text


def test_the_rights_of_a_socket_are_shown_as_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "(default: 0600)" in capsys.readouterr().out
