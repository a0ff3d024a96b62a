import copy

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import fasthebb
from fasthebb import HPCA, SWTA
from fasthebb.models import SegmentationNetwork, build_segmentation, unet

rules = pytest.mark.parametrize("rule", [HPCA(), SWTA()], ids=["HPCA", "SWTA"])


@settings(max_examples=25, deadline=None)
@given(
    classes=st.integers(1, 4),
    channels=st.integers(1, 4),
    dims=st.sampled_from([2, 3]),
    depth=st.integers(1, 3),
    norm=st.sampled_from(["batch", "instance", "none"]),
    hebbian=st.booleans(),
    data=st.data(),
)
def test_any_size_gives_one_logit_a_class_and_pixel(
    classes: int, channels: int, dims: int, depth: int, norm: str, hebbian: bool, data: st.DataObject
) -> None:
    size = data.draw(st.tuples(*[st.integers(1, 20 if dims == 2 else 9)] * dims))
    model = unet(classes, channels, dims=dims, depth=depth, width=3, norm=norm, hebbian=hebbian)  # type: ignore[arg-type]
    images = torch.randn(1, channels, *size)
    for mode in (True, False):
        assert model.train(mode)(images).shape == (1, classes, *size)
    assert model.features(images).shape == (1, 3, *size)
    assert model(images).isfinite().all()


def by_hand(model: SegmentationNetwork, x: Tensor, depth: int) -> Tensor:
    """The U-Net of the paper, from the weights alone."""
    weights = dict(model.state_dict())

    def convolved(x: Tensor, level: str) -> Tensor:
        for name in ("conv1", "conv2"):
            x = F.conv2d(
                x, weights[f"features.{level}.{name}.weight"], weights[f"features.{level}.{name}.bias"], padding=1
            )
            x = F.relu(x)
        return x

    kept = []
    for level in range(1, depth + 2):
        x = convolved(x if level == 1 else F.max_pool2d(x, 2), f"down{level}")
        kept.append(x)
    for level in range(1, depth + 1):
        name = f"features.up{level}.transposed"
        x = F.conv_transpose2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2)
        x = convolved(torch.cat([kept[depth - level], x], dim=1), f"up{level}")
    return F.conv2d(x, weights["classifier.1.weight"], weights["classifier.1.bias"])


def test_it_is_the_u_net_of_the_paper() -> None:
    model = unet(3, 2, depth=3, width=4, norm="none").eval()
    images = torch.randn(2, 2, 24, 40)
    torch.testing.assert_close(model(images), by_hand(model, images, depth=3))
    channels = {name: p.shape[0] for name, p in model.features.named_parameters() if name.endswith("conv2.weight")}
    assert channels == {
        f"{level}.conv2.weight": width
        for level, width in zip(
            ("down1", "down2", "down3", "down4", "up1", "up2", "up3"), (4, 8, 16, 32, 16, 8, 4), strict=True
        )
    }


def test_odd_sizes_are_continued_by_their_last_pixels() -> None:
    model = unet(2, 1, depth=2, width=4).eval()
    images = torch.randn(1, 1, 9, 14)
    whole = F.pad(images, [0, 2, 0, 3], mode="replicate")
    torch.testing.assert_close(model(images), model(whole)[:, :, :9, :14])


def test_instance_norm_forgets_the_scale_of_an_image() -> None:
    model = unet(2, 1, depth=1, width=4, norm="instance")
    images = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(model(images), model(images * 100), atol=1e-3, rtol=1e-3)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


