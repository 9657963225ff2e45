from __future__ import annotations

import importlib.util
from pathlib import Path

import httpx
import pytest

from extproc.demo import weights
from extproc.demo.model import MODEL_NAME, ModelFailed, ModelServer

STUB = """
import sys

class _Cpu: n_threads = 2
class _Model: path = ""
class CommonParams:
    def __init__(self): self.model, self.cpuparams, self.cpuparams_batch = _Model(), _Cpu(), _Cpu()
class Server:
    def __init__(self, p):
        assert (p.model.path, p.hostnames, p.cpuparams.n_threads) == ("file.gguf", ["127.0.0.1"], 1)
        self.listening_address = "http://127.0.0.1:1"
        print("llama log", file=sys.stderr)
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stub"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path.cwd()}")
    return folder / "xllamacpp.py"


def test_the_url_is_what_the_child_says_and_its_log_is_a_file(stub: Path, tmp_path: Path) -> None:
    stub.write_text(STUB)
    with ModelServer(Path("file.gguf"), tmp_path / "log") as server:
        assert server.url == "http://127.0.0.1:1"
    assert "llama log" in (tmp_path / "log").read_text()


def test_a_server_that_fails_names_its_log(stub: Path, tmp_path: Path) -> None:
    stub.write_text("raise SystemExit('no such instruction')")
    with pytest.raises(ModelFailed, match=str(tmp_path / "log")), ModelServer(Path("f"), tmp_path / "log"):
        pass
    assert "no such instruction" in (tmp_path / "log").read_text()


def test_a_server_that_hangs_is_given_up_and_killed(stub: Path, tmp_path: Path) -> None:
    stub.write_text("import signal\nsignal.pause()")
    with (
        pytest.raises(ModelFailed, match="within 0 s"),
        ModelServer(Path("f"), tmp_path / "log", start_s=0, stop_s=0.1),
    ):
        pass


@pytest.mark.model
def test_the_real_model_answers(tmp_path: Path) -> None:
    path = weights.cache_dir() / weights.SMOLLM2.file_name
    if importlib.util.find_spec("xllamacpp") is None or not path.is_file():
        pytest.skip("needs the [demo] extra, and the weights that `make demo` downloads")
    body = {"messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4}
    with ModelServer(path, tmp_path / "log") as server:
        models = httpx.get(f"{server.url}/v1/models").json()
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()
    assert models["data"][0]["id"] == MODEL_NAME
    assert answer["choices"][0]["message"]["content"]
