import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import fasthebb
from fasthebb import HPCA, WTA
from fasthebb.data import ImageData, Preprocessing, load_images
from fasthebb.evaluation import predict_logits
from fasthebb.models import build_model
from fasthebb.runs import (
    EvaluateOptions,
    FinetuneOptions,
    PredictOptions,
    PretrainOptions,
    RunError,
    SavedNetwork,
    evaluate,
    finetune,
    predict,
    pretrain,
    supervised,
)
from fasthebb.runs.options import Select
from fasthebb.runs.self_training import looked_at
from fasthebb.runs.supervised import Supervised
from fasthebb.training import SelfTraining, logged

from .conftest import SMALL, write_images


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def features(folder: Path) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in load_file(next(folder.glob("*.safetensors"))).items()
        if name.startswith("features.")
    }


def test_pretraining_leaves_the_files_of_a_run(encoder: Path, pretrain_options: PretrainOptions) -> None:
    left = {re.sub(r"tfevents\..*", "tfevents", name) for name in files(encoder)}
    assert left - {"checkpoints/previous.ckpt"} == {
        "config.yaml",
        "metrics.csv",
        "result.json",
        "tracking/events.out.tfevents",
        "encoder.safetensors",
        "checkpoints/last.ckpt",
        *(f"exciting/{layer}.png" for layer in ("conv1", "conv2", "conv3", "conv4", "dense5")),
    }
    result = json.loads((encoder / "result.json").read_text())
    assert result["images"] == 18  # of 30, a fifth is held out for validation and a fifth for test
    assert result["epochs"] == 2
    assert result["pretrain_seconds"] > 0
    assert result["epochs_to_convergence"] in (1, 2)
    assert "layer/conv1/relative_change" in result["layers"]
    assert not [name for name in load_file(encoder / "encoder.safetensors") if name.startswith("classifier.")]


def test_weights_carry_everything_that_new_images_need(classifier: Path, by_class: Path) -> None:
    with safe_open(classifier / "classifier.safetensors", framework="pt") as file:
        said = file.metadata()
    assert json.loads(said["classes"]) == ["ant", "bee", "cat"]
    assert json.loads(said["model"])["name"] == "cnn6"
    assert (json.loads(said["channels"]), json.loads(said["image_size"])) == (1, 24)
    fitted = Preprocessing.fit(load_images(by_class, image_size=24, progress=False).unlabelled)
    assert json.loads(said["mean"]) == fitted.mean.tolist()
    assert json.loads(said["std"]) == fitted.std.tolist()


def test_swta_is_whitened_and_its_encoder_is_folded(pretrain_options: PretrainOptions, tmp_path: Path) -> None:
    pretrain(replace(pretrain_options, rule=fasthebb.SWTA(), layers=["all"]), tmp_path / "swta", progress=False)
    network = SavedNetwork.load(tmp_path / "swta", "encoder.safetensors")
    assert network.preprocessing.whitening is not None
    for name, weight in network.tensors.items():
        if "conv" in name or "dense" in name:
            torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(len(weight)))


def test_features_move_in_fine_tuning_and_not_in_a_probe(
    finetune_options: FinetuneOptions, encoder: Path, tmp_path: Path
) -> None:
    before = features(encoder)
    finetune(replace(finetune_options, probe=True), tmp_path / "probe", progress=False)
    probed = features(tmp_path / "probe")
    assert all(torch.equal(before[name], probed[name]) for name in before)
    finetune(finetune_options, tmp_path / "whole", progress=False)
    tuned = features(tmp_path / "whole")
    assert not any(torch.equal(before[name], tuned[name]) for name in before if name.endswith("conv1.weight"))


def test_the_main_job_learns(classifier: Path) -> None:
    result = json.loads((classifier / "result.json").read_text())
    assert (result["labels"], result["test_images"]) == (18, 6)
    assert result["top1"] > 60
    assert "top5" not in result  # of three classes it would say nothing
    assert set(result["validation"]) == {"top1", "balanced_accuracy", "macro_f1", "auroc", "calibration_error"}


