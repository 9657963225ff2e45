"""What is different in answers of OpenAI's older completions: a choice says its text itself, without a message.

What lives here: the ``Form`` of those answers. What must not: chunks, events, the end of a stream (``openai_chunks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc.chat import Denial, Json, JsonPath, Malformed
from extproc.dialects.answers import aside, spoken
from extproc.dialects.members import Members
from extproc.dialects.openai_chunks import CHOICE, DONE, Form, Speech
from extproc.strict_json import dump

_OBJECT: Final = "text_completion"  # of chunks, too
_SPEECH: Final = {"text": "content", "reasoning_content": "reasoning", "reasoning": "reasoning"}


def answer_head(model: str, denial: Denial) -> dict[str, Json]:
    """What identifies an answer that no upstream has begun; there is no clock here to say when."""
    return {"id": f"cmpl-{denial.decision_id}", "created": 0, "model": model}


def whole_answer(head: dict[str, Json], text: str, choices: Sequence[int], usage: Json) -> bytes:
    """A document in which every choice says ``text`` and ends with ``content_filter``."""
    said: list[Json] = [_choice(index, text, "content_filter") for index in choices]
    return _answer(head, said, usage)


def streamed_answer(head: dict[str, Json], text: str, choices: Sequence[int], usage: Json) -> bytes:
    """The same as the last events of a stream, with a usage chunk if there is a usage to tell."""
    answers = []
    for index in choices:
        answers += [_answer(head, [_choice(index, text, None)]), _answer(head, [_choice(index, "", "content_filter")])]
    if usage:
        answers.append(_answer(head, [], usage))
    return b"".join([*(b"data: " + answer + b"\n\n" for answer in answers), DONE])


def _read(speech: Speech, choice: Members, index: int, path: JsonPath, *, whole: bool) -> None:
    if not whole and (choice.get("delta") or choice.get("message")):  # says what goes on in the next chunk
        raise Malformed("the answer has a choice of a conversation")
    for name, channel in _SPEECH.items():
        if name == "reasoning" and choice.get("reasoning_content") is not None:  # says it all a second time
            speech.deltas += spoken(aside(index), "body", choice.get(name), (*path, name))
        else:
            speech.deltas += spoken(index, channel, choice.get(name), (*path, name))


def _choice(index: int, text: str, reason: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _answer(head: dict[str, Json], choices: list[Json], usage: Json = None) -> bytes:
    return dump({**head, "object": _OBJECT, "choices": choices, **({"usage": usage} if usage else {})})


COMPLETIONS: Final = Form(CHOICE | _SPEECH.keys(), _read, answer_head, whole_answer, streamed_answer)
