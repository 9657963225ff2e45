"""`sluicegate demo`: real requests through a real gate, and a table that says what became of them."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

_NEEDED: Final = ("openai", "ollama", "httpx")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--keep", action="store_true", help="leave the gate up and print curl lines; Ctrl-C ends it")
    parser.add_argument("--no-model", action="store_true", help="script the normal chats too; nothing is downloaded")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if every row is as expected, 1 if not or if something did not start."""
    needed = _NEEDED if args.no_model else (*_NEEDED, "xllamacpp")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        print(f"the demo needs {', '.join(missing)}: pip install '.[demo]' in a checkout", file=sys.stderr)
        return 2
    from extproc.demo import stage

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-demo-"))
    try:
        as_expected = stage.play(folder, real_model=not args.no_model, keep=args.keep, as_json=args.json)
    except stage.NOT_STARTED as error:
        print(f"error: {error}", file=sys.stderr)
        as_expected = False
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    if not as_expected:
        print(f"logs and the audit log are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0
