"""What holds for every dialect whatever the bytes: no damage does worse than be malformed; frames known by their looks.

What holds for the answers that a dialect ships is in ``tests.dialects.test_shared``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.chat import ChatRequest, Edit, Frame, Malformed
from extproc.dialects.base import Decoder
from extproc.dialects.templates import Templates
from tests.dialects.support import (
    DENIAL,
    LIMIT_BYTES,
    LIMITS,
    Case,
    cases,
    cut,
    drain,
    summary,
)

CASES = cases()
CUTS = st.lists(st.integers(0, 5000), max_size=30)


def mutations(body: bytes) -> st.SearchStrategy[bytes]:
    """A recorded answer with a piece replaced by noise."""
    noise = st.binary(max_size=8) | st.sampled_from(
        [b'"', b"{", b"]", b"\\u", b"\n\n", b"data:", b"\r", b"null", b"-1"]
    )
    place = st.integers(0, len(body))
    return st.tuples(place, noise, st.integers(0, 20)).map(
        lambda change: body[: change[0]] + change[1] + body[change[0] + change[2] :]
    )


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Case, bytes]:
    case = draw(st.sampled_from(CASES))
    return case, draw(mutations(case.body) | st.binary(max_size=60))


def outcome(decoder: Decoder, pieces: Sequence[bytes]) -> tuple[list[object], bool]:
    frames: list[Frame] = []

    def feed() -> Iterator[Frame]:
        for piece in pieces:
            yield from decoder.feed(piece, False)
        yield from decoder.feed(b"", True)

    with contextlib.suppress(Malformed):
        for frame in feed():
            frames.append(frame)  # noqa: PERF402 - keeps what came out before it raised
        return [summary(frames)], True
    return [summary([frame for frame in frames if frame.deltas or frame.calls])], False


@given(damaged(), CUTS)
def test_damage_is_malformed_at_worst_and_the_same_under_any_cuts(
    damage: tuple[Case, bytes], places: list[int]
) -> None:
    case, body = damage
    whole = outcome(case.decoder(), [body])
    assert outcome(case.decoder(), cut(body, places)) == whole
    if whole[1]:
        assert summary(drain(case.decoder(), [body]))[0] == body


@given(st.sampled_from(CASES), st.data())
def test_any_request_bytes_are_read_or_malformed(case: Case, data: st.DataObject) -> None:
    body = json.dumps(dict(case.request.document)).encode()
    request: object = case.request
    with contextlib.suppress(Malformed):
        request = case.dialect.read_request(case.head, data.draw(mutations(body) | st.binary(max_size=40)), LIMITS)
    assert isinstance(request, ChatRequest)


# ---- templates: a frame that is known by its looks is the frame that a full reading gives ----

SAID = st.text(max_size=6) | st.sampled_from(
    [
        "word",
        " the",
        "\n",
        '"',
        "\\",
        "é",
        "\u2028",
        "\ud83d",
        '","x":"y',
        '"}}],"a":[{"',
        "assistant",
        "\u2060probe\u2060",
    ]
)
HOSTILE = [
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\0",
    b"\r",
    b"\n",
    b"\xff",
    b',"index":1',
    b'"x":"y",',
    b"{",
    b"]",
    b" ",
    b":",
]


def openai_event(said: str, choice: int, member: str, obfuscation: str | None, finish: str | None) -> dict[str, object]:
    inner = {"index": choice, "delta": {member: said}, "logprobs": None, "finish_reason": finish}
    end = {} if obfuscation is None else {"obfuscation": obfuscation}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [inner], **end}


def ollama_line(said: str, model: str, at: object, member: str, done: bool) -> dict[str, object]:
    return {"model": model, "created_at": at, "message": {"role": "assistant", member: said}, "done": done}


OPENAI_EVENTS = st.builds(
    openai_event,
    SAID,
    st.integers(0, 1),
    st.sampled_from(["content", "content", "reasoning", "refusal", "extra"]),
    st.none() | st.text("ab", max_size=3),
    st.sampled_from([None, None, None, None, None, "stop"]),
) | st.sampled_from(
    [
        {"id": "c1", "choices": [], "usage": {"total_tokens": 3}},
        {"id": "c1", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"total_tokens": 4}},
        {"error": {"message": "word"}},
    ]
)
OLLAMA_LINES = st.builds(
    ollama_line,
    SAID,
    st.sampled_from(["m", "m", "m", "other"]),
    st.sampled_from(["12:01", "12:02", "12:03", "", 7, None]),
    st.sampled_from(["content", "content", "thinking"]),
    st.sampled_from([False, False, False, False, True]),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A stream of one dialect as its frames, mostly alike, some of them damaged."""
    name = draw(st.sampled_from(["openai.chat/stream", "ollama.chat/stream"]))
    sse = name.startswith("openai")
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    frames = []
    for document in draw(st.lists(OPENAI_EVENTS if sse else OLLAMA_LINES, min_size=2, max_size=8)):
        text = json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators)
        raw = text.encode("utf-8", "backslashreplace")
        if draw(st.integers(0, 9)) == 0:
            place = draw(st.integers(0, len(raw)))
            raw = raw[:place] + draw(st.sampled_from(HOSTILE)) + raw[place + draw(st.integers(0, 2)) :]
        frames.append((b"data: " + raw + line_end.encode() * 2) if sse else raw + line_end.encode())
    return name, frames


def told(name: str, frames: Sequence[bytes]) -> tuple[list[object], str, bytes]:
    """All that a decoder says of these frames: what is in each, how each is edited, what is wrong, and the end."""
    recorded = next(case for case in CASES if case.name == name)
    decoder = recorded.dialect.decoder(
        ChatRequest(recorded.dialect.name, "asked", stream=True, document={}), 200, recorded.content_type, LIMIT_BYTES
    )
    said: list[object] = []
    wrong = ""
    try:
        for raw in [*frames, b""]:
            for frame in decoder.feed(raw, not raw):
                paths = {delta.path for delta in frame.deltas}
                edited = [frame.render([Edit(path, "<edited>")]) for path in sorted(paths, key=str)]
                said.append((frame.raw, *frame[2:], frame.render(()), edited))
    except Malformed as why:
        wrong = str(why)
    return said, wrong, decoder.cutoff(DENIAL)


@given(streams())
def test_a_frame_known_by_its_looks_is_the_one_that_a_full_reading_gives(stream: tuple[str, list[bytes]]) -> None:
    found = told(*stream)
    with mock.patch.object(Templates, "learn", return_value=None):
        assert found == told(*stream)


@pytest.mark.parametrize("name", ["openai.chat/stream", "ollama.chat/stream", "ollama.generate/stream"])
def test_most_of_a_recorded_stream_is_known_by_its_looks(name: str) -> None:
    recorded = next(case for case in CASES if case.name == name)
    found = []
    known = Templates.frame

    def counting(templates: Templates, raw: bytes) -> Frame | None:
        frame = known(templates, raw)
        found.append(frame is not None)
        return frame

    with mock.patch.object(Templates, "frame", counting):
        drain(recorded.decoder(), [recorded.body])
    assert found.count(False) <= 5
    assert found.count(True) >= len(found) - 5
