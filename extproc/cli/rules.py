"""``sluicegate rules``: what the rule packs look for, and whether their own examples still hold.

``rules [PACK...]`` lists, ``rules show ID...`` tells everything about one rule, ``rules --test`` tries every example. A
PACK is the name of one that ships or the path of a file. Packs are read as data, so one that a detector would refuse
can be listed, too; only ``--test`` and ``show`` build detectors.

The examples under ``match`` are never printed: they look like secrets, and logs are scanned for those.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from extproc.detectors import DETECTORS
from extproc.detectors.base import Detector
from extproc.detectors.pack import SEVERITIES, PackError
from extproc.runtime.assets import asset
from extproc.runtime.yaml_source import BadYaml, Source, read_yaml

_KINDS: Final = {kind.pack: name for name, kind in DETECTORS.items() if kind.pack}
"""Pack -> the kind of detector that it ships for."""

_SHOW: Final = ("show", "explain")
_LISTS: Final = ("rules", "families", "keywords")
_LOOKS_FOR: Final = ("literals", "tokens", "shapes", "phrases", "names", "title")
_PREFIX: Final = {"pii": "pii."}  # what findings are reported with
_LOWEST: Final = {"threshold": 0.001}  # reports every rule that occurs, however little it says alone
_PROBLEMS_MAX: Final = 50
_SHOWN: Final = 3
_WIDE: Final = 200
_Place: TypeAlias = tuple[str, int]
_Item: TypeAlias = tuple[_Place, Mapping[str, Any]]
_RUN: Final = re.compile(r"[a-z0-9-]+\{(\d+)(?:,(\d+))?\}|'([^']+)'")


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack as it was read, and the kind of detector that reads it; none where that cannot be told."""

    name: str
    path: Path
    kind: str
    source: Source

    def items(self) -> list[_Item]:
        """The rules as they are written, each with its place."""
        data = self.source.data
        lists = [(name, data[name]) for name in _LISTS if isinstance(data.get(name), list)]
        return [((name, at), item) for name, items in lists for at, item in enumerate(items) if isinstance(item, dict)]


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one rule. What a pack does not say is empty."""

    pack: str
    id: str
    provider: str
    title: str
    severity: str
    owasp: Sequence[str]
    looks_for: Sequence[str]
    docs: str


class Unusable(ValueError):  # noqa: N818 - what it is
    """A pack that is not there or not readable; the text says which and why."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.usage = "sluicegate rules [PACK ...] [filters] | rules show ID ... | rules --test [PACK ...]"
    parser.add_argument(
        "words", nargs="*", metavar="PACK", help='packs (default: all that ship), or "show" and rule ids'
    )
    parser.add_argument("--provider", metavar="TEXT", help="only of providers or families whose name has this in it")
    parser.add_argument("--severity", choices=SEVERITIES, help="only of this severity")
    parser.add_argument("--owasp", metavar="ID", help="only what maps to this entry, such as LLM02 or LLM02:2025")
    parser.add_argument("--detector", choices=sorted(_KINDS.values()), help="what reads a pack file of another name")
    parser.add_argument("--test", action="store_true", help="try the examples of every rule")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, show or test; 0 if all is well, 1 if a test fails or nothing fits, 2 if a pack or a rule is not there."""
    showing = args.words[:1] and args.words[0] in _SHOW and not args.test
    try:
        packs = _packs((), args.detector) if showing else _packs(args.words, args.detector)
    except Unusable as error:
        print(f"sluicegate rules: {error}", file=sys.stderr)
        return 2
    if showing:
        return _show(packs, args.words[1:], args.json)
    return _test(packs, args.json) if args.test else _list(packs, args)


# ---- packs -------------------------------------------------------------------------------------------------------


def _packs(words: Sequence[str], detector: str | None) -> list[Pack]:
    folder = asset("policies/packs")
    shipped = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return [_pack(word, shipped, detector) for word in words or shipped]


def _pack(word: str, shipped: Mapping[str, Path], detector: str | None) -> Pack:
    path = shipped.get(word) or Path(word)
    if word not in shipped and path.suffix not in (".yaml", ".yml"):
        raise Unusable(f'no pack "{word}"; there are {", ".join(shipped)}, or name a file')
    try:
        source = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BadYaml) as error:
        raise Unusable(f"{path}: {error}") from None
    if not isinstance(source.data, dict):
        raise Unusable(f"{path}: must be a mapping")
    return Pack(path.stem, path, detector or _KINDS.get(path.stem, ""), source)


def _rows(pack: Pack) -> list[Row]:
    docs = pack.source.data.get("providers", {})
    default = pack.source.data.get("owasp", ())
    return [_row(pack, item, docs, default) for _, item in pack.items()]


def _row(pack: Pack, item: Mapping[str, Any], docs: Mapping[str, str], owasp: Sequence[str]) -> Row:
    provider = item.get("provider", item.get("family", item.get("models", "")))
    looks_for = next((item[name] for name in _LOOKS_FOR if name in item), ())
    return Row(
        pack=pack.name,
        id=f"{_PREFIX.get(pack.kind, '')}{item.get('id', '')}",
        provider=provider,
        title=item.get("title", ""),
        severity=item.get("severity", ""),
        owasp=item.get("owasp", owasp),
        looks_for=[looks_for] if isinstance(looks_for, str) else looks_for,
        docs=docs.get(provider, item.get("docs", "")),
    )


# ---- list --------------------------------------------------------------------------------------------------------


def _list(packs: Sequence[Pack], args: argparse.Namespace) -> int:
    rows = [row for pack in packs for row in _rows(pack) if _wanted(row, args)]
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
    elif rows:
        _print_rows(rows)
    else:
        print("sluicegate rules: no rule is like that", file=sys.stderr)
    return 0 if rows else 1


def _wanted(row: Row, args: argparse.Namespace) -> bool:
    return (
        (args.provider is None or args.provider.lower() in row.provider.lower())
        and args.severity in (None, row.severity)
        and (args.owasp is None or any(entry.startswith(args.owasp.upper()) for entry in row.owasp))
    )


def _print_rows(rows: Sequence[Row]) -> None:
    from rich.table import Table

    console = _console()
    table = Table(box=None, pad_edge=False)
    for title in ("RULE", "PROVIDER OR FAMILY", "SEVERITY", "OWASP", "LOOKS FOR"):
        table.add_column(title, overflow="fold")
    for row in rows:
        more = f" and {len(row.looks_for) - _SHOWN} more" if len(row.looks_for) > _SHOWN else ""
        looks_for = " ".join(row.looks_for[:_SHOWN]) + more
        table.add_row(row.id, row.provider, row.severity, " ".join(row.owasp), looks_for)
    console.print(table)
    providers = {row.provider for row in rows if row.provider}
    console.print(f"{len(rows)} rules, {len(providers)} providers and families, packs: {_names(rows)}")


def _names(rows: Iterable[Row]) -> str:
    return ", ".join(dict.fromkeys(row.pack for row in rows))


# ---- show --------------------------------------------------------------------------------------------------------


def _show(packs: Sequence[Pack], ids: Sequence[str], as_json: bool) -> int:
    known = {row.id: (pack, item, row) for pack in packs for item, row in zip(pack.items(), _rows(pack), strict=True)}
    unknown = [name for name in ids if name not in known]
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=3)
        print(f'sluicegate rules: no rule "{name}"{"; there is " if close else ""}{", ".join(close)}', file=sys.stderr)
    if unknown or not ids:
        if not ids:
            print("sluicegate rules show: name a rule", file=sys.stderr)
        return 2
    told = [_told(*known[name]) for name in ids]
    if as_json:
        print(json.dumps(told))
        return 0
    console = _console()
    for rule in told:
        console.print(rule.pop("id"), style="bold")
        for name, value in rule.items():
            lines = value if isinstance(value, list) else [value]
            for line in lines:
                console.print(f"  {name:<10}{line}", soft_wrap=True)
                name = ""  # noqa: PLW2901 - a name stands before its first line only
    return 0


def _told(pack: Pack, placed: _Item, row: Row) -> dict[str, Any]:
    """Give everything that can be said of a rule, in the order in which it is read."""
    place, item = placed
    line, _ = pack.source.mark(place)
    told: dict[str, Any] = {"id": row.id, "title": row.title, "provider": row.provider, "severity": row.severity}
    told |= {"owasp": " ".join(row.owasp), "docs": row.docs, "pack": f"{pack.path}:{line}"}
    told |= {
        name: item[name]
        for name in ("literals", "tokens", "shapes", "ambiguous", "names", "headers", "phrases", "weight")
        if name in item
    }
    told |= {name: item[name] for name in ("lead", "body", "until", "check") if name in item}
    told |= {"leaves as": _marker(pack, row), "holds": _hold(pack, item), "passes": item.get("pass", [])}
    return {name: value for name, value in told.items() if value not in ("", [], ())}


def _marker(pack: Pack, row: Row) -> str:
    """Give what takes the place of what the rule finds, where something does."""
    if not pack.kind or not DETECTORS[pack.kind].streams:
        return ""
    marker = getattr(_built(pack, {})[0], "marker", None)
    return marker(row.id) if marker else ""


def _hold(pack: Pack, item: Mapping[str, Any]) -> str:
    """Say what the rule costs a stream."""
    if pack.kind and not DETECTORS[pack.kind].streams:
        return "whole texts: this detector does not read streams"
    if "hold" in item:
        return str(item["hold"])
    return _hold_of_shape(item) if "body" in item else ""


def _hold_of_shape(item: Mapping[str, Any]) -> str:
    """Count from a shape: what a place may hold until it is decided. A literal without a lead is held as well."""
    from extproc.detectors.matcher import PATIENCE
    from extproc.detectors.shapes import COMMIT

    runs = [_lengths(run) for run in _RUN.finditer(item["body"])]
    least, most = (sum(lengths) for lengths in zip(*runs[:-1], strict=True)) if runs[1:] else (0, 0)
    if "until" in item:
        return f"at most {most + runs[-1][1]} characters, until one of {' '.join(item['until'])} ends it"
    commit = item.get("commit", min(COMMIT, runs[-1][0]))
    literal = 0 if "lead" in item else max(map(len, item.get("literals", ("",))))
    return (
        f"decided after {literal + least + commit} characters, at the latest after {literal + most + commit + PATIENCE}"
    )


def _lengths(run: re.Match[str]) -> tuple[int, int]:
    if run[3]:
        return len(run[3]), len(run[3])
    return int(run[1]), int(run[2] or run[1])


# ---- test --------------------------------------------------------------------------------------------------------


def _test(packs: Sequence[Pack], as_json: bool) -> int:
    from rich.progress import BarColumn, Progress, TextColumn

    tested: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} examples"))
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task("testing", total=sum(map(_examples, packs)))
        for pack in packs:
            progress.update(task, description=pack.name)
            problems = [_placed(pack, error) for error in _problems(pack)]
            tested.append({"pack": pack.name, "rules": len(pack.items()), "examples": _examples(pack)})
            tested[-1]["problems"] = problems
            progress.advance(task, _examples(pack))
    failed = any(result["problems"] for result in tested)
    if as_json:
        print(json.dumps({"ok": not failed, "packs": tested}))
    else:
        _print_tested(tested)
    return 1 if failed else 0


def _print_tested(tested: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("PACK", "RULES", "EXAMPLES", "RESULT"):
        table.add_column(title, justify="right" if title in ("RULES", "EXAMPLES") else "left")
    for result in tested:
        problems = result["problems"]
        count = f"{len(problems)} wrong" if problems else "ok"
        table.add_row(result["pack"], str(result["rules"]), str(result["examples"]), count)
        for problem in problems:
            print(problem, file=sys.stderr)
    _console().print(table)


def _examples(pack: Pack) -> int:
    return sum(len(item.get(name, ())) for _, item in pack.items() for name in ("match", "pass", "tokens"))


def _problems(pack: Pack) -> Iterator[PackError]:
    """Find what is wrong with a pack and its examples, each problem at its place."""
    if not pack.kind:
        yield PackError((), f"name its detector with --detector: {', '.join(sorted(_KINDS.values()))}")
        return
    rest = pack.items()
    for _ in range(_PROBLEMS_MAX):
        lists = {name: [item for place, item in rest if place[0] == name] for (name, _), _ in rest}
        try:
            detector, verified = _built(pack, {**pack.source.data, **lists})
        except PackError as error:
            wrong = _wrong_rule(rest, error)
            if wrong is None:
                yield error
                return
            # The others are tried without it, so that one reading tells everything.
            rest.remove(wrong)
            yield PackError((*wrong[0], *error.where[2:]), error.message)
            continue
        if not verified:
            yield from _wrong_examples(detector, rest)
        return


def _wrong_rule(rest: list[_Item], error: PackError) -> _Item | None:
    """Give the one of the rules tried in which the error is, if it is in one."""
    if len(error.where) < 2 or not isinstance(error.where[1], int):
        return None
    listed = [item for item in rest if item[0][0] == error.where[0]]
    return listed[error.where[1]] if error.where[1] < len(listed) else None


def _built(pack: Pack, data: Mapping[str, Any]) -> tuple[Detector, bool]:
    """Build a pack's detector, with its examples tried where the kind knows how; say whether they were."""
    build = DETECTORS[pack.kind].build
    if pack.kind == "prompt_injection":
        return build(data or pack.source.data, _LOWEST), False
    if pack.kind == "special_tokens" or not data:
        return build(data or pack.source.data, {}), True
    return build(data, {"verify": True}), True


def _wrong_examples(detector: Detector, items: Iterable[_Item]) -> Iterator[PackError]:
    for where, item in items:
        for name in ("match", "pass"):
            for place, text in enumerate(item.get(name, ())):
                found = {match.rule for match in detector.scan(text).matches}
                if (item["id"] in found) is not (name == "match"):
                    wrong = "is not found by this rule" if name == "match" else "is found, but must not be"
                    yield PackError((*where, name, place), wrong)


def _placed(pack: Pack, error: PackError) -> str:
    line, column = pack.source.mark(tuple(error.where))
    return f"{pack.path}:{line}:{column}: {error}"


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(
        stderr=stderr, force_terminal=stream.isatty(), width=width, markup=False, emoji=False, highlight=False
    )
