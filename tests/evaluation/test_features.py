from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from fasthebb.evaluation import layer_features, stages
from fasthebb.models import build_model, cnn6

SMALL = {"channels": 1, "image_size": 24, "width": 0.1, "hidden": 16}
Loader = list[tuple[Tensor, Tensor]]


def loader(batch: int = 4, count: int = 10) -> Loader:
    images = torch.randn(count, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    return list(zip(images.split(batch), torch.arange(count).split(batch), strict=True))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_the_end_is_what_the_classifier_gets() -> None:
    model = cnn6(**SMALL).eval()
    features, labels = layer_features(model, loader())
    with torch.no_grad():
        expected = model.features(torch.cat([images for images, _ in loader()]))
    torch.testing.assert_close(features["features"], expected)
    assert labels.tolist() == list(range(10))
    assert features["features"].dtype == torch.float32
    assert not features["features"].is_inference()


def test_maps_are_averaged_over_quarters() -> None:
    model = cnn6(**SMALL)
    features, _ = layer_features(model, loader(), ["features.norm1", "features.conv4"])
    assert features["features.norm1"].shape == (10, 4 * 10)
    assert features["features.conv4"].shape == (10, 26)  # a single position stays one
    with torch.no_grad():
        model.eval()
        maps = model.features[:4](torch.cat([images for images, _ in loader()]))  # (10, 10, 10, 10)
    quarters = torch.stack([maps[..., :5, :5], maps[..., :5, 5:], maps[..., 5:, :5], maps[..., 5:, 5:]], dim=2)
    torch.testing.assert_close(features["features.norm1"], quarters.mean((-1, -2)).flatten(1))


def test_maps_are_averaged_to_as_many_positions_as_asked_for() -> None:
    model = cnn6(**SMALL)
    names = ["features.norm1", "features.conv4"]
    wide, _ = layer_features(model, loader(), names, side=5)
    usual, _ = layer_features(model, loader(), names, side=1)
    assert wide["features.norm1"].shape == (10, 25 * 10)
    assert wide["features.conv4"].shape == (10, 26)  # a single position stays one
    torch.testing.assert_close(wide["features.norm1"].unflatten(1, (10, 25)).mean(2), usual["features.norm1"])


def test_the_batch_size_makes_no_difference() -> None:
    model = cnn6(**SMALL)
    once, _ = layer_features(model, loader(10), stages(model))
    thrice, _ = layer_features(model, loader(4), stages(model))
    for name in stages(model):
        torch.testing.assert_close(once[name], thrice[name])


def test_what_a_later_layer_overwrites_is_kept() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    features, _ = layer_features(model, [(images, torch.arange(8))], ["0", "1"])
    assert (features["0"] < 0).any()
    torch.testing.assert_close(features["0"].relu(), features["1"])


def test_the_model_is_as_before() -> None:
    model = cnn6(**SMALL)
    model.features.norm2.eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_features(model, loader(), stages(model))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert hooks(model) == 0


def test_the_model_is_as_before_after_an_error() -> None:
    def broken() -> Iterator[tuple[Tensor, Tensor]]:
        yield from loader()
        raise OSError("disk")

    model = cnn6(**SMALL)
    with pytest.raises(OSError, match="disk"):
        layer_features(model, broken(), ["features.norm1"])
    assert hooks(model) == 0
    assert model.training


class Odd(nn.Module):
    """A layer that is not called, one of an odd shape, and one that hands on two things."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 1)
        self.deep = nn.Unflatten(3, (4, 6))
        self.pair = nn.LSTM(24, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.pair(images[:, 0])
        return self.deep(images).sum()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("dep", "no layer 'dep': did you mean 'deep'"),
        ("unused", "takes no part"),
        ("deep", r"hands on \(4, 1, 24, 4, 6\)"),
        ("pair", "hands on tuple"),
    ],
)
def test_layers_without_features_are_named(layer: str, said: str) -> None:
    model = Odd()
    with pytest.raises(ValueError, match=said):
        layer_features(model, loader(), [layer])
    assert hooks(model) == 0


def test_no_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        layer_features(cnn6(**SMALL), [])


@pytest.mark.parametrize("hebbian", [True, False])
@pytest.mark.parametrize("name", ["cnn6", "cnn10", "vgg11"])
def test_there_is_a_stage_for_every_hidden_layer(name: str, hebbian: bool) -> None:
    size = {"cnn6": 24, "cnn10": 162, "vgg11": 32}[name]
    model = build_model(name, classes=3, channels=1, image_size=size, width=0.05, hidden=8, hebbian=hebbian)
    layers = [module for module in model.features if isinstance(module, nn.Conv2d | nn.Linear)]
    found = stages(model)
    assert len([one for one in found if one != "features"]) == len(layers)
    features, _ = layer_features(model, [(torch.randn(2, 1, size, size), torch.arange(2))], found)
    assert list(features) == found


def test_without_norms_every_convolution_and_dense_layer_is_a_stage() -> None:
    model = nn.ModuleDict({"features": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))})
    assert stages(model) == ["features.0", "features.3"]
    model["features"].append(nn.ReLU())
    assert stages(model) == ["features.0", "features.3", "features"]
