from __future__ import annotations

import re
import zlib

import pytest

from extproc.demo import scripts
from extproc.demo.scripts import Call


def test_a_fake_key_has_the_form_and_the_checksum_of_a_real_one() -> None:
    key = scripts.fake_key()
    assert re.fullmatch("gh" + r"p_[0-9A-Za-z]{36}", key)
    random, checksum = key[4:34], key[34:]
    number = 0
    for digit in checksum:
        number = number * 62 + scripts._BASE62.index(digit)
    assert number == zlib.crc32(random.encode())


def test_no_two_fake_keys_are_the_same() -> None:
    assert scripts.fake_key() != scripts.fake_key()


def test_tokens_are_the_text_in_small_pieces() -> None:
    assert scripts.tokens("abcdefgh") == ("abc", "def", "gh")


@pytest.mark.parametrize("prompt", [scripts.ASK_CAPITAL, scripts.ASK_HELLO, scripts.ASK_KEY, scripts.ASK_SPACE])
def test_every_scripted_text_comes_in_several_pieces(prompt: str) -> None:
    pieces = [piece for piece in scripts.script(prompt, "m", "KEY") if isinstance(piece, str)]
    assert len(pieces) > 3


def test_the_key_is_cut_between_pieces() -> None:
    pieces = scripts.script(scripts.ASK_KEY, "m", "0123456789")
    assert "".join(map(str, pieces)) == scripts.BEFORE_KEY + "0123456789" + scripts.AFTER_KEY
    assert not any("0123456789" in str(piece) for piece in pieces)


def test_tool_questions_call_the_tool_meant_for_them() -> None:
    assert scripts.script(scripts.ASK_WEATHER, "m", "") == (Call(scripts.ALLOWED_TOOL, '{"city": "Paris"}'),)
    assert scripts.script(scripts.ASK_SPACE, "m", "")[-1] == Call(
        scripts.FORBIDDEN_TOOL, '{"command": "rm -rf /srv/data"}'
    )


def test_any_other_question_is_answered_with_the_models_name() -> None:
    assert "evil:7b" in "".join(map(str, scripts.script("anything", "evil:7b", "")))
