"""What holds for every dialect, by the data it ships: a new dialect adds data here, not tests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.chat import REMOVED, Edit, Frame, Malformed
from extproc.framing import SseFramer
from extproc.messages import Event, Expired, Forward, ResponseBody, ResponseHeaders
from extproc.strict_json import apply
from tests.dialects import shared
from tests.dialects.shared import SECRET, SENTENCE, Outcome, all_exchanges, exchanges, run, surfaces
from tests.dialects.support import DENIAL, LIMIT_BYTES, Case, byte_by_byte, cut, drain, raw, summary, texts
from tests.support.leaks import leaks
from tests.support.sessions import session
from tests.surfaces.matrix import dotted, nodes, objects_in, unpacked

CASES = all_exchanges()
ANSWERS = [case for case in CASES if case.status < 400]
STREAMS = [case for case in ANSWERS if case.decoder().streams]
EVENTS = [case for case in STREAMS if case.content_type == shared.SSE]
DOCUMENTS = [case for case in ANSWERS if not case.decoder().streams]
DESCRIBED = [name for name in shared.NAMES if shared.has_surfaces(name)]
CUTS = st.lists(st.integers(0, 5000), max_size=30)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def found(outcome: Outcome) -> list[str]:
    """The scopes in which a secret was found."""
    return [finding.scope for finding in outcome.record.findings if finding.rule.startswith("secrets")]


def label(case: Case) -> str:
    return case.name


each_answer = pytest.mark.parametrize("case", ANSWERS, ids=label)
each_stream = pytest.mark.parametrize("case", STREAMS, ids=label)
each_sse = pytest.mark.parametrize("case", EVENTS, ids=label)
each_dialect = pytest.mark.parametrize("name", shared.NAMES)
each_described = pytest.mark.parametrize("name", DESCRIBED)


# ---- the data itself ---------------------------------------------------------------------------------------------


@each_dialect
def test_every_dialect_ships_recordings_and_surfaces_that_can_be_read(name: str) -> None:
    assert list((shared.FOLDER / name).glob("*.json"))
    assert [case.dialect.name for case in exchanges(name)] == [name] * len(exchanges(name))
    described = surfaces(name)
    assert described.document is not None or described.stream
    assert described.outputs or described.inputs


@each_described
def test_the_plain_request_passes_the_default_policy_s_controls_as_it_came(name: str) -> None:
    for case in surfaces(name).plain():
        outcome = run(case, shared.guarded(), [case.body])
        assert outcome.passed, (outcome.record.reason, outcome.refusal)
        assert (outcome.request, outcome.answer) == (case.sent, case.body)


# ---- cuts and framing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=label)
def test_an_answer_reads_the_same_byte_by_byte(case: Case) -> None:
    whole = drain(case.decoder(), [case.body])
    assert raw(whole) == case.body
    assert summary(drain(case.decoder(), byte_by_byte(case.body))) == summary(whole)


@each_dialect
@given(st.data())
@FEW
def test_an_answer_reads_the_same_under_any_cuts(name: str, data: st.DataObject) -> None:
    case, places = data.draw(st.sampled_from(exchanges(name))), data.draw(CUTS)
    assert summary(drain(case.decoder(), cut(case.body, places))) == summary(drain(case.decoder(), [case.body]))


@pytest.mark.parametrize("case", CASES, ids=label)
def test_an_answer_in_which_nothing_is_found_leaves_as_it_came_byte_by_byte(case: Case) -> None:
    outcome = run(readable(case), shared.rules_only(), small_pieces(case.body))
    assert outcome.passed, (outcome.record.reason, outcome.refusal)
    assert outcome.answer == case.body


@each_dialect
@given(st.data())
@FEW
def test_an_answer_in_which_nothing_is_found_leaves_as_it_came_under_any_cuts(name: str, data: st.DataObject) -> None:
    case, places = data.draw(st.sampled_from(exchanges(name))), data.draw(CUTS)
    assert run(readable(case), shared.rules_only(), cut(case.body, places)).answer == case.body


def readable(case: Case) -> Case:
    """The exchange, with a plain request where the upstream refused the recorded one: so do we."""
    return (
        case
        if case.status < 400
        else replace(
            surfaces(case.dialect.name).asked(), status=case.status, content_type=case.content_type, body=case.body
        )
    )


def small_pieces(body: bytes) -> list[bytes]:
    """Byte by byte; a long body in as many pieces."""
    return byte_by_byte(body) if len(body) <= 512 else cut(body, range(0, len(body), len(body) // 512 + 1))


def same(case: Case, body: bytes, pieces: Sequence[bytes]) -> None:
    """The body says what the case's own says, and leaves as it is."""
    frames = drain(case.decoder(), pieces)
    assert raw(frames) == body
    assert summary(frames)[1:] == summary(drain(case.decoder(), [case.body]))[1:]
    outcome = run(case, shared.rules_only(), pieces)
    assert outcome.passed, outcome.record.reason
    assert outcome.answer == body


