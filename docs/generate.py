"""Write what is made of other files: ``python docs/generate.py [--check]``.

That is what the documents quote from the code, between its markers, and what the rules of the injection pack become.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import yaml

from extproc.detectors.injection import compile_pack
from extproc.session import TRANSITIONS
from extproc.transitions import State

DOCS = Path(__file__).parent


def states() -> str:
    """The transition table as a picture and as a table."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    moves: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (state, event), (handler, leads_to) in TRANSITIONS.items():
        if state is State.OVER:
            continue
        rows[event.__name__][state.name] = handler.__name__.removeprefix("_on").strip("_").replace("_", " ")
        for target in sorted(leads_to - {state, State.OVER}, key=lambda target: target.name):
            moves[state.name, target.name].append(event.__name__)
    names = [state.name for state in State if state is not State.OVER]
    cells = [
        f"| {event} | " + " | ".join(row.get(name, "**fail**") for name in names) + " |" for event, row in rows.items()
    ]
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            "  [*] --> START",
            *(f"  {state.name}: {state.name}<br/>{state.value}" for state in State),
            *(f"  {old} --> {new}: {', '.join(events)}" for (old, new), events in moves.items()),
            *(f"  {name} --> OVER" for name in names),
            "  OVER --> [*]",
            "```",
            "",
            "| event | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
            *cells,
            "",
            "Every state may lead to OVER: refused, cut, complete, closed or failed. There every event is swallowed.",
        ]
    )


GENERATED = {"architecture.md": {"states": states}}
POLICIES = DOCS.parent / "policies"


def compiled_rules() -> str:
    """What the rules of the injection pack compile to, as one line of JSON."""
    pack = yaml.load((POLICIES / "packs" / "injection.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return json.dumps(compile_pack(pack), ensure_ascii=False, separators=(",", ":")) + "\n"


def main(check: bool) -> int:
    """Rewrite every marked block; with ``check`` only say which is out of date."""
    stale = []
    for name, blocks in GENERATED.items():
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        new = text
        for block, write in blocks.items():
            start, end = f"<!-- generated: {block} -->", f"<!-- end: {block} -->"
            head, _, rest = new.partition(start)
            new = f"{head}{start}\n{write()}\n{end}{rest.partition(end)[2]}"
        if new != text:
            stale.append(name)
            if not check:
                path.write_text(new, encoding="utf-8")
    rules = POLICIES / "models" / "injection.rules.json"
    if rules.read_text(encoding="utf-8") != (compiled := compiled_rules()):
        stale.append("../policies/models/injection.rules.json")
        if not check:
            rules.write_text(compiled, encoding="utf-8")
    print("\n".join(f"docs/{name} {'is out of date' if check else 'written'}" for name in stale) or "all is current")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv))
