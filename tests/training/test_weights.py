import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthebb.models import Network
from fasthebb.training import WeightsError, load_into, load_weights, save_weights


def test_what_is_saved_comes_back(make_model: Callable[..., Network], tmp_path: Path) -> None:
    model, path = make_model().to(memory_format=torch.channels_last), tmp_path / "new" / "w.safetensors"
    save_weights(path, model.state_dict(), {"model": "cnn6", "mean": "[0.5]"})
    tensors, metadata = load_weights(path)
    assert metadata == {"model": "cnn6", "mean": "[0.5]"}
    assert tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in model.state_dict().items())
    assert [file.name for file in path.parent.iterdir()] == ["w.safetensors"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    save_weights(tmp_path / "w", {"a": weight, "b": weight.t()}, {})
    assert torch.equal(load_weights(tmp_path / "w")[0]["b"], weight.t())


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 0.999))
def test_a_truncated_file_is_one_clear_line(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "w.safetensors"
    save_weights(path, {"weight": torch.randn(40, 3)}, {"model": "cnn6"})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match="not a readable safetensors file") as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        load_weights(tmp_path / "nothing")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"weight": torch.ones(2)}, {})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match="No space left"):
        save_weights(path, {"weight": torch.zeros(2)}, {})
    assert torch.equal(load_weights(path)[0]["weight"], torch.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_only_the_strict_prefixes_are_loaded(make_model: Callable[..., Network]) -> None:
    source, target = make_model(), make_model(classes=5)
    with torch.no_grad():
        for tensor in source.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 4)
    classifier = target.classifier[1].weight.clone()
    load_into(target, source.state_dict())
    for name, tensor in source.features.state_dict().items():
        assert torch.equal(target.features.state_dict()[name], tensor)
    assert torch.equal(target.classifier[1].weight, classifier)
    with pytest.raises(WeightsError, match=r"classifier\.1\.bias is \(3,\) in the file and \(5,\) in the network"):
        load_into(target, source.state_dict(), strict_prefixes=("features.", "classifier."))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"channels": 3}, r"features\.conv1\.weight is \(10, 1, 5, 5\) in the file and \(10, 3, 5, 5\)"),
        ({"hebbian": False}, r"the network has features\.conv1\.bias \(10,\), the file has no such"),
        ({"hidden": 16}, r"features\.dense5\.weight"),
    ],
)
def test_weights_of_another_network_are_refused_before_anything_changes(
    make_model: Callable[..., Network], kwargs: dict[str, int], message: str
) -> None:
    target = make_model(**kwargs)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    source = {name: tensor + 1 for name, tensor in make_model().state_dict().items()}
    with pytest.raises(WeightsError, match=message) as error:
        load_into(target, source)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_superfluous_and_non_finite_tensors_are_refused(make_model: Callable[..., Network]) -> None:
    model = make_model()
    with pytest.raises(WeightsError, match="the network has no such tensor"):
        load_into(model, {**model.state_dict(), "features.conv9.weight": torch.zeros(1)})
    broken = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    broken["features.conv2.weight"][0] = float("nan")
    with pytest.raises(WeightsError, match=r"features\.conv2\.weight has values that are not finite"):
        load_into(model, broken)