@each_sse
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_other_line_ends_say_the_same(case: Case, line_end: bytes) -> None:
    body = case.body.replace(b"\n", line_end)
    same(case, body, [body])
    same(case, body, small_pieces(body))


@each_sse
@pytest.mark.parametrize("alive", [b": ping\n\n", b":\n\n", b"\n", b"event: x\nid: 1\nretry: 5\n\n"])
def test_comments_and_keep_alives_change_nothing(case: Case, alive: bytes) -> None:
    body = alive + case.body.replace(b"\n\n", b"\n\n" + alive)
    same(case, body, [body])
    same(case, body, small_pieces(body))


@each_sse
def test_data_of_several_lines_says_the_same(case: Case) -> None:
    body = b"".join(several_lines(frame) for frame in shared.frames_of(case))
    same(case, body, [body])
    same(case, body, small_pieces(body))


def several_lines(frame: bytes) -> bytes:
    try:
        payload = json.loads(SseFramer.payload(frame) or b"")
    except ValueError:
        return frame
    data = b"".join(b"data: " + line + b"\n" for line in json.dumps(payload, indent=1).encode().splitlines())
    others = [line for line in frame.splitlines(keepends=True) if not line.startswith(b"data:") and line.strip()]
    return b"".join([*others, data, b"\n"])


