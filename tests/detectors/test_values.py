"""What a named value must look like."""

from __future__ import annotations

import pytest

from extproc.detectors.values import VALUES, password, secret

RANDOM = "Zx7kQ2pL9vR4" + "tW8nB3mXy5"


@pytest.mark.parametrize(
    "value", [RANDOM, RANDOM.lower(), "f47ac10b-58cc-4372-a567-0e02b2c3d479", "a0d3" + "9c41b7e6f2805" * 2]
)
def test_long_varied_values_are_secrets(value: str) -> None:
    assert secret(value)


@pytest.mark.parametrize(
    "value",
    [
        RANDOM[:15],
        "aaaaaaaaaaaaaaaa1111",
        "my-service-account-name-1",
        "ControllerConfigurationFactory2",
        "your-" + RANDOM,
        "$" + RANDOM,
        "/usr/" + RANDOM,
        "12345678901234567890",
        "abcdefghijklmnopqrst",
    ],
)
def test_short_repeated_and_wordy_values_are_not(value: str) -> None:
    assert not secret(value)


@pytest.mark.parametrize("value", ["q8RvT2xLm9", "n7!kPz4_w", "Vq2-Lk9-Zt4"])
def test_mixed_values_are_passwords(value: str) -> None:
    assert password(value)


@pytest.mark.parametrize(
    "value", ["q8Rv", "hunter22", "P@ssw0rd1!", "adm1n1strat0r", "Summer2024!", "aaa1aaa1aaa1", "password", "A1A1A1A1"]
)
def test_words_stock_passwords_and_repetitions_are_not(value: str) -> None:
    assert not password(value)


@pytest.mark.parametrize("value", ["10:23:45.678Z", "2024-05-12T10:23:45Z", "0x7fff5fbff8a0", "D:/Work2/Src-3/x"])
def test_times_addresses_and_paths_are_no_passwords(value: str) -> None:
    assert not password(value)


def test_the_digest_of_something_is_no_secret() -> None:
    assert not secret("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b")


def test_every_check_stands_any_text() -> None:
    for check in VALUES.values():
        for value in ("x", "é" * 20, "1" * 48, "-" * 48, "\x00" * 20):
            assert not check(value)