def test_evaluate_repeats_the_scores_of_fine_tuning(classifier: Path, by_class: Path) -> None:
    result = json.loads((classifier / "result.json").read_text())
    for batch_size in (1, 256):
        options = EvaluateOptions(weights=str(classifier), data=str(by_class), batch_size=batch_size)
        again = evaluate(options, progress=False)
        assert {name: again[name] for name in ("top1", "balanced_accuracy", "macro_f1")} == {
            name: result[name] for name in ("top1", "balanced_accuracy", "macro_f1")
        }


def test_images_that_had_no_part_in_the_training_are_all_scored(classifier: Path, tmp_path: Path) -> None:
    for kind, name in enumerate(["ant", "bee"]):  # a class may be missing
        write_images(tmp_path / "elsewhere" / name, 7, kind=kind, seed=3)
    options = EvaluateOptions(weights=str(classifier), data=str(tmp_path / "elsewhere"), split="all")
    result = evaluate(options, progress=False)
    assert result["images"] == 14
    assert result["top1"] > 60
    assert result["recall"]["cat"] is None
    assert [sum(row) for row in result["confusion"]] == [7, 7, 0]
    assert result["interval"]["top1"][0] <= result["top1"] <= result["interval"]["top1"][1]
    assert result["interval_over"] == "images"


def test_evaluate_says_what_becomes_of_each_class(classifier: Path, by_class: Path, tmp_path: Path) -> None:
    result = evaluate(EvaluateOptions(weights=str(classifier), data=str(by_class)), tmp_path / "scores", progress=False)
    assert json.loads((tmp_path / "scores" / "result.json").read_text()) == result
    hits = [row[index] for index, row in enumerate(result["confusion"])]
    assert list(result["recall"]) == ["ant", "bee", "cat"]
    assert list(result["recall"].values()) == [50.0 * count for count in hits]  # of two images a class
    assert result["top1"] == pytest.approx(100 * sum(hits) / 6, abs=1e-3)
    assert set(result["interval"]) == {"top1", "balanced_accuracy"}
    assert "layers" not in result


def test_evaluate_compares_the_layers(classifier: Path, by_class: Path) -> None:
    options = EvaluateOptions(weights=str(classifier), data=str(by_class), layers=True)
    result = evaluate(options, progress=False)
    assert result["reference_images"] == 18
    rows = result["layers"]
    assert [row["layer"] for row in rows] == [f"features.norm{index}" for index in range(1, 6)]
    assert all(0 <= row[name] <= 100 for row in rows for name in ("knn", "svm"))
    assert all(set(row["retrieval"]) == set(row["binary_retrieval"]) for row in rows)
    assert rows[0]["size"] == 4 * 10
    assert rows[-1]["knn"] > 60  # a bright quarter says the class


