"""The U-Net, in two and three dimensions."""

from collections import OrderedDict
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["batch", "instance", "none"]

MOST_DEPTH = 16
"""Levels of a U-Net, whose largest maps then have sides of 65,536 pixels: a file may ask for any number."""
_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOLS = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class SegmentationNetwork(nn.Module):
    """A network in two parts: `features`, which learn without labels, and `classifier`, which needs masks.

    `features` maps `(N, C, *size)` to `(N, F, *size)`, `classifier` maps that to logits `(N, classes, *size)` by a
    convolution of one pixel. `size` is (H, W) or (D, H, W). Built by `unet` and its like.
    """

    features: nn.Module
    classifier: nn.Sequential

    def __init__(self, features: nn.Module, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, *size)`, already preprocessed, to logits `(N, classes, *size)`."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class Up(nn.Module):
    """A level of the decoder: doubles the size, puts what the encoder had at that size beside it, convolves both."""

    def __init__(self, inputs: int, outputs: int, dims: int, norm: Norm) -> None:
        super().__init__()
        self.transposed: nn.Module = _TRANSPOSED[dims](inputs, outputs, 2, stride=2)
        for name, layer in _convolutions(2 * outputs, outputs, dims, norm).items():
            self.add_module(name, layer)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """`(N, inputs, *size / 2)` and the encoder's `(N, outputs, *size)` to `(N, outputs, *size)`."""
        transposed, *convolutions = self.children()
        x = torch.cat([skipped, transposed(x)], dim=1)
        for layer in convolutions:
            x = layer(x)
        return x


class UNetFeatures(nn.Module):
    """All of a U-Net but its last convolution.

    In the order of use: `down1` to `down<depth + 1>`, the last of them the bottom, then `up1` to `up<depth>`. In each
    of them `conv1` and `conv2`; the `up` ones begin with `transposed`. Images whose sides are no multiple of
    `2**depth` are continued by their last pixels, and what belongs to these is cut off in the end.

    Attributes:
        depth: how often the encoder halves the size.
    """

    def __init__(self, channels: int, *, dims: int, depth: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        for level, (inputs, outputs) in enumerate(zip([channels, *widths], widths, strict=False)):
            layers = _convolutions(inputs, outputs, dims, norm)
            if level:
                layers = {"pool": _POOLS[dims](2), **layers}
            self.add_module(f"down{level + 1}", nn.Sequential(OrderedDict(layers)))
        for level, (inputs, outputs) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
            self.add_module(f"up{level + 1}", Up(inputs, outputs, dims, norm))

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, *size)` to `(N, width, *size)`."""
        size = images.shape[2:]
        x, passed = self._continued(images), []
        for level in range(self.depth + 1):
            x = getattr(self, f"down{level + 1}")(x)
            passed.append(x)
        passed.pop()
        for level in range(self.depth):
            x = getattr(self, f"up{level + 1}")(x, passed.pop())
        if x.shape[2:] == size:
            return x
        asked = (slice(None), slice(None), *(slice(side) for side in size))
        return x[asked]

    def _continued(self, images: Tensor) -> Tensor:
        """With sides that can be halved `depth` times."""
        size = images.shape[2:]
        bottom = [-(-side // 2**self.depth) for side in size]
        if prod(bottom) == 1:  # norms take their statistics over positions: one is too few
            bottom[-1] = 2
        more = [least * 2**self.depth - side for least, side in zip(bottom, size, strict=True)]
        if not any(more):
            return images
        return F.pad(images, [pad for side in reversed(more) for pad in (0, side)], mode="replicate")


def unet(
    classes: int = 2,
    channels: int = 3,
    *,
    dims: int = 2,
    depth: int = 4,
    width: int = 32,
    norm: Norm = "batch",
    hebbian: bool = False,
    dropout: float = 0.0,
) -> SegmentationNetwork:
    """Build a U-Net (Ronneberger, Fischer and Brox, MICCAI 2015; in three dimensions Çiçek et al., MICCAI 2016).

    Each level has two convolutions of 3 pixels with padding 1, each followed by norm and ReLU. The encoder halves the
    size by max-pools and doubles the channels, the decoder goes back by transposed convolutions of 2 pixels and stride
    2. Images may have any size. Weights are torch's default ones, so `torch.manual_seed` reproduces them.

    Args:
        classes: number of classes of a pixel, background among them.
        channels: channels of an image, at least one.
        dims: 2 for images `(N, C, H, W)`, 3 for volumes `(N, C, D, H, W)`.
        depth: how often the size is halved, at least once.
        width: channels of the first level.
        norm: batch norm, instance norm (with scale and shift), or none.
        hebbian: convolutions and transposed convolutions without bias, as the Hebbian rules want them; the weights of
            a seed are the same either way.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range.

    >>> model = unet(classes=3, channels=1, depth=2, width=4, hebbian=True)
    >>> model(torch.zeros(2, 1, 37, 50)).shape
    torch.Size([2, 3, 37, 50])
    >>> [name for name, layer in model.features.named_modules() if isinstance(layer, nn.ConvTranspose2d)]
    ['up1.transposed', 'up2.transposed']
    """
    for what, value in (("classes", classes), ("channels", channels), ("depth", depth), ("width", width)):
        if value < 1:
            raise ValueError(f"unet: {what} must be at least 1, got {value}")
    if depth > MOST_DEPTH:
        raise ValueError(f"unet: depth must be at most {MOST_DEPTH}, got {depth}")
    if dims not in _CONVOLUTIONS:
        raise ValueError(f"unet: dims must be 2 (images) or 3 (volumes), got {dims}")
    if norm not in get_args(Norm):
        raise ValueError(f"unet: norm must be one of {', '.join(get_args(Norm))}, got '{norm}'")
    features = UNetFeatures(channels, dims=dims, depth=depth, width=width, norm=norm)
    if hebbian:  # only now, so that a seed gives networks with and without bias the same weights
        for layer in features.modules():
            if isinstance(layer, (_CONVOLUTIONS[dims], _TRANSPOSED[dims])):
                layer.bias = None
    classifier = nn.Sequential(nn.Dropout(dropout), _CONVOLUTIONS[dims](width, classes, 1))
    return SegmentationNetwork(features, classifier)


def _convolutions(inputs: int, outputs: int, dims: int, norm: Norm) -> dict[str, nn.Module]:
    """Two convolutions of 3 pixels, each followed by its norm and ReLU; the size stays."""
    layers: dict[str, nn.Module] = {}
    for index, seen in ((1, inputs), (2, outputs)):
        layers[f"conv{index}"] = _CONVOLUTIONS[dims](seen, outputs, 3, padding=1)
        layers[f"norm{index}"] = _norm(norm, outputs, dims)
        layers[f"relu{index}"] = nn.ReLU(inplace=True)
    return layers


def _norm(norm: Norm, channels: int, dims: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    if norm == "instance":
        return _INSTANCE_NORMS[dims](channels, affine=True)
    return _BATCH_NORMS[dims](channels)
