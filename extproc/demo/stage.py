"""Put the demo together: weights, model, stand-in and gate come up, the rows run, everything goes down again."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from extproc.demo import measure, table, weights
from extproc.demo.gate import Gate, GateFailed
from extproc.demo.model import MODEL_NAME, ModelFailed, ModelServer
from extproc.demo.rows import ROWS
from extproc.demo.standin import Standin
from extproc.demo.weights import WeightsUnavailable
from extproc.runtime.assets import asset

NOT_STARTED: Final = (WeightsUnavailable, ModelFailed, GateFailed)


def play(folder: Path, *, real_model: bool, keep: bool, as_json: bool) -> bool:
    """Run the demo with its logs in ``folder``; say whether every row is as expected.

    Raises:
        WeightsUnavailable: the model could not be had.
        ModelFailed: the model server did not start.
        GateFailed: the gate did not come up.
    """
    progress = table.console(stderr=True)
    with ExitStack() as stack:
        upstream = "a scripted stand-in"
        model_url = None
        if real_model:
            path = weights.obtain(progress)
            with progress.status(f"starting {MODEL_NAME} in llama.cpp"):
                model_url = stack.enter_context(ModelServer(path, folder / "model.log")).url
            upstream = f"{MODEL_NAME} in llama.cpp, and {upstream}"
        standin = stack.enter_context(Standin(model_url))
        with progress.status("starting Envoy and the gate"):
            gate = stack.enter_context(Gate(standin.url, asset("policies/demo.yaml"), folder))
        with progress.status("asking") as status:
            results = measure.run(ROWS, gate, standin, lambda row: status.update(f"asking: {row.title}"))
        if as_json:
            print(table.as_json(results, upstream))  # noqa: T201
        else:
            table.console().print(table.render(results, upstream))
        if keep:
            where = f"the gate answers on {gate.url}, its audit log is {gate.audit_log}; Ctrl-C ends both"
            lines = (where, *table.curl_lines(results, gate.url))
            progress.print("\n\n".join(lines), markup=False, highlight=False, soft_wrap=True)
            _wait_for_interrupt()
        return all(result.as_expected for result in results)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