@pytest.mark.parametrize("split", ["train", "all"])
def test_layers_are_not_compared_on_the_images_that_they_learn_from(
    classifier: Path, by_class: Path, tmp_path: Path, split: Any
) -> None:
    options = EvaluateOptions(weights=str(classifier), data=str(by_class), split=split, layers=True)
    with pytest.raises(RunError, match=f"--split {split} contains"):
        evaluate(options, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_class_weights_change_the_training_of_unequal_classes(
    finetune_options: FinetuneOptions, tmp_path: Path
) -> None:
    for kind, (name, count) in enumerate([("ant", 20), ("bee", 5), ("cat", 5)]):
        write_images(tmp_path / "unequal" / name, count, kind=kind)
    options = replace(finetune_options, data=str(tmp_path / "unequal"), epochs=2)
    for weights in ("none", "balanced"):
        finetune(replace(options, class_weights=weights), tmp_path / weights, progress=False)
    none, balanced = features(tmp_path / "none"), features(tmp_path / "balanced")
    assert not torch.equal(none["features.conv1.weight"], balanced["features.conv1.weight"])


def test_predictions_are_a_table_and_do_not_depend_on_the_batch_size(classifier: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for kind in range(3):
        write_images(new / "deep" / "down", 3, kind=kind, size=30, seed=9)
    tables = []
    for batch_size in (1, 4, 100):
        options = PredictOptions(weights=str(classifier), images=str(new), batch_size=batch_size)
        rows = predict(options, tmp_path / f"predictions-{batch_size}", progress=False)
        written = json.loads((tmp_path / f"predictions-{batch_size}" / "predictions.json").read_text())
        assert written == rows
        lines = (tmp_path / f"predictions-{batch_size}" / "predictions.csv").read_text().splitlines()
        assert lines[0] == "file,class,probability"
        assert len(lines) == 10
        tables.append(rows)
    for rows in tables[1:]:
        assert [row["class"] for row in rows] == [row["class"] for row in tables[0]]
        assert [row["probability"] for row in rows] == pytest.approx(
            [row["probability"] for row in tables[0]], abs=1e-4
        )
    assert all(0 <= row["probability"] <= 1 for row in tables[0])


def test_unreadable_images_are_counted_and_the_others_predicted(classifier: Path, tmp_path: Path) -> None:
    paths = write_images(tmp_path / "new", 3)
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    options = PredictOptions(weights=str(classifier), images=str(tmp_path / "new"))
    with pytest.warns(UserWarning, match="skipped 1 file"):
        rows = predict(options, tmp_path / "out", progress=False)
    assert [row["file"] for row in rows] == [paths[0].name, paths[2].name]
    assert json.loads((tmp_path / "out" / "result.json").read_text())["skipped"] == [paths[1].name]
    with pytest.raises(ValueError, match=paths[1].name):
        predict(replace(options, strict=True), progress=False)


def test_a_labs_first_hour(lab: tuple[Path, Path], tmp_path: Path) -> None:
    folder, table = lab
    pretrained = PretrainOptions(data=str(folder), label_file=str(table), group="patient", epochs=1, **SMALL)
    seen = pretrain(pretrained, tmp_path / "encoder", progress=False)
    options = FinetuneOptions(
        data=str(folder),
        label_file=str(table),
        group="patient",
        init=str(tmp_path / "encoder"),
        epochs=3,
        batch_size=8,
    )
    result = finetune(options, tmp_path / "classifier", progress=False)
    assert result["labels"] + result["test_images"] < 21
    assert seen["images"] < 60  # those of held-out patients stay unseen
    scored = evaluate(
        EvaluateOptions(str(tmp_path / "classifier"), str(folder), str(table), "patient", layers=True), progress=False
    )
    assert scored["interval_over"] == "groups"
    assert scored["images"] == result["test_images"]
    rows = predict(PredictOptions(weights=str(tmp_path / "classifier"), images=str(folder)), progress=False)
    assert len(rows) == 60


def test_a_finished_run_gives_its_result_and_does_not_run_again(
    encoder: Path, pretrain_options: PretrainOptions
) -> None:
    before = files(encoder)
    assert pretrain(pretrain_options, encoder, progress=False) == json.loads((encoder / "result.json").read_text())
    assert files(encoder) == before


def test_a_folder_of_another_configuration_is_refused_and_left_alone(
    encoder: Path, pretrain_options: PretrainOptions, finetune_options: FinetuneOptions
) -> None:
    before = files(encoder)
    with pytest.raises(RunError, match=r"--lr was left out, asked for 0.2"):
        pretrain(replace(pretrain_options, lr=0.2), encoder, progress=False)
    with pytest.raises(RunError, match=r"the command is pretrain, asked for finetune"):
        finetune(finetune_options, encoder, progress=False)
    assert files(encoder) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(
    pretrain_options: PretrainOptions, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for taken in ("mine", "file"):
        with pytest.raises(RunError, match="not a run of fasthebb"):
            pretrain(pretrain_options, tmp_path / taken, progress=False)
    assert files(tmp_path / "mine") == {"thesis.txt": b"years of work"}


def test_a_mistake_may_be_mended_in_the_same_folder(pretrain_options: PretrainOptions, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no data"):
        pretrain(replace(pretrain_options, data=str(tmp_path / "imges")), tmp_path / "out", progress=False)
    assert pretrain(pretrain_options, tmp_path / "out", progress=False)["epochs"] == 2


@pytest.mark.parametrize("content", ["learning_rate: 1", "- a list", "{"])
def test_a_configuration_of_something_else_is_left_alone(
    pretrain_options: PretrainOptions, tmp_path: Path, content: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(content)
    with pytest.raises(RunError, match="choose another --out"):
        pretrain(pretrain_options, tmp_path / "mine", progress=False)
    assert files(tmp_path / "mine") == {"config.yaml": content.encode()}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("width", 0.2, "--width 0.2"), ("image_size", 32, "--image-size 32"), ("whiten", True, "--whiten true")],
)
def test_options_that_contradict_the_encoder_are_refused(
    finetune_options: FinetuneOptions, tmp_path: Path, option: str, value: object, said: str
) -> None:
    with pytest.raises(RunError, match=said):
        finetune(replace(finetune_options, **{option: value}), tmp_path / "out", progress=False)


def test_weights_that_do_not_fit_the_network_are_refused(
    encoder: Path, finetune_options: FinetuneOptions, tmp_path: Path
) -> None:
    path = encoder / "encoder.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["features.conv2.weight"] = tensors["features.conv2.weight"][:-1].clone()
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=r"features.conv2.weight is .* in the file and .* in the network"):
        finetune(finetune_options, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ('{"name": "cnn6"}', "does not describe"),
        (
            '{"name": "cnn6", "width": {}, "hidden": 4, "channels": 1, "image_size": 24, "hebbian": true}',
            "does not desc",
        ),
        ('["cnn6"]', "does not describe"),
        ("{", "not written by fasthebb"),
    ],
)
def test_a_file_with_a_broken_description_is_refused(
    encoder: Path, finetune_options: FinetuneOptions, tmp_path: Path, description: str, said: str
) -> None:
    path = encoder / "encoder.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, {**metadata, "model": description})
    with pytest.raises(ValueError, match=said):
        finetune(finetune_options, tmp_path / "out", progress=False)


def test_an_encoder_is_no_classifier(encoder: Path, by_class: Path) -> None:
    with pytest.raises(RunError, match="fine-tune it first"):
        predict(PredictOptions(weights=str(encoder / "encoder.safetensors"), images=str(by_class)), progress=False)


def test_images_of_other_classes_are_refused(classifier: Path, tmp_path: Path) -> None:
    for kind, name in enumerate(["dog", "eel"]):
        write_images(tmp_path / "others" / name, 5, kind=kind)
    with pytest.raises(ValueError, match=r"2 classes .*does not know \(dog, eel\); it knows ant, bee, cat"):
        evaluate(EvaluateOptions(weights=str(classifier), data=str(tmp_path / "others")), progress=False)


@pytest.mark.parametrize(
    ("epochs", "stretch", "expected"), [(5, None, 1), (20, None, 1), (100, None, 5), (100, 2.0, 2), (None, None, 10)]
)
def test_the_learning_rate_falls_as_far_in_more_epochs(
    finetune_options: FinetuneOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: int | None,
    stretch: float | None,
    expected: float,
) -> None:
    class SeenError(Exception):
        pass

    def seen(*_: Any, **given: Any) -> None:
        assert given["stretch"] == expected
        assert given["epochs"] == epochs or (epochs is None and given["epochs"] == 200)  # these images are few
        raise SeenError

    monkeypatch.setattr(supervised, "Classifier", seen)
    with pytest.raises(SeenError):
        finetune(replace(finetune_options, epochs=epochs, stretch=stretch), tmp_path / "out", progress=False)


def test_of_a_classifier_alone_few_images_are_not_seen_more_often(
    finetune_options: FinetuneOptions, tmp_path: Path
) -> None:
    assert (
        finetune(replace(finetune_options, probe=True, epochs=None), tmp_path / "out", progress=False)["epochs"] == 20
    )


def test_greedy_and_bfloat16_run(pretrain_options: PretrainOptions, tmp_path: Path) -> None:
    options = replace(pretrain_options, order="greedy", epochs=1, precision="bf16-mixed")
    assert pretrain(options, tmp_path / "greedy", progress=False)["epochs"] == 2
    assert pretrain(replace(options, layers=["all"]), tmp_path / "all", progress=False)["epochs"] == 5


def test_backprop_alone_is_the_network_with_biases(by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), epochs=1, **SMALL)
    finetune(options, tmp_path / "alone", progress=False)
    assert "features.conv1.bias" in features(tmp_path / "alone")


