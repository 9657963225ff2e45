from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from extproc.demo.gate import Gate, GateFailed

# Stands in for `sluicegate up`: serves the model list, and writes one audit line for each request.
STUB = """
import http.server, json, sys
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert sys.argv[1] == "up" and options["--upstream"] == "http://upstream" and options["--policy"] == "policy.yaml"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(options["--audit"], "a") as log:
            log.write(json.dumps({"audit_dropped": 1}) + "\\n")
            log.write(json.dumps({"decision_id": self.path, "action": "allow"}) + "\\n" + '{"half')
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
host, _, port = options["--listen"].rpartition(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


def gate(tmp_path: Path, script: str, start_s: float = 30, stop_s: float = 30) -> Gate:
    program: Sequence[str] = (sys.executable, "-c", script)
    return Gate("http://upstream", Path("policy.yaml"), tmp_path, program=program, start_s=start_s, stop_s=stop_s)


def test_it_is_entered_once_it_answers_and_left_without_a_trace(tmp_path: Path) -> None:
    with gate(tmp_path, STUB) as running:
        assert httpx.get(running.url).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url)


def test_audit_lines_are_found_by_decision_id_and_half_a_line_is_left_alone(tmp_path: Path) -> None:
    with gate(tmp_path, STUB) as running:
        assert running.audit("/v1/models") == {"decision_id": "/v1/models", "action": "allow"}
        assert running.audit("unknown", wait_s=0) is None
        running.audit_log.write_text(running.audit_log.read_text().removesuffix('{"half'))
        httpx.get(f"{running.url}/later")
        assert running.audit("/later") == {"decision_id": "/later", "action": "allow"}


def test_before_the_first_line_there_is_no_audit(tmp_path: Path) -> None:
    assert gate(tmp_path, STUB).audit("x", wait_s=0) is None


def test_a_gate_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(GateFailed, match=r"(?s)ended with 2:.*no such policy"),
        gate(tmp_path, "import sys; print('no such policy', file=sys.stderr); sys.exit(2)"),
    ):
        pass


def test_a_gate_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="not ready within 0 s"), gate(tmp_path, "import signal; signal.pause()", 0):
        pass


def test_a_gate_that_will_not_end_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + STUB
    with gate(tmp_path, stubborn, stop_s=0.1) as running:
        pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url)


def test_the_audit_log_and_the_output_are_in_the_given_folder(tmp_path: Path) -> None:
    with gate(tmp_path, STUB):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"audit.jsonl", "up.log"}
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0]) == {"audit_dropped": 1}
