import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import fasthebb
from fasthebb.data import Preprocessing, load_images
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
)

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
    assert set(files(encoder)) == {
        "config.yaml",
        "metrics.csv",
        "result.json",
        "encoder.safetensors",
        "checkpoints/last.ckpt",
    }
    result = json.loads((encoder / "result.json").read_text())
    assert result["images"] == 18  # of 30, a fifth is held out for validation and a fifth for test
    assert result["epochs"] == 2
    assert result["pretrain_seconds"] > 0
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
    pretrain(replace(pretrain_options, rule=fasthebb.SWTA()), tmp_path / "swta", progress=False)
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
    assert set(result["validation"]) == {"top1", "balanced_accuracy", "macro_f1"}


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
    with pytest.raises(RunError, match=r"lr is 0.1, asked for 0.2"):
        pretrain(replace(pretrain_options, lr=0.2), encoder, progress=False)
    with pytest.raises(RunError, match=r"command is 'pretrain', asked for 'finetune'"):
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
    [("width", 0.2, "--width 0.2"), ("image_size", 32, "--image-size 32"), ("whiten", True, "--whiten True")],
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


def test_greedy_and_bfloat16_run(pretrain_options: PretrainOptions, tmp_path: Path) -> None:
    options = replace(pretrain_options, order="greedy", epochs=1, precision="bf16-mixed")
    assert pretrain(options, tmp_path / "greedy", progress=False)["epochs"] == 5


def test_backprop_alone_is_the_network_with_biases(by_class: Path, tmp_path: Path) -> None:
    options = FinetuneOptions(data=str(by_class), epochs=1, **SMALL)
    finetune(options, tmp_path / "alone", progress=False)
    assert "features.conv1.bias" in features(tmp_path / "alone")