@pytest.mark.parametrize("select", ["labelled-cv", "validation"])
def test_the_epoch_may_be_chosen_and_what_it_costs_in_labels_is_counted(
    by_class: Path, tmp_path: Path, select: Select
) -> None:
    options = FinetuneOptions(data=str(by_class), select=select, labels="9", epochs=4, lr=0.05, **SMALL)
    result = finetune(options, tmp_path / "out", progress=False)
    assert result["labels"] == 9
    assert result["labels_spent"] == {"labelled-cv": 9, "validation": 9 + 6}[select]
    assert 1 <= result["epochs"] <= 4
    if select == "validation":
        rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
        column = rows[0].split(",").index("val_top1")
        best = max(float(row.split(",")[column]) for row in rows[1:])
        assert result["validation"]["top1"] == pytest.approx(best, abs=1e-3)
        values = [float(row.split(",")[column]) for row in rows[1:]]
        assert result["epochs_to_convergence"] == 1 + next(i for i, value in enumerate(values) if value >= best - 1)


def test_without_images_to_test_on_folds_of_the_labelled_ones_tell(by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), cv=3, epochs=15, lr=0.02, **SMALL)
    result = finetune(options, tmp_path / "out", progress=False)
    assert result["labels"] == result["labels_spent"] == 30  # nothing is held out
    assert (result["scored_by"], result["test_images"]) == ("3-fold cross-validation", 0)
    assert result["top1"] > 60
    assert not (tmp_path / "out" / "folds").exists()
    with pytest.raises(RunError, match="found --cv 1 and --select last, expected at least 2 folds"):
        finetune(replace(options, cv=1), tmp_path / "other", progress=False)


