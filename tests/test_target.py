"""Request targets: only a path that every server reads alike is matched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.target import UnsafeTarget, encoding_of, split_target, status_of


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions?api-version=1", "/v1/chat/completions"),
        ("/", "/"),
        ("/v1/models/llama3.2:3b", "/v1/models/llama3.2:3b"),
        ("/v1/models/a%20b", "/v1/models/a%20b"),
        ("/x?next=//other/..;%2f", "/x"),
    ],
)
def test_a_path_in_normal_form_is_taken_as_it_is(target: str, path: str) -> None:
    assert split_target(target) == path


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat/%63ompletions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/../api/pull",
        "/v1/chat/completions/..",
        "/v1/chat;x=1/completions",
        "/v1%2fchat/completions",
        "/v1%2Fchat/completions",
        "/v1/%2e%2e/api/pull",
        "/v1\\chat\\completions",
        "/v1%5cchat",
        "/v1/%zz",
        "/v1/%",
        "/v1/%4",
        "/v1/%00",
        "/v1/%0a",
        "/v1/%25",
        "/v1/chat completions",
        "/v1/ch\u00e4t",
        "/v1/chat\tcompletions",
        "/v1/chat#top",
        "http://other/v1/chat/completions",
        "*",
        "",
        "v1/chat",
    ],
)
def test_a_path_that_two_servers_may_read_differently_is_refused(target: str) -> None:
    with pytest.raises(UnsafeTarget):
        split_target(target)


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_unsafe(target: str) -> None:
    try:
        path = split_target("/" + target)
    except UnsafeTarget:
        return
    assert ("/" + target).startswith(path)
    assert "//" not in path


def test_one_encoding_among_several_counts() -> None:
    assert encoding_of((("content-encoding", "deflate"), ("content-encoding", "identity"))) == "deflate"
    assert encoding_of((("content-encoding", "gzip"), ("content-encoding", "BR"))) == "gzip, br"
    assert encoding_of((("content-encoding", "Identity"), ("content-type", "gzip"))) == ""


@pytest.mark.parametrize(("text", "status"), [("200", 200), ("", 0), ("abc", 0), ("\u0662", 0)])
def test_a_status_is_a_number_or_none(text: str, status: int) -> None:
    assert status_of({":status": text}) == status
