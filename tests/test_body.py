"""The body filter: what leaves, in what order, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import body as body_module
from extproc.body import BodyFilter
from extproc.chat import Edit, Frame, TextDelta
from extproc.framing import SseFramer
from extproc.policy.channel import Redaction
from extproc.policy.decision import Action, Finding
from tests.support.answers import ToyDecoder, ToyJudge, WordScan


def body(streams: bool = True, held_bytes: int = 100_000) -> BodyFilter:
    return BodyFilter(ToyDecoder(streams), ToyJudge(), held_bytes)


def feed(filtered: BodyFilter, *lines: str, end: bool = False) -> str:
    return filtered.feed("".join(line + "\n" for line in lines).encode(), end).decode()


def test_text_with_nothing_to_find_leaves_at_once_as_it_came() -> None:
    assert feed(body(), "0 content hello", "- usage") == "0 content hello\n- usage\n"


def test_a_frame_whose_end_may_begin_a_secret_waits_for_the_next() -> None:
    filtered = body()
    assert feed(filtered, "0 content xSEC") == ""
    assert feed(filtered, "0 content ular") == "0 content xSEC\n0 content ular\n"


def test_a_secret_over_three_frames_is_marked_in_the_first_and_emptied_in_the_rest() -> None:
    filtered = body()
    assert feed(filtered, "0 content aSE", "0 content CRE") == ""
    assert feed(filtered, "0 content Tb") == "0 content a[X]\n0 content \n0 content b\n"
    assert [(found.start, found.end) for found in filtered.notes.findings] == [(1, 7)]


def test_what_may_become_a_secret_leaves_before_the_frame_that_closes_its_choice() -> None:
    filtered = body()
    assert feed(filtered, "0 content SECR") == ""
    assert feed(filtered, "0 close") == "0 content SECR\n0 close\n"


def test_the_end_of_the_answer_settles_every_choice_without_a_close() -> None:
    filtered = body()
    assert feed(filtered, "0 content SECR", "1 content SE") == ""
    assert feed(filtered, "end") == "0 content SECR\n1 content SE\nend\n"


def test_the_end_of_the_body_settles_what_nothing_closed() -> None:
    filtered = body()
    assert feed(filtered, "0 content SECR") == ""
    assert filtered.feed(b"", True) == b"0 content SECR\n"


def test_undecided_text_holds_everything_behind_it_so_that_the_order_stays() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "1 content hi") == ""
    assert feed(filtered, "0 content x") == "0 content SEC\n1 content hi\n0 content x\n"


def test_an_undecided_call_does_not_hold_another_choice() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 f {", "1 content hi", "0 content later") == "1 content hi\n"
    assert feed(filtered, "0 close") == "0 call 0 f {\n0 content later\n0 close\n"


def test_frames_behind_two_barriers_leave_in_order_when_a_call_is_decided() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 f {", "- one", "1 content hi", "- two", "0 content x", "1 content y") == ""
    lines = "0 call 0 f {\n- one\n1 content hi\n- two\n0 content x\n1 content y\n0 close\n"
    assert feed(filtered, "0 close") == lines


def test_a_frame_of_the_same_choice_waits_behind_one_that_shows_more_than_a_beginning() -> None:
    filtered = body()
    assert feed(filtered, "0 content SECR", "0 refusal ok", "0 reasoning ok") == ""
    assert feed(filtered, "0 content ET") == "0 content [X]\n0 refusal ok\n0 reasoning ok\n0 content \n"


# ---- a text that waits does not hold up another of its choice ----


@pytest.mark.parametrize("line", ["0 refusal ok", "0 reasoning unread", "0 call 0 f {"])
def test_the_mere_beginning_of_a_literal_leaves_when_its_choice_goes_on_elsewhere(line: str) -> None:
    filtered = body()
    assert feed(filtered, "0 content aSEC") == ""
    assert feed(filtered, line).startswith("0 content aSEC\n")
    assert feed(filtered, "0 close").endswith("0 close\n")


def test_another_choice_that_goes_on_lets_go_of_nothing() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "1 content hi", "1 call 0 f {") == ""
    assert feed(filtered, "0 content RET") == "0 content [X]\n1 content hi\n0 content \n"


def test_channels_that_speak_in_the_same_frames_let_go_of_nothing() -> None:
    filtered = body()
    assert feed(filtered, "0 two xSEC EV", "0 two RETx Ex") == "0 two x[X] EV\n0 two x Ex\n"


def test_a_channel_that_speaks_on_beside_another_lets_go_of_nothing() -> None:
    filtered = body()
    assert feed(filtered, "0 content xSEC", "0 two RET hi", "0 content x") == "0 content x[X]\n0 two  hi\n0 content x\n"


def test_texts_that_take_turns_let_go_at_each_turn() -> None:
    filtered = body()
    turns = ["0 content SE", "0 refusal EV", "0 content EV", "0 refusal SE"]
    left = [feed(filtered, line) for line in turns]
    assert left == ["", "0 content SE\n", "0 refusal EV\n", "0 content EV\n"]


def test_a_text_without_a_character_is_no_turn() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "0 refusal ") == ""
    assert feed(filtered, "0 content RET") == "0 content [X]\n0 refusal \n0 content \n"


def test_a_copy_is_no_turn() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "0 logprobs SEC") == ""
    assert (
        feed(filtered, "0 content RET", "0 logprobs RET")
        == "0 content [X]\n0 logprobs None\n0 content \n0 logprobs None\n"
    )


@pytest.mark.parametrize("line", ["0 content x", "0 refusal x", "0 reasoning x"])
def test_a_copy_leaves_with_its_original_when_the_choice_goes_on_without_it(line: str) -> None:
    filtered = body()
    assert feed(filtered, "0 both SEC SEC") == ""
    assert feed(filtered, line) == f"0 both SEC SEC\n{line}\n"


def test_a_copy_in_the_same_frame_as_the_new_text_goes_on_as_one_text() -> None:
    filtered = body()
    assert feed(filtered, "0 refusal EV", "0 both SEC SEC") == "0 refusal EV\n"
    assert feed(filtered, "0 both x RET") == "0 both SEC None\n0 both x None\n"


class Denying(WordScan):
    """Denies what it holds when it is paused."""

    def pause(self) -> list[Redaction]:
        start, self.settled = self.settled, len(self._text)
        found = Finding("word", "held", self._scope, Action.DENY, start=start, end=self.settled)
        return [Redaction(start, self.settled, "[X]", found)]


def test_a_pause_that_denies_ends_the_answer_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyJudge, "open_channel", lambda _, scope: Denying(scope))
    filtered = body()
    assert feed(filtered, "0 content good", "0 content xSEC", "0 refusal ok") == "0 content good\n"
    assert filtered.cut is not None
    assert [(found.start, found.end) for found in filtered.notes.findings] == [(5, 8)]


# ---- what closes, holds, ends ----


def test_a_barrier_waits_for_everything_before_it_and_holds_everything_behind_it() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "- usage", "1 content hi") == ""
    assert feed(filtered, "0 close") == "0 content SEC\n- usage\n1 content hi\n0 close\n"


def test_channels_of_one_choice_share_no_text() -> None:
    assert feed(body(), "0 content SEC", "0 refusal RET", end=True) == "0 content SEC\n0 refusal RET\n"


def test_a_scope_that_no_rule_reads_passes_unread() -> None:
    assert feed(body(), "0 reasoning SECRET") == "0 reasoning SECRET\n"


def test_a_copy_of_edited_text_is_dropped_even_where_its_own_scan_saw_nothing() -> None:
    filtered = body()
    assert feed(filtered, "0 both SECRET tokens") == "0 both [X] None\n"


def test_a_copy_that_holds_a_secret_is_dropped_whole() -> None:
    assert feed(body(), "0 both hello SECRET") == "0 both hello None\n"


def test_a_deny_in_text_ends_the_answer_before_it() -> None:
    filtered = body()
    assert feed(filtered, "0 content good", "0 content EVIL", "0 content more") == "0 content good\n"
    assert filtered.cut is not None
    assert filtered.cut.rule == "word"


def test_a_call_is_held_until_its_choice_closes_and_then_leaves_as_it_came() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 get_weather {", "0 call 0 . }", "0 content later") == ""
    assert feed(filtered, "0 close") == "0 call 0 get_weather {\n0 call 0 . }\n0 content later\n0 close\n"


def test_a_call_that_is_named_twice_is_malformed() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 get_weather {", "0 call 0 rm }") == ""
    assert "named twice" in filtered.broken


def test_a_call_that_repeats_its_name_is_ordinary() -> None:
    assert feed(body(), "0 call 0 f {", "0 call 0 f }", "0 close") == "0 call 0 f {\n0 call 0 f }\n0 close\n"


def test_not_a_byte_of_a_refused_call_leaves() -> None:
    filtered = body()
    assert feed(filtered, "0 content hi", "0 call 0 rm -rf") == "0 content hi\n"
    assert feed(filtered, "1 content other", "0 close") == "1 content other\n"
    assert filtered.cut is not None
    assert filtered.cut.rule == "tools"
    assert filtered.closed == frozenset()


def test_redacted_arguments_ride_on_the_first_piece_of_the_call() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 f KE", "0 call 0 . Y", "0 close") == "0 call 0 f [X]\n0 call 0 . \n0 close\n"


def test_a_call_that_nothing_closes_is_decided_at_the_end_of_the_body() -> None:
    filtered = body()
    assert feed(filtered, "0 call 0 rm x", end=True) == ""
    assert filtered.cut is not None


def test_closed_lists_the_choices_whose_closing_frame_has_left() -> None:
    filtered = body()
    feed(filtered, "0 close", "1 content SEC")
    assert filtered.closed == {0}


def test_the_frames_before_a_malformed_one_leave() -> None:
    filtered = body()
    assert feed(filtered, "0 content a", "bad", "0 content b") == "0 content a\n"
    assert filtered.broken == "a bad line"


def test_text_before_a_denied_place_leaves() -> None:
    filtered = body()
    assert feed(filtered, "0 content SEC", "0 content xEVIL") == "0 content SEC\n"
    assert filtered.cut is not None


def test_text_after_the_end_of_its_choice_is_malformed() -> None:
    filtered = body()
    feed(filtered, "0 content a", "0 close")
    assert feed(filtered, "0 content b") == ""
    assert "after the end" in filtered.broken


def test_empty_text_after_the_end_of_its_choice_is_ordinary() -> None:
    filtered = body()
    feed(filtered, "0 content a", "0 close")
    assert feed(filtered, "0 content ") == "0 content \n"


def test_more_held_than_the_limit_is_an_error_in_a_stream() -> None:
    filtered = body(held_bytes=400)
    assert feed(filtered, *["0 call 0 f abcdefgh"] * 5) == ""
    assert "too much" in filtered.broken


def test_a_document_is_not_bound_by_the_limit_for_streams() -> None:
    filtered = body(streams=False, held_bytes=4)
    assert feed(filtered, "0 content hello SEC"[:15]) == "0 content hello\n"


def test_the_most_held_is_counted() -> None:
    filtered = body()
    feed(filtered, "0 content SEC")
    assert filtered.held_bytes_max == len("0 content SEC\n")


LINE = st.one_of(
    st.sampled_from(["- keep-alive", "- usage"]),
    st.builds(
        "{} {} {}".format,
        st.integers(0, 2),
        st.sampled_from(["content", "refusal", "reasoning"]),
        st.text("SECRTx", max_size=8),
    ),
    st.builds("{} call {} f {}".format, st.integers(0, 2), st.integers(0, 1), st.text("KEYx", max_size=3)),
)
LINES = st.lists(LINE, max_size=12)


def test_a_copy_of_text_that_was_edited_earlier_is_dropped_in_every_later_frame() -> None:
    filtered = body()
    assert feed(filtered, "0 content SECRET", "0 both hello ids") == "0 content [X]\n0 both hello None\n"
    assert feed(filtered, "1 both hello ids") == "1 both hello ids\n"


def test_a_new_id_at_the_same_index_begins_a_new_call() -> None:
    filtered = body()
    assert feed(filtered, "0 id 0 a f {}", "0 id 0 b g {}") == "0 id 0 a f {}\n"
    assert feed(filtered, "0 id 0 c rm {}", "0 close") == "0 id 0 b g {}\n"
    assert filtered.cut is not None


def run(wire: bytes, cuts: list[int]) -> tuple[bytes, list[bytes]]:
    filtered = body()
    places = sorted({cut % (len(wire) + 1) for cut in cuts})
    pieces = [wire[start:stop] for start, stop in zip([0, *places], [*places, len(wire)], strict=True)]
    ends = [(piece, False) for piece in pieces] + [(b"", True)]
    outs = [filtered.feed(*piece) for piece in ends if filtered.cut is None and not filtered.broken]
    return b"".join(outs), outs


@given(LINES, st.lists(st.integers(0, 400), max_size=20))
def test_the_output_does_not_depend_on_the_cuts(lines: list[str], cuts: list[int]) -> None:
    wire = "".join(line + "\n" for line in lines).encode()
    assert run(wire, cuts)[0] == run(wire, [])[0]


@given(LINES, st.lists(st.integers(0, 400), max_size=20))
def test_every_frame_leaves_exactly_once(lines: list[str], cuts: list[int]) -> None:
    wire = "".join(line + "\n" for line in lines).encode()
    assert len(run(wire, cuts)[0].splitlines()) == len(lines)


# ---- the short way of a frame that nothing is ahead of ----

ANY_LINES = st.lists(
    st.one_of(
        st.sampled_from(["- usage", "0 close", "1 close", "end", "bad", "0 content EVIL", "0 call 0 rm x"]),
        st.builds(
            "{} both {} {}".format, st.integers(0, 1), st.text("SECRTx", max_size=4), st.text("SECx", max_size=3)
        ),
        st.builds("{} two {} {}".format, st.integers(0, 1), st.text("SECRTx", max_size=4), st.text("SECx", max_size=3)),
        st.builds("{} logprobs {}".format, st.integers(0, 1), st.text("SECRTx", max_size=4)),
        LINE,
        LINE,
    ),
    max_size=14,
)


def told(lines: list[str]) -> object:
    """All that a filter says of a stream, frame by frame."""
    filtered = body()
    outs = [
        (feed(filtered, *each, end=not each), filtered.closed, filtered.held_bytes_max)
        for each in [*([line] for line in lines), []]
        if filtered.cut is None and not filtered.broken
    ]
    return outs, filtered.notes.findings, filtered.cut, filtered.broken


@given(ANY_LINES)
def test_the_short_way_does_what_the_long_way_does(lines: list[str]) -> None:
    found = told(lines)
    with mock.patch.object(BodyFilter, "_take_alone", return_value=False):
        assert found == told(lines)


@given(ANY_LINES, st.lists(st.integers(0, 400), max_size=20))
def test_pauses_do_not_depend_on_the_cuts(lines: list[str], cuts: list[int]) -> None:
    wire = "".join(line + "\n" for line in lines).encode()
    assert run(wire, cuts)[0] == run(wire, [])[0]


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"])
def test_a_large_piece_of_events_is_cut_at_every_end(blank: str) -> None:
    events = [f"data: {number}{blank}".encode() for number in range(40_000)]  # takes minutes if each looks at the rest
    assert list(SseFramer(100).feed(b"".join(events), True)) == events


@pytest.mark.parametrize("size", [1, 4094, 4095, 4096, 4097, 9000])
def test_an_event_ends_where_it_ends_whatever_its_size(size: int) -> None:
    events = [b"data: " + b"x" * size + end for end in (b"\n\n", b"\r\n\n", b"\n\n")]
    assert list(SseFramer(20_000).feed(b"".join(events), False)) == events


def test_ordinary_text_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    filtered = body()
    assert feed(filtered, "0 content hello") == "0 content hello\n"
    monkeypatch.setattr(filtered, "_take", None)
    lines = ["0 content word", "- comment", "0 content more"]
    assert [feed(filtered, line) for line in lines] == [line + "\n" for line in lines]


def test_a_text_that_stands_alone_in_every_frame_is_judged_once_and_edited_each_time() -> None:
    judge = ToyJudge()
    filtered = BodyFilter(_Named(), judge, 100_000)
    with mock.patch.object(judge, "open_channel", wraps=judge.open_channel) as opened:
        out = filtered.feed(b"hi id\n" * 3 + b"hi SECRET\n" * 2, True)
    assert out == b"hi id\n" * 3 + b"hi [X]\n" * 2
    assert opened.call_count == 4  # the text that goes on, the id, and the secret each time


def test_a_frame_of_too_many_texts_that_stand_alone_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "ALONE_MAX", 2)
    many, few = BodyFilter(_Crowd(3), ToyJudge(), 100_000), BodyFilter(_Crowd(2), ToyJudge(), 100_000)

    assert (few.feed(b"x", True), few.broken) == (b"x", "")
    assert (many.feed(b"x", True), many.broken) == (b"", "it has too many texts")


def test_a_scope_that_only_repetitions_speak_in_is_noted_once() -> None:
    filtered = BodyFilter(_Crowd(2, again=True), ToyJudge(), 100_000)
    filtered.feed(b"x", True)

    assert len(filtered.notes.inspected) + len(filtered.notes.not_inspected) == 1


class _Crowd(ToyDecoder):
    """One frame with so many texts that stand alone."""

    def __init__(self, count: int, *, again: bool = False) -> None:
        super().__init__(True)
        self._deltas = tuple(
            TextDelta((0, "content"), f"t{number}", (number,), alone=True, again=again) for number in range(count)
        )

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        yield Frame(data, lambda _edits: data, self._deltas)


class _Named(ToyDecoder):
    """Lines of a text that goes on and of a name that stands alone."""

    def feed(self, data: bytes, end: bool) -> Iterator[Frame]:
        for raw in data.splitlines(keepends=True):
            text, name = raw.decode().split()
            deltas = (TextDelta((0, "content"), text, ("text",)), TextDelta((~0, "body"), name, ("name",), alone=True))
            yield Frame(raw, partial(self._put, text), deltas, choices=frozenset({0}))

    @staticmethod
    def _put(text: str, edits: Sequence[Edit]) -> bytes:
        (edit,) = edits
        return f"{text} {edit.value}\n".encode()