def test_the_draw_of_labels_has_a_seed_of_its_own(by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), labels="3", epochs=1, **SMALL)
    results = [
        finetune(replace(options, seed=seed, draw_seed=draw), tmp_path / f"{seed}-{draw}", progress=False)
        for seed, draw in ((0, None), (0, 0), (0, 7))
    ]
    assert [result["seeds"]["draw"] for result in results] == [0, 0, 7]
    assert results[0]["top1"] == results[1]["top1"]
    weights = [load_file(tmp_path / name / "classifier.safetensors") for name in ("0-0", "0-7")]
    assert not torch.equal(weights[0]["classifier.1.weight"], weights[1]["classifier.1.weight"])


@pytest.mark.parametrize(
    ("asked", "learning"),
    [
        ([], ["conv1", "conv2"]),
        (["all"], ["conv1", "conv2", "conv3", "conv4", "dense5"]),
        (["conv1", "conv[3]"], ["conv1", "conv3"]),
    ],
)
def test_layers_that_do_not_learn_keep_their_weights(
    pretrain_options: PretrainOptions, tmp_path: Path, asked: list[str], learning: list[str]
) -> None:
    pretrain(replace(pretrain_options, layers=asked), tmp_path / "some", progress=False)
    pretrain(replace(pretrain_options, lr=0.0), tmp_path / "none", progress=False)
    learned, still = features(tmp_path / "some"), features(tmp_path / "none")
    moved = {name for name, weight in learned.items() if weight.dim() > 1 and not torch.equal(weight, still[name])}
    assert moved == {f"features.{name}.weight" for name in learning}