@pytest.mark.parametrize("dims", [2, 3])
def test_hebbian_networks_have_no_bias_and_the_weights_of_the_others(dims: int) -> None:
    torch.manual_seed(3)
    hebbian = unet(2, 1, dims=dims, depth=1, width=4, hebbian=True)
    torch.manual_seed(3)
    plain = unet(2, 1, dims=dims, depth=1, width=4)
    weights = dict(plain.named_parameters())
    assert all(torch.equal(weight, weights[key]) for key, weight in hebbian.named_parameters())
    lost = {key for key in weights if key not in dict(hebbian.named_parameters())}
    layers = ("down1.conv1", "down1.conv2", "down2.conv1", "down2.conv2", "up1.transposed", "up1.conv1", "up1.conv2")
    assert lost == {f"features.{layer}.bias" for layer in layers}
    assert hebbian.classifier[-1].bias is not None


def test_layers_are_chosen_by_pattern_in_the_order_of_use() -> None:
    features = unet(2, 1, depth=2, width=4, hebbian=True).features
    encoder = fasthebb.attach(features, {"down*": HPCA()})
    assert list(encoder.layers) == [f"down{level}.conv{index}" for level in (1, 2, 3) for index in (1, 2)]
    encoder.detach()
    decoder = fasthebb.attach(features, {"*.transposed": SWTA(), "up*": HPCA()})
    assert list(decoder.layers) == [f"up{n}.{name}" for n in (1, 2) for name in ("transposed", "conv1", "conv2")]


def learned(model: SegmentationNetwork, rule: fasthebb.Rule, images: Tensor) -> dict[str, Tensor]:
    """What each layer would learn from the images."""
    plasticity = fasthebb.attach(model.features, rule)
    with torch.no_grad():
        model.features(images)
    return plasticity.deltas()


@rules
@pytest.mark.parametrize("dims", [2, 3])
def test_every_layer_learns(rule: fasthebb.Rule, dims: int) -> None:
    model = unet(2, 1, dims=dims, depth=2, width=4, hebbian=True)
    deltas = learned(model, rule, torch.randn(2, 1, *[8] * dims))
    assert len(deltas) == 12
    assert all(delta.isfinite().all() and delta.abs().max() > 0 for delta in deltas.values())


@rules
def test_channels_last_learns_the_same_and_stays_channels_last(rule: fasthebb.Rule) -> None:
    model, images = unet(2, 3, depth=2, width=4, hebbian=True), torch.randn(2, 3, 16, 24)
    expected = learned(copy.deepcopy(model), rule, images)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = images.contiguous(memory_format=torch.channels_last)
    assert model.features(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(learned(model, rule, last), expected, atol=1e-4, rtol=1e-3, check_stride=False)


@rules
def test_compiled_whole_it_learns_the_same(rule: fasthebb.Rule, request: pytest.FixtureRequest) -> None:
    torch._dynamo.reset()
    request.addfinalizer(torch._dynamo.reset)
    model, images = unet(2, 1, depth=1, width=4, hebbian=True), torch.randn(2, 1, 9, 9)
    expected = learned(copy.deepcopy(model), rule, images)
    plasticity = fasthebb.attach(model.features, rule)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        compiled(images)
    torch.testing.assert_close(plasticity.deltas(), expected)


@rules
def test_learns_in_bfloat16(rule: fasthebb.Rule) -> None:
    model = unet(2, 1, depth=2, width=4, hebbian=True)
    plasticity = fasthebb.attach(model.features, rule)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 1, 10, 10)).dtype == torch.bfloat16
    plasticity.write_grad()
    plasticity.check()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in plasticity.parameters())


@rules
def test_folding_leaves_the_function_as_it_was(rule: fasthebb.Rule) -> None:
    model, images = unet(2, 1, depth=1, width=4, hebbian=True).eval(), torch.randn(2, 1, 8, 8)
    plasticity = fasthebb.attach(model.features, rule)
    expected = model(images)
    plasticity.detach()
    torch.testing.assert_close(model(images), expected)


