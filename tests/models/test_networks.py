import re

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fasthebb.models import (
    MODELS,
    RelativeVarianceBatchNorm1d,
    RelativeVarianceBatchNorm2d,
    build_model,
    cnn6,
    cnn10,
    vgg,
)


@settings(max_examples=15, deadline=None)
@given(
    classes=st.integers(1, 12),
    channels=st.integers(1, 6),
    image_size=st.integers(24, 48),
    hebbian=st.booleans(),
    width=st.sampled_from([0.01, 0.1, 0.2]),
)
def test_any_size_gives_one_logit_a_class(
    classes: int, channels: int, image_size: int, hebbian: bool, width: float
) -> None:
    model = cnn6(classes, channels, image_size, hebbian=hebbian, width=width, hidden=16)
    images = torch.randn(2, channels, image_size, image_size)
    assert model(images).shape == (2, classes)
    assert model.features(images).shape == (2, 16)


def test_full_network_is_the_one_of_the_method() -> None:
    with torch.device("meta"):
        model = cnn6()
    shapes = {name: tuple(p.shape) for name, p in model.features.named_parameters() if p.dim() > 1}
    assert shapes == {
        "conv1.weight": (96, 3, 5, 5),
        "conv2.weight": (128, 96, 3, 3),
        "conv3.weight": (192, 128, 3, 3),
        "conv4.weight": (256, 192, 3, 3),
        "dense5.weight": (4096, 256 * 3 * 3),
    }
    assert list(dict(model.features.named_children())) == [
        *("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "norm2", "conv3", "relu3", "pool3", "norm3"),
        *("conv4", "relu4", "norm4", "flatten", "dense5", "relu5", "norm5"),
    ]


def test_hebbian_networks_have_no_bias_and_keep_relative_variance_from_the_third_layer_on() -> None:
    hebbian, plain = cnn6(width=0.1, hidden=8), cnn6(width=0.1, hidden=8, hebbian=False)
    for name, layer in hebbian.features.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is None
            assert plain.features.get_submodule(name).bias is not None
        if name.startswith("norm"):
            relative = isinstance(layer, RelativeVarianceBatchNorm2d | RelativeVarianceBatchNorm1d)
            assert relative == (int(name[-1]) >= 3)
            assert type(plain.features.get_submodule(name)) in (nn.BatchNorm2d, nn.BatchNorm1d)


def test_seed_reproduces_the_weights() -> None:
    torch.manual_seed(3)
    first = cnn6(width=0.1, hidden=8).state_dict()
    torch.manual_seed(3)
    second = cnn6(width=0.1, hidden=8).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["cnn6", "vgg11"])
def test_a_seed_gives_networks_with_and_without_bias_the_same_weights(name: str) -> None:
    torch.manual_seed(3)
    hebbian = build_model(name, width=0.1, hidden=8, image_size=32, hebbian=True)
    torch.manual_seed(3)
    plain = build_model(name, width=0.1, hidden=8, image_size=32, hebbian=False)
    weights = dict(plain.named_parameters())
    assert all(torch.equal(weight, weights[key]) for key, weight in hebbian.named_parameters())


def test_image_of_23_pixels_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"at least 24 pixels.*got 23"):
        cnn6(image_size=23)