@pytest.mark.parametrize("method", ["vae", "vae-paper"])
def test_a_vae_leaves_an_encoder_that_finetunes(
    pretrain_options: PretrainOptions, by_class: Path, tmp_path: Path, method: Any
) -> None:
    result = pretrain(replace(pretrain_options, method=method), tmp_path / "vae", progress=False)
    assert result["method"] == method
    network = SavedNetwork.load(tmp_path / "vae", "encoder.safetensors")
    assert network.model["hebbian"] is False
    options = FinetuneOptions(data=str(by_class), init=str(tmp_path / "vae"), epochs=1, batch_size=8)
    assert 0 <= finetune(options, tmp_path / "classifier", progress=False)["top1"] <= 100


def test_layers_may_learn_at_once(by_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = PretrainOptions(
        data=str(by_class), method="at-once", rule=WTA(), model="triangle2", width=0.02, image_size=12
    )
    result = pretrain(options, tmp_path / "encoder")
    assert "conv1 has learned" in capsys.readouterr().out
    assert result["epochs"] == 0
    assert result["rule"]["class_path"].endswith("WTA")
    saved = SavedNetwork.load(tmp_path / "encoder", "encoder.safetensors")
    assert saved.preprocessing.whitening is None  # patches are whitened, not pixels
    torch.manual_seed(options.seed)
    start = build_model(**saved.model, classes=3).state_dict()
    assert not torch.equal(saved.tensors["features.conv2.weight"], start["features.conv2.weight"])
    scores = finetune(
        FinetuneOptions(data=str(by_class), init=str(tmp_path / "encoder"), ridge=True), tmp_path / "classifier"
    )
    assert scores["top1"] > 60  # of three classes that differ in where they are bright
    for wrong in ({"lr": 0.1}, {"epochs": 3}, {"layers": ["conv1"]}, {"order": "greedy"}):
        with pytest.raises(RunError, match="--method at-once takes every layer in turn, without steps"):
            pretrain(replace(options, **wrong), tmp_path / "other")
    with pytest.raises(ValueError, match="HPCA learns by steps alone"):
        pretrain(replace(options, rule=HPCA()), tmp_path / "hpca")


def test_layers_are_read_together_by_whoever_uses_the_classifier(encoder: Path, by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), init=str(encoder), ridge=True, read=["norm1", "norm2"], side=2)
    result = finetune(options, tmp_path / "read")
    ends = finetune(replace(options, read=[]), tmp_path / "end")
    saved = SavedNetwork.load(tmp_path / "read", "classifier.safetensors")
    assert (saved.model["read"], saved.model["side"]) == (["norm1", "norm2"], 2)
    widths = [saved.tensors[f"features.norm{layer}.weight"].numel() for layer in (1, 2)]
    assert saved.tensors["classifier.1.weight"].shape == (3, 4 * sum(widths))
    scored = evaluate(EvaluateOptions(str(tmp_path / "read"), data=str(by_class)), tmp_path / "scores")
    assert scored["top1"] == result["top1"]
    assert result["top1"] > 60  # of three classes that differ in where they are bright
    assert SavedNetwork.load(tmp_path / "end", "classifier.safetensors").tensors["classifier.1.weight"].shape[1] == 16
    assert ends["labels"] == result["labels"]


