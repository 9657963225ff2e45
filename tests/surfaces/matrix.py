"""The matrix: each row of every ``surfaces.yaml`` tried with a secret and with an injection, and every value.

What lives here: trying and judging. What must not: the data (``tests/dialects/cases``), tables, files.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from extproc.chat import UNSEEN, WHOLE_SCOPES, Edit
from extproc.strict_json import apply
from tests.dialects import shared
from tests.dialects.shared import INJECTION, SECRET, SENTENCE, Outcome, Surfaces, run, surfaces
from tests.dialects.support import Case, byte_by_byte
from tests.support.leaks import leaks

INNER: Final = SENTENCE.replace("ghp", r"\u0067hp")  # in a string that holds JSON text itself
SIZES: Final = (1, 2, 3, 4, 5)
NONE: Final = "-"
A_KEY: Final = "(a key)"
# What stands in a place, whatever belongs there.
FORMS: Final[Mapping[str, Any]] = {"": SENTENCE, " (an object)": {"a": SENTENCE}, " (an array)": [SENTENCE]}
_SHIFT: Final = 0xE000
_SHIFTED: Final = re.compile(r"\\ue0([0-9a-f]{2})")


class Place(NamedTuple):
    """A row, by its dialect, its direction and its number among those."""

    dialect: str
    direction: str
    number: int


@dataclass(frozen=True)
class Cell:
    """One place. ``problems``: what should not be; a row with any fails the suite."""

    dialect: str
    field: str
    direction: str
    scope: str
    secret: str
    injection: str
    happens: str
    note: str = ""
    problems: tuple[str, ...] = ()


@functools.cache
def cell(place: Place) -> Cell:
    """Try one row."""
    name, direction, number = place
    described = surfaces(name)
    if direction == "request":
        return incoming(described, described.inputs[number])
    return outgoing(described, described.outputs[number])


def places() -> Iterator[Place]:
    """All rows of all dialects that ship any."""
    for name in filter(shared.has_surfaces, shared.NAMES):
        described = surfaces(name)
        for direction, rows in (("request", described.inputs), ("answer", described.outputs)):
            yield from (Place(name, direction, number) for number in range(len(rows)))


def matrix() -> tuple[Cell, ...]:
    """All of them, tried."""
    return tuple(map(cell, places()))


# ---- requests --------------------------------------------------------------------------------------------------------


def incoming(described: Surfaces, row: Mapping[str, Any]) -> Cell:
    """Try one place of a request."""
    scope = str(row.get("scope", NONE))
    deny = shared.guarded(rules=shared.rules("deny"))
    said = run(_with(described, row, SENTENCE), deny)
    if "denied" in row:
        # What no detector reads is shown by its kind: the default policy lets some of it pass, with a note.
        strict = {"not_inspected": {"default": "deny"}} if row["denied"] == "not_inspected" else {}
        plain = run(_with(described, row, "plain words"), shared.guarded(rules=shared.rules("deny"), **strict))
        said = (
            said
            if not strict
            else run(_with(described, row, SENTENCE), shared.guarded(rules=shared.rules("deny"), **strict))
        )
        return _cell(described, row, "request", scope, *_denied(plain, said, str(row["denied"])))
    problems: list[str] = []
    found = _found(said, ("secrets-in",))
    if scope not in found or said.refusal is None:
        problems.append(f"a secret is not found there as {scope}: {sorted(found)}, {said.record.reason or 'passed'}")
    ordered = run(_with(described, row, INJECTION), deny)
    scored = _found(ordered, ("injection",))
    if scope not in scored or ordered.refusal is None:
        problems.append(f"an injection is not found there as {scope}: {ordered.record.reason or 'passed'}")
    redact = shared.guarded()
    edited = run(_with(described, row, SENTENCE), redact)
    trials = [edited, run(_escaped(_with(described, row, _shifted(SENTENCE))), redact)]
    if row.get("json"):
        trials.append(run(_with(described, row, INNER), redact))
    for trial in trials:
        if place := leaks(trial.request, SECRET):
            problems.append(f"a secret gets out: {place}")
        if not _found(trial, ("secrets-in",)):
            problems.append("a secret behind escapes is not found")
    happens = "redacted" if edited.refusal is None else "refused"
    return _cell(described, row, "request", scope, "found", "found", happens, problems)


def _with(described: Surfaces, row: Mapping[str, Any], text: str) -> Case:
    return described.asked(row=row, put=shared.filled(row.get("put"), text))


def _escaped(case: Case) -> Case:
    return replace(case, sent=_unshifted(json.dumps(json.loads(case.sent))).encode() if case.sent else b"")


def _shifted(text: str) -> str:
    """Characters that a JSON writer escapes; ``_unshifted`` makes the escapes those of the text."""
    return "".join(chr(_SHIFT + ord(character)) for character in text)


def _unshifted(written: str) -> str:
    return _SHIFTED.sub(r"\\u00\1", written)


def _denied(plain: Outcome, said: Outcome, control: str) -> tuple[str, str, str, list[str]]:
    problems = []
    if plain.refusal is None or plain.record.reason != control:
        problems.append(f"not refused by {control}: {plain.record.reason or 'passed'}")
    if said.refusal is None or said.request:
        problems.append("something of it left")
    unseen = ", ".join(sorted(set(plain.record.not_inspected) & set(UNSEEN)))
    if control == "not_inspected":
        return f"not inspected: {unseen}", f"not inspected: {unseen}", "as not_inspected says", problems
    return f"denied: {control}", f"denied: {control}", "refused", problems


# ---- answers ---------------------------------------------------------------------------------------------------------


def outgoing(described: Surfaces, row: Mapping[str, Any]) -> Cell:
    """Try one place of an answer: whole, in pieces, behind escapes."""
    problems: list[str] = []
    scopes: set[str] = set()
    happens: set[str] = set()
    denied = str(row.get("denied", ""))
    for how, case, pieces in trials(described, row):
        said = run(case, shared.guarded(), pieces)
        found = _found(said, ("secrets-out", "secrets-in"))
        scopes |= found
        if place := leaks(said.answer, SECRET):
            problems.append(f"{how}: a secret gets out {place}")
        if denied:
            if said.record.reason != denied:
                problems.append(f"{how}: not refused by {denied}: {said.record.reason or 'passed'}")
        elif not found:
            problems.append(f"{how}: a secret is not found: {said.record.reason or 'passed'}")
        happens.add("redacted" if said.passed else "cut" if said.record.cut else "refused")
    if "scope" in row and row["scope"] not in scopes and not denied:
        problems.append(f"found as {sorted(scopes)}, not as {row['scope']}")
    scope = str(row.get("scope") or ", ".join(sorted(scopes)) or NONE)
    injection = NONE
    if scope in WHOLE_SCOPES:  # what a model will read
        injection = "found"
        case = answer_of(described, row, [INJECTION])
        if scope not in _found(run(case, shared.guarded(), [case.body]), ("injection",)):
            problems.append("an injection is not found")
    secret = f"denied: {denied}" if denied else "found"
    return _cell(described, row, "answer", scope, secret, injection, ", ".join(sorted(happens)), problems)


def trials(described: Surfaces, row: Mapping[str, Any]) -> Iterator[tuple[str, Case, Sequence[bytes]]]:
    """The ways in which a secret comes in one place of an answer."""
    texts = {"whole": SENTENCE, "escaped": _shifted(SENTENCE)}
    if row.get("json"):
        texts["escaped inside"] = INNER
    for how, text in texts.items():
        case = answer_of(described, row, [text])
        yield how, case, [case.body]
        yield f"{how}, byte by byte", case, byte_by_byte(case.body)
        if "events" in row and row.get("pieces"):
            for size in SIZES:
                pieces = [text[at : at + size] for at in range(0, len(text), size)]
                case = answer_of(described, row, pieces)
                yield f"{how}, {size} at a time", case, [case.body]


def answer_of(described: Surfaces, row: Mapping[str, Any], pieces: Sequence[str]) -> Case:
    """The answer of an output row with this text in it, and the request that asks for such an answer."""
    if "events" in row:
        assert described.stream
        kind = row.get("content_type", described.stream["content_type"])
        body = b"".join(shared.framed(shared.told(row["events"], pieces), kind, _write))
        return replace(described.answered(body, kind, streamed=True, row=row), status=row.get("status", 200))
    document = shared.filled(shared.merged(described.document, row["put"]), "".join(pieces))
    kind = row.get("content_type", shared.JSON)
    return replace(described.answered(_write(document).encode(), kind, row=row), status=row.get("status", 200))


def _write(document: Any) -> str:
    return _unshifted(json.dumps(document))


def _found(said: Outcome, rules: Sequence[str]) -> set[str]:
    return {finding.scope for finding in said.record.findings if finding.rule in rules}


def _cell(
    described: Surfaces,
    row: Mapping[str, Any],
    direction: str,
    scope: str,
    secret: str,
    injection: str,
    happens: str,
    problems: Sequence[str],
) -> Cell:
    note = str(row.get("note", ""))
    name = described.dialect.name
    return Cell(
        name, str(row["field"]), direction, scope, secret, injection, happens, note, tuple(dict.fromkeys(problems))
    )


# ---- every leaf ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hole:
    """A place where a secret passed unread: the exchange, the direction, the path of the leaf."""

    exchange: str
    direction: str
    path: str


def holes(name: str) -> list[Hole]:
    """Put a secret in the place of every value of every exchange of a dialect, and give those that let it out."""
    found: dict[tuple[str, str], Hole] = {}
    for case in shared.exchanges(name):
        if case.status >= 400:
            continue
        for direction, tried in (("request", _request_leaves(case)), ("answer", _answer_leaves(case))):
            for path, leaked in tried:
                if leaked:
                    found.setdefault((direction, path), Hole(case.name, direction, path))
    return list(found.values())


def _request_leaves(case: Case) -> Iterator[tuple[str, bool]]:
    if not case.sent:
        return
    text = shared.guarded(rules=shared.rules("deny"))
    if run(case, text).refusal is not None:  # refused for what it is: see what its texts are worth without that
        text = shared.rules_only(rules=shared.rules("deny"))
    for path, changed in _variants(json.loads(case.sent), set(), ()):
        said = run(replace(case, sent=json.dumps(changed).encode()), text)
        yield path, said.refusal is None and bool(leaks(said.request, SECRET))


def _answer_leaves(case: Case) -> Iterator[tuple[str, bool]]:
    frames = shared.frames_of(case)
    text = shared.rules_only()
    tried: set[object] = set()
    for at, frame in enumerate(frames):
        document, put = unpacked(case, frame)
        if document is None:
            continue
        for path, changed in _variants(document, tried, _kind(document)):
            body = b"".join([*frames[:at], put(changed), *frames[at + 1 :]])
            said = run(case, text, [body])
            yield path, bool(leaks(said.answer, SECRET))


def _variants(document: Any, tried: set[object], kind: tuple[object, ...]) -> Iterator[tuple[str, Any]]:
    """The document with a secret in the place of one value at a time; one of each kind of place."""
    changes = [(dotted(path) + form, Edit(path, value)) for path in nodes(document) for form, value in FORMS.items()]
    # An unknown member's name is text, too.
    changes += [(dotted((*path, A_KEY)), Edit((*path, SENTENCE), 1)) for path in objects_in(document)]
    for name, change in changes:
        if (name, kind) not in tried:
            tried.add((name, kind))
            yield name, apply(document, [change])


def _kind(document: Any) -> tuple[object, ...]:
    return (document.get("type"), *sorted(document)) if isinstance(document, dict) else ()


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value but the document."""
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from nodes(member, (*path, name))


def objects_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object."""
    members = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if isinstance(value, dict):
        yield path
    for name, member in members:
        yield from objects_in(member, (*path, name))


def dotted(path: Sequence[Any]) -> str:
    """A path as people write it; indexes do not count."""
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def unpacked(case: Case, frame: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    """The document in a frame, None if there is none, and how another gets into its place."""
    if case.content_type == shared.SSE:
        lines = frame.splitlines(keepends=True)
        data = b"".join(line.removeprefix(b"data:") for line in lines if line.startswith(b"data:"))
        others = [line for line in lines if not line.startswith(b"data:") and line.strip()]
        before, after = b"".join([*others, b"data: "]), b"\n\n"
    else:  # a line, a document, or an element of an array that is streamed
        start, end = frame.find(b"{"), frame.rfind(b"}") + 1
        if frame.lstrip().startswith(b"[") and not case.decoder().streams:
            start, end = frame.find(b"["), frame.rfind(b"]") + 1
        before, data, after = frame[:start] if end else frame, frame[start:end] if end else b"", frame[end:]

    def put(document: Any) -> bytes:
        return before + json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace") + after

    try:
        return json.loads(data), put
    except (ValueError, RecursionError):
        return None, put
