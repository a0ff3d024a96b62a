"""Networks that know nothing of the library: attach, learn one step, detach, the same function."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from reference import assert_near
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

import fasthebb
from fasthebb import HPCA, SWTA, naive


class UNet(nn.Module):
    """Two scales, a strided and a dilated convolution, a transposed one, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.stride = nn.Conv2d(8, 16, 2, stride=2, bias=False)
        self.bottom = nn.Sequential(nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4), nn.ReLU(inplace=True))
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Sequential(nn.Conv2d(16, 8, 3, padding="same", padding_mode="reflect"), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        up = self.up(self.bottom(self.stride(skip)))
        out: Tensor = self.head(torch.cat([skip, up], dim=1))
        return out


class UNet3d(nn.Module):
    """Two scales of a volume."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 4, 3, padding=1)
        self.bottom = nn.Conv3d(4, 8, 2, stride=2)
        self.up = nn.ConvTranspose3d(8, 4, 2, stride=2)
        self.head = nn.Conv3d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.down(x))
        up = torch.relu(self.up(torch.relu(self.bottom(skip))))
        out: Tensor = self.head(torch.cat([skip, up], dim=1))
        return out


def audio() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 8, 20, stride=4),
        nn.BatchNorm1d(8),
        nn.ReLU(inplace=True),
        nn.Conv1d(8, 16, 3, padding="same", dilation=2, groups=2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def vgg11() -> nn.Module:
    with torch.device("meta"):
        model = models.vgg11(weights=None)
    model.avgpool = nn.Identity()  # its own dense layers have 120 million weights, never made
    model.classifier = nn.Sequential(nn.Linear(512, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, 10))
    for index, layer in enumerate(model.features):
        if isinstance(layer, nn.Conv2d):
            model.features[index] = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
    return model


def vision_transformer() -> nn.Module:
    model = models.VisionTransformer(32, 16, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=4)
    nn.init.normal_(model.heads.head.weight)  # zeros, where HPCA has nothing to begin with
    return model


@dataclass(frozen=True)
class Foreign:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    compared: tuple[str, ...]  # layers small enough for the naive rule
    plastic: int
    skipped: tuple[str, ...] = ()


NETWORKS = {
    "resnet18": Foreign(
        lambda: models.resnet18(weights=None), (2, 3, 32, 32), ("conv1", "layer4.1.conv2", "layer2.0.downsample.0"), 21
    ),
    "vgg11": Foreign(vgg11, (2, 3, 32, 32), ("features.0", "features.18", "classifier.0", "classifier.3"), 10),
    "transformer": Foreign(
        lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
        (3, 7, 16),
        ("linear1", "linear2"),
        2,
        ("self_attn", "self_attn.out_proj"),
    ),
    "unet": Foreign(UNet, (2, 3, 12, 12), ("down.0", "stride", "bottom.0", "up", "head.0", "head.1"), 6),
    "unet3d": Foreign(UNet3d, (2, 1, 4, 6, 6), ("down", "bottom", "up", "head"), 4),
    "audio": Foreign(audio, (3, 1, 200), ("0", "3", "7"), 3),
    "convnext": Foreign(
        lambda: models.ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=4),
        (2, 3, 32, 32),
        ("features.0.0", "features.1.0.block.0", "features.1.0.block.3", "features.2.1", "classifier.2"),
        9,
    ),
    "vit": Foreign(
        vision_transformer,
        (2, 3, 32, 32),
        ("conv_proj", "encoder.layers.encoder_layer_0.mlp.0", "heads.head"),
        6,
        tuple(f"encoder.layers.encoder_layer_{i}.self_attention{part}" for i in range(2) for part in ("", ".out_proj")),
    ),
    "timm": Foreign(
        lambda: timm.create_model("mobilenetv3_small_050", num_classes=4),
        (2, 3, 32, 32),
        ("conv_stem", "blocks.0.0.conv_dw", "blocks.0.0.se.conv_reduce"),
        53,
        ("classifier",),  # timm's own Linear casts its weight
    ),
}


@pytest.fixture(params=NETWORKS)
def foreign(request: pytest.FixtureRequest) -> Foreign:
    return NETWORKS[request.param]


def attach(model: nn.Module, rule: Any, **kwargs: Any) -> fasthebb.Plasticity:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is skipped, which is asserted
        return fasthebb.attach(model, rule, **kwargs)


def run(model: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(5)  # for dropout
    with torch.no_grad():
        out: Tensor = model(x)
    return out


@pytest.mark.parametrize(("rule", "slow"), [(HPCA(), naive.HPCA()), (SWTA(), naive.SWTA())], ids=["HPCA", "SWTA"])
def test_attach_one_step_detach(foreign: Foreign, rule: fasthebb.Rule, slow: fasthebb.Rule) -> None:
    # In float64: batch norm over few positions makes much of the last digits.
    model, x = foreign.make().double(), torch.randn(foreign.shape).double()
    keys = list(model.state_dict())
    other = copy.deepcopy(model)

    plasticity = attach(model, rule)
    assert len(plasticity.rules) == foreign.plastic
    assert set(plasticity.skipped) == set(foreign.skipped)
    run(model, x)
    deltas = plasticity.deltas()
    assert set(deltas) == set(plasticity.rules)

    slowly = attach(other, {**dict.fromkeys(foreign.compared, slow), "*": rule}, exclude=plasticity.skipped)
    run(other, x)
    for name in foreign.compared:
        assert type(slowly.rules[name]) is type(slow)
        assert_near(deltas[name], slowly.deltas()[name], 1e-6)

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    plasticity.write_grad()
    torch.optim.SGD(plasticity.parameters(), lr=1e-3).step()
    plasticity.check()
    for name, parameter in model.named_parameters():
        plastic = name.removesuffix(".weight") in plasticity.rules
        assert torch.equal(parameter, before[name]) != plastic, name

    plain = foreign.make().double()
    for mode in (False, True):  # batch norm and dropout included
        model.train(mode)
        attached = copy.deepcopy(model)
        expected = run(attached, x)
        plain.load_state_dict(plasticity.folded_state_dict())
        torch.testing.assert_close(run(plain.train(mode), x), expected)
    plasticity.detach()
    assert list(model.state_dict()) == keys
    assert not any(module._forward_hooks for module in model.modules())
    torch.testing.assert_close(run(model, x), expected)


@pytest.mark.parametrize("rule", [HPCA(), SWTA()], ids=["HPCA", "SWTA"])
def test_the_fast_path_of_a_transformer_does_not_bypass_the_layers(rule: fasthebb.Rule) -> None:
    block, x = NETWORKS["transformer"].make().eval(), torch.randn(3, 7, 16)
    plasticity = attach(block, rule)
    block.linear1.train()  # it alone learns, in a block that takes the fast path if it can
    attached = run(block, x)
    assert set(plasticity.deltas()) == {"linear1"}
    plasticity.detach()
    torch.testing.assert_close(run(block, x), attached, rtol=1e-3, atol=1e-5)
