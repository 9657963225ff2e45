"""What Envoy is told, message by message, in each body mode."""

from __future__ import annotations

from typing import Any, cast

import pytest

from extproc.messages import (
    Abort,
    Consult,
    Consulted,
    Continue,
    ContinueTrailers,
    Direction,
    Expired,
    Forward,
    HttpReply,
    Misconfigured,
    Opinion,
    Question,
    Refuse,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
)
from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.wire import BodyMode, BodyModes, Conversation, ProtocolError
from extproc.session import Session
from tests.support.scripted import ScriptedSession

REQUEST, RESPONSE = Direction.REQUEST, Direction.RESPONSE
MODES = {"STREAMED": 1, "BUFFERED": 2, "FULL_DUPLEX_STREAMED": 4}
HEADERS = Continue(REQUEST, (("accept-encoding", "identity"),), held=True)


def talk(session: ScriptedSession, modes: BodyModes | None = None) -> Conversation:
    return Conversation(cast("Session", session), modes)


def headers(kind: str, end: bool = False, **fields: Any) -> pb.ProcessingRequest:
    pairs = [pb.HeaderValue(key=":path", raw_value=b"/x"), pb.HeaderValue(key="x-odd", raw_value=b"\xff")]
    value = pb.HttpHeaders(headers=pb.HeaderMap(headers=pairs), end_of_stream=end)
    return pb.ProcessingRequest(**{kind: value}, **fields)


def first(request: str, response: str = "FULL_DUPLEX_STREAMED", nowait: bool = False, end: bool = False) -> Any:
    config = pb.ProtocolConfiguration(
        request_body_mode=MODES.get(request, 0),  # type: ignore[arg-type]
        response_body_mode=MODES.get(response, 0),  # type: ignore[arg-type]
        send_body_without_waiting_for_header_response=nowait,
    )
    return headers("request_headers", end, protocol_config=config)


def request_body(data: bytes, end: bool = False) -> pb.ProcessingRequest:
    return pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=end))


def response_body(data: bytes, end: bool = False) -> pb.ProcessingRequest:
    return pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end))


def said(replies: list[pb.ProcessingResponse]) -> list[object]:
    """Replies in short: ``headers``, ``same`` (CONTINUE), ``clear``, the bytes of a mutation, ``trailers``."""
    return [_said(reply) for reply in replies]


def _said(reply: pb.ProcessingResponse) -> object:
    kind = reply.WhichOneof("response") or ""
    if kind == "immediate_response":
        return reply.immediate_response.status.code
    if not kind.endswith("body"):
        return kind.removeprefix("request_").removeprefix("response_")
    mutation = getattr(reply, kind).response.body_mutation
    match mutation.WhichOneof("mutation"):
        case "body":
            return mutation.body
        case "clear_body":
            return "clear"
        case "streamed_response":
            return (mutation.streamed_response.body, mutation.streamed_response.end_of_stream)
    return "same"


def test_headers_reach_the_session_in_order_with_every_byte() -> None:
    session = ScriptedSession([])
    talk(session).receive(first("FULL_DUPLEX_STREAMED"))
    assert session.events == [RequestHeaders(((":path", "/x"), ("x-odd", "\xff")))]


def test_attributes_of_envoy_reach_the_session() -> None:
    session = ScriptedSession([])
    message = first("FULL_DUPLEX_STREAMED")
    message.attributes["envoy.filters.http.ext_proc"].update({"xds.route_name": "chat"})
    talk(session).receive(message)
    assert cast("RequestHeaders", session.events[0]).attributes == {"xds.route_name": "chat"}


