"""``serve --record`` through a real Envoy: what was planted is in no file, and every file replays to the byte."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.gateway import ALL_MODES, Gateway
from tests.support.openai_wire import PATH, chat, completion, said
from tests.support.policies import policy
from tests.support.upstream import Answer, Upstream, cut

SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)
PROMPT_KEY = "AKIA" + "Q3EGXKP7VWLZ2M5N"
ANSWER_KEY = "gh" + "p_" + "16C7e42F292c6912E7710c838347Ae178B4a"
BEARER = "bearer-0123456789-abcdefghij"
COOKIE = "cookie-0123456789-abcdefghij"
QUERY = "query-0123456789-abcdefghij"


def test_recordings_of_every_mode_hold_no_secret_and_replay_identically(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    with Upstream() as upstream, Gateway(upstream.url, policy(), ALL_MODES, serve=("--record", str(folder))) as gate:
        target = f"{PATH}?key={QUERY}"
        headers = {"authorization": f"Bearer {BEARER}", "cookie": f"session={COOKIE}"}
        for mode in ALL_MODES:
            upstream.routes[f"POST {target}"] = Answer(headers=SSE, pieces=cut(said("It is ", *ANSWER_KEY, "."), 21))
            body = chat(f"my key is {PROMPT_KEY}", stream=True)
            httpx.post(gate.url(mode) + target, content=body, headers=headers, timeout=30)
            document = completion({"content": f"It is {ANSWER_KEY}."})
            upstream.routes[f"POST {target}"] = Answer(headers=JSON, pieces=cut(document, 21))
            httpx.post(gate.url(mode) + target, content=chat(f"my key is {PROMPT_KEY}"), headers=headers, timeout=30)
        gate.records(2 * len(ALL_MODES))
        policy_file = tmp_path / "policy.yaml"
        policy_file.write_text(policy(), encoding="utf-8")
        assert gate.server is not None
        gate.server.terminate()  # drains, and so writes what is left
        gate.server.wait(20)
    files = sorted(folder.iterdir())
    assert len(files) == 2 * len(ALL_MODES)
    for file in files:
        data = file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for secret in (PROMPT_KEY, ANSWER_KEY, BEARER, COOKIE, QUERY):
            for part in (secret, secret[:16], secret[-16:]):
                assert part.encode() not in data
    command = [sys.executable, "-m", "extproc", "replay", "--policy", str(policy_file), *map(str, files)]
    replayed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
