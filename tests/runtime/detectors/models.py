"""A tiny real model: an ONNX classifier of words and its tokenizer, made here and run by onnxruntime.

Each word has a logit; a text's is the sum over its tokens. ``[0.4] evil`` scores high, ``[0.4] fine`` low.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

WORDS: Final = {"[UNK]": 0.0, "[CLS]": 0.0, "[SEP]": 0.0, "evil": 4.0, "fine": -4.0}


def write_model(
    folder: Path,
    *,
    weight: float = 0.0,
    classes: int = 2,
    reads: str = "input_ids",
    unknown: tuple[str, ...] = (),
    **fields: Any,
) -> dict[str, Any]:
    """Write model.onnx, tokenizer.json and config.json; return the detector's section. ``weight`` is [UNK]'s logit.

    ``reads`` names the model's input, and ``unknown`` are words that the tokenizer has and the model does not.
    """
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    tokenizers = pytest.importorskip("tokenizers", reason="needs the [onnx] extra")
    pytest.importorskip("onnxruntime", reason="needs the [onnx] extra")
    import numpy as np

    helper, int64, float32 = onnx.helper, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    logits = [weight, *list(WORDS.values())[1:]]
    rows = [[logit] if classes == 1 else [-logit / 2, logit / 2] for logit in logits]
    table = onnx.numpy_helper.from_array(np.asarray(rows, dtype=np.float32), "table")
    axes = onnx.numpy_helper.from_array(np.asarray([1], dtype=np.int64), "axes")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", reads], ["each"]),
            helper.make_node("ReduceSum", ["each", "axes"], ["logits"], keepdims=0),
        ],
        "words",
        [helper.make_tensor_value_info(reads, int64, [1, None])],
        [helper.make_tensor_value_info("logits", float32, [1, classes])],
        [table, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate((*WORDS, *unknown))}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"id2label": {"0": "BENIGN", "1": "INJECTION"}}', encoding="utf-8")
    files = {"model": str(folder / "model.onnx"), "tokenizer": str(folder / "tokenizer.json")}
    return {"kind": "onnx", **files, "timeout_s": 30, **fields}
