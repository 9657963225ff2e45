"""``sluicegate init``: the default policy with the models that an upstream serves now, and the reasons as comments.

``up`` runs with the same text where no policy is given.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from extproc.runtime.envoy_config import Upstream, parse_upstream
from extproc.runtime.store import default_policy
from extproc.runtime.upstream_probe import ProbeFailed, ServedModel, Verdict, served_models

_HEADER: Final = """\
# A starter policy: what Sluicegate ships with, and the models that {url} served when this was written.
# Whatever it does not name is refused. Reference: docs/policy.md
"""
_REASONS: Final = {
    Verdict.PINNED: "A fixed tag: the name means the same model until someone replaces that tag.",
    Verdict.AS_SERVED: (
        "WARNING: no fixed tag, so the next pull may put another model behind the name. Allowed because no other"
        " tag of it is served; give it one and name that instead."
    ),
    Verdict.MOVES: "Left out: no fixed tag, and another tag of it is served.",
    Verdict.LEAVES: "Left out: prompts to these leave this machine for the vendor's cloud.",
    Verdict.UNREADABLE: "Left out: {count} that cannot be a model's name.",
}
_WIDTH: Final = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.add_argument("--upstream", required=True, metavar="URL", help="the LLM server: http[s]://HOST[:PORT]")
    parser.add_argument("--upstream-ca", default="", metavar="FILE", help="certificate authorities to trust instead")
    parser.add_argument("--output", default="-", metavar="FILE", help="where to write; - is standard output")
    parser.add_argument("--force", action="store_true", help="replace the output file if it is there")


def run(args: argparse.Namespace) -> int:
    """Write the policy; 0 if done, 1 if the upstream does not say what it serves, 2 for wrong usage."""
    try:
        upstream = parse_upstream(args.upstream, ca_file=args.upstream_ca)
    except ValueError as error:
        print(f"sluicegate init: {error}", file=sys.stderr)
        return 2
    try:
        models = served_models(upstream)
    except ProbeFailed as error:
        print(f"sluicegate init: {error}", file=sys.stderr)
        return 1
    text = starter_policy(upstream, models)
    if args.output == "-":
        sys.stdout.write(text)
    else:
        try:
            with Path(args.output).open("w" if args.force else "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            print(f"sluicegate init: {args.output} is there already; --force replaces it", file=sys.stderr)
            return 2
        except OSError as error:
            print(f"sluicegate init: {args.output}: {error.strerror}", file=sys.stderr)
            return 2
    for warning in model_warnings(models):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def starter_policy(upstream: Upstream, models: Sequence[ServedModel]) -> str:
    """The shipped default policy with ``models.allow`` filled in; everything else stays as it is, comments too."""
    template = default_policy().read_text(encoding="utf-8")
    root = yaml.compose(template, Loader=yaml.SafeLoader)
    assert root is not None
    name = _member(root, "metadata", "name")
    allow = _member(root, "spec", "models", "allow")
    indent = " " * (_member(root, "spec", "models").start_mark.column + 2)
    edits = [
        (0, template.index("apiVersion:"), _HEADER.format(url=upstream.url)),
        (name.start_mark.index, name.end_mark.index, "starter"),
        (*_to_end_of_line(template, allow), _allow_block(models, indent)),
    ]
    for start, end, text in sorted(edits, reverse=True):
        template = template[:start] + text + template[end:]
    return template


def model_warnings(models: Sequence[ServedModel]) -> list[str]:
    """What an operator should know of the choice, one sentence each."""
    by_verdict = _grouped(models)
    out = []
    if as_served := by_verdict[Verdict.AS_SERVED]:
        names = ", ".join(model.name for model in as_served)
        out.append(f"no fixed tag, allowed as served (the next pull may change what is behind the name): {names}")
    if leaves := by_verdict[Verdict.LEAVES]:
        out.append(f"refused, runs in the vendor's cloud: {', '.join(model.name for model in leaves)}")
    if moves := by_verdict[Verdict.MOVES]:
        out.append(
            f"refused, no fixed tag, and another tag of it is served: {', '.join(model.name for model in moves)}"
        )
    if unreadable := by_verdict[Verdict.UNREADABLE]:
        out.append(f"refused, not names of models: {len(unreadable)}")
    if not any(model.verdict.allowed for model in models):
        out.append("no model is allowed: every chat will be refused")
    return out


def _allow_block(models: Sequence[ServedModel], indent: str) -> str:
    lines = []
    for verdict, group in _grouped(models).items():
        if not group:
            continue
        lines += _comment(_REASONS[verdict].format(count=len(group)), indent)
        for model in group:
            digest = f"sha256:{model.digest}" if model.digest else "no digest given"
            # Double-quoted YAML reads JSON strings, so a name cannot end the string it stands in.
            quoted = json.dumps(model.name)
            if verdict.allowed:
                lines.append(f"{indent}- {quoted}  # {digest}")
            elif verdict is not Verdict.UNREADABLE:
                lines.append(f"{indent}#   {quoted}  {digest}")
    first = "" if any(model.verdict.allowed for model in models) else " []"
    return "\n".join([first, *lines])


def _grouped(models: Sequence[ServedModel]) -> dict[Verdict, list[ServedModel]]:
    return {verdict: [model for model in models if model.verdict is verdict] for verdict in Verdict}


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _member(node: yaml.Node, *keys: str) -> yaml.Node:
    for key in keys:
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
        node = next(value for name, value in pairs if name.value == key)
    return node


def _to_end_of_line(text: str, node: yaml.Node) -> tuple[int, int]:
    """From behind the key to the end of the line: a comment there speaks of the value that goes."""
    return len(text[: node.start_mark.index].rstrip()), text.index("\n", node.end_mark.index)
