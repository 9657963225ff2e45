"""``sluicegate replay``: drive sessions with recorded ext_proc streams and compare every reply, byte by byte.

With the policy that a recording was made under, a difference is a change of behaviour; with another one it is what that
policy would do differently.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

DIFFERENT: Final = 1
WRONG_USAGE: Final = 2
_COLUMNS: Final = ("FILE", "EVENTS", "REPLIES", "POLICY", "RESULT")


@dataclass(frozen=True, slots=True)
class _Replayed:
    """One file's row."""

    file: str
    decision_id: str
    events: int
    replies: int
    same_policy: bool
    secrets_replaced: int
    bodies_withheld: int
    differences: tuple[dict[str, Any], ...]

    @property
    def result(self) -> str:
        return f"{len(self.differences)} different" if self.differences else "identical"


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings made by serve --record")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="default: the one that ships")
    parser.add_argument("--json", action="store_true", help="one JSON object per file")


def run(args: argparse.Namespace) -> int:
    """Replay each file; 0 if all replies are identical, 1 if one differs, 2 if a file or the policy cannot be read."""
    from extproc.runtime.recording import RecordingError
    from extproc.runtime.store import PolicyErrors, load_policy

    try:
        policy = load_policy(args.policy)
        rows = [_replay(path, policy) for path in args.files]
    except (PolicyErrors, RecordingError) as error:
        print(f"sluicegate replay: {error}", file=sys.stderr)
        return WRONG_USAGE
    _show_json(rows) if args.json else _show(rows)
    return DIFFERENT if any(row.differences for row in rows) else 0


def _replay(path: Path, policy: Any) -> _Replayed:
    from extproc.runtime.recording import read_recording
    from extproc.runtime.replay import compare

    recording = read_recording(path)
    return _Replayed(
        file=str(path),
        decision_id=recording.decision_id,
        events=len(recording.entries),
        replies=sum(len(entry.replies) for entry in recording.entries),
        same_policy=recording.policy_revision == policy.revision,
        secrets_replaced=recording.secrets_replaced,
        bodies_withheld=recording.bodies_withheld,
        differences=tuple(asdict(difference) for difference in compare(recording, policy)),
    )


def _show_json(rows: list[_Replayed]) -> None:
    for row in rows:
        print(json.dumps({**asdict(row), "result": row.result}))


def _show(rows: list[_Replayed]) -> None:
    cells = [(row.file, str(row.events), str(row.replies), _policy(row), row.result) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(_COLUMNS, *cells, strict=True)]
    for line in (_COLUMNS, *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for row in rows:
        for difference in row.differences:
            then, now = (" ".join(difference[side]) or "nothing" for side in ("recorded", "replayed"))
            print(f"{row.file}: event {difference['entry']} ({difference['event']}): {then} -> {now}")


def _policy(row: _Replayed) -> str:
    return "the same" if row.same_policy else "another"
