"""Segmentation as its user sees it: the same commands, with masks."""

import csv
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fasthebb import HPCA, SWTA
from fasthebb.cli import main
from fasthebb.runs import (
    EvaluateOptions,
    FinetuneOptions,
    PredictOptions,
    PretrainOptions,
    RunError,
    SavedNetwork,
    SavedSegmentation,
    evaluate,
    finetune,
    predict,
    pretrain,
)
from fasthebb.study import StudyOptions, study
from fasthebb.training import Segmenter

SIDE = 24


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of several sizes with bright discs on noise, in images/ and masks/ below each split."""
    root = tmp_path_factory.mktemp("discs")
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("validation", 3), ("test", 4)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            height, width = SIDE + 4 * (number % 3), SIDE + 2 * (number % 2)
            y, x = np.mgrid[:height, :width]
            mask = (y - draw.integers(6, height - 6)) ** 2 + (x - draw.integers(6, width - 6)) ** 2 < 36
            pixels = draw.integers(0, 80, (height, width)) + 120 * mask
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / "images" / f"{number}.png")
            Image.fromarray((255 * mask).astype(np.uint8)).save(root / split / "masks" / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def short_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters here is what becomes of it."""
    monkeypatch.setattr(import_module("fasthebb.runs.segmentation.pretrain"), "CROPS_AN_EPOCH", 100)


@pytest.fixture
def small(discs: Path) -> dict[str, Any]:
    """Options of a training that takes a second."""
    return {
        "data": str(discs),
        "task": "segmentation",
        "crop": 16,
        "depth": 1,
        "width": 0.125,
        "batch_size": 4,
    }


@pytest.fixture
def encoder(small: dict[str, Any], tmp_path: Path) -> Path:
    options = PretrainOptions(**small, epochs=1, rule=HPCA(max_lr=0.1))
    pretrain(options, tmp_path / "encoder", progress=False)
    return tmp_path / "encoder"