class TestRequestStreamedNowait:
    """The recommended mode: nothing goes upstream before the verdict."""

    def start(self, *script: Any) -> tuple[Conversation, list[object]]:
        conversation = talk(ScriptedSession([HEADERS], *script))
        return conversation, said(conversation.receive(first("STREAMED", nowait=True)))

    def test_the_header_reply_is_withheld_until_the_verdict(self) -> None:
        conversation, began = self.start([], [Forward(REQUEST, b"abcd", end=True)])
        assert began == []
        assert said(conversation.receive(request_body(b"ab"))) == []
        assert said(conversation.receive(request_body(b"cd", end=True))) == ["headers", "same", "same"]

    def test_a_changed_body_rides_on_the_first_chunk_and_clears_the_rest(self) -> None:
        conversation, _ = self.start([], [Forward(REQUEST, b"XY", end=True)])
        conversation.receive(request_body(b"ab"))
        assert said(conversation.receive(request_body(b"cd", end=True))) == ["headers", b"XY", "clear"]

    def test_a_refusal_needs_no_other_reply(self) -> None:
        refusal = Refuse(HttpReply(403, b"no", headers=(("x-id", "1"),)))
        conversation, _ = self.start([refusal])
        (reply,) = conversation.receive(request_body(b"ab", end=True))
        assert reply.immediate_response.status.code == 403
        assert [(h.header.key, h.header.raw_value) for h in reply.immediate_response.headers.set_headers] == [
            ("content-type", b"application/json"),
            ("x-id", b"1"),
        ]

    def test_nothing_is_said_after_a_refusal(self) -> None:
        conversation, _ = self.start([Refuse(HttpReply(413, b"no"))], [Forward(REQUEST, b"late", end=True)])
        assert said(conversation.receive(request_body(b"ab"))) == [413]
        assert conversation.receive(request_body(b"cd", end=True)) == []

    def test_trailers_wait_behind_the_body(self) -> None:
        conversation, _ = self.start([], [Forward(REQUEST, b"ab"), ContinueTrailers(REQUEST)])
        conversation.receive(request_body(b"ab"))
        assert said(conversation.receive(pb.ProcessingRequest(request_trailers=pb.HttpTrailers()))) == [
            "headers",
            "same",
            "trailers",
        ]

    def test_outside_buffered_content_length_is_taken_off(self) -> None:
        conversation, _ = self.start([Forward(REQUEST, b"ab", end=True)])
        reply = conversation.receive(request_body(b"ab", end=True))[0]
        assert list(reply.request_headers.response.header_mutation.remove_headers) == ["content-length"]

    def test_a_request_without_a_body_gets_only_its_headers(self) -> None:
        conversation = talk(ScriptedSession([Continue(REQUEST), Forward(REQUEST, b"", end=True)]))
        assert said(conversation.receive(first("STREAMED", nowait=True, end=True))) == ["headers"]


class TestRequestStreamed:
    """Without nowait the headers must go before the body comes; the last chunk is kept open for what may ride on it."""

    def start(self, *script: Any) -> Conversation:
        conversation = talk(ScriptedSession([HEADERS], *script))
        assert said(conversation.receive(first("STREAMED"))) == ["headers"]
        return conversation

    def test_chunks_are_cleared_until_the_verdict_and_the_body_rides_on_the_last(self) -> None:
        conversation = self.start([], [], [Forward(REQUEST, b"abcdef", end=True)])
        assert said(conversation.receive(request_body(b"ab"))) == []
        assert said(conversation.receive(request_body(b"cd"))) == ["clear"]
        assert said(conversation.receive(request_body(b"ef", end=True))) == [b"abcdef", "clear"]

    def test_the_body_rides_on_the_last_chunk_also_when_trailers_end_it(self) -> None:
        conversation = self.start([], [Forward(REQUEST, b"ab"), ContinueTrailers(REQUEST)])
        conversation.receive(request_body(b"ab"))
        trailers = pb.ProcessingRequest(request_trailers=pb.HttpTrailers())
        assert said(conversation.receive(trailers)) == ["same", "trailers"]


class TestRequestBuffered:
    def start(self, *script: Any) -> Conversation:
        conversation = talk(ScriptedSession([HEADERS], *script))
        assert said(conversation.receive(first("BUFFERED"))) == ["headers"]
        return conversation

    def test_the_body_is_whole_even_if_its_flag_says_otherwise(self) -> None:
        session = ScriptedSession([HEADERS], [Forward(REQUEST, b"ab", end=True)])
        conversation = talk(session)
        conversation.receive(first("BUFFERED"))
        assert said(conversation.receive(request_body(b"ab", end=False))) == ["same"]
        assert session.events[1] == RequestBody(b"ab", end=True)

    def test_a_changed_body_sets_content_length(self) -> None:
        conversation = self.start([Forward(REQUEST, b"longer", end=True)])
        (reply,) = conversation.receive(request_body(b"ab", end=True))
        (option,) = reply.request_body.response.header_mutation.set_headers
        assert (option.header.key, option.header.raw_value) == ("content-length", b"6")

    def test_an_unchanged_body_keeps_its_headers(self) -> None:
        conversation = self.start([Forward(REQUEST, b"ab", end=True)])
        (reply,) = conversation.receive(request_body(b"ab", end=True))
        assert not reply.request_body.response.HasField("header_mutation")


