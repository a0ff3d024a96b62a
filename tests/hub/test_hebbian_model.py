import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fasthebb.data import Batches, DataError, ImageSet, Preprocessing, load_folder_for_prediction
from fasthebb.evaluation import predict_logits
from fasthebb.hub import HebbianModel, SharingError
from fasthebb.hub import model as module
from fasthebb.hub.provenance import provenance
from fasthebb.models import build_model
from fasthebb.runs import RunError, SavedNetwork
from fasthebb.training import WeightsError

CLASSES = ["ant", "bee", "cat"]
MODEL = {"name": "cnn6", "channels": 3, "image_size": 24, "width": 0.1, "hidden": 16, "hebbian": True}
NOTES = {
    "data": "/home/somebody/patients/scans",
    "method": "hebbian",
    "rule": "{'class_path': 'fasthebb.rules.hpca.HPCA', 'init_args': {'activation': 'relu', 'max_lr': 0.1}}",
}
IMAGES = torch.randint(0, 256, (7, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def saved(classes: list[str] = CLASSES, *, whiten: bool = False, **model: Any) -> SavedNetwork:
    described = {**MODEL, **model}
    torch.manual_seed(0)
    network = build_model(**described, classes=max(1, len(classes)))
    preprocessing = Preprocessing.fit(IMAGES[:, : described["channels"]])
    if whiten:  # fitted, this would take longer than all else
        inputs = 24 * 24 * described["channels"]
        matrix = torch.eye(inputs) + 0.01 * torch.randn(inputs, inputs)
        preprocessing = Preprocessing(preprocessing.mean, preprocessing.std, 24, matrix, torch.rand(inputs))
    network.train()(preprocessing(IMAGES[:, : described["channels"]]))
    tensors = {name: value for name, value in network.state_dict().items() if classes or name.startswith("features.")}
    return SavedNetwork(described, preprocessing, tensors, classes, NOTES)


@pytest.fixture
def model() -> HebbianModel:
    return HebbianModel(saved(whiten=True))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a fine-tuning leaves."""
    folder = tmp_path / "finetune"
    folder.mkdir()
    saved(whiten=True).save(folder / "classifier.safetensors")
    config = {
        "command": "finetune",
        "data": "/home/somebody/patients/scans",
        "unlabelled": ["/mnt/more"],
        "ridge": True,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = {
        "command": "finetune",
        "labels": 18,
        "labels_spent": 24,
        "top1": 83.333,
        "auroc": 95.0,
        "scored_by": "test images",
        "test_images": 6,
        "finetune_seconds": 1.5,
        "versions": {"fasthebb": "0.1.0"},
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_call_gives_what_the_parts_give(model: HebbianModel) -> None:
    batches = Batches(
        ImageSet(IMAGES, torch.full((7,), -1), [""] * 7), model.saved.preprocessing, batch_size=3, shuffle=False
    )
    logits, _ = predict_logits(saved(whiten=True).classifier(), batches)
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), logits.softmax(1))
        torch.testing.assert_close(model(IMAGES.float() / 255), logits.softmax(1))
    assert model.predict(IMAGES, batch_size=2) == [CLASSES[row] for row in logits.argmax(1)]
    assert model.features(IMAGES).shape == (7, 16)


def test_images_of_any_size_are_seen_as_those_of_files(model: HebbianModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for height, width in ((45, 61), (61, 44), (20, 20), (24, 24)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "image.png")
        read, _ = load_folder_for_prediction(tmp_path / "image.png", image_size=24, channels=3)
        images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        with torch.no_grad():
            assert torch.equal(model(images), model(read.images))
            torch.testing.assert_close(model(images.float() / 255), model(images), atol=0.02, rtol=0)


def test_grey_images_are_seen_as_colour_and_the_other_way_round(model: HebbianModel) -> None:
    grey = IMAGES[:, :1]
    assert torch.equal(model(grey), model(grey.expand(-1, 3, -1, -1)))
    assert HebbianModel(saved(channels=1))(IMAGES).shape == (7, 3)
    with pytest.raises(DataError, match="found 2 channels"):
        model(IMAGES[:, :2])


def test_what_is_no_image_is_said(model: HebbianModel) -> None:
    for images, message in (
        (IMAGES[0], r"found \(3, 24, 24\), expected a tensor of images \(N, C, H, W\)"),
        (IMAGES.numpy(), "found ndarray, expected a tensor"),
        (IMAGES.float(), r"found values from 0 to 255, expected uint8, or float in \[0, 1\]"),
        (torch.full((1, 3, 24, 24), torch.nan), "found values from nan to nan"),
        (IMAGES.long(), r"found images of torch.int64, expected torch.uint8"),
    ):
        with pytest.raises(SharingError, match=message):
            model(images)


def test_a_folder_gives_the_same_model(model: HebbianModel, tmp_path: Path) -> None:
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.5)  # what it has learned since counts
    model.save_pretrained(tmp_path / "insects")
    assert sorted(file.name for file in (tmp_path / "insects").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = HebbianModel.from_pretrained(tmp_path / "insects")
    assert torch.equal(again(IMAGES), model(IMAGES))
    assert (again.classes, again.saved.model, again.saved.notes) == (CLASSES, MODEL, NOTES)
    assert not again.training
    # Its weights are a file like every other of fasthebb's.
    assert SavedNetwork.load(tmp_path / "insects" / "model.safetensors", "").classes == CLASSES


def test_an_encoder_gives_features(tmp_path: Path) -> None:
    encoder = HebbianModel(saved([]))
    encoder.save_pretrained(tmp_path / "encoder")
    again = HebbianModel.from_pretrained(tmp_path / "encoder")
    assert torch.equal(again.features(IMAGES), encoder.features(IMAGES))
    assert not [name for name in load_file(tmp_path / "encoder" / "model.safetensors") if "classifier" in name]
    for use in (again.forward, again.predict):
        with pytest.raises(SharingError, match="an encoder without classes"):
            use(IMAGES)
    with pytest.raises(SharingError, match="an encoder without classes"):
        again.export(tmp_path / "model.onnx")
    assert ModelCard.load(tmp_path / "encoder" / "README.md").data.pipeline_tag == "image-feature-extraction"


def test_a_run_comes_with_what_it_says(run: Path) -> None:
    model = HebbianModel.from_run(run)
    assert torch.equal(model(IMAGES), HebbianModel(saved(whiten=True))(IMAGES))
    assert torch.equal(HebbianModel.from_run(run / "classifier.safetensors")(IMAGES), model(IMAGES))
    said = json.loads(model.saved.notes["training"])
    assert said["scores"] == {"top1": 83.333, "auroc": 95.0}
    assert (said["labels"], said["read_out"], said["unlabelled"]) == (18, "ridge regression", ["more"])
    assert "somebody" not in json.dumps(dict(model.saved.notes))  # paths are nobody's business


def test_the_model_card_says_data_rule_and_scores(run: Path, tmp_path: Path) -> None:
    model = HebbianModel.from_run(run)
    model.save_pretrained(
        tmp_path / "out", model_card_kwargs={"license": "mit", "name": "lab/insects", "text": "By us."}
    )
    card = ModelCard.load(tmp_path / "out" / "README.md")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == ("fasthebb", "image-classification", "mit")
    assert (data.eval_results[0].metric_value, data.eval_results[0].dataset_name) == (0.83333, "scans")
    for part in (
        "# lab/insects",
        "whose hidden layers learned without labels, by HPCA(activation='relu', max_lr=0.1)",
        "HebbianModel.from_pretrained('lab/insects')",
        "| images | scans |",
        "| labels | 18 (24 counting those that chose among epochs) |",
        "| fine-tuning | ridge regression |",
        "| classes | ant, bee, cat |",
        "| pixels | whitened |",
        "On 6 test images, in per cent:",
        "| top1 | 83.333 |",
        "By us.",
    ):
        assert part in card.text, part
    assert "somebody" not in card.content
    # And what is downloaded and saved again still says it.
    HebbianModel.from_pretrained(tmp_path / "out").save_pretrained(tmp_path / "again")
    assert "| top1 | 83.333 |" in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize(
    "notes",
    [{}, {"training": "{"}, {"training": '{"scores": 5, "unlabelled": {}, "versions": [1]}'}, {"rule": "[1]"}],
)
def test_a_card_needs_no_notes_and_bears_all(notes: dict[str, str]) -> None:
    text = HebbianModel(replace(saved(["a|b", "c\nd"]), notes=notes)).generate_model_card().content
    assert "into 2 classes, trained from random weights" in text
    assert "| classes | a/b, c d |" in text
    assert "## Scores" not in text


def test_uploading_sends_the_three_files(model: HebbianModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None:
            sent["token"] = token

        def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Any:
            sent["private"] = private
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            sent["files"] = {file.name: file.read_bytes() for file in folder_path.iterdir()}
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    assert model.push_to_hub("lab/insects", private=True, token="secret") == "https://hub/lab/insects/commit/1"
    assert (sent["private"], sent["token"]) == (True, "secret")
    assert set(sent["files"]) == {"README.md", "config.json", "model.safetensors"}
    assert b"# lab/insects" in sent["files"]["README.md"]


def test_downloading_reads_the_same(model: HebbianModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save_pretrained(tmp_path / "remote")
    asked = []

    def download(name: str, file: str, **options: Any) -> str:
        asked.append((name, file, options["revision"]))
        if name == "lab/nothing":
            raise LocalEntryNotFoundError("Cannot find the requested files\nin the disk cache")
        return str(tmp_path / "remote" / file)

    monkeypatch.setattr(module, "hf_hub_download", download)
    found = HebbianModel.from_pretrained("lab/insects", revision="v1")
    assert torch.equal(found(IMAGES), model(IMAGES))
    assert asked == [("lab/insects", "model.safetensors", "v1"), ("lab/insects", "config.json", "v1")]
    with pytest.raises(
        SharingError, match=r"found no folder 'lab/nothing', and no such model .* \(Cannot find"
    ) as error:
        HebbianModel.from_pretrained("lab/nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(SharingError, match="found the argument 'device'"):
        HebbianModel.from_pretrained("lab/insects", device="cuda")


def test_a_name_that_cannot_be_one_is_said() -> None:
    with pytest.raises(SharingError, match="found no folder 'a/b/c'"):
        HebbianModel.from_pretrained("a/b/c")


def changed(folder: Path, **metadata: Any) -> Path:
    """Rewrite the header of a folder's weights, and take away what would contradict it."""
    file = folder / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        header = dict(opened.metadata())
    save_file(load_file(file), file, {**header, **{name: json.dumps(value) for name, value in metadata.items()}})
    (folder / "config.json").unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"classes": 5}, "does not name its classes, expected a list of texts"),
        ({"classes": {"a": 1}}, "does not name its classes"),
        ({"classes": ["a", 2, "c"]}, "does not name its classes"),
        ({"classes": ["a"]}, "do not fit the network"),
        ({"model": {**MODEL, "width": 1e9}}, "cannot be built|do not fit the network"),
        ({"model": {**MODEL, "width": float("nan")}}, "cannot be built"),
        ({"model": {**MODEL, "hidden": 10**9}}, "cannot be built"),
        ({"model": {**MODEL, "hidden": 17}}, "do not fit the network"),
        ({"model": {**MODEL, "name": "hf-hub:somebody/something"}}, "cannot be built: there is no model"),
        ({"model": {**MODEL, "name": 3}}, "does not describe a network of fasthebb"),
        ({"model": {**MODEL, "weights": "DEFAULT"}}, "does not describe a network of fasthebb"),
        ({"model": {**MODEL, "image_size": 25}}, "the network takes images of 25 pixels, and the preprocessing"),
        ({"mean": "no"}, "found no usable preprocessing"),
        ({"task": 1}, "expected 'classification'"),
    ],
)
def test_a_header_that_was_changed_is_refused(
    model: HebbianModel, tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    model.save_pretrained(tmp_path / "model")
    with pytest.raises((SharingError, RunError, DataError, WeightsError), match=message):
        HebbianModel.from_pretrained(changed(tmp_path / "model", **metadata))


def test_files_that_contradict_each_other_are_refused(model: HebbianModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    config = folder / "config.json"
    right = config.read_text()
    for key, value in (("classes", ["bee", "ant", "cat"]), ("model", {**MODEL, "width": 2.0}), ("format", "2")):
        config.write_text(json.dumps({**json.loads(right), key: value}))
        with pytest.raises(SharingError, match=f"do not say the same of '{key}'"):
            HebbianModel.from_pretrained(folder)
    for text in ("{", "[]", "5"):
        config.write_text(text)
        with pytest.raises(SharingError, match=r"not readable JSON|do not say the same"):
            HebbianModel.from_pretrained(folder)
    config.unlink()
    HebbianModel.from_pretrained(folder)  # the header says it all
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        HebbianModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SharingError, match=r"found no model.safetensors in .*, expected a folder of save_pretrained"):
        HebbianModel.from_pretrained(folder)


def test_encoders_that_divide_by_norms_are_refused() -> None:
    encoder = saved([])
    with pytest.raises(SharingError, match="pre-train with --fold true"):
        HebbianModel(replace(encoder, notes={"normalised": '["conv1"]'}))


def test_provenance_needs_no_run_and_says_damage(tmp_path: Path) -> None:
    assert provenance({"rule": "x", "data": "a/b"}, tmp_path) == {"rule": "x", "data": "b"}
    (tmp_path / "result.json").write_text("{'")
    with pytest.raises(RunError, match=r"result.json cannot be read"):
        provenance({}, tmp_path)


def test_other_tasks_and_missing_runs_are_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="found no weights"):
        HebbianModel.from_run(tmp_path / "nowhere")
    file = tmp_path / "classifier.safetensors"
    save_file({"features.x": torch.zeros(1)}, file, {"format": "fasthebb 1", "task": "poetry"})
    with pytest.raises(SharingError, match="is of a network for 'poetry', expected 'classification'"):
        HebbianModel.from_run(tmp_path)
