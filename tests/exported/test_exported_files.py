import json
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from fasthebb.data import Preprocessing
from fasthebb.exported import Description, ExportError, export, load_exported
from fasthebb.exported import writing as writing_module
from fasthebb.exported.resizing import CentreSquare
from fasthebb.hub.resizing import fitted
from fasthebb.models import Network, build_model

CLASSES = ["ant", "bee", "cat"]
IMAGES = torch.randint(0, 256, (9, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def parts() -> tuple[Preprocessing, Network]:
    """A network of the papers, batch norms that preserve relative variance among its layers, and whitening."""
    torch.manual_seed(0)
    network = build_model("cnn6", classes=3, channels=1, image_size=24, width=0.1, hidden=16)
    preprocessing = Preprocessing.fit(IMAGES, whiten=True)
    network.train()(preprocessing(IMAGES))  # so that the batch norms have something to say
    return preprocessing, network.eval()


@pytest.fixture(scope="module")
def expected(parts: tuple[Preprocessing, Network]) -> Tensor:
    preprocessing, network = parts
    with torch.no_grad():
        return torch.softmax(network(preprocessing(IMAGES)), dim=1)


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def file(
    request: pytest.FixtureRequest, parts: tuple[Preprocessing, Network], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    where = tmp_path_factory.mktemp("exported") / f"model{request.param}"
    return export(*parts, Description(CLASSES, 1, 24), where)


def test_a_file_computes_what_the_network_does(file: Path, expected: Tensor) -> None:
    classifier = load_exported(file, trust=True)
    assert classifier.description == Description(CLASSES, 1, 24)
    for count in (1, 2, 9):  # any number of images
        torch.testing.assert_close(classifier(IMAGES[:count]), expected[:count], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(classifier(IMAGES.float() / 255), expected, rtol=1e-5, atol=1e-6)


def test_the_network_is_as_before(file: Path, parts: tuple[Preprocessing, Network], expected: Tensor) -> None:
    preprocessing, network = parts
    torch.testing.assert_close(torch.softmax(network(preprocessing(IMAGES)), dim=1), expected)


def test_other_programs_find_everything_in_the_file(file: Path) -> None:
    if file.suffix == ".onnx":
        model = onnx.load(file)
        onnx.checker.check_model(model)
        texts = {entry.key: entry.value for entry in model.metadata_props}
        (given,) = model.graph.input
        assert [one.dim_param or one.dim_value for one in given.type.tensor_type.shape.dim] == ["batch", 1, 24, 24]
        assert (given.name, model.graph.output[0].name) == ("images", "probabilities")
    else:
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith("fasthebb.json"))
            texts = json.loads(archive.read(name))
    assert json.loads(texts["classes"]) == CLASSES
    assert (json.loads(texts["channels"]), json.loads(texts["image_size"])) == (1, 24)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_graph_may_resize_images_as_files_are_read(
    suffix: str, parts: tuple[Preprocessing, Network], expected: Tensor, tmp_path: Path
) -> None:
    preprocessing, network = parts
    file = export(*parts, Description(CLASSES, 1, 24, resizes=True), tmp_path / f"model{suffix}")
    classifier = load_exported(file, trust=True)
    assert classifier.description == Description(CLASSES, 1, 24, resizes=True)
    torch.testing.assert_close(classifier(IMAGES), expected, rtol=1e-5, atol=1e-6)  # which have the size already
    for count, height, width in ((1, 60, 41), (3, 31, 90), (2, 9, 12)):  # larger, odd on one side, smaller
        images = torch.rand(count, 1, height, width)
        with torch.no_grad():
            seen = torch.softmax(network(preprocessing(fitted(images, 24, 1))), dim=1)
        torch.testing.assert_close(classifier(images), seen, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (60, 41), (31, 90), (9, 12), (25, 24), (300, 7)])
def test_the_graphs_resizing_is_that_of_files_but_for_rounding(height: int, width: int) -> None:
    pixels = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    square = CentreSquare(24)
    assert (square(pixels / 255) * 255 - fitted(pixels, 24, 3)).abs().max() < 1.01
    assert (square(pixels / 255) - fitted(pixels / 255, 24, 3)).abs().max() < 1e-4


def test_files_that_can_run_code_need_trust(
    parts: tuple[Preprocessing, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export(*parts, Description(CLASSES, 1, 24), tmp_path / "model.pt2")
    monkeypatch.delenv("FASTHEBB_TRUST_PT2", raising=False)
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ExportError, match=r"can run code of whoever wrote it.*FASTHEBB_TRUST_PT2=1.*ONNX"):
        load_exported(file)
    monkeypatch.undo()
    monkeypatch.setenv("FASTHEBB_TRUST_PT2", "1")
    assert load_exported(file).description.classes == CLASSES
    with pytest.raises(ExportError, match="can run code"):
        load_exported(file, trust=False)


def test_what_is_no_exported_file_is_said(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / f"broken{file.suffix}"
    broken.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ExportError, match="is not a readable") as error:
        load_exported(broken, trust=True)
    assert "\n" not in str(error.value)
    with pytest.raises(ExportError, match="found no file"):
        load_exported(tmp_path / f"missing{file.suffix}")
    if file.suffix == ".pt2":
        return
    model = onnx.load(file)
    for changes, message in (
        ({"format": "other"}, "was not exported by fasthebb: it does not say which classes its outputs are"),
        ({"classes": "[1, 2, 3]"}, r"classes \[1, 2, 3\] in .*, expected two numbers and names"),
        ({"classes": "{"}, "does not describe its images and classes"),
        ({"image_size": "true"}, "found channels 1, image_size True"),
        ({"image_size": "25"}, "does not compute what it says of itself"),
        ({"classes": '["ant"]'}, "does not compute what it says of itself"),
    ):
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        for entry in changed.metadata_props:
            entry.value = changes.get(entry.key, entry.value)
        onnx.save(changed, tmp_path / "changed.onnx")
        with pytest.raises(ExportError, match=message):
            load_exported(tmp_path / "changed.onnx")


def test_a_graph_that_only_running_shows_to_be_damaged_is_said_in_one_line(
    parts: tuple[Preprocessing, Network], tmp_path: Path
) -> None:
    model = onnx.load(export(*parts, Description(CLASSES, 1, 24), tmp_path / "model.onnx"))
    sevens = onnx.numpy_helper.from_array(torch.tensor([-1, 7]).numpy(), "sevens")  # of 576 pixels
    weight = onnx.numpy_helper.from_array(torch.ones(7, 3).numpy(), "weight")
    nodes = [
        onnx.helper.make_node("Reshape", ["images", "sevens"], ["rows"]),
        onnx.helper.make_node("MatMul", ["rows", "weight"], ["probabilities"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", list(model.graph.input), list(model.graph.output), [sevens, weight])
    model.graph.CopyFrom(graph)
    onnx.save(model, tmp_path / "changed.onnx")
    classifier = load_exported(tmp_path / "changed.onnx")
    with pytest.raises(
        ExportError, match=r"changed.onnx cannot be run on images of \[2, 1, 24, 24\] \(damaged"
    ) as error:
        classifier(IMAGES[:2])
    assert "\n" not in str(error.value)


def test_what_cannot_be_written_is_said(
    parts: tuple[Preprocessing, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = Description(CLASSES, 1, 24)
    with pytest.raises(ExportError, match=r"found the name 'model.pt', expected one that ends in .onnx or .pt2"):
        export(*parts, description, tmp_path / "model.pt")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        export(*parts, description, tmp_path / "file" / "model.pt2")

    class ByValue(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] if float(x.sum()) > 0 else x.flatten(1)[:, 1:4]

    with pytest.raises(ExportError, match=r"torch.export cannot take the graph of this network: ") as error:
        export(parts[0], ByValue(), description, tmp_path / "model.pt2")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(writing_module, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"written by onnx and onnxscript: pip install 'fasthebb\[export\]'"):
        export(*parts, description, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))