@each_stream
def test_a_stream_without_its_last_event_leaves_as_far_as_it_goes(case: Case) -> None:
    frames = shared.frames_of(case)
    for length in (len(frames) - 1, len(frames) // 2, 1, 0):
        body = b"".join(frames[:length])
        outcome = run(case, shared.rules_only(), [body])
        if case.content_type == shared.JSON:  # a document that breaks off is none
            assert case.body.startswith(outcome.answer) or outcome.record.cut
        else:
            assert (outcome.answer, outcome.record.ended) == (body, "complete")


# ---- sizes -------------------------------------------------------------------------------------------------------

PROSE = "The quick brown fox rests by the river for a while. " * (1 + (1 << 20) // 52)


def huge(name: str, size: int) -> Iterator[Case]:
    """An answer of each framing with so much text in one frame."""
    described = surfaces(name)
    for streamed in (False, True):
        row = next((row for row in described.outputs if ("events" in row) == streamed and "denied" not in row), None)
        if row is not None:
            yield answered(name, row, [PROSE[:size]])


def answered(name: str, row: Any, pieces: Sequence[str]) -> Case:
    """The answer of an output row with this text."""
    described = surfaces(name)
    if "events" in row:
        assert described.stream
        kind = row.get("content_type", described.stream["content_type"])
        body = b"".join(shared.framed(shared.told(row["events"], pieces), kind))
        return described.answered(body, kind, streamed=True, row=row)
    document = shared.filled(shared.merged(described.document, row["put"]), "".join(pieces))
    return described.answered(json.dumps(document, ensure_ascii=False).encode(), shared.JSON, row=row)


@each_described
def test_a_frame_of_a_megabyte_passes_and_one_over_the_limit_is_refused(name: str) -> None:
    for case in huge(name, 1 << 20):
        outcome = run(case, shared.rules_only(), cut(case.body, range(0, len(case.body), 1 << 16)))
        assert outcome.passed, (outcome.record.reason, outcome.refusal)
        assert outcome.answer == case.body
        with pytest.raises(Malformed):
            drain(case.decoder(), [case.body])  # LIMIT_BYTES is a megabyte, and there is something around the text
    for case in huge(name, 100_000):
        small = {"response_bytes": "64KiB", "held_bytes": "1MiB"}
        outcome = run(case, shared.rules_only(limits=small), cut(case.body, range(0, len(case.body), 1 << 14)))
        assert outcome.record.reason == "unreadable_answer"
        assert PROSE[:1000].encode() not in outcome.answer


# ---- several choices ---------------------------------------------------------------------------------------------


@each_described
def test_secrets_in_interleaved_choices_are_found_in_each(name: str) -> None:
    described = surfaces(name)
    if not described.several:
        pytest.skip("one choice only")
    other = SECRET[:-6] + SECRET[-6:][::-1]
    events: list[Any] = []
    for event in described.several:
        repeats = next((mark for mark in ("@@0", "@@1") if shared.marked(event, mark)), None)
        events.append((repeats, event))
    body = b"".join(
        shared.framed(list(interleaved(events, (SENTENCE, f"and {SECRET} too"))), described.stream["content_type"])
    )
    assert other != SECRET
    case = described.answered(body, described.stream["content_type"], streamed=True)
    for pieces in ([body], byte_by_byte(body)):
        outcome = run(case, shared.rules_only(), pieces)
        assert len(found(outcome)) == 2
        assert not leaks(outcome.answer, SECRET)
        assert outcome.passed


def interleaved(events: Sequence[tuple[str | None, Any]], said: tuple[str, str]) -> Iterator[Any]:
    """The events in order; those of the two choices take turns, three characters each."""
    turns = [(mark, event) for mark, event in events if mark]
    done = False
    for mark, event in events:
        if not mark:
            yield event
        elif not done:
            done = True
            for at in range(0, max(map(len, said)), 3):
                for turn, each in turns:
                    if piece := said[int(turn[-1])][at : at + 3]:
                        yield shared.filled(each, piece, turn)


# ---- what nobody knows -------------------------------------------------------------------------------------------


def documents_of(case: Case) -> list[tuple[bytes, Any, Callable[[Any], bytes]]]:
    """The frames of an answer, what JSON is in each (None: nothing), and how another gets into its place."""
    return [(frame, *unpacked(case, frame)) for frame in shared.frames_of(case)]


def streams(case: Case) -> bool:
    return case.decoder().streams


def with_member(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    return apply(document, [Edit((*path, "x_unknown"), value)])


@each_answer
def test_unknown_members_anywhere_leave_as_they_came(case: Case) -> None:
    body = b""
    for frame, document, put in documents_of(case):
        if document is None:
            body += frame
            continue
        for path in sorted(objects_in(document), key=len, reverse=True):
            document = with_member(document, path, "plain words")
        body += put(document)
    outcome = run(case, shared.rules_only(), [body])
    assert outcome.passed, (outcome.record.reason, outcome.refusal)
    assert outcome.answer == body


@each_answer
def test_the_text_of_an_unknown_member_is_read_wherever_it_stands(case: Case) -> None:
    frames = documents_of(case)
    looked: set[str] = set()
    unread = []
    for at, (_, document, put) in enumerate(frames):
        for path in objects_in(document):
            shape = repr(
                ([step for step in path if isinstance(step, str)], sorted(document), str(document.get("type")))
                if isinstance(document, dict)
                else path
            )
            if shape in looked:
                continue
            looked.add(shape)
            changed = put(with_member(document, path, SENTENCE))
            body = b"".join([*(each for each, *_ in frames[:at]), changed, *(each for each, *_ in frames[at + 1 :])])
            outcome = run(case, shared.rules_only(), [body])
            if leaks(outcome.answer, SECRET) or (outcome.passed and not found(outcome)):
                unread.append((at, path))
    assert not unread


@each_stream
def test_unknown_events_leave_as_they_came_and_are_read(case: Case) -> None:
    frames = shared.frames_of(case)
    first, last = 0, len(frames) - 1
    if case.content_type.startswith(shared.JSON):  # an array: behind its first element, before its bracket
        first, last = 1, next((at for at, frame in enumerate(frames) if frame.strip().startswith(b"]")), 0)
    for place in sorted({first, (first + last + 1) // 2, last} & set(range(first, last + 1))):
        plain = [*frames[:place], unknown_event(case, "plain words"), *frames[place:]]
        outcome = run(case, shared.rules_only(), plain)
        assert outcome.passed, (place, outcome.record.reason)
        assert outcome.answer == b"".join(plain)
        told = [*frames[:place], unknown_event(case, SENTENCE), *frames[place:]]
        outcome = run(case, shared.rules_only(), told)
        assert found(outcome)
        assert not leaks(outcome.answer, SECRET)


def unknown_event(case: Case, text: str) -> bytes:
    document = json.dumps({"type": "x.unknown", "x_unknown": {"deep": [text]}}).encode()
    if case.content_type == shared.SSE:
        return b"event: x.unknown\ndata: " + document + b"\n\n"
    if case.content_type == shared.NDJSON:
        return document + b"\n"
    return b"," + document


# ---- answers that are none ---------------------------------------------------------------------------------------

PAGES = {
    "json": (shared.JSON, '{"error": {"message": "%s", "type": "server_error", "code": 500}}'),
    "string": (shared.JSON, '{"error": "%s"}'),
    "detail": (shared.JSON, '{"detail": [{"loc": ["body"], "msg": "%s"}]}'),
    "html": ("text/html; charset=utf-8", "<html><body><h1>Bad</h1><p>%s</p></body></html>"),
    "plain": ("text/plain", "upstream says: %s\n"),
    "untyped": ("", "%s"),
    "stream": (shared.SSE, 'data: {"error": {"message": "%s"}}\n\n'),
}


@each_described
@pytest.mark.parametrize("page", PAGES)
def test_an_upstream_s_error_is_read_as_one_text(name: str, page: str) -> None:
    kind, text = PAGES[page]
    for status in (400, 404, 429, 503):
        check_page(replace(surfaces(name).asked(), status=status, content_type=kind), text)


@each_described
@pytest.mark.parametrize("page", ["html", "plain", "untyped"])
def test_an_answer_of_another_type_is_read_as_one_text(name: str, page: str) -> None:
    kind, text = PAGES[page]
    check_page(replace(surfaces(name).asked(), content_type=kind), text)


def check_page(case: Case, text: str) -> None:
    plain = (text % "not today").encode()
    outcome = run(case, shared.rules_only(), byte_by_byte(plain))
    assert outcome.passed, outcome.record.reason
    assert outcome.answer == plain
    outcome = run(case, shared.rules_only(), [(text % SENTENCE).encode()])
    assert found(outcome) == ["response.body"]
    assert not leaks(outcome.answer, SECRET)
    assert b"[REDACTED" in outcome.answer


@each_described
@pytest.mark.parametrize("page", ["json", "string", "detail"])
def test_another_document_with_status_200_is_read_or_refused(name: str, page: str) -> None:
    case = replace(surfaces(name).asked(), content_type=shared.JSON)
    plain = (PAGES[page][1] % "not today").encode()
    outcome = run(case, shared.rules_only(), [plain])
    assert outcome.answer == plain if outcome.passed else outcome.record.reason == "unreadable_answer"
    outcome = run(case, shared.rules_only(), [(PAGES[page][1] % SENTENCE).encode()])
    assert found(outcome) or outcome.refusal or outcome.record.cut
    assert not leaks(outcome.answer, SECRET)


BROKEN = {
    "bytes": b"\xff\xfe\xff",
    "json": b'{"a": [}',
    "nested": b"[" * 400,
    "twice": b'{"a": 1, "a": 2}',
    "number": b"[1e999]",
}


@each_answer
@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_read_ends_in_the_api_s_own_shape(case: Case, what: str) -> None:
    bad = BROKEN[what]
    if not streams(case):
        refusal = run(case, shared.rules_only(), [bad]).refusal
        assert refusal is not None
        check_error(case, refusal.http.status, refusal.http.body, "could not be checked")
        return
    frames = shared.frames_of(case)
    bad = b"data: " + bad + b"\n\n" if case.content_type == shared.SSE else bad + b"\n"
    for length in sorted({0, 1, len(frames) // 2}):
        outcome = run(case, shared.rules_only(), [*frames[:length], bad])
        assert outcome.record.reason == "unreadable_answer"
        assert BROKEN[what] not in outcome.answer
        assert outcome.answer.startswith(b"".join(frames[:length])[: max(len(outcome.answer) - 1, 0)][:1])
        check_notice(case, outcome.answer, "could not be checked", closed=False)


def check_error(case: Case, status: int, body: bytes, message: str) -> None:
    assert message in json.dumps(json.loads(body))
    decoder = case.dialect.decoder(case.request, max(status, 400), shared.JSON, LIMIT_BYTES)
    assert message in "".join(texts(drain(decoder, [body])).values())


@each_answer
def test_a_compressed_answer_is_inflated_and_read_or_refused(case: Case) -> None:
    for coding, pack in (("gzip", gzip.compress), ("br", lambda data: b"\x1b" + data)):
        outcome = run(case, shared.rules_only(), [pack(case.body)], ("content-encoding", coding))
        if outcome.refusal is None:
            assert outcome.answer == case.body
        else:
            assert outcome.refusal.http.status in (502, 200)  # some clients read errors with 200 only
            check_error(case, 502, outcome.refusal.http.body, "could not be checked")
    body = gzip.compress(page := (PAGES["plain"][1] % SENTENCE).encode())
    hidden = replace(case, status=500, content_type="text/plain")
    outcome = run(hidden, shared.rules_only(), [body], ("content-encoding", "gzip"))
    assert outcome.refusal is not None or found(outcome)
    assert body not in outcome.answer
    assert page not in outcome.answer


# ---- ends --------------------------------------------------------------------------------------------------------


def check_notice(case: Case, body: bytes, message: str, *, closed: bool) -> None:
    """The body can be read to its end, and says the message, unless it had been closed before."""
    frames = drain(case.decoder(), [body])
    said = " ".join(texts(frames).values())
    silent = shared.has_surfaces(case.dialect.name) and surfaces(case.dialect.name).cutoff == "silent"
    assert closed or silent or message in said


def closed_by(frames: Sequence[Frame]) -> frozenset[int]:
    return frozenset(choice for frame in frames for choice in frame.closes)


def is_over(case: Case, left: Sequence[Frame]) -> bool:
    """Whether every choice that the client knows of is closed."""
    known = {choice for frame in left for choice in frame.choices or ()}
    return bool(closed_by(left)) and known <= closed_by(left)


@each_stream
def test_a_cut_at_any_frame_ends_well_formed_and_says_so(case: Case) -> None:
    whole = drain(case.decoder(), [case.body])
    for left in range(len(whole) + 1):
        for read in {left, min(left + 3, len(whole))}:  # what is held was read, but has not left
            decoder = case.decoder()
            drain(decoder, [frame.raw for frame in whole[:read]], end=False)
            gone = whole[:left]
            steps = [step for frame in gone for step in frame.steps]
            end = decoder.cutoff(DENIAL, closed_by(gone), steps)
            check_notice(case, raw(gone) + end, DENIAL.message, closed=is_over(case, gone))


@each_stream
def test_a_failure_at_any_frame_of_an_exchange_ends_it_well_formed(case: Case) -> None:
    whole = drain(case.decoder(), [case.body])
    for read in range(len(whole) + 1):
        exchange = session(shared.rules_only())
        replies = shared.ask(exchange, case)
        replies += exchange.receive(ResponseHeaders(((":status", "200"), ("content-type", case.content_type))))
        for frame in whole[:read]:
            replies += exchange.receive(ResponseBody(frame.raw))
        replies += exchange.receive(Expired("exchange"))
        outcome = shared.outcome(exchange, replies)
        assert any(isinstance(reply, Forward) and reply.end for reply in replies[-1:])
        check_notice(case, outcome.answer, "could not be checked", closed=is_over(case, whole[:read]))


@each_described
def test_what_a_cut_off_repeats_of_the_answer_was_read(name: str) -> None:
    assert sorted(set(repeated(name))) == []


def repeated(name: str) -> Iterator[str]:
    """The places of an answer's first frames that a cut-off right behind them says again, whatever stands there."""
    tried = set()
    for case in surfaces(name).plain():
        frames = shared.frames_of(case)
        for at, (_, document, put) in enumerate(documents_of(case)[:6]):
            for path in nodes(document):
                if (case.name, path) not in tried:
                    tried.add((case.name, path))
                    changed = put(apply(document, [Edit(path, SENTENCE)]))
                    exchange = session(shared.rules_only())
                    replies = shared.ask(exchange, case)
                    headers = ResponseHeaders(((":status", "200"), ("content-type", case.content_type)))
                    bodies: list[Event] = [ResponseBody(frame) for frame in (*frames[:at], changed)]
                    for event in (headers, *bodies, Expired("exchange")):
                        replies += exchange.receive(event)
                    outcome = shared.outcome(exchange, replies)
                    late = outcome.refusal.late if outcome.refusal else None
                    if leaks(outcome.answer + (late or b""), SECRET):
                        yield dotted(path)


@each_described
def test_a_refusal_is_json_of_the_api_s_shape_with_the_message(name: str) -> None:
    for case in surfaces(name).plain():
        for reply in (case.dialect.refusal(DENIAL), case.dialect.refusal(DENIAL, case.request)):
            assert reply.status in (DENIAL.status, 200)
            check_error(case, reply.status, reply.body, DENIAL.message)


@each_described
def test_a_refusal_as_a_message_is_an_answer_that_shows_it(name: str) -> None:
    for case in surfaces(name).plain():
        reply = case.dialect.refusal_message(DENIAL, case.request)
        if surfaces(name).message == "error":
            assert reply == case.dialect.refusal(DENIAL, case.request)
            continue
        assert reply.status == 200
        decoder = case.dialect.decoder(case.request, 200, reply.content_type, LIMIT_BYTES)
        assert decoder.streams == streams(case) or surfaces(name).ask_stream is None
        assert DENIAL.message in " ".join(texts(drain(decoder, [reply.body])).values())


# ---- edits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=label)
def test_every_path_of_an_answer_can_be_edited(case: Case) -> None:
    for frame in drain(case.decoder(), [case.body]):
        assert frame.render(()) == frame.raw
        for path in {delta.path for delta in frame.deltas} | {piece.arguments_path for piece in frame.calls}:
            assert b"<edited>" in frame.render([Edit(path, "<edited>")])


@each_answer
def test_every_text_of_a_request_can_be_edited_and_read_back(case: Case) -> None:
    document = dict(case.request.document)
    for text in case.request.texts:
        if text.path:
            assert "<edited>" in json.dumps(apply(document, [Edit(text.path, "<edited>")]))
            assert apply(document, [Edit(text.path, REMOVED)]) != document