class TestRequestDuplex:
    def start(self, *script: Any) -> Conversation:
        conversation = talk(ScriptedSession([HEADERS], *script))
        assert conversation.receive(first("FULL_DUPLEX_STREAMED")) == []
        return conversation

    def test_headers_and_body_leave_with_the_verdict(self) -> None:
        conversation = self.start([], [Forward(REQUEST, b"abcd", end=True)])
        assert conversation.receive(request_body(b"ab")) == []
        assert said(conversation.receive(request_body(b"cd", end=True))) == ["headers", (b"abcd", True)]

    def test_a_large_body_leaves_in_pieces_and_only_the_last_ends_it(self) -> None:
        conversation = self.start([Forward(REQUEST, b"x" * 150_000, end=True)])
        replies = said(conversation.receive(request_body(b"", end=True)))[1:]
        pieces = cast("list[tuple[bytes, bool]]", replies)
        assert b"".join(data for data, _ in pieces) == b"x" * 150_000
        assert [end for _, end in pieces] == [False, False, True]

    def test_a_request_without_a_body_gets_no_body_back(self) -> None:
        conversation = talk(ScriptedSession([Continue(REQUEST), Forward(REQUEST, b"", end=True)]))
        assert said(conversation.receive(first("FULL_DUPLEX_STREAMED", end=True))) == ["headers"]


def answering(response: str, *script: Any, done: int = -1, nowait: bool = False) -> Conversation:
    """A conversation whose request went through, before the answer's headers."""
    session = ScriptedSession([Continue(REQUEST), Forward(REQUEST, b"", end=True)], *script, done=done)
    conversation = talk(session)
    conversation.receive(first("FULL_DUPLEX_STREAMED", response, nowait, end=True))
    return conversation


HELD_ANSWER = Continue(RESPONSE, held=True)
STREAM_ANSWER = Continue(RESPONSE)


class TestResponseDuplex:
    def test_a_stream_starts_at_once_and_flows_as_it_is_released(self) -> None:
        script = ([STREAM_ANSWER], [], [Forward(RESPONSE, b"abc")], [Forward(RESPONSE, b"d", end=True)])
        conversation = answering("FULL_DUPLEX_STREAMED", *script)
        assert said(conversation.receive(headers("response_headers"))) == ["headers"]
        assert said(conversation.receive(response_body(b"ab"))) == []
        assert said(conversation.receive(response_body(b"c"))) == [(b"abc", False)]
        assert said(conversation.receive(response_body(b"d", end=True))) == [(b"d", True)]

    def test_a_held_answer_can_still_be_refused(self) -> None:
        conversation = answering("FULL_DUPLEX_STREAMED", [HELD_ANSWER], [Refuse(HttpReply(403, b"no"), late=b"late")])
        assert said(conversation.receive(headers("response_headers"))) == []
        assert said(conversation.receive(response_body(b"{}", end=True))) == [403]

    def test_an_early_end_cuts_the_answer(self) -> None:
        conversation = answering("FULL_DUPLEX_STREAMED", [STREAM_ANSWER], [Forward(RESPONSE, b"bye", end=True)])
        conversation.receive(headers("response_headers"))
        assert said(conversation.receive(response_body(b"more"))) == [(b"bye", True)]
        assert conversation.receive(response_body(b"more")) == []

    def test_trailers_follow_the_text_that_was_still_held(self) -> None:
        last = [Forward(RESPONSE, b"tail"), ContinueTrailers(RESPONSE)]
        conversation = answering("FULL_DUPLEX_STREAMED", [STREAM_ANSWER], last)
        conversation.receive(headers("response_headers"))
        trailers = pb.ProcessingRequest(response_trailers=pb.HttpTrailers())
        assert said(conversation.receive(trailers)) == [(b"tail", False), "trailers"]


