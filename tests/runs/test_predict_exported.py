import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fasthebb.cli import main
from fasthebb.data import Preprocessing
from fasthebb.hub import HebbianModel
from fasthebb.models import build_model
from fasthebb.runs import PredictOptions, RunError, SavedNetwork, predict

CLASSES = ["ant", "bee", "cat"]
MODEL = {
    "name": "triangle2",
    "channels": 1,
    "image_size": 20,
    "width": 0.05,
    "hidden": 0,
    "hebbian": True,
    "mirrored": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, their exported files, and images: grey and in colour, of several sizes."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    preprocessing = Preprocessing.fit(torch.rand(20, 1, 20, 20))
    saved = SavedNetwork(MODEL, preprocessing, build_model(**MODEL, classes=3).state_dict(), CLASSES)
    saved.save(folder / "classifier.safetensors")
    model = HebbianModel.from_run(folder)
    for suffix in ("onnx", "pt2"):
        model.export(folder / f"model.{suffix}")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for index, shape in enumerate([(20, 20), (31, 24), (20, 20, 3), (50, 50, 3), (9, 40)]):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / "images" / f"{index}.png")
    return folder


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_an_exported_file_predicts_as_the_weights(
    folder: Path, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTHEBB_TRUST_PT2", "1")
    images = str(folder / "images")
    expected = predict(PredictOptions(weights=str(folder), images=images), progress=False)
    options = PredictOptions(weights=str(folder / f"model.{suffix}"), images=images, batch_size=2)
    found = predict(options, tmp_path / "out", progress=False)
    assert [(row["file"], row["class"]) for row in found] == [(row["file"], row["class"]) for row in expected]
    assert len(found) == 5
    for one, other in zip(found, expected, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == found


def test_the_command_line_takes_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["predict", "--weights", str(folder / "model.onnx"), "--images", str(folder / "images")]
    assert main([*given, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "predictions.csv").read_text().count("\n") == 6


def test_mistakes_are_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTHEBB_TRUST_PT2", raising=False)
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    for weights, message in (
        (folder / "model.pt2", "can run code of whoever wrote it"),
        (tmp_path / "other.onnx", "is not a readable ONNX file"),
        (tmp_path / "missing.onnx", "found no file"),
    ):
        assert main(["predict", "--weights", str(weights), "--images", str(folder / "images")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    with pytest.raises(RunError, match="found the batch size 0"):
        predict(PredictOptions(weights=str(folder / "model.onnx"), images=str(folder / "images"), batch_size=0))
