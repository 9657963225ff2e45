"""Run a real model: llama.cpp's own HTTP server (PyPI xllamacpp) in a child process.

A child, because llama.cpp logs to file descriptor 2, holds hundreds of megabytes, and cannot be stopped from a thread.
The child ends when its standard input does, so that no way of ending the parent leaves it behind.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

MODEL_NAME: Final = "smollm2:135m"
_CONTEXT_TOKENS: Final = 2048
_START_S: Final = 60.0
_STOP_S: Final = 5.0
_READY: Final = "listening "


class ModelFailed(RuntimeError):  # noqa: N818 - what the user is told
    """The model server did not start; the message names its log."""


class ModelServer:
    """A llama.cpp server as a context manager; ``url`` answers inside the block."""

    def __init__(self, weights: Path, log: Path, *, start_s: float = _START_S, stop_s: float = _STOP_S) -> None:
        self.url = ""
        self._weights, self._log, self._start_s, self._stop_s = weights, log, start_s, stop_s
        self._child: subprocess.Popen[str]

    def __enter__(self) -> Self:
        command = (sys.executable, "-m", "extproc.demo.model", str(self._weights))
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        try:
            self.url = self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait(self) -> str:
        output = self._child.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            line = output.readline() if selector.select(self._start_s) else ""
        if not line.startswith(_READY):
            raise ModelFailed(f"the model server did not start within {self._start_s:.0f} s; its log: {self._log}")
        return line.removeprefix(_READY).strip()

    def _stop(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


def _serve(weights: str) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = weights
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.use_jinja = True
    parameters.model_alias = {MODEL_NAME}
    parameters.n_parallel = 1
    # llama.cpp's threads spin while they wait for each other: on a shared machine two are ten times slower than one.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    print(_READY + server.listening_address, flush=True)  # noqa: T201 - how the parent learns the port
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