@pytest.mark.parametrize("kwargs", [{"classes": 0}, {"channels": 0}, {"hidden": -1}, {"width": 0.0}])
def test_values_out_of_range_are_named(kwargs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        cnn6(**kwargs)  # type: ignore[arg-type]


def test_too_large_dense_layer_is_refused_and_the_named_alternatives_fit() -> None:
    with pytest.raises(ValueError, match="110 million") as refused:
        cnn6(image_size=224)
    message = str(refused.value)
    assert "\n" not in message
    named = re.search(r"--image-size (\d+).* at most (\d+) hidden neurons .* at most (\d+) channels", message)
    assert named
    largest, hidden, channels = map(int, named.groups())
    with torch.device("meta"):
        cnn6(image_size=largest)
        cnn6(image_size=224, hidden=hidden)
        cnn6(image_size=224, width=channels / 256)
        for kwargs in ({"image_size": largest + 1}, {"image_size": 224, "hidden": hidden + 1}):
            with pytest.raises(ValueError, match="million"):
                cnn6(**kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dimensions", [2, 4])
def test_relative_variance_is_batch_norm_times_a_factor_from_the_updated_variance(
    training: bool, dimensions: int
) -> None:
    torch.manual_seed(0)
    kinds = {2: (nn.BatchNorm1d, RelativeVarianceBatchNorm1d), 4: (nn.BatchNorm2d, RelativeVarianceBatchNorm2d)}
    plain, relative = (kind(5).train(training) for kind in kinds[dimensions])
    x = torch.randn(16, 5, *[3] * (dimensions - 2)) * torch.arange(1, 6).view(1, 5, *[1] * (dimensions - 2))
    for _ in range(3):
        expected, out = plain(x), relative(x)
        factor = torch.sqrt((plain.running_var + plain.eps) / (plain.running_var.mean() + plain.eps))
        torch.testing.assert_close(out, expected * factor.view(1, 5, *[1] * (dimensions - 2)))
    if training:  # the proportions of the channels survive, their mean variance becomes one
        variance = out.transpose(0, 1).flatten(1).var(dim=1, unbiased=False)
        assert (variance.diff() > 0).all()


def test_unknown_model_names_the_nearest() -> None:
    assert build_model("cnn6", classes=2, width=0.1, hidden=8).classifier[-1].out_features == 2
    with pytest.raises(ValueError, match=r"did you mean 'cnn\d'"):
        build_model("CNN")
    with pytest.raises(ValueError, match=r"no model 'transformer'.* \(models: "):
        build_model("transformer")


def test_cnn10_is_the_one_of_the_method() -> None:
    with torch.device("meta"):
        model = cnn10()
        images = torch.zeros(2, 3, 210, 210)
    weights = [tuple(p.shape) for p in model.features.parameters() if p.dim() > 1]
    assert weights == [
        (96, 3, 7, 7),
        (128, 96, 3, 3),
        (192, 128, 3, 3),
        (192, 192, 3, 3),
        (256, 192, 3, 3),
        (256, 256, 3, 3),
        (384, 256, 3, 3),
        (512, 384, 3, 3),
        (4096, 512 * 3 * 3),
    ]
    pools = {name: layer.kernel_size for name, layer in model.features.named_children() if name.startswith("pool")}
    assert pools == {"pool1": 3, "pool3": 2, "pool5": 2, "pool7": 2}
    relative = [
        name
        for name, layer in model.features.named_children()
        if isinstance(layer, RelativeVarianceBatchNorm2d | RelativeVarianceBatchNorm1d)
    ]
    assert relative == ["norm7", "norm8", "norm9"]
    assert model(images).shape == (2, 1000)


@pytest.mark.parametrize(("depth", "convolutions"), [(11, 8), (13, 10), (16, 13), (19, 16)])
def test_vgg_has_the_weights_of_torchvisions(depth: int, convolutions: int) -> None:
    with torch.device("meta"):
        ours, theirs = vgg(depth), getattr(torchvision.models, f"vgg{depth}_bn")()
        images = torch.zeros(1, 3, 224, 224)
    kernels = [tuple(p.shape) for p in ours.features.parameters() if p.dim() == 4]
    assert kernels == [tuple(p.shape) for p in theirs.features.parameters() if p.dim() == 4]
    assert len(kernels) == convolutions
    assert ours.features(images).shape == (1, 512 * 7 * 7)


def test_vgg_norms_after_the_relu_where_it_learns_without_backprop() -> None:
    def order(hebbian: bool) -> list[str]:
        return list(dict(vgg(11, image_size=32, width=0.1, hidden=8, hebbian=hebbian).features.named_children()))

    assert order(True)[:8] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    assert order(False)[:8] == ["conv1", "norm1", "relu1", "pool1", "conv2", "norm2", "relu2", "pool2"]
    assert order(True)[-3:] == ["dense9", "relu9", "norm9"]
    with pytest.raises(ValueError, match="must be one of 11, 13, 16, 19, got 12"):
        vgg(12)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "mobilenet_v3_small", "convnext_tiny", "vit_b_16"])
def test_networks_of_torchvision_are_taken_apart(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, classes=7, image_size=64).eval()
        whole = torchvision.models.get_model(name)
        images = torch.zeros(2, 3, 64, 64)
    assert model(images).shape == (2, 7)
    count = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in model.features.parameters())
    last = [module for module in whole.modules() if isinstance(module, nn.Linear)][-1]
    positions = whole.get_parameter("encoder.pos_embedding") if name == "vit_b_16" else torch.zeros(0)
    kept = model.features[0].get_parameter("encoder.pos_embedding") if name == "vit_b_16" else torch.zeros(0)
    assert count == last.weight.numel() + last.bias.numel() + positions.numel() - kept.numel()


def test_networks_of_timm_take_any_channels() -> None:
    model = build_model("mobilenetv3_small_050", classes=3, channels=5, image_size=32).eval()
    assert model(torch.zeros(2, 5, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("resnet18", {"channels": 1}, "takes 3 channels, got 1"),
        ("resnet18", {"width": 0.5}, "found width 0.5 and hidden 0, expected 1 and 0"),
        ("squeezenet1_1", {}, "has no dense layer at its end"),
    ],
)
def test_what_networks_from_elsewhere_cannot_do_is_said(name: str, kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, **kwargs)


def test_every_network_has_the_keywords_that_its_weights_are_saved_with() -> None:
    for name in MODELS:
        size = {"cnn6": 24, "cnn10": 162}.get(name, 32)
        model = build_model(
            name, classes=2, channels=1, image_size=size, hebbian=False, width=0.05, hidden=4, dropout=0.0
        )
        assert model(torch.zeros(2, 1, size, size)).shape == (2, 2), name


@pytest.mark.parametrize(("name", "smallest"), [("softhebb", 8), ("triangle2", 6)])
def test_networks_with_triangles_take_any_size_from_the_smallest_on(name: str, smallest: int) -> None:
    for size in (smallest, smallest + 1, 32):
        model = build_model(name, classes=3, channels=2, image_size=size, width=0.05)
        assert model(torch.randn(2, 2, size, size)).shape == (2, 3)
    with pytest.raises(ValueError, match=f"{name}: images must be at least {smallest} pixels"):
        build_model(name, image_size=smallest - 1)


def test_softhebb_is_the_network_of_its_paper() -> None:
    with torch.device("meta"):
        model = build_model("softhebb")
    shapes = {name: tuple(p.shape) for name, p in model.features.named_parameters()}
    assert shapes == {
        "conv1.weight": (96, 3, 5, 5),
        "conv2.weight": (384, 96, 3, 3),
        "conv3.weight": (1536, 384, 3, 3),
    }
    assert model.features[:-2](torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 1536, 4, 4)