def test_dropout_is_of_the_classifier_while_it_trains() -> None:
    model, images = unet(2, 1, depth=1, width=8, dropout=0.5), torch.randn(2, 1, 8, 8)
    features = model.features(images)
    assert not torch.equal(model.classifier(features), model.classifier(features))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"channels": 0}, "channels must be"),
        ({"depth": 0}, "depth must be"),
        ({"width": 0}, "width must be"),
        ({"dims": 1}, r"dims must be 2 \(images\) or 3 \(volumes\), got 1"),
        ({"norm": "layer"}, "norm must be one of batch, instance, none, got 'layer'"),
    ],
)
def test_values_out_of_range_are_named(kwargs: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unet(**kwargs)  # type: ignore[arg-type]


def test_names_are_looked_up_and_the_nearest_is_offered() -> None:
    model = build_segmentation("unet", classes=3, channels=2, dims=3, depth=1, width=4, norm="none", hebbian=True)
    assert model(torch.zeros(1, 2, 4, 5, 6)).shape == (1, 3, 4, 5, 6)
    with torch.device("meta"):
        assert build_segmentation("unet").features.get_submodule("down1.conv1").out_channels == 32
    with pytest.raises(ValueError, match=r"no segmentation model 'deeplab': did you mean 'deeplabv3_resnet50'\?"):
        build_segmentation("deeplab", classes=2, channels=3)
    with pytest.raises(ValueError, match=r"did you mean 'unet'\? \(models: unet, "):
        build_segmentation("UNet", classes=2, channels=3)


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_networks_of_torchvision_compute_what_torchvision_computes(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
    ours = build_segmentation(name, classes=3, channels=3).eval()
    assert isinstance(ours.classifier[-1], nn.Conv2d)
    # The same weights under the names of ours; the two classifiers of LR-ASPP side by side.
    state = theirs.state_dict()
    renamed = {"classifier.cbr": "features.head.last", "classifier.scale": "features.head.weights"}
    last = len(theirs.classifier) - 1 if isinstance(theirs.classifier, nn.Sequential) else None
    found = {}
    for key, value in state.items():
        for old, new in [*renamed.items(), ("backbone", "features.backbone"), ("classifier", "features.head")]:
            if key.startswith(f"{old}."):
                found[new + key[len(old) :]] = value
                break
    if last is None:
        low, high = (state[f"classifier.{part}_classifier.weight"] for part in ("low", "high"))
        found["classifier.1.weight"] = torch.cat([low, high], dim=1)
        found["classifier.1.bias"] = sum(state[f"classifier.{part}_classifier.bias"] for part in ("low", "high"))
    else:
        found["classifier.1.weight"], found["classifier.1.bias"] = (
            state[f"classifier.{last}.{part}"] for part in ("weight", "bias")
        )
    ours.load_state_dict({key: found[key] for key in ours.state_dict()})
    images = torch.randn(2, 3, 65, 50)
    with torch.no_grad():
        expected = theirs(images)["out"]
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)
        assert ours.features(images).shape[2:] == (65, 50)
        torch.testing.assert_close(ours.classifier(ours.features(images)), expected, atol=1e-4, rtol=1e-4)


def test_networks_of_torchvision_take_any_number_of_channels_and_learn() -> None:
    model = build_segmentation("lraspp_mobilenet_v3_large", classes=2, channels=5)
    assert model(torch.randn(2, 5, 40, 33)).shape == (2, 2, 40, 33)
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 5
    assert first.stride == (2, 2)
    deltas = learned(model, HPCA(), torch.randn(2, 5, 40, 33))
    assert len(deltas) > 50


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"dims": 3}, "for images, got dims=3: choose unet"),
        ({"depth": 4}, "found depth 4, expected none"),
        ({"width": 32}, "found width 32"),
        ({"norm": "batch"}, "found norm batch"),
        ({"classes": 0}, "classes must be at least 1"),
        ({"channels": 0}, "channels must be at least 1"),
    ],
)
def test_what_torchvision_has_not_is_refused(kwargs: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_segmentation("fcn_resnet50", **{"classes": 2, "channels": 3, **kwargs})  # type: ignore[arg-type]