def test_a_student_learns_from_a_ridge_regression_and_goes_on_where_it_stopped(
    encoder: Path, by_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FinetuneOptions(
        data=str(by_class), init=str(encoder), ridge=True, student="cnn8", labels="2/class", epochs=6, batch_size=8
    )
    result = finetune(options, tmp_path / "whole")
    assert (result["epochs"], result["labels"]) == (6, 6)
    saved = SavedNetwork.load(tmp_path / "whole", "classifier.safetensors")
    assert saved.model["name"] == "cnn8"
    assert saved.classes == ["ant", "bee", "cat"]
    scored = evaluate(EvaluateOptions(str(tmp_path / "whole"), data=str(by_class)), tmp_path / "scores")
    assert scored["top1"] == result["top1"]

    asked = []
    original = Supervised.fit_ridge

    def counting(self: Supervised, *args: Any) -> Any:
        asked.append(args)
        return original(self, *args)

    monkeypatch.setattr(Supervised, "fit_ridge", counting)

    start_epoch = SelfTraining.on_train_epoch_start

    def interrupting(self: SelfTraining) -> None:
        if self.current_epoch == 3:
            raise KeyboardInterrupt
        start_epoch(self)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(SelfTraining, "on_train_epoch_start", interrupting)
        finetune(options, tmp_path / "parts")
    assert finetune(options, tmp_path / "parts")["top1"] == result["top1"]
    assert len(asked) == 1  # the teacher's answers are kept
    one, other = (load_file(tmp_path / name / "classifier.safetensors") for name in ("whole", "parts"))
    assert set(one) == set(other)
    assert not {name: (one[name] - other[name]).abs().max() for name in one if not torch.equal(one[name], other[name])}


def test_a_student_teaches_itself_in_the_next_round_and_goes_on_within_it(
    encoder: Path, by_class: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FinetuneOptions(
        data=str(by_class), init=str(encoder), ridge=True, student="cnn8", rounds=3, labels="2/class", epochs=2,
        batch_size=8,
    )  # fmt: skip
    result = finetune(options, tmp_path / "whole")
    assert result["epochs"] == 6

    started = []
    start_epoch = SelfTraining.on_train_epoch_start

    def interrupting(self: SelfTraining) -> None:
        started.append((self.current_epoch, self.teacher.clone()))
        if len(started) == 4:  # at the second epoch of the second round
            raise KeyboardInterrupt
        start_epoch(self)

    monkeypatch.setattr(SelfTraining, "on_train_epoch_start", interrupting)
    with pytest.raises(KeyboardInterrupt):
        finetune(options, tmp_path / "parts")
    again = finetune(options, tmp_path / "parts")
    assert [epoch for epoch, _ in started] == [0, 1, 0, 1, 1, 0, 1]
    teachers = [teacher for epoch, teacher in started if epoch == 0]
    assert not any(torch.equal(one, other) for one, other in pairwise(teachers))
    assert again["top1"] == result["top1"]
    one, other = (load_file(tmp_path / name / "classifier.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    lessons = [tmp_path / "whole" / "teacher" / where for where in ("", "round1", "round2")]
    assert result["finetune_seconds"] > sum(logged(where, "seconds")[-1] for where in lessons)
    assert not any((where / "checkpoints").exists() for where in lessons)


def test_a_teacher_looks_at_mirror_images_too(encoder: Path, by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), init=str(encoder), ridge=True, student="cnn8", augment="shift")
    init = SavedNetwork.load(encoder, "encoder.safetensors")
    data = load_images(str(by_class), image_size=init.model["image_size"])
    assert isinstance(data, ImageData)
    training = Supervised(options, data, init, 0, progress=False)
    model, _ = training.fit_ridge(data.train, tmp_path)
    mirrored = replace(data.train, images=data.train.images.flip(-1))
    assert not torch.allclose(training.taken(model, data.train)[0], training.taken(model, mirrored)[0], atol=1e-3)
    torch.testing.assert_close(looked_at(training, model, data.train), looked_at(training, model, mirrored))
    with torch.no_grad():
        logits = model.eval().classifier(looked_at(training, model, data.train))
    torch.testing.assert_close(logits, predict_logits(model, training.ordered(data.train))[0], rtol=1e-4, atol=1e-4)


def test_a_student_needs_its_teacher(encoder: Path, by_class: Path, tmp_path: Path) -> None:
    for more in ({"ridge": False}, {"ridge": True, "cv": 3}):
        with pytest.raises(RunError, match="--student learns from a ridge regression, once: give --ridge"):
            finetune(
                FinetuneOptions(data=str(by_class), init=str(encoder), student="cnn8", **more),  # type: ignore[arg-type]
                tmp_path / "out",
            )
    with pytest.raises(ValueError, match="there is no model 'cnn88': did you mean 'cnn8'"):
        finetune(FinetuneOptions(data=str(by_class), init=str(encoder), ridge=True, student="cnn88"), tmp_path / "out")
