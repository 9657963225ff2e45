"""No secret survives in a recorded body, however it is written, and everything else does."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.runtime.assets import asset
from extproc.runtime.scrub import Scrubber
from extproc.runtime.server import secret_detectors
from extproc.runtime.yaml_source import read_yaml
from tests.support.streams import DONE, chunk, secrets_policy

DETECTORS: Final = secret_detectors(secrets_policy())[:1]
SCRUBBER: Final = Scrubber(DETECTORS)
EXAMPLES: Final = [
    pytest.param(example[::-1], id=f"{rule['id']}-{number}")
    for rule in read_yaml(asset("policies/packs/secrets.yaml").read_text(encoding="utf-8")).data["rules"]
    for number, example in enumerate(rule["match"][:1])
]
KEY: Final = "AKIA" + "Q3EGXKP7VWLZ2M5N"


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def _spoken(text: str) -> bytes:
    """A streamed answer that says it character by character."""
    events = (json.dumps({"choices": [{"index": 0, "delta": {"content": char}}]}) for char in text)
    return b"".join(b"data: " + event.encode() + b"\n\n" for event in events)


def _said(body: bytes) -> str:
    """What a streamed answer says, whichever choice says it."""
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def _secrets(text: str) -> list[str]:
    return [text[match.start : match.end] for detector in DETECTORS for match in detector.scan(text).matches]


def _forms(text: str) -> dict[str, bytes]:
    return {
        "plain": text.encode(),
        "json": json.dumps({"messages": [{"role": "user", "content": f"here: {text}"}]}).encode(),
        "pretty json": json.dumps({"content": text}, indent=2).encode(),
        "escaped": f'{{"content": "{_escaped(text)}"}}'.encode(),
        "arguments": json.dumps({"arguments": json.dumps({"value": text})}).encode(),
        "streamed": _spoken(text) + DONE,
        "ndjson": b"".join(json.dumps({"message": {"content": char}}).encode() + b"\n" for char in text),
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_secret_that_a_rule_finds_is_overwritten_in_every_form(example: str) -> None:
    secrets = _secrets(example)
    assert secrets
    for form, body in _forms(example).items():
        scrubbed = SCRUBBER.body(body, complete=True)
        assert len(scrubbed.body) == len(body), form
        assert scrubbed.replaced, form
        assert not scrubbed.withheld, form
        text = _said(scrubbed.body) if form == "streamed" else scrubbed.body.decode()
        assert not any(secret in text for secret in secrets), form


def test_what_is_no_secret_stays_byte_for_byte() -> None:
    for body in _forms('Grüße, "quoted" \\ 漢字 \U0001f600\n').values():
        assert SCRUBBER.body(body, complete=True).body == body
    assert SCRUBBER.body(b"", complete=True).body == b""


def test_only_the_secret_is_overwritten() -> None:
    (secret,) = _secrets(KEY)
    clean = SCRUBBER.body(_spoken(f"before {KEY} after") + DONE, complete=True).body
    assert _said(clean) == f"before {KEY.replace(secret, 'x' * len(secret))} after"
    assert clean.endswith(DONE)


def test_a_secret_that_is_seen_in_several_views_counts_once() -> None:
    assert SCRUBBER.body(json.dumps({"a": KEY}).encode(), complete=True).replaced == 1


def test_choices_that_speak_in_turn_are_read_apart() -> None:
    body = b"".join(chunk(char, index=0) + chunk("z", index=1) for char in KEY) + DONE
    clean = SCRUBBER.body(body, complete=True).body
    events = [json.loads(line[6:])["choices"][0] for line in clean.splitlines() if line.startswith(b"data: {")]
    assert _secrets(KEY)[0] not in "".join(event["delta"]["content"] for event in events if event["index"] == 0)
    assert {event["delta"]["content"] for event in events if event["index"] == 1} == {"z"}


def test_streamed_arguments_are_read_as_the_json_that_they_spell() -> None:
    arguments = json.dumps({"key": KEY})
    calls = [{"tool_calls": [{"index": 0, "function": {"arguments": char}}]} for char in arguments]
    body = b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": call}]}).encode() + b"\n\n" for call in calls
    )
    clean = SCRUBBER.body(body, complete=True).body
    spelled = "".join(
        json.loads(line[6:])["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
        for line in clean.splitlines()
        if line
    )
    assert _secrets(arguments)[0] not in spelled
    assert json.loads(spelled)["key"].startswith(("AKIA", "x"))


def test_copies_that_no_detector_reads_are_always_overwritten() -> None:
    tokens = [{"token": piece, "logprob": -0.5, "bytes": list(piece.encode()), "top_logprobs": []} for piece in KEY]
    body = json.dumps(
        {"choices": [{"logprobs": {"content": tokens}}], "context": [101, 7, 45], "text": "[12, 13]"}
    ).encode()
    clean = SCRUBBER.body(body, complete=True).body
    document = json.loads(clean)
    written = document["choices"][0]["logprobs"]["content"]
    assert {token["token"] for token in written} == {"x"}
    assert {tuple(token["bytes"]) for token in written} == {(11,)}
    assert {token["logprob"] for token in written} == {-0.5}
    assert document["context"] == [111, 1, 11]
    assert document["text"] == "[12, 13]"


def test_what_a_cut_answer_had_begun_to_say_is_overwritten() -> None:
    for length in range(1, len(KEY)):
        body = _spoken(f"so: {KEY[:length]}")
        clean = _said(SCRUBBER.body(body, complete=False).body)
        assert clean.startswith("so: ")
        assert KEY[4:length] not in clean or length <= 4


def test_a_line_that_was_cut_off_is_overwritten_whole() -> None:
    whole, torn = chunk("hello"), chunk("world")[:-20]
    clean = SCRUBBER.body(whole + torn, complete=False)
    assert clean.body[len(whole) :] == b"x" * len(torn)
    assert _said(clean.body[: len(whole)]).startswith("hell")
    assert not clean.withheld


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b'{"a": ',
        b'data: {"a": \n\n',
        b"[" * 100_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
)
def test_a_body_that_cannot_be_read_is_withheld_whole(body: bytes) -> None:
    scrubbed = SCRUBBER.body(body, complete=True)
    assert scrubbed.withheld
    assert scrubbed.body == b"x" * len(body)


def test_sse_of_plain_text_is_read_across_its_lines() -> None:
    body = b"".join(b"data: " + char.encode() + b"\r\n\r\n" for char in KEY)
    clean = SCRUBBER.body(body, complete=True).body
    assert _secrets(KEY)[0] not in "".join(re.findall(r"data: (.)", clean.decode()))


@settings(max_examples=200, deadline=None)
@given(
    st.binary() | st.text().map(str.encode) | st.text('{}[]",:\\u0041d1 \n', max_size=60).map(str.encode), st.booleans()
)
def test_no_body_makes_it_raise_or_change_its_length(body: bytes, complete: bool) -> None:
    scrubbed = SCRUBBER.body(body, complete=complete)
    assert len(scrubbed.body) == len(body)
    assert not _secrets(scrubbed.body.decode(errors="replace"))


def test_a_header_value_or_a_path_is_cleaned_too() -> None:
    assert SCRUBBER.text(b"/v1/chat/completions") == b"/v1/chat/completions"
    assert _secrets(KEY)[0].encode() not in SCRUBBER.text(f"/bot/{KEY}/send".encode())
