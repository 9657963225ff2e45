"""Show results: a table for people, JSON for programs, `curl` lines to try again by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from extproc.demo.measure import Latency, Result, Sample
from extproc.demo.phrasing import said
from extproc.demo.standin import Exchange

_PIPE_WIDTH: Final = 150
_KEY_CHARS: Final = 7
_DIRECT_CHARS: Final = 70


def console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal, or wide enough for the table where there is none."""
    plain = Console(stderr=stderr)
    return plain if plain.is_terminal else Console(stderr=stderr, width=_PIPE_WIDTH)


def render(results: Sequence[Result], upstream: str) -> RenderableType:
    """Draw the table, and every complaint below it."""
    table = Table(box=box.ROUNDED, show_lines=True, title=f"the same requests through the gate · upstream: {upstream}")
    table.add_column("")
    for heading in ("asked", "upstream saw and said", "client saw", "rule"):
        table.add_column(heading, overflow="fold")
    table.add_column("latency", no_wrap=True)
    for result in results:
        table.add_row(
            Text("✓", "green") if result.as_expected else Text("✗", "bold red"),
            f"[bold]{result.row.title}[/]\n[dim]{result.row.via}[/]\n{escape(result.row.asked)}",
            _upstream_cell(result),
            Text(_client(result), "yellow" if result.observation.seen.refused else ""),
            escape(_rules(result)),
            _latency(result),
        )
    bad = [result for result in results if not result.as_expected]
    notes = [Text(f"✗ {result.row.title}: {'; '.join(result.complaints)}", "bold red") for result in bad]
    return Group(table, *notes)


def as_json(results: Sequence[Result], upstream: str) -> str:
    """Give the same as one JSON document. Times are in milliseconds."""
    rows = [
        {
            "title": result.row.title,
            "via": result.row.via,
            "asked": result.row.asked,
            "as_expected": result.as_expected,
            "complaints": result.complaints,
            "upstream_requests": len(result.observation.reached),
            "upstream": _upstream(result),
            "upstream_without_the_gate": _spoken(result.request, result.observation.key),
            "client": _client(result),
            "status": result.observation.seen.status,
            "rules": result.observation.rules,
            "decision_id": result.observation.seen.decision_id,
            "direct_ms": _times(result.direct),
            "gated_ms": _times(result.gated),
        }
        for result in results
    ]
    return json.dumps({"upstream": upstream, "rows": rows}, indent=2, ensure_ascii=False)


def curl_lines(results: Sequence[Result], url: str) -> Iterator[str]:
    """Give one `curl` line for every row, with exactly the request that was sent."""
    for result in results:
        request = result.request
        body = json.dumps(json.loads(request.body), ensure_ascii=False)
        options = f"-H 'content-type: application/json' -d {shlex.quote(body)}"
        yield f"# {result.row.title}\ncurl -sNi --path-as-is {shlex.quote(url + request.target)} {options}"


def _times(latency: Latency) -> dict[str, dict[str, float]]:
    samples = {"first": latency.first, "total": latency.total}
    return {
        name: {"median": round(sample.median_ms, 2), "spread": round(sample.spread_ms, 2)}
        for name, sample in samples.items()
    }


def _upstream_cell(result: Result) -> str:
    cell = escape(_upstream(result))
    if result.observation.reached:
        return cell
    told = _spoken(result.request, result.observation.key)
    return f"{cell}\n[dim]without the gate, {escape(_shortened(told))}[/]"


def _upstream(result: Result) -> str:
    observation = result.observation
    if not observation.reached:
        return "saw nothing"
    return _spoken(observation.reached[-1], observation.key)


def _spoken(exchange: Exchange, key: str) -> str:
    tools = exchange.declared_tools()
    lines = [f"saw tools: {', '.join(tools)}"] if tools else []
    answer = said(bytes(exchange.answer))
    if answer.text:
        lines.append(f"said: {answer.text.replace(key, key[:_KEY_CHARS] + '…')}")
    lines += [f"called: {name}" for name in answer.calls]
    return "\n".join(lines)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DIRECT_CHARS else line[:_DIRECT_CHARS] + "…"


def _client(result: Result) -> str:
    seen = result.observation.seen
    if seen.refused:
        return f"{seen.error} ({seen.status})\n{seen.text}"
    lines = [seen.text] if seen.text else []
    lines += [f"called: {name}" for name in seen.calls]
    lines += [f"finish: {seen.finish}"] if seen.finish else []
    return "\n".join(lines)


def _rules(result: Result) -> str:
    observation = result.observation
    findings = observation.audit["findings"] if observation.audit else ()
    matches = [f"  {finding['match']}" for finding in findings if finding["rule"] in observation.rules]
    owasp = [f"  {entry}" for finding in findings for entry in finding["owasp"]]
    return "\n".join([*observation.rules, *dict.fromkeys([*matches, *owasp])]) or "-"


def _latency(result: Result) -> str:
    direct, gated = result.direct, result.gated
    if result.observation.seen.refused:
        return f"refused in {gated.total.median_ms:.1f} ms"
    return f"first {_added(direct.first, gated.first)}\nwhole {_added(direct.total, gated.total)}"


def _added(direct: Sample, gated: Sample) -> str:
    return f"{gated.median_ms - direct.median_ms:+.1f} ±{direct.spread_ms + gated.spread_ms:.1f} ms"
