"""Ways to train with labels beside backprop: rules, codes, features at rest; and epochs that labels have chosen."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.cli import main
from fasthebb.models import RelativeVarianceBatchNorm1d
from fasthebb.runs import (
    EvaluateOptions,
    FinetuneOptions,
    PretrainOptions,
    SavedNetwork,
    evaluate,
    finetune,
    pretrain,
    supervised,
)
from fasthebb.training import logged


def tensors(run: Path) -> dict[str, Tensor]:
    return dict(SavedNetwork.load(run, "classifier.safetensors").tensors)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many images each forward of the features has seen."""
    seen: list[int] = []
    original = nn.Conv2d.forward

    def counted(layer: nn.Conv2d, x: Tensor) -> Tensor:
        if layer.in_channels <= 3:  # the first: it sees images
            seen.append(len(x))
        return original(layer, x)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    yield seen


@pytest.mark.parametrize("taught", [False, True])
def test_features_at_rest_are_taken_once_and_the_classifier_is_the_same(
    finetune_options: FinetuneOptions,
    tmp_path: Path,
    taught: bool,
    forwards: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(finetune_options, probe=not taught, taught=taught, augment="none", epochs=4)
    finetune(options, tmp_path / "once", progress=False)
    assert sum(forwards) == 18 + 6 + 6  # training images, then those held out
    monkeypatch.setattr(supervised, "MOST_FEATURES", 0)
    finetune(options, tmp_path / "anew", progress=False)
    once, anew = tensors(tmp_path / "once"), tensors(tmp_path / "anew")
    assert once.keys() == anew.keys()
    for name, tensor in once.items():
        torch.testing.assert_close(tensor, anew[name], rtol=1e-4, atol=1e-6)


def test_a_probe_that_chooses_its_epoch_looks_at_features_too(
    finetune_options: FinetuneOptions, tmp_path: Path, forwards: list[int]
) -> None:
    options = replace(finetune_options, probe=True, augment="none", epochs=4, select="validation")
    result = finetune(options, tmp_path / "probe", progress=False)
    assert result["validation"]["top1"] == max(logged(tmp_path / "probe", "val_top1"))
    assert sum(forwards) == 18 + 6 + 6 + 6


def test_an_interrupted_probe_ends_as_one_that_was_not(
    finetune_options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(finetune_options, probe=True, augment="none", epochs=6)
    finetune(options, tmp_path / "whole", progress=False)
    plain = fasthebb.training.Classifier.on_train_epoch_start

    def interrupted(module: Any) -> None:
        if module.current_epoch == 3:
            raise KeyboardInterrupt
        plain(module)

    with monkeypatch.context() as patch:
        patch.setattr(fasthebb.training.Classifier, "on_train_epoch_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(options, tmp_path / "parts", progress=False)
    finetune(options, tmp_path / "parts", progress=False)
    whole, parts = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    "rule", [fasthebb.GlobalGuided(), fasthebb.Hybrid(fasthebb.HPCA(), local=0.1), fasthebb.Hybrid(fasthebb.SWTA())]
)
def test_hidden_layers_may_learn_by_a_rule_beside_backprop(
    finetune_options: FinetuneOptions, tmp_path: Path, rule: fasthebb.Rule
) -> None:
    options = replace(finetune_options, epochs=3, augment="none")
    finetune(options, tmp_path / "plain", progress=False)
    finetune(replace(options, rule=rule), tmp_path / "rule", progress=False)
    plain, ruled = tensors(tmp_path / "plain"), tensors(tmp_path / "rule")
    assert plain.keys() == ruled.keys()
    assert not torch.allclose(plain["features.conv1.weight"], ruled["features.conv1.weight"], rtol=1e-3)
    scored = evaluate(EvaluateOptions(weights=str(tmp_path / "rule"), data=options.data), progress=False)
    result = json.loads((tmp_path / "rule" / "result.json").read_text())
    assert scored["top1"] == result["top1"]  # what was hooked on is folded in


def test_the_gradient_alone_is_backprop(finetune_options: FinetuneOptions, tmp_path: Path) -> None:
    options = replace(finetune_options, epochs=2, norms="relative")
    finetune(options, tmp_path / "plain", progress=False)
    nothing = fasthebb.Hybrid(fasthebb.HPCA(), local=0.0)
    finetune(replace(options, rule=nothing), tmp_path / "rule", progress=False)
    plain, ruled = tensors(tmp_path / "plain"), tensors(tmp_path / "rule")
    for name, tensor in plain.items():
        torch.testing.assert_close(tensor, ruled[name])


def test_a_rule_is_chosen_on_the_command_line_and_kept(by_class: Path, tmp_path: Path, capsys: Any) -> None:
    small = ["--data", str(by_class), "--width", "0.1", "--hidden", "16", "--image-size", "24", "--epochs", "1"]
    hybrid = ["--rule", "hybrid", "--rule.rule", "hpca", "--rule.rule.max_lr", "0.5", "--rule.local", "0.25"]
    command = ["finetune", *small, *hybrid, "--out", str(tmp_path / "hybrid")]
    assert main(command) == 0, capsys.readouterr().err
    again = ["finetune", "--config", str(tmp_path / "hybrid" / "config.yaml"), "--out", str(tmp_path / "again")]
    assert main(again) == 0, capsys.readouterr().err
    kept = (tmp_path / "again" / "config.yaml").read_text()
    assert kept == (tmp_path / "hybrid" / "config.yaml").read_text()
    assert "max_lr: 0.5" in kept
    assert "local: 0.25" in kept


def test_a_code_is_learned_and_compared_with_the_other_layers(
    finetune_options: FinetuneOptions, by_class: Path, tmp_path: Path
) -> None:
    finetune(replace(finetune_options, code=8), tmp_path / "code", progress=False)
    scores = evaluate(EvaluateOptions(weights=str(tmp_path / "code"), data=str(by_class), layers=True), progress=False)
    assert (scores["layers"][-1]["layer"], scores["layers"][-1]["size"]) == ("classifier.code", 8)
    assert scores["layers"][-1]["binary_retrieval"]["map_at_100"] > 60
    assert scores["top1"] == json.loads((tmp_path / "code" / "result.json").read_text())["top1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taught": True, "code": 8}, "--code"),
        ({"ridge": True, "code": 8}, "--code"),
        ({"ridge": True, "probe": True}, "--ridge"),
        ({"views": 10}, "--views 10 without --ridge"),
        ({"views": -1, "ridge": True}, "--views -1"),
        ({"views": 10, "ridge": True, "augment": "none"}, "images that may be changed at random: give --augment"),
        ({"probe": True, "rule": fasthebb.GlobalGuided()}, "--rule"),
        ({"rule": fasthebb.HPCA(classes=3)}, "without a teacher"),
        ({"code": -1}, "a code of -1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    finetune_options: FinetuneOptions, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        finetune(replace(finetune_options, **options), tmp_path / "run", progress=False)
    assert "\n" not in str(error.value)


def test_a_taught_classifier_has_a_learning_rate(finetune_options: FinetuneOptions, tmp_path: Path) -> None:
    options = replace(finetune_options, taught=True, epochs=1, augment="none")
    runs = [tmp_path / f"{lr}" for lr in (None, 0.1, 0.5)]
    for lr, run in zip((None, 0.1, 0.5), runs, strict=True):
        finetune(replace(options, lr=lr), run, progress=False)
    default, same, faster = (tensors(run)["classifier.1.weight"] for run in runs)
    assert torch.equal(default, same)
    assert not torch.allclose(default, faster)


def test_the_epoch_of_a_pretraining_may_be_chosen_as_the_papers_do_and_its_labels_count(
    pretrain_options: PretrainOptions, by_class: Path, tmp_path: Path
) -> None:
    options = replace(pretrain_options, select="taught", epochs=4)
    result = pretrain(options, tmp_path / "chosen", progress=False)
    curve = logged(tmp_path / "chosen", "val_top1")
    best = curve.index(max(curve)) + 1
    assert len(curve) == 4
    assert result["labels_spent"] == 18 + 6
    pretrain(replace(pretrain_options, epochs=best), tmp_path / "shorter", progress=False)
    chosen, shorter = (
        SavedNetwork.load(tmp_path / name, "encoder.safetensors").tensors for name in ("chosen", "shorter")
    )
    for name, tensor in shorter.items():  # the classifier looks on, and changes nothing
        torch.testing.assert_close(tensor, chosen[name])
    options = FinetuneOptions(data=str(by_class), init=str(tmp_path / "chosen"), labels="3", epochs=1)
    assert finetune(options, tmp_path / "classifier", progress=False)["labels_spent"] == 18 + 6


def test_an_epoch_cannot_be_chosen_without_labels(
    pretrain_options: PretrainOptions, lab: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="looks on"):
        pretrain(replace(pretrain_options, select="taught", order="greedy"), tmp_path / "greedy", progress=False)
    folder, table = lab
    options = replace(pretrain_options, select="taught", data=str(folder), label_file=str(table), group="patient")
    with pytest.raises(ValueError, match="every training image labelled"):
        pretrain(options, tmp_path / "lab", progress=False)


def test_a_classifier_in_closed_form_needs_no_epochs(
    finetune_options: FinetuneOptions, by_class: Path, tmp_path: Path, forwards: list[int]
) -> None:
    result = finetune(replace(finetune_options, ridge=True), tmp_path / "ridge", progress=False)
    assert result["epochs"] == 0
    assert result["top1"] > 60
    assert result["finetune_seconds"] > 0
    assert sum(forwards) == 18 + 6 + 6
    before = SavedNetwork.load(finetune_options.init or "", "encoder.safetensors").tensors
    after = tensors(tmp_path / "ridge")
    assert all(torch.equal(before[name], after[name]) for name in before)
    scored = evaluate(EvaluateOptions(weights=str(tmp_path / "ridge"), data=str(by_class)), progress=False)
    assert scored["top1"] == result["top1"]


def test_mirror_images_are_fitted_where_images_may_be_mirrored(
    finetune_options: FinetuneOptions, tmp_path: Path, forwards: list[int]
) -> None:
    result = finetune(replace(finetune_options, ridge=True, augment="shift"), tmp_path / "ridge", progress=False)
    assert sum(forwards) == 2 * (18 + 6 + 6)
    saved = SavedNetwork.load(tmp_path / "ridge", "classifier.safetensors")
    model = saved.classifier()
    side = saved.model["image_size"]
    images = torch.rand(3, saved.model["channels"], side, side)
    assert torch.equal(model(images), model(images.flip(-1)))
    scored = evaluate(EvaluateOptions(weights=str(tmp_path / "ridge"), data=finetune_options.data), progress=False)
    assert scored["top1"] == result["top1"]


def test_features_are_whitened_by_what_differs_between_views(
    finetune_options: FinetuneOptions, by_class: Path, tmp_path: Path
) -> None:
    options = replace(finetune_options, ridge=True, augment="shift")
    finetune(options, tmp_path / "plain", progress=False)
    result = finetune(replace(options, views=10), tmp_path / "whitened", progress=False)
    plain, whitened = (tensors(tmp_path / name)["classifier.1.weight"] for name in ("plain", "whitened"))
    assert not torch.allclose(plain, whitened)
    assert result["top1"] > 60
    scored = evaluate(EvaluateOptions(weights=str(tmp_path / "whitened"), data=str(by_class)), progress=False)
    assert scored["top1"] == result["top1"]  # the whitening is part of the classifier's weights
    again = finetune(replace(options, views=10), tmp_path / "again", progress=False)
    assert again["top1"] == result["top1"]
    assert torch.equal(tensors(tmp_path / "again")["classifier.1.weight"], whitened)


def test_folds_estimate_a_classifier_in_closed_form(finetune_options: FinetuneOptions, tmp_path: Path) -> None:
    result = finetune(replace(finetune_options, ridge=True, cv=3), tmp_path / "ridge", progress=False)
    assert result["scored_by"] == "3-fold cross-validation"
    assert result["top1"] > 60


def test_backprop_through_the_whole_network_gets_plain_batch_norms(
    finetune_options: FinetuneOptions, tmp_path: Path
) -> None:
    """What is handed on is the same but for a factor a channel; a network at rest keeps it."""
    options = replace(finetune_options, epochs=1, labels="2/class")
    for name, changed, plain in [
        ("usual", options, True),
        ("asked", replace(options, norms="relative"), False),
        ("probe", replace(options, probe=True), False),
        ("probe-asked", replace(options, probe=True, norms="plain"), True),
        ("beside", replace(options, rule=fasthebb.Hybrid(fasthebb.HPCA())), False),
    ]:
        finetune(changed, tmp_path / name, progress=False)
        network = SavedNetwork.load(tmp_path / name, "classifier.safetensors")
        assert network.model.get("plain_norms", False) is plain, name
        relative = isinstance(network.classifier().features.norm5, RelativeVarianceBatchNorm1d)
        assert relative is not plain, name
    with pytest.raises(ValueError, match="found --norms plain without --init"):
        finetune(replace(finetune_options, init=None, norms="plain"), tmp_path / "none", progress=False)
