"""What `sluicegate up` says once it is up: what guards what and where, which models may be used, what to try."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from extproc.policy.models import BadName, is_glob, normalise
from extproc.runtime.transports.endpoint import Endpoint
from extproc.runtime.upstream_probe import ServedModel

_SHOWN_MODELS = 20
_DIGEST_CHARS = 12
_NAME_CHARS = 10
_MONITORED = "recorded, not enforced (but for endpoints, unreadable requests, and rules that enforce)"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is said. ``allowed`` are the policy's entries, ``served`` what the upstream serves now."""

    listen: Endpoint
    upstream: str
    policy: str
    revision: str
    mode: str
    workers: int
    admin: str
    audit: str
    allowed: tuple[str, ...]
    served: tuple[ServedModel, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllowedModel:
    """An entry of the policy's allowlist beside what is served under it. ``served`` is None where nobody said."""

    name: str
    digest: str
    served: bool | None


def allowed_models(allowed: Sequence[str], served: Sequence[ServedModel]) -> list[AllowedModel]:
    """Each allowed entry with the digest of what is served under that name, in any spelling."""
    digests = {}
    for model in served:
        try:
            digests[normalise(model.name)] = model.digest
        except BadName:
            continue
    out = []
    for entry in allowed:
        name = normalise(entry)
        known = None if is_glob(entry) or not served else name in digests
        out.append(AllowedModel(entry, digests.get(name, "") if known else "", known))
    return out


def show(report: Report, *, as_json: bool) -> None:
    """Print the report to stdout."""
    if as_json:
        # One write, so that an audit line that goes to the same pipe cannot land inside it.
        sys.stdout.write(json.dumps(_document(report)) + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold green]sluicegate is up[/]: every request and answer is judged before it passes")
    for name, value in _rows(report):
        console.print(f"  [bold]{name:<{_NAME_CHARS}}[/]{escape(value)}")
    for warning in report.warnings:
        console.print(f"  [bold yellow]{'warning':<{_NAME_CHARS}}[/]{escape(warning)}")
    console.print(f"  [bold]{'try it':<{_NAME_CHARS}}[/]{escape(curl(report))}")
    console.file.flush()


def curl(report: Report) -> str:
    """A command line that asks the first allowed model something through the gate."""
    exact = [entry for entry in report.allowed if not is_glob(entry)]
    body = {"model": exact[0] if exact else "MODEL", "messages": [{"role": "user", "content": "Say hello."}]}
    url = f"http://{_reachable(report.listen)}/v1/chat/completions"
    return f"curl {url} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"


def _rows(report: Report) -> list[tuple[str, str]]:
    reach = "this machine only" if report.listen.is_local else "open to the network"
    server = "1 process" if report.workers == 1 else f"{report.workers} processes"
    mode = "" if report.mode == "enforce" else f", mode {report.mode}: {_MONITORED}"
    rows = [
        ("clients", f"http://{_reachable(report.listen)}  ({reach})"),
        ("gate", f"Envoy asks the policy server ({server}) over a private unix socket; no answer, no passage"),
        ("upstream", report.upstream),
        ("policy", f"{report.policy}  {report.revision[:19]}{mode}"),
        ("audit", report.audit),
    ]
    if report.admin:
        rows.append(("metrics", f"http://{report.admin}/metrics"))
    models = allowed_models(report.allowed, report.served)
    lines = [_model_line(model) for model in models[:_SHOWN_MODELS]] or ["none"]
    if len(models) > _SHOWN_MODELS:
        lines.append(f"and {len(models) - _SHOWN_MODELS} more")
    return [*rows, *zip(("models", *[""] * len(lines)), lines, strict=False)]


def _model_line(model: AllowedModel) -> str:
    if model.digest:
        return f"{model.name}  sha256:{model.digest[:_DIGEST_CHARS]}"
    return f"{model.name}  (not served now)" if model.served is False else model.name


def _reachable(listen: Endpoint) -> str:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    return str(dataclasses.replace(listen, host=everywhere.get(listen.host, listen.host)))


def _document(report: Report) -> dict[str, Any]:
    models = [dataclasses.asdict(model) for model in allowed_models(report.allowed, report.served)]
    fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    fields |= {"listen": str(report.listen), "allowed": models, "curl": curl(report)}
    del fields["served"]
    return {"event": "up", **fields}  # told apart by its first key from audit lines, which may share stdout
