import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fasthebb.data import DataError, Preprocessing
from fasthebb.hub import HebbianModel, HebbianSegmenter, SharingError
from fasthebb.models import build_segmentation
from fasthebb.runs import RunError
from fasthebb.runs.saved import SavedNetwork, SavedSegmentation
from fasthebb.runs.segmentation.scoring import probabilities

CLASSES = ["background", "nucleus"]
MODEL = {"name": "unet", "channels": 3, "dims": 2, "hebbian": True, "depth": 1, "width": 2, "norm": "batch"}
NOTES = {
    "data": "/home/somebody/patients/slides",
    "method": "hebbian",
    "rule": "{'class_path': 'fasthebb.rules.hpca.HPCA', 'init_args': {'max_lr': 0.1}}",
}
IMAGES = torch.randint(0, 256, (3, 3, 21, 34), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def saved(classes: list[str] = CLASSES, *, whiten: bool = False, **model: Any) -> SavedSegmentation:
    described = {**MODEL, **model}
    torch.manual_seed(0)
    network = build_segmentation(**described, classes=max(1, len(classes)))
    seen = [torch.rand(described["channels"], *[32] * described["dims"]) for _ in range(2)]
    preprocessing = Preprocessing.fit(seen)
    if whiten:  # fitted, this would take longer than all else
        inputs = 32 * 32 * described["channels"]
        preprocessing = Preprocessing(preprocessing.mean, preprocessing.std, 32, torch.eye(inputs), torch.rand(inputs))
    network.train()(preprocessing(torch.stack(seen)))
    tensors = {name: value for name, value in network.state_dict().items() if classes or name.startswith("features.")}
    return SavedSegmentation(described, preprocessing, tensors, classes, NOTES)


@pytest.fixture
def model() -> HebbianSegmenter:
    return HebbianSegmenter(saved())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a fine-tuning leaves."""
    folder = tmp_path / "finetune"
    folder.mkdir()
    saved().save(folder / "classifier.safetensors")
    config = {"command": "finetune", "task": "segmentation", "data": "/home/somebody/slides", "semi": "mean-teacher"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    scores = {"dice": 81.25, "jaccard": 70.5, "hausdorff95": 4.5, "hausdorff95_undefined": 0}
    result = {**scores, "labels": 5, "labels_spent": 5, "scored_by": "test images", "test_images": 9}
    (folder / "result.json").write_text(json.dumps({**result, "finetune_seconds": 2.5}))
    return folder


def test_a_call_gives_what_the_command_gives(model: HebbianSegmenter) -> None:
    of_run = saved()
    for images in (IMAGES, IMAGES.float() / 255):
        expected = [probabilities(of_run.segmenter(), of_run.preprocessing, one, 2) for one in images]
        assert torch.equal(model(images), torch.stack(expected))
    assert all(torch.equal(mask, one.argmax(0)) for mask, one in zip(model.predict(IMAGES), expected, strict=True))
    assert model.predict(IMAGES)[0].dtype == torch.uint8
    assert model.features(IMAGES).shape == (3, 2, 21, 34)
    assert model(IMAGES[:0]).shape == (0, 2, 21, 34)
    assert not torch.equal(model(IMAGES, tile=16), model(IMAGES))


def test_grey_images_are_seen_as_colour_and_the_other_way_round(model: HebbianSegmenter) -> None:
    grey = IMAGES[:, :1]
    assert torch.equal(model(grey), model(grey.expand(-1, 3, -1, -1)))
    assert HebbianSegmenter(saved(channels=1))(IMAGES).shape == (3, 2, 21, 34)
    with pytest.raises(DataError, match="found 2 channels, expected 3: only 1 and 3 are converted"):
        model(IMAGES[:, :2])


def test_volumes_are_segmented_too() -> None:
    volumes = torch.rand(2, 1, 9, 12, 10)
    model = HebbianSegmenter(saved(channels=1, dims=3))
    assert model(volumes, tile=8).shape == (2, 2, 9, 12, 10)
    with pytest.raises(SharingError, match=r"found \(3, 3, 21, 34\), expected a tensor of volumes \(N, C, D, H, W\)"):
        model(IMAGES)


def test_what_is_no_image_is_said(model: HebbianSegmenter) -> None:
    for images, message in (
        (IMAGES[0], r"found \(3, 21, 34\), expected a tensor of images \(N, C, H, W\)"),
        (IMAGES.float(), r"found values from 0 to 255, expected uint8, or float in \[0, 1\]"),
    ):
        with pytest.raises(SharingError, match=message):
            model(images)


@pytest.mark.parametrize("whiten", [False, True])
def test_a_folder_gives_the_same_model(whiten: bool, tmp_path: Path) -> None:
    model = HebbianSegmenter(saved(whiten=whiten))
    model.save_pretrained(tmp_path / "nuclei")
    names = sorted(file.name for file in (tmp_path / "nuclei").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    again = HebbianModel.from_pretrained(tmp_path / "nuclei")  # nobody needs to know of which task it is
    assert type(again) is HebbianSegmenter
    assert torch.equal(again(IMAGES), model(IMAGES))
    assert (again.classes, again.saved.model, again.saved.notes) == (CLASSES, MODEL, NOTES)
    assert torch.equal(HebbianSegmenter.from_pretrained(tmp_path / "nuclei")(IMAGES), model(IMAGES))


def test_an_export_resizes_nothing(model: HebbianSegmenter, tmp_path: Path) -> None:
    with pytest.raises(SharingError, match="sees images at their own size: leave resize out"):
        model.export(tmp_path / "model.onnx", resize=True)


def test_a_classifier_is_no_segmenter(tmp_path: Path) -> None:
    save_file({"features.x": torch.zeros(1)}, tmp_path / "classifier.safetensors", {"format": "fasthebb 1"})
    with pytest.raises(SharingError, match="is of a network for 'classification', expected 'segmentation'"):
        HebbianSegmenter.from_run(tmp_path)
    with pytest.raises(RunError, match="found no weights"):
        HebbianSegmenter.from_run(tmp_path / "nowhere")


def test_an_encoder_gives_features(tmp_path: Path) -> None:
    encoder = HebbianSegmenter(saved([]))
    encoder.save_pretrained(tmp_path / "encoder")
    again = HebbianModel.from_pretrained(tmp_path / "encoder")
    assert torch.equal(again.features(IMAGES), encoder.features(IMAGES))
    for use in (again.forward, again.predict):
        with pytest.raises(SharingError, match="an encoder without classes"):
            use(IMAGES)
    card = ModelCard.load(tmp_path / "encoder" / "README.md")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert "model.features(images)  # (N, features, *size)" in card.text


def test_the_model_card_says_data_rule_and_scores(run: Path, tmp_path: Path) -> None:
    HebbianModel.from_run(run).save_pretrained(tmp_path / "out", model_card_kwargs={"name": "lab/nuclei"})
    card = ModelCard.load(tmp_path / "out" / "README.md")
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("fasthebb", "image-segmentation")
    assert {"hebbian-learning", "semi-supervised"} <= set(data.tags)
    assert "image-classification" not in data.tags
    (scored,) = data.eval_results
    assert (scored.task_type, scored.metric_type, scored.metric_value) == ("image-segmentation", "dice", 0.8125)
    for part in (
        "A segmentation network, which says for each pixel of images to which of 2 classes it belongs, whose hidden "
        "layers learned without labels, by HPCA(max_lr=0.1). Made with fasthebb.",
        "HebbianModel.from_pretrained('lab/nuclei')",
        "`images` is `(N, C, H, W)` of any size, uint8 or float in [0, 1], of 3 channels.",
        "| images | slides |",
        "| images without masks | mean-teacher |",
        "| masks | 5 |",
        "| classes | background, nucleus |",
        "On 9 test images, in per cent:",
        "| dice | 81.25 |",
        "| hausdorff95 (pixels) | 4.5 |",
        "get masks of its classes all the same. Check it on\nsegmented images",
    ):
        assert part in card.text, part
    assert "somebody" not in card.content


def test_uploading_sends_the_three_files(model: HebbianSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, bytes] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Any:
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            sent.update({file.name: file.read_bytes() for file in folder_path.iterdir()})
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    assert model.push_to_hub("lab/nuclei") == "https://hub/lab/nuclei/commit/1"
    assert set(sent) == {"README.md", "config.json", "model.safetensors"}
    assert json.loads(sent["config.json"])["task"] == "segmentation"
    assert b"# lab/nuclei" in sent["README.md"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"classes": ["a", 2]}, "does not name its classes"),
        ({"classes": ["a"]}, "do not fit the network"),
        ({"model": {**MODEL, "width": 10**9}}, "cannot be built|do not fit the network"),
        ({"model": {**MODEL, "dims": 4}}, "cannot be built"),
        ({"model": {**MODEL, "depth": 10**6}}, "cannot be built"),
        ({"model": {**MODEL, "norm": "batch2"}}, "cannot be built"),
        ({"model": {**MODEL, "image_size": 5}}, "does not describe a network of fasthebb"),
        ({"mean": [0.5], "std": [1.0], "channels": 1}, "takes images of 3 channels, and the preprocessing those of 1"),
    ],
)
def test_a_header_that_was_changed_is_refused(
    model: HebbianSegmenter, tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        header = dict(opened.metadata())
    save_file(load_file(file), file, {**header, **{name: json.dumps(value) for name, value in metadata.items()}})
    (tmp_path / "config.json").unlink()
    with pytest.raises((SharingError, RunError, DataError), match=message):
        HebbianModel.from_pretrained(tmp_path)


def test_a_folder_whose_files_are_of_two_tasks_is_refused(model: HebbianSegmenter, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, "task": SavedNetwork.task}))
    with pytest.raises(SharingError, match="do not say the same of 'task'"):
        HebbianModel.from_pretrained(tmp_path)


def test_volumes_are_not_whitened() -> None:
    flat = saved(whiten=True)
    with pytest.raises(SharingError, match="takes volumes, and the preprocessing whitens flat images"):
        HebbianSegmenter(replace(saved(dims=3), preprocessing=flat.preprocessing))