def test_from_images_to_masks_of_new_images(
    small: dict[str, Any], encoder: Path, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads((encoder / "result.json").read_text())
    assert (known["images"], known["labels_spent"], known["task"]) == (8, 0, "segmentation")
    small.pop("depth")
    small.pop("width")
    options = FinetuneOptions(**small, init=str(encoder), labels="5", epochs=3)
    result = finetune(options, tmp_path / "run", progress=False)
    assert (result["labels"], len(result["labelled"]), result["test_images"]) == (5, 5, 4)
    assert result["dice"] > 80
    assert result["validation"]["jaccard"] > 60
    best, median, worst = (one["dice"] for one in result["shown"])
    assert best >= median >= worst
    assert Image.open(tmp_path / "run" / "overlays" / "worst.png").width > 2 * 20
    scores = evaluate(EvaluateOptions(str(tmp_path / "run"), data=str(discs)), progress=False)
    assert scores["dice"] == result["dice"]
    low, high = scores["interval"]["dice"]
    assert low <= scores["dice"] <= high
    rows = predict(PredictOptions(str(tmp_path / "run"), str(discs / "test" / "images")), tmp_path / "masks")
    assert len(rows) == 4
    assert all(row["objects"] >= 1 and 0 < row["foreground"] < 1 for row in rows)
    found = Image.open(next((tmp_path / "masks").rglob("0.mask.png")))
    assert found.size == Image.open(discs / "test" / "images" / "0.png").size
    assert set(np.unique(np.asarray(found))) == {0, 1}
    assert found.convert("RGB").getextrema() != ((0, 0),) * 3  # and to be seen
    assert len(list((tmp_path / "masks").rglob("*.overlay.png"))) == 4
    assert len(list((tmp_path / "masks").rglob("*.probability.tif"))) == 4
    with (tmp_path / "masks" / "objects.csv").open() as file:
        objects = list(csv.DictReader(file))
    assert len(objects) == sum(row["objects"] for row in rows)
    assert {"file", "class", "area"} <= set(objects[0])


def test_transposed_convolutions_learn_in_either_way(small: dict[str, Any], tmp_path: Path) -> None:
    learned = []
    for way in ("forward", "reversed"):
        pretrain(PretrainOptions(**small, epochs=1, transposed=way), tmp_path / way, progress=False)  # type: ignore[arg-type]
        tensors = SavedSegmentation.load(tmp_path / way, "encoder.safetensors").tensors
        learned.append(tensors["features.up1.transposed.weight"])
    assert not torch.allclose(*learned)


def test_an_autoencoder_is_a_method_too(small: dict[str, Any], tmp_path: Path) -> None:
    options = StudyOptions(
        **small, methods=["none", "random", "vae"], labels=["3"], seeds=1, epochs=1, pretrain_epochs=1
    )
    rows = {row["method"]: row for row in study(options, tmp_path / "study", progress=False)}
    assert json.loads((tmp_path / "study" / "failed.json").read_text()) == []
    assert set(rows) == {"none", "random", "vae"}
    assert rows["vae"]["pretrain_seconds"] > 0


def test_a_network_of_torchvision_is_trained(small: dict[str, Any], tmp_path: Path) -> None:
    options = FinetuneOptions(**{**small, "depth": None, "width": None, "crop": 32}, model="lraspp_mobilenet_v3_large")
    finetune(replace(options, epochs=1), tmp_path / "run", progress=False)
    saved = SavedSegmentation.load(tmp_path / "run", "classifier.safetensors")
    assert saved.segmenter()(torch.zeros(1, 1, 20, 20)).shape == (1, 2, 20, 20)
    with pytest.raises(RunError, match="--depth 3, which lraspp_mobilenet_v3_large has not"):
        finetune(replace(options, depth=3), tmp_path / "other", progress=False)


@pytest.mark.parametrize("semi", ["mean-teacher", "cross-pseudo", "cross-consistency", "rectified-pyramid"])
def test_images_without_masks_may_take_part(small: dict[str, Any], tmp_path: Path, semi: Any) -> None:
    small["batch_size"] = 2
    options = FinetuneOptions(**small, labels="3", epochs=1, semi=semi)
    result = finetune(options, tmp_path / "run", progress=False)
    assert 0 <= result["dice"] <= 100
    saved = SavedSegmentation.load(tmp_path / "run", "classifier.safetensors")
    assert saved.classes[0] == "background"
    assert saved.segmenter()(torch.zeros(1, 1, 20, 20)).shape == (1, 2, 20, 20)


def test_an_interrupted_training_ends_as_one_that_was_not(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FinetuneOptions(**small, labels="3", epochs=3)
    finetune(options, tmp_path / "whole", progress=False)
    start = Segmenter.on_train_epoch_start

    def interrupting(self: Segmenter) -> None:
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        start(self)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(Segmenter, "on_train_epoch_start", interrupting)
        finetune(options, tmp_path / "parts", progress=False)
    finetune(options, tmp_path / "parts", progress=False)
    one, other = (load_file(tmp_path / name / "classifier.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_layers_that_learn_are_chosen_by_pattern(small: dict[str, Any], tmp_path: Path) -> None:
    options = PretrainOptions(**small, epochs=1, layers=["down*"])
    result = pretrain(options, tmp_path / "run", progress=False)
    assert {name.split("/")[1].split(".")[0] for name in result["layers"]} == {"down1", "down2"}
    options = PretrainOptions(**small, epochs=1, rule=SWTA(), whiten=False)
    pretrain(options, tmp_path / "swta", progress=False)
    before = SavedSegmentation.load(tmp_path / "run", "encoder.safetensors").tensors
    after = SavedSegmentation.load(tmp_path / "swta", "encoder.safetensors").tensors
    assert not torch.equal(before["features.up1.transposed.weight"], after["features.up1.transposed.weight"])
    with pytest.raises(ValueError, match="no image of at least 32 x 32 pixels to whiten"):
        pretrain(replace(options, whiten=None), tmp_path / "white", progress=False)


def test_a_study_compares_methods_by_dice(small: dict[str, Any], tmp_path: Path) -> None:
    options = StudyOptions(
        **small,
        methods=["none", "hpca@down*"],
        labels=["2", "0.5"],
        seeds=1,
        epochs=1,
        pretrain_epochs=1,
        readouts=["finetune", "mean-teacher"],
    )
    rows = study(options, tmp_path / "study", progress=False)
    assert len(rows) == 8
    assert {row["labels"] for row in rows} == {2, 4}
    assert all({"dice", "jaccard"} <= set(row) for row in rows)
    page = (tmp_path / "study" / "report.html").read_text()
    assert "Dice" in page
    assert "mean teacher" in page
    assert page.count("worst test image") == 4  # of each method and way of using masks
    assert study(options, tmp_path / "study", progress=False) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readouts": ["ridge"]}, "--readouts ridge, which --task segmentation has not"),
        ({"preset": "paper-cifar10"}, "of --task classification"),
        ({"methods": ["wta+at-once"]}, "the method 'wta.at-once', which --task segmentation has not"),
        ({"task": "classification", "crop": None, "depth": None, "preset": "paper-segmentation"}, "of --task segm"),
        ({"labels": ["2/class"]}, "2/class"),
    ],
)
def test_what_a_study_of_masks_has_not_is_refused(
    small: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        study(replace(StudyOptions(**small), **change), tmp_path / "study", progress=False)
    assert "\n" not in str(error.value)


def test_options_of_one_task_are_not_left_unheeded_by_the_other(small: dict[str, Any], tmp_path: Path) -> None:
    for name, value in (("crop", 64), ("semi", "mean-teacher"), ("frozen", ["down*"]), ("features_lr", 0.1)):
        with pytest.raises(RunError, match=f"--{name.replace('_', '-')} .*, which --task classification has not"):
            finetune(FinetuneOptions(**{name: value}), tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="--transposed reversed, which --task classification has not"):
        pretrain(PretrainOptions(transposed="reversed"), tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"--momentum 0\.5, which --task segmentation has not"):
        finetune(FinetuneOptions(**small, momentum=0.5), tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="--image-size 32, which --task segmentation has not"):
        study(StudyOptions(**small, image_size=32), tmp_path / "run", progress=False)
    with pytest.raises(RunError, match="--depth 3, which --task classification has not"):
        study(StudyOptions(depth=3), tmp_path / "run", progress=False)


def test_weight_decay_reaches_the_training(small: dict[str, Any], tmp_path: Path) -> None:
    options = FinetuneOptions(**small, labels="3", epochs=1)
    for name, value in (("usual", None), ("same", 1e-4), ("more", 0.5)):
        finetune(replace(options, weight_decay=value), tmp_path / name, progress=False)
    usual, same, more = (
        load_file(tmp_path / name / "classifier.safetensors")["features.down1.conv1.weight"]
        for name in ("usual", "same", "more")
    )
    assert torch.equal(usual, same)
    assert not torch.equal(usual, more)


def test_backprop_alone_may_take_as_long_as_another_method(small: dict[str, Any], tmp_path: Path) -> None:
    options = StudyOptions(
        **small, methods=["none", "hpca", "none-tuned"], labels=["3"], seeds=1, epochs=1, pretrain_epochs=1
    )
    rows = {row["method"]: row for row in study(options, tmp_path / "study", progress=False)}
    assert rows["none-tuned"]["finetune_epochs"] >= rows["none"]["finetune_epochs"]


def test_readouts_with_unlabelled_images_are_of_segmentation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--readouts mean-teacher, which --task classification has not"):
        study(StudyOptions(readouts=["mean-teacher"]), tmp_path / "study", progress=False)


def test_networks_of_another_task_are_refused(
    small: dict[str, Any], encoder: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match="of a network for 'segmentation', expected 'classification': give --task"):
        SavedNetwork.load(encoder, "encoder.safetensors")
    options = FinetuneOptions(**{**small, "depth": 2}, init=str(encoder))
    with pytest.raises(RunError, match=r"--depth 2 does not fit .* pre-trained with 1"):
        finetune(options, tmp_path / "other", progress=False)
    for name, value, said in (
        ("ridge", True, "ridge true"),
        ("code", 4, "code 4"),
        ("image_size", 32, "image-size 32"),
    ):
        with pytest.raises(RunError, match=f"--{said}, which --task segmentation has not"):
            finetune(FinetuneOptions(**small, **{name: value}), tmp_path / "other", progress=False)
    with pytest.raises(RunError, match="--select taught, which --task segmentation has not"):
        pretrain(PretrainOptions(**small, select="taught"), tmp_path / "other", progress=False)
    arguments = ["finetune", "--data", str(discs), "--task", "segmentation", "--labels", "99", "--out"]
    assert main([*arguments, str(tmp_path / "many")]) == 2
    assert "99" in capsys.readouterr().err
