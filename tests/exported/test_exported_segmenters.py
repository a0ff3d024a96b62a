import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor

from fasthebb.cli import main
from fasthebb.data import Preprocessing
from fasthebb.exported import ExportError, SegmentationDescription, exported_task, load_exported, load_segmenter
from fasthebb.hub import HebbianSegmenter
from fasthebb.models import build_segmentation
from fasthebb.runs.saved import SavedSegmentation

CLASSES = ["background", "nucleus", "debris"]
FLAT = {"name": "unet", "channels": 1, "dims": 2, "hebbian": True, "depth": 2, "width": 2, "norm": "batch"}


def segmenter(**model: object) -> HebbianSegmenter:
    torch.manual_seed(0)
    described = {**FLAT, **model}
    preprocessing = Preprocessing.fit([torch.rand(1, *[24] * int(str(described["dims"])))])
    network = build_segmentation(**described, classes=3)  # type: ignore[arg-type]
    network.train()(preprocessing(torch.rand(2, 1, *[24] * int(str(described["dims"])))))
    with torch.no_grad():  # so that every class is somewhere the likeliest
        network.classifier[-1].weight.sub_(network.classifier[-1].weight.mean(0)).mul_(10)
        network.classifier[-1].bias.zero_()
    return HebbianSegmenter(SavedSegmentation(described, preprocessing, network.state_dict(), CLASSES))


@pytest.fixture(scope="module")
def model() -> HebbianSegmenter:
    return segmenter()


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def file(request: pytest.FixtureRequest, model: HebbianSegmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.export(tmp_path_factory.mktemp("exported") / f"model{request.param}")


def expected(model: HebbianSegmenter, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.softmax(model.network(model.preprocessing(images)), dim=1)


def test_a_file_computes_what_the_network_does(file: Path, model: HebbianSegmenter) -> None:
    loaded = load_segmenter(file, trust=True)
    assert loaded.description == SegmentationDescription(CLASSES, channels=1, dims=2, multiple=4)
    for count, height, width in ((1, 8, 8), (2, 8, 12), (3, 40, 28)):  # any number, and any multiple
        images = torch.rand(count, 1, height, width)
        found = loaded.probabilities(images)
        torch.testing.assert_close(found, expected(model, images), rtol=1e-4, atol=1e-5)
    whole = (images * 255).round().byte()
    torch.testing.assert_close(loaded.probabilities(whole), expected(model, whole), rtol=1e-4, atol=1e-5)


def test_sides_that_the_graph_does_not_take_are_continued(file: Path, model: HebbianSegmenter) -> None:
    images = torch.rand(2, 1, 13, 18)
    found = load_segmenter(file, trust=True).probabilities(images)
    # As the network itself continues them, by their last pixels.
    torch.testing.assert_close(found, expected(model, images), rtol=1e-4, atol=1e-5)


def test_its_output_can_stand_for_logits(file: Path) -> None:
    loaded, images = load_segmenter(file, trust=True), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(loaded(images).softmax(1), loaded.probabilities(images))


def test_other_programs_find_everything_in_the_file(file: Path) -> None:
    if file.suffix == ".onnx":
        graph = onnx.load(file)
        onnx.checker.check_model(graph)
        texts = {entry.key: entry.value for entry in graph.metadata_props}
        shapes = [
            [one.dim_param or one.dim_value for one in side[0].type.tensor_type.shape.dim]
            for side in (graph.graph.input, graph.graph.output)
        ]
        assert shapes == [["batch", 1, "height", "width"], ["batch", 3, "height", "width"]]
    else:
        with zipfile.ZipFile(file) as archive:
            texts = json.loads(archive.read(next(one for one in archive.namelist() if one.endswith("fasthebb.json"))))
    assert texts["task"] == "segmentation"
    assert [json.loads(texts[name]) for name in ("classes", "channels", "dims", "multiple")] == [CLASSES, 1, 2, 4]


def test_volumes_are_exported_too(tmp_path: Path) -> None:
    model = segmenter(dims=3, depth=1, norm="instance")
    loaded = load_segmenter(model.export(tmp_path / "model.pt2"), trust=True)
    volumes = torch.rand(2, 1, 6, 4, 8)
    torch.testing.assert_close(loaded.probabilities(volumes), expected(model, volumes), rtol=1e-4, atol=1e-5)


def test_the_command_predicts_the_same_from_it(
    file: Path, model: HebbianSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTHEBB_TRUST_PT2", "1")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    pixels = {f"{side}": rng.integers(0, 256, (side, 70), dtype=np.uint8) for side in (20, 50)}
    for name, image in pixels.items():
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    given = ["predict", "--weights", str(file), "--images", str(tmp_path / "images"), "--tile", "32"]
    assert main([*given, "--out", str(tmp_path / "out")]) == 0
    for name, image in pixels.items():
        (mask_file,) = (tmp_path / "out" / "masks").rglob(f"{name}.mask.png")
        found = torch.from_numpy(np.asarray(Image.open(mask_file)).copy())
        (mask,) = model.predict(torch.from_numpy(image)[None, None], tile=32)
        assert (found != mask).float().mean() < 0.001  # but where two classes are as likely, to rounding
        assert len(found.unique()) > 1


def test_what_kind_of_file_it_is_is_known_without_running_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("it was loaded"))
    assert exported_task(file) == "segmentation"
    for name, content in ((f"broken{file.suffix}", file.read_bytes()[:500]), (f"none{file.suffix}", b"")):
        (tmp_path / name).write_bytes(content)
        assert exported_task(tmp_path / name) == "classification"
    assert exported_task(tmp_path / f"missing{file.suffix}") == "classification"


def test_each_reader_refuses_the_other_kind(file: Path) -> None:
    with pytest.raises(ExportError, match="says the class of each pixel, expected a classifier: read it by load_seg"):
        load_exported(file, trust=True)


def test_a_description_that_was_changed_is_refused(file: Path, tmp_path: Path) -> None:
    if file.suffix == ".pt2":
        pytest.skip("the header of a .pt2 file is of those who are trusted")
    graph = onnx.load(file)
    for changes, message in (
        ({"dims": "4"}, "found images of 4 dimensions"),
        ({"dims": "3"}, "does not compute what it says of itself"),
        ({"multiple": "0"}, "found channels 1, dims 2, multiple 0 and classes .*, expected three numbers and names"),
        ({"channels": "2"}, "does not compute what it says of itself"),
        ({"task": "classification"}, "does not describe its images and classes"),
    ):
        changed = onnx.ModelProto.FromString(graph.SerializeToString())
        for entry in changed.metadata_props:
            entry.value = changes.get(entry.key, entry.value)
        onnx.save(changed, tmp_path / "changed.onnx")
        with pytest.raises(ExportError, match=message):
            load_segmenter(tmp_path / "changed.onnx")