class TestResponseStreamed:
    def test_each_chunk_is_answered_once_with_what_may_leave(self) -> None:
        script = ([STREAM_ANSWER], [], [Forward(RESPONSE, b"abc")], [Forward(RESPONSE, b"d", end=True)])
        conversation = answering("STREAMED", *script)
        assert said(conversation.receive(headers("response_headers"))) == ["headers"]
        assert said(conversation.receive(response_body(b"ab"))) == ["clear"]
        assert said(conversation.receive(response_body(b"c"))) == [b"abc"]
        assert said(conversation.receive(response_body(b"d", end=True))) == ["same"]

    def test_after_a_cut_every_chunk_is_answered_with_nothing(self) -> None:
        conversation = answering("STREAMED", [STREAM_ANSWER], [Forward(RESPONSE, b"bye", end=True)], done=2)
        conversation.receive(headers("response_headers"))
        assert said(conversation.receive(response_body(b"more"))) == [b"bye"]
        assert said(conversation.receive(response_body(b"more"))) == ["clear"]
        assert said(conversation.receive(response_body(b"more", end=True))) == ["clear"]

    def test_a_refusal_after_the_headers_left_becomes_the_late_body(self) -> None:
        conversation = answering("STREAMED", [HELD_ANSWER], [], [Refuse(HttpReply(403, b"no"), late=b"late")])
        assert said(conversation.receive(headers("response_headers"))) == ["headers"]
        assert said(conversation.receive(response_body(b"{"))) == ["clear"]
        assert said(conversation.receive(response_body(b"}", end=True))) == [b"late"]

    def test_a_refusal_with_nothing_to_say_late_fails_the_stream(self) -> None:
        conversation = answering("STREAMED", [STREAM_ANSWER], [Refuse(HttpReply(403, b"no"))])
        conversation.receive(headers("response_headers"))
        with pytest.raises(ProtocolError):
            conversation.receive(response_body(b"x"))

    def test_text_that_only_trailers_release_has_no_message_to_ride_on(self) -> None:
        last = [Forward(RESPONSE, b"tail"), ContinueTrailers(RESPONSE)]
        conversation = answering("STREAMED", [STREAM_ANSWER], [], last)
        conversation.receive(headers("response_headers"))
        conversation.receive(response_body(b"tail"))
        with pytest.raises(ProtocolError, match="left over"):
            conversation.receive(pb.ProcessingRequest(response_trailers=pb.HttpTrailers()))

    def test_with_nowait_a_document_is_withheld_and_can_be_refused(self) -> None:
        script = ([HELD_ANSWER], [], [Refuse(HttpReply(403, b"no"), late=b"late")])
        conversation = answering("STREAMED", *script, nowait=True)
        assert said(conversation.receive(headers("response_headers"))) == []
        assert said(conversation.receive(response_body(b"{"))) == []
        assert said(conversation.receive(response_body(b"}", end=True))) == [403]


class TestResponseBuffered:
    def test_the_whole_answer_is_one_message_and_one_reply(self) -> None:
        conversation = answering("BUFFERED", [STREAM_ANSWER], [Forward(RESPONSE, b"new", end=True)])
        assert said(conversation.receive(headers("response_headers"))) == ["headers"]
        assert said(conversation.receive(response_body(b"old", end=True))) == [b"new"]

    def test_a_refusal_is_clean_because_the_headers_still_wait(self) -> None:
        conversation = answering("BUFFERED", [HELD_ANSWER], [Refuse(HttpReply(403, b"no"), late=b"late")])
        conversation.receive(headers("response_headers"))
        assert said(conversation.receive(response_body(b"old", end=True))) == [403]

    def test_the_body_is_whole_even_if_trailers_follow(self) -> None:
        script = ([STREAM_ANSWER], [Forward(RESPONSE, b"ab", end=True)], [ContinueTrailers(RESPONSE)])
        session = ScriptedSession([Continue(REQUEST), Forward(REQUEST, b"", end=True)], *script)
        conversation = talk(session)
        conversation.receive(first("BUFFERED", "BUFFERED", end=True))
        conversation.receive(headers("response_headers"))
        assert said(conversation.receive(response_body(b"ab", end=False))) == ["same"]
        assert session.events[2] == ResponseBody(b"ab", end=True)
        assert said(conversation.receive(pb.ProcessingRequest(response_trailers=pb.HttpTrailers()))) == ["trailers"]


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED_PARTIAL", "GRPC"])
@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_mode_that_hides_a_body_is_refused_at_the_first_message(mode: str, direction: str) -> None:
    session = ScriptedSession([Refuse(HttpReply(500, b"no"))])
    conversation = talk(session)
    message = first("BUFFERED", "BUFFERED")
    setattr(message.protocol_config, f"{direction}_body_mode", pb.ProcessingMode.BodySendMode.Value(mode))
    assert said(conversation.receive(message)) == [500]
    assert isinstance(session.events[0], Misconfigured)
    assert f"{direction} body mode {mode}" in conversation.misconfigured


def test_a_mode_from_the_future_is_refused() -> None:
    session = ScriptedSession([Refuse(HttpReply(500, b"no"))])
    message = first("BUFFERED", "BUFFERED")
    message.protocol_config.request_body_mode = 9  # type: ignore[assignment]
    talk(session).receive(message)
    assert isinstance(session.events[0], Misconfigured)


