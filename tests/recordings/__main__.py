"""Make the recordings anew, through a real Envoy: one folder for each way of sending bodies, one file an exchange."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import httpx

from tests.support.gateway import ALL_MODES, Gateway, Modes
from tests.support.openai_wire import PATH, call_chunks, chat, chunk, completion, events, said
from tests.support.upstream import Answer, Upstream, cut, json_answer

HERE = Path(__file__).parent
SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "run_shell")]
STREAM = said("Hello", " there", ".")
CUT = events(chunk({"content": "Sure."}), *call_chunks("run_shell", ['{"command"', ': "ls"}']), chunk({}, "tool_calls"))


def exchanges(gate: Gateway, upstream: Upstream, mode: Modes) -> None:
    """Five exchanges: an answer streamed, one whole, a model refused, a stream cut, an endpoint relayed."""
    url = gate.url(mode)
    upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=cut(STREAM, 50))
    httpx.post(url + PATH, content=chat("hello", stream=True), timeout=20)
    upstream.routes[f"POST {PATH}"] = Answer(headers=JSON, pieces=cut(completion({"content": "Hi."}), 60))
    httpx.post(url + PATH, content=chat("hello", tools=TOOLS), timeout=20)
    httpx.post(url + PATH, content=chat("hello").replace(b"llama3.2:3b", b"evil:latest"), timeout=20)
    upstream.routes[f"POST {PATH}"] = Answer(headers=SSE, pieces=cut(CUT, 50))
    httpx.post(url + PATH, content=chat("hello", stream=True), timeout=20)
    upstream.routes["GET /api/tags"] = json_answer({"models": []})
    httpx.get(url + "/api/tags", timeout=20)


def main() -> None:
    """Replace every recording in this folder."""
    for old in HERE.glob("*.rec"):
        old.unlink()
    for mode in ALL_MODES:
        with Upstream() as upstream:
            target = HERE / ".new"
            shutil.rmtree(target, ignore_errors=True)
            policy = (HERE / "policy.yaml").read_text(encoding="utf-8")
            with Gateway(upstream.url, policy, (mode,), serve=("--record", str(target))) as gate:
                exchanges(gate, upstream, mode)
                gate.records(5)
                threading.Event().wait(1)
            for number, path in enumerate(sorted(target.iterdir()), 1):
                shutil.copy(path, HERE / f"{mode}-{number}.rec")
            shutil.rmtree(target)


if __name__ == "__main__":
    main()
