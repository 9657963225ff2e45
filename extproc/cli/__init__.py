"""The command line: one module per verb. Each has ``configure(parser)`` and ``run(args) -> exit code``.

Exit codes: 0 done, 1 the answer is no (a policy that does not check, a demo row that is not as expected), 2 wrong usage
or unreadable input, 70 an internal failure, 130 interrupted. Tables go to stdout, errors to stderr; every verb that
prints a table takes ``--json``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from extproc import __version__
from extproc.cli.arguments import HelpFormatter

VERBS: Final = (
    ("up", "start Envoy and the ext_proc server in front of an upstream, in one command"),
    ("serve", "run the ext_proc server"),
    ("init", "write a starter policy for what an upstream serves now"),
    ("check", "validate policy files"),
    ("scan", "run texts through the detectors, without a gateway"),
    ("rules", "list what the rule packs look for, explain a rule, try their examples"),
    ("train", "train an injection model on labelled texts"),
    ("eval", "judge detectors by labelled texts"),
    ("replay", "drive sessions with recorded ext_proc streams and compare the replies"),
    ("demo", "show the gate at work with a real small model"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="sluicegate", description="LLM policy at the gateway.")
    parser.add_argument("--version", action="version", version=f"sluicegate {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    # Only the verb that runs is imported: `scan` must not pay for grpc.
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    for name, summary in VERBS:
        description = summary[0].upper() + summary[1:] + "."
        verb = verbs.add_parser(name, help=summary, description=description, formatter_class=HelpFormatter)
        if name == chosen:
            module = importlib.import_module(f"extproc.cli.{name}")
            module.configure(verb)
            verb.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `sluicegate scan ... | head`
        sys.stderr.close()
        return 0