def test_modes_that_nobody_announces_are_refused_unless_the_operator_names_them() -> None:
    session = ScriptedSession([Refuse(HttpReply(500, b"no"))])
    talk(session).receive(headers("request_headers"))
    assert isinstance(session.events[0], Misconfigured)
    named = ScriptedSession([HEADERS])
    modes = BodyModes(BodyMode.BUFFERED, BodyMode.BUFFERED)
    assert said(talk(named, modes).receive(headers("request_headers"))) == ["headers"]


def test_in_observability_mode_no_reply_is_owed() -> None:
    session = ScriptedSession([Refuse(HttpReply(403, b"no"))])
    conversation = talk(session)
    assert conversation.receive(headers("request_headers", observability_mode=True)) == []
    assert isinstance(session.events[0], RequestHeaders)


def test_an_abort_fails_the_stream() -> None:
    with pytest.raises(ProtocolError):
        talk(ScriptedSession([Abort("bug")])).receive(first("BUFFERED"))


def test_a_message_of_no_known_kind_fails_the_stream() -> None:
    with pytest.raises(ProtocolError):
        talk(ScriptedSession()).receive(pb.ProcessingRequest())


def test_the_record_leaves_as_dynamic_metadata_with_the_last_reply_once() -> None:
    script = ([STREAM_ANSWER], [Forward(RESPONSE, b"a", end=True)])
    conversation = answering("FULL_DUPLEX_STREAMED", *script, done=2)
    conversation.receive(headers("response_headers"))
    (reply,) = conversation.receive(response_body(b"a", end=True))
    assert reply.dynamic_metadata["sluicegate"]["decision_id"] == "d1"  # type: ignore[index]
    assert conversation.finished


def test_a_verdict_is_owed_once_the_request_is_whole() -> None:
    session = ScriptedSession([HEADERS], [], [Refuse(HttpReply(500, b"late"))])
    session.gathering = True
    conversation = talk(session)
    conversation.receive(first("FULL_DUPLEX_STREAMED"))
    assert not conversation.owes_verdict
    conversation.receive(request_body(b"x", end=True))
    assert conversation.owes_verdict
    assert said(conversation.expire("verdict")) == [500]
    assert session.events[-1] == Expired("verdict")


def test_an_overdue_verdict_is_refused_at_once_and_what_comes_of_it_later_is_dropped() -> None:
    session = ScriptedSession([HEADERS], [Forward(REQUEST, b"x", end=True)])
    conversation = talk(session)
    conversation.receive(first("FULL_DUPLEX_STREAMED"))
    assert said(conversation.overdue()) == [500]
    assert conversation.receive(request_body(b"x", end=True)) == []


@pytest.mark.parametrize("observing", [False, True])
def test_questions_are_for_the_shell_and_their_answers_for_the_session(observing: bool) -> None:
    question = Question("guard", "user", "x")
    session = ScriptedSession([HEADERS], [Consult((question,))], [Forward(REQUEST, b"x", end=True)])
    conversation = talk(session)
    message = first("FULL_DUPLEX_STREAMED")
    message.observability_mode = observing
    conversation.receive(message)
    assert conversation.take_questions() == ()
    assert conversation.receive(request_body(b"x", end=True)) == []
    assert conversation.take_questions() == (question,)
    assert conversation.take_questions() == ()
    assert said(conversation.consulted((Opinion(0.5),))) == ([] if observing else ["headers", (b"x", True)])
    assert session.events[-1] == Consulted((Opinion(0.5),))


def test_closing_takes_the_record() -> None:
    conversation = talk(ScriptedSession(done=0))
    conversation.close("eof")
    assert conversation.record is not None


def test_body_modes_are_read_from_the_command_line() -> None:
    assert BodyModes.parse("streamed, full_duplex_streamed, nowait") == BodyModes(
        BodyMode.STREAMED, BodyMode.FULL_DUPLEX_STREAMED, withhold=True
    )
    for bad in ("streamed", "none,streamed", "streamed,buffered,later", ""):
        with pytest.raises(ValueError, match="body modes are"):
            BodyModes.parse(bad)


def test_request_trailers_are_an_event_of_their_own() -> None:
    session = ScriptedSession([HEADERS], [])
    conversation = talk(session)
    conversation.receive(first("FULL_DUPLEX_STREAMED"))
    conversation.receive(pb.ProcessingRequest(request_trailers=pb.HttpTrailers()))
    assert session.events[1] == RequestTrailers()
