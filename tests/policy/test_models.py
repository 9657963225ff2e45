from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.models import BadName, compile_models, normalise


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("llama3.2", "registry.ollama.ai/library/llama3.2:latest"),
        ("llama3.2:latest", "registry.ollama.ai/library/llama3.2:latest"),
        ("LLAMA3.2:3B", "registry.ollama.ai/library/llama3.2:3b"),
        (" llama3.2:3b\n", "registry.ollama.ai/library/llama3.2:3b"),
        ("library/llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("registry.ollama.ai/library/llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("https://registry.ollama.ai/library/llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("ollama://llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("llama3.2:3b:local", "registry.ollama.ai/library/llama3.2:3b"),
        ("llama3.2:LOCAL", "registry.ollama.ai/library/llama3.2:latest"),
        ("hf.co/org/model:Q4_K_M", "hf.co/org/model:q4_k_m"),
        ("localhost:5000/team/model", "localhost:5000/team/model:latest"),
        ("meta-llama/Llama-3.1-8B-Instruct", "registry.ollama.ai/meta-llama/llama-3.1-8b-instruct:latest"),
        ("accounts/acme/models/chat-1", "accounts/acme/models/chat-1:latest"),
        ("ft:gpt-4o-mini:acme::abc", "registry.ollama.ai/library/ft:gpt-4o-mini:acme::abc"),
        ("/models/chat.gguf", "/models/chat.gguf:latest"),
    ],
)
def test_spellings_of_a_name_have_one_normal_form(spelling: str, normal: str) -> None:
    assert str(normalise(spelling)) == normal


@pytest.mark.parametrize(
    "name",
    [
        "", "  ", ":3b", "a:", "a//b", "a/", "../a", "a/../b", "a..b", "a\\b", "a b", "a\x00b", "a\x1b[0m", "a\u200bb",
        "a\ud800", "a\nb:1", "https://", "x" * 257,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_without_being_quoted(name: str) -> None:
    why = compile_models(["*"], pinned=False).refusal(name)

    assert why is not None
    assert len(why) < 80


@given(st.text(max_size=40))
def test_no_text_makes_the_allowlist_fail(name: str) -> None:
    allowlist = compile_models(["good:1", "ok*"], pinned=True)

    assert allowlist.refusal(name) is None or isinstance(allowlist.refusal(name), str)


@given(st.from_regex(r"([a-z]{1,5}/){0,3}[a-z.-]{1,6}(:[a-z0-9_]{1,5})?", fullmatch=True))
def test_a_normal_form_is_its_own_normal_form(name: str) -> None:
    try:
        once = normalise(name)
    except BadName:
        return
    assert normalise(str(once)) == once


@pytest.mark.parametrize(
    ("entry", "asked", "allowed"),
    [
        ("llama3.2:3b", "llama3.2:3b", True),
        ("llama3.2:3b", "Library/LLAMA3.2:3b:local", True),
        ("llama3.2:3b", "llama3.2:1b", False),
        ("llama3.2:3b", "other/llama3.2:3b", False),
        ("llama3.2:3b", "hf.co/library/llama3.2:3b", False),
        ("llama3.2:3b", "llama3.2", False),
        # A bare or moving name that the operator listed letter for letter, in both its spellings.
        ("llama3.2", "llama3.2:latest", True),
        ("llama3.2:latest", "llama3.2", True),
        ("gpt-4o", "gpt-4o", True),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", True),
        # Globs go part by part, and never admit a name that moves.
        ("llama3.2:*", "llama3.2:3b", True),
        ("llama3.2:*", "llama3.2:latest", False),
        ("llama3.2:*", "llama3.2", False),
        ("llama*", "llama3.2:3b", True),
        ("llama*", "llama3.2", False),
        ("llama*", "team/llama3.2:3b", False),
        ("team/*", "team/llama3.2:3b", True),
        ("team/*", "evil.example/team/llama3.2:3b", False),
        ("hf.co/*/*", "hf.co/org/model:q4", True),
        ("*", "hf.co/org/model:q4", True),
        ("*", "llama3.2", False),
        # Prompts stay in the cluster unless the operator said otherwise.
        ("gpt-oss:*", "gpt-oss:20b-cloud", False),
        ("*", "gpt-oss:20b:cloud", False),
        ("*", "gpt-oss:CLOUD", False),
        ("gpt-oss:20b-cloud", "gpt-oss:20b-cloud", True),
        ("my-cloud-model:1", "my-cloud-model:1", True),
    ],
)
def test_a_pinned_allowlist(entry: str, asked: str, allowed: bool) -> None:
    assert (compile_models([entry], pinned=True).refusal(asked) is None) == allowed


@pytest.mark.parametrize(
    ("entry", "asked"), [("gpt-*", "gpt-4o"), ("*", "gpt-4o"), ("meta-llama/*", "meta-llama/Llama-3.1-8B-Instruct")]
)
def test_globs_admit_names_without_tags_where_nothing_is_pinned(entry: str, asked: str) -> None:
    assert compile_models([entry], pinned=False).refusal(asked) is None


def test_a_cloud_model_is_refused_where_nothing_is_pinned_too() -> None:
    assert compile_models(["*"], pinned=False).refusal("gpt-oss:20b-cloud") is not None


def test_an_allowlist_without_entries_is_empty() -> None:
    assert [compile_models(entries, pinned=True).empty for entries in ([], ["a:1"], ["a*"])] == [True, False, False]


def test_the_refusal_says_what_to_do() -> None:
    allowlist = compile_models(["a:1"], pinned=True)

    assert (
        allowlist.refusal(" a:latest ") == 'model "a:latest" is not approved: name one with a tag other than "latest"'
    )
    assert allowlist.refusal("b:1") == 'model "b:1" is not approved'
    assert allowlist.refusal("a:1-cloud") == 'model "a:1-cloud" is not approved: it runs outside this cluster'
