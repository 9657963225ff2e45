"""Answers told in tokens: log probabilities, ids, and other copies of a text that was said where it is known.

A copy leaves only as long as its original is not edited. What stands beside the chosen tokens, such as the alternatives
to them, is no copy of anything and is read for its own sake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.chat import Channel, Json, JsonPath, TextDelta
from extproc.dialects.members import Members

# The text so far in a form that no detector reads: vLLM's and llama.cpp's token ids, and a log of the whole exchange.
_TOKENS: Final = frozenset({"token_ids", "prompt_token_ids", "tokens", "__verbose"})

# The names of what holds no text but in their values; every other key may be a token.
_ENTRY: Final = frozenset({"token", "bytes", "logprob", "top_logprobs", "id", "prob", "top_probs", "probs"})
_NAMES: Final = _ENTRY | {"content", "refusal", "tokens", "token_logprobs", "text_offset", "tok_str", "rank"}
_CHOSEN: Final = ("token", "content", "tok_str")  # what entries call a token; the last two are of old llama.cpp
_APART: Final = frozenset({"top_logprobs", "top_probs", "probs", "bytes"})  # what is no list of chosen tokens


def copy_of(channel: Channel, path: JsonPath, text: str = "") -> TextDelta:
    """A node that repeats what the choice says: it leaves only as long as the original is not edited."""
    return TextDelta(channel, text, path, drop=True)


def token_ids(members: Members, path: JsonPath, choice: int) -> Iterator[TextDelta]:
    """The members that say a text in token ids: nothing to read, but copies of what the choice says."""
    own = max(choice, ~choice)  # also for what stands beside the choice
    for name, value in members.items():
        if (value and name in _TOKENS) or _holds_integers(value):
            yield copy_of((own, "logprobs"), (*path, name))


def _holds_integers(value: Json) -> bool:
    """Whether there is an array of integers in a value, at any depth."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, list):
            if any(type(element) is int for element in current):
                return True
            stack += current
        elif isinstance(current, dict):
            stack += current.values()
    return False


def logprobs(choice: int, node: Json, path: JsonPath) -> Iterator[TextDelta]:
    """A node of log probabilities: its chosen tokens, joined, and whatever else it says as a text of its own.

    Both stand for the whole node, which goes if there is anything to edit. Tokens can be mere ids; the text is empty
    then, but the node is still known as a copy.
    """
    if node is None:
        return
    chosen: list[str] = []
    others: dict[str, None] = {}  # the same few tokens come again and again
    _read(node, chosen, others)
    yield copy_of((choice, "logprobs"), path, "".join(chosen))
    if others:
        yield TextDelta((choice, "logprobs"), "\n".join(others), path, drop=True, alone=True)


def _read(node: Json, chosen: list[str], others: dict[str, None]) -> None:
    """Read the lists of chosen tokens, as the node itself or as its members, whatever the API calls them."""
    if isinstance(node, list):
        for entry in node:
            if isinstance(entry, str):
                chosen.append(entry)
            elif isinstance(entry, dict):
                _read_entry(entry, chosen, others)
            else:
                _read_rest(entry, others)
    elif isinstance(node, dict):
        for name, entries in node.items():
            if name not in _NAMES:
                others[name] = None
            if name in _APART:
                _read_rest(entries, others)
            else:
                _read(entries, chosen, others)
    else:
        _read_rest(node, others)


def _read_entry(entry: Members, chosen: list[str], others: dict[str, None]) -> None:
    token = next((value for name in _CHOSEN if isinstance(value := entry.get(name), str)), None)
    if token is not None:
        chosen.append(token)
    for name, value in entry.items():
        if name == "bytes" and token is not None and _spell(value, token):
            continue
        if name not in _NAMES:
            others[name] = None
        if value is not token and value:
            _read_rest(value, others)
    if token is not None:
        others.pop(token, None)  # the alternatives repeat the choice


def _spell(value: Json, token: str) -> bool:
    """Whether an array of bytes says what the token says."""
    return not value or value == list(token.encode("utf-8", "surrogatepass"))


def _read_rest(value: Json, others: dict[str, None]) -> None:
    """Every string, unknown key and array of bytes of a value, at any depth."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            if current:
                others[current] = None
        elif isinstance(current, dict):
            for name, member in current.items():
                if name not in _NAMES:
                    others[name] = None
                stack.append(member)
        elif isinstance(current, list):
            spelled = _spelled(current)
            if spelled:
                others[spelled] = None
            else:
                stack += current


def _spelled(value: list[Json]) -> str:
    """What an array of bytes says; nothing where it is none."""
    octets = [each for each in value if type(each) is int and 0 <= each < 256]
    return bytes(octets).decode("utf-8", "replace") if octets and len(octets) == len(value) else ""
