"""Key blocks end where their key material ends, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.detectors.pem import block_tail

LINE = "MIIEowIBAAKCAQEA0Zsadej3qzS9ljTBgG79IKIkjQEt2ZNUGr7GoMDsLtIpHy8s"
END = "-----END RSA PRIVATE KEY-----"


def tail(text: str) -> tuple[str, str]:
    """Give what the block takes of a whole text and what it leaves."""
    end, over = block_tail("-" + text, 1, True)
    assert over or end == len(text) + 1
    return text[: end - 1], text[end - 1 :]


@pytest.mark.parametrize(
    "gap", ["\n", "\r\n", "\\n", "\\\\n", "\n    ", "\n> ", ' "\n+ "', '\\n" +\n  "', " ", '",\n"', "\n# "]
)
def test_lines_may_be_joined_by_anything_that_joins_lines(gap: str) -> None:
    block = gap.join([f"\n{LINE}", LINE, "aGVsbG8=", END])
    assert tail(f"{block} thanks") == (block, " thanks")


@pytest.mark.parametrize(
    "block",
    [
        f"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n{LINE}\n{END}",
        f"\\nProc-Type: 4,ENCRYPTED\\nDEK-Info: AES-128-CBC,0123456789ABCDEF\\n\\n{LINE}\\n{END}",
        f"\nVersion: GnuPG v2\nComment: made by hand\n\n{LINE}\n=a1Bc\n-----END PGP PRIVATE KEY BLOCK-----",
    ],
)
def test_headers_are_part_of_the_block(block: str) -> None:
    assert tail(f"{block}\nthanks") == (block, "\nthanks")


@pytest.mark.parametrize(
    "rest", ["\n```\nKeep it safe.", "\nThis is the key.", "\n\nI hope that helps", '"}', "\n-----BEGIN A"]
)
def test_a_block_without_an_end_does_not_take_what_follows(rest: str) -> None:
    assert tail(f"\n{LINE}\n{LINE}{rest}") == (f"\n{LINE}\n{LINE}", rest)


def test_a_short_last_line_goes_with_the_block_if_it_looks_like_a_key() -> None:
    assert tail(f"\n{LINE}\na1Bc\n```") == (f"\n{LINE}\na1Bc", "\n```")
    assert tail(f"\n{LINE}\nabcd==\n```") == (f"\n{LINE}\nabcd==", "\n```")


def test_the_text_may_end_within_a_line() -> None:
    assert tail(f"\n{LINE}\nabc") == (f"\n{LINE}\nabc", "")


def test_more_text_never_changes_what_was_eaten() -> None:
    text = f"-\nDEK-Info: AES\n{LINE}\n{LINE[:40]}\na1Bc\n{END} bye"
    for size in range(1, len(text)):
        end, over = block_tail(text[:size], 1, False)
        assert (end, over) == (len(text) - 4, True) if over else end <= len(text) - 4


KEY_WORDS = [LINE, LINE[:20], LINE[:5], "=", "a1B", "x" * 90, "n", "Thanks"]
GAPS = ["\n", "\\n", "\\", " ", '"', "+", "é", "."]
LABELS = ["-----END", " RSA PRIVATE KEY", "-----", "Version", ":", "Proc-Type: 4"]
pieces = st.sampled_from(KEY_WORDS + GAPS + LABELS)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=12).map("".join), st.lists(st.integers(0, 400), max_size=6))
def test_any_cut_ends_the_block_at_the_same_place(text: str, cuts: list[int]) -> None:
    text = "-" + text
    expected, _ = block_tail(text, 1, True)
    at = 1
    for size in sorted(cut % (len(text) + 1) for cut in cuts):
        at, over = block_tail(text[: max(size, at)], at, False)
        if over:
            break
        assert max(size, at) - at <= 260
    else:
        at, _ = block_tail(text, at, True)
    assert at == expected
