"""A real model, tiny but run by onnxruntime, asked in the middle of a real ext_proc stream."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from extproc.policy.external import OnnxDetector
from extproc.runtime.detectors import DetectorError, connect, prepared
from tests.runtime.detectors.models import write_model
from tests.runtime.transports.streams import run
from tests.support.second_opinions import CLEAN, LIKELY, SURE, UNLIKELY, unsure
from tests.support.tier2 import through


def section(folder: Path, **fields: object) -> OnnxDetector:
    return OnnxDetector.model_validate({**write_model(folder), **fields})


def scored(document: OnnxDetector, text: str) -> float:
    scores: list[float] = []

    async def test() -> None:
        client = connect(document)
        scores.append(await client.ask("user", text))
        await client.close()

    run(test())
    return scores[0]


def test_inside_the_band_the_models_word_counts_and_outside_it_is_not_asked(tmp_path: Path) -> None:
    evil, fine, sure, clean = through(
        unsure(write_model(tmp_path)), f"{UNLIKELY} evil", f"{LIKELY} fine", f"{SURE} fine", f"{CLEAN} evil"
    )
    assert (evil.status, evil.record.second_opinions) == (403, ["guard:confirmed"])
    assert (fine.status, fine.record.second_opinions) == (0, ["guard:cleared"])
    assert (sure.status, sure.record.second_opinions) == (403, [])
    assert (clean.status, clean.record.second_opinions) == (0, [])
    assert evil.coverage == "request=full"
    assert clean.counted('second_opinions_total{detector="guard",outcome="asked"} 2.0')
    assert clean.counted('second_opinions_total{detector="guard",outcome="answered"} 2.0')


def test_an_answer_is_remembered_and_not_asked_for_again(tmp_path: Path) -> None:
    first, second = through(unsure(write_model(tmp_path)), f"{LIKELY} evil", f"{LIKELY} evil")
    assert (first.status, second.status) == (403, 403)
    assert second.counted('second_opinions_total{detector="guard",outcome="asked"} 1.0')
    assert second.counted('second_opinions_total{detector="guard",outcome="cached"} 1.0')


def test_a_large_request_is_judged_again_in_a_thread(tmp_path: Path) -> None:
    long = " a" * 20_000
    policy = unsure({**write_model(tmp_path), "max_chars": 100_000, "threshold": 0.9})
    evil, fine = through(policy, f"{LIKELY} evil evil{long}", f"{LIKELY} fine{long}")
    assert (evil.status, fine.status) == (403, 0)


@pytest.mark.parametrize("classes", [1, 2])
def test_the_score_is_the_probability_of_the_class(tmp_path: Path, classes: int) -> None:
    document = OnnxDetector.model_validate(write_model(tmp_path, classes=classes))
    assert scored(document, "evil") == pytest.approx(0.982, abs=0.001)
    assert scored(document, "fine") == pytest.approx(0.018, abs=0.001)
    assert scored(document, "") == 0.5


def test_special_tokens_in_a_text_are_text(tmp_path: Path) -> None:
    document = OnnxDetector.model_validate(write_model(tmp_path, weight=4.0))  # what is not known looks bad
    assert scored(document, "") == 0.5  # the tokenizer's own ones do not
    assert scored(document, "[SEP]") > 0.9


@pytest.mark.parametrize("at", [0, 7, 40, 99])
def test_a_text_longer_than_the_model_reads_is_read_in_windows_to_its_end(tmp_path: Path, at: int) -> None:
    words = ["fine"] * 100
    words[at : at + 8] = ["evil"] * 8
    assert scored(section(tmp_path, max_tokens=8), " ".join(words)) > 0.9
    assert scored(section(tmp_path, max_tokens=512), " ".join(words)) < 0.1


def test_a_class_may_be_named(tmp_path: Path) -> None:
    named = prepared(section(tmp_path, label="INJECTION"), tmp_path, {})
    assert isinstance(named, OnnxDetector)
    assert named.label == 1
    benign = prepared(section(tmp_path, label="BENIGN"), tmp_path, {})
    assert scored(benign, "evil") < 0.1  # type: ignore[arg-type]


def test_paths_are_beside_the_policy(tmp_path: Path) -> None:
    write_model(tmp_path)
    document = section(tmp_path, model="model.onnx", tokenizer="tokenizer.json")
    assert prepared(document, tmp_path, {}).model == str(tmp_path / "model.onnx")  # type: ignore[union-attr]


class TestWhatCannotWork:
    def wrong(self, document: OnnxDetector, folder: Path) -> DetectorError:
        with pytest.raises(DetectorError) as error:
            prepared(document, folder, {})
        return error.value

    @pytest.mark.parametrize("module", ["onnxruntime", "tokenizers"])
    def test_a_missing_extra_says_what_to_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
    ) -> None:
        document = section(tmp_path)
        monkeypatch.setitem(sys.modules, module, None)
        error = self.wrong(document, tmp_path)
        assert (error.field, "pip install 'sluicegate[onnx]'" in str(error)) == ("kind", True)

    @pytest.mark.parametrize("field", ["model", "tokenizer"])
    def test_a_file_that_is_not_there(self, tmp_path: Path, field: str) -> None:
        error = self.wrong(section(tmp_path, **{field: "nowhere"}), tmp_path)
        assert (error.field, "there is no file" in str(error)) == (field, True)

    def test_a_name_that_no_class_has(self, tmp_path: Path) -> None:
        assert self.wrong(section(tmp_path, label="JAILBREAK"), tmp_path).field == "label"
        document = section(tmp_path, label="INJECTION")
        (tmp_path / "config.json").unlink()
        assert "give the index" in str(self.wrong(document, tmp_path))

    @pytest.mark.parametrize(
        ("field", "name"), [("model", "model.onnx"), ("tokenizer", "tokenizer.json")], ids=["model", "tokenizer"]
    )
    def test_a_file_that_is_something_else_is_known_before_the_first_question(
        self, tmp_path: Path, field: str, name: str
    ) -> None:
        document = section(tmp_path)
        (tmp_path / name).write_text("something else", encoding="utf-8")
        assert self.started(document).field == field

    def test_an_index_that_no_class_has(self, tmp_path: Path) -> None:
        assert self.started(section(tmp_path, label=7)).field == "label"

    def test_an_input_that_is_not_known(self, tmp_path: Path) -> None:
        document = OnnxDetector.model_validate(write_model(tmp_path, reads="pixels"))
        assert "pixels" in str(self.started(document))

    def test_a_tokenizer_of_another_model(self, tmp_path: Path) -> None:
        document = OnnxDetector.model_validate(write_model(tmp_path, unknown=("text",)))
        assert "does not work with this tokenizer" in str(self.started(document))

    def started(self, document: OnnxDetector) -> DetectorError:
        errors: list[DetectorError] = []

        async def test() -> None:
            client = connect(document)
            with pytest.raises(DetectorError) as error:
                await client.start()
            errors.append(error.value)
            await client.close()

        run(test())
        return errors[0]


def test_the_server_does_not_start_with_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    policy = unsure(write_model(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(DetectorError, match=r"spec\.detectors\.guard\.model: cannot be loaded"):
        through(policy, LIKELY)
