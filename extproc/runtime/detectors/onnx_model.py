"""A classifier in ONNX form, run by onnxruntime in threads of its own (extra ``sluicegate[onnx]``).

What lives here: tokens in, the probability of one class out. What must not: how texts get here.

A text that is longer than the model reads at once is read in windows that overlap by a quarter; the most suspicious one
counts. Nothing is cut off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from extproc.policy.external import OnnxDetector
from extproc.runtime.detectors.base import DetectorError, Unanswered, need_file

_EXTRA: Final = "needs libraries that are not installed: pip install 'sluicegate[onnx]'"


def prepared(document: OnnxDetector, folder: Path, _environ: Mapping[str, str]) -> OnnxDetector:
    """Find its files and libraries.

    Raises:
        DetectorError: a library or a file is not there, or no class has the name of the label.
    """
    try:
        import onnxruntime  # noqa: F401
        import tokenizers  # noqa: F401
    except ImportError:
        raise DetectorError("kind", _EXTRA) from None
    model = need_file("model", document.model, folder)
    tokenizer = need_file("tokenizer", document.tokenizer, folder)
    label = document.label if isinstance(document.label, int) else _index_of(document.label, Path(model))
    return document.model_copy(update={"model": model, "tokenizer": tokenizer, "label": label})


def _index_of(label: str, model: Path) -> int:
    """The index of a class by its name in the ``config.json`` beside the model, or in the folder above."""
    for folder in (model.parent, model.parent.parent):
        try:
            names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
            return next(int(index) for index, name in names.items() if name == label)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        except StopIteration:
            raise DetectorError("label", f'{folder / "config.json"} names no class "{label}"') from None
    raise DetectorError("label", "a name needs the model's config.json beside it; else give the index")


def connect(document: OnnxDetector) -> OnnxClient:
    """A client for it."""
    return OnnxClient(document)


class OnnxClient:
    """Runs one model. It is loaded once, and each question takes a thread."""

    def __init__(self, document: OnnxDetector) -> None:
        self._document: Final = document
        self._threads: Final = ThreadPoolExecutor(document.concurrency, thread_name_prefix="onnx")
        self._loaded: asyncio.Future[_Model] | None = None

    async def start(self) -> None:
        """Load the model.

        Raises:
            DetectorError: it cannot be loaded, or has no such class.
        """
        await self._model()

    async def ask(self, scope: str, text: str) -> float:  # noqa: ARG002 - the model knows no scopes
        """The probability of the class."""
        model = await self._model()
        score = await asyncio.get_running_loop().run_in_executor(self._threads, model.score, text)
        if not 0 <= score <= 1:
            raise Unanswered("garbage")
        return score

    async def close(self) -> None:
        """Let the threads end. What runs goes on to its end, and nobody hears of it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _model(self) -> _Model:
        if self._loaded is None:
            loading = asyncio.get_running_loop().run_in_executor(self._threads, _Model, self._document)
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # said to whoever asks
            self._loaded = loading
        return await asyncio.shield(self._loaded)


class _Model:
    """A model and its tokenizer, for any number of threads."""

    def __init__(self, document: OnnxDetector) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # each question has its own thread
        options.log_severity_level = 4  # its log would quote file contents
        try:
            self._session: Final[Any] = onnxruntime.InferenceSession(
                document.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception:
            raise DetectorError("model", "cannot be loaded as an ONNX model") from None
        try:
            self._tokenizer: Final[Any] = Tokenizer.from_file(document.tokenizer)
        except Exception:
            raise DetectorError("tokenizer", "cannot be loaded as a tokenizer.json") from None
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a text is four letters and two brackets
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(document.max_tokens, stride=document.max_tokens // 4)
        assert isinstance(document.label, int)
        self._label: Final = document.label
        self._inputs: Final = tuple(each.name for each in self._session.get_inputs())
        self._try()

    def score(self, text: str) -> float:
        """The highest probability of the class in any window."""
        encoding = self._tokenizer.encode(text)
        return max(self._window(each) for each in (encoding, *encoding.overflowing))

    def _window(self, encoding: Any) -> float:
        import numpy as np

        if not encoding.ids:
            return 0.0
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feeds = {name: np.asarray([given[name]], dtype=np.int64) for name in self._inputs}
        logits = np.asarray(self._session.run(None, feeds)[0], dtype=np.float64).reshape(-1)
        if logits.size == 1:
            return float(1 / (1 + np.exp(-np.clip(logits[0], -500, 500))))
        shares = np.exp(logits - logits.max())
        return float(shares[self._label] / shares.sum())

    def _try(self) -> None:
        """Run once, so that what is wrong is known before the first question."""
        try:
            self.score("text")
        except KeyError as error:
            raise DetectorError("model", f"has an input that is not known: {error}") from None
        except IndexError:
            raise DetectorError("label", "the model has no class with this index") from None
        except Exception:
            raise DetectorError("model", "does not work with this tokenizer") from None
