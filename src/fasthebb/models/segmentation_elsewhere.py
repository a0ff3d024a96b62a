"""Segmentation networks of torchvision, taken apart into features and classifier."""

from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.models.unet import SegmentationNetwork


def segmentation_names_elsewhere() -> list[str]:
    """The names of torchvision's segmentation networks, none where it is not installed."""
    if find_spec("torchvision") is None:
        return []
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models.segmentation)
    return names


class CoarseFeatures(nn.Module):
    """Backbone and head of a segmentation network, up to before the last convolution, enlarged to the image's size."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, F, H, W)`."""
        return enlarged(self.coarse(images), images)

    def coarse(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, F, H / s, W / s)`, as the network computes them."""
        features: Tensor = self.head(self.backbone(images))
        return features


class CoarseSegmentationNetwork(SegmentationNetwork):
    """A network that classifies coarse pixels and enlarges the logits.

    As enlarging is linear, these are the logits of the enlarged `features`; they take a fraction of the memory.
    """

    features: CoarseFeatures

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)`, already preprocessed, to logits `(N, classes, H, W)`."""
        return enlarged(self.classifier(self.features.coarse(images)), images)


class LastOf(nn.Sequential):
    """Layers behind a backbone's last output."""

    def forward(self, outputs: dict[str, Tensor]) -> Tensor:
        """What a backbone gives by name, to `(N, F, h, w)`."""
        x = outputs["out"]
        for layer in self:
            x = layer(x)
        return x


class LowAndHigh(nn.Module):
    """What LR-ASPP classifies: early features of a backbone beside its last ones, weighted by channel."""

    def __init__(self, last: nn.Module, weights: nn.Module) -> None:
        super().__init__()
        self.last = last
        self.weights = weights

    def forward(self, outputs: dict[str, Tensor]) -> Tensor:
        """What a backbone gives by name, to `(N, F, h, w)`."""
        low, high = outputs["low"], outputs["high"]
        weighted = self.last(high) * self.weights(high)
        return torch.cat([low, enlarged(weighted, low)], dim=1)


def enlarged(x: Tensor, to: Tensor) -> Tensor:
    """`(N, F, h, w)` with height and width of `to`, interpolated linearly."""
    return F.interpolate(x, size=to.shape[2:], mode="bilinear", align_corners=False)


def segmentation_from_elsewhere(
    name: str,
    classes: int = 2,
    channels: int = 3,
    *,
    dims: int = 2,
    depth: int | None = None,
    width: int | None = None,
    norm: str | None = None,
    hebbian: bool = False,
    dropout: float = 0.0,
) -> SegmentationNetwork:
    """Build a segmentation network of torchvision (DeepLabV3, FCN, LR-ASPP) with random weights.

    All but its last convolution of one pixel are the `features`. Images may have any size. While it trains, DeepLabV3
    needs batches of at least two images, as one of its batch norms sees one vector an image.

    Args:
        name: as torchvision knows it.
        classes: number of classes of a pixel, background among them.
        channels: channels of an image; for others than 3 the first convolution is made anew.
        dims: 2; these networks are for images.
        depth: None; they have none to choose.
        width: None; likewise.
        norm: None; likewise.
        hebbian: makes no difference: the network is taken as it is.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range or not to be chosen.

    >>> model = segmentation_from_elsewhere("lraspp_mobilenet_v3_large", classes=4, channels=1)
    >>> model(torch.zeros(2, 1, 37, 50)).shape
    torch.Size([2, 4, 37, 50])
    """
    if dims != 2:
        raise ValueError(f"{name} of torchvision is for images, got dims={dims}: choose unet for volumes")
    for what, value in (("depth", depth), ("width", width), ("norm", norm)):
        if value is not None:
            raise ValueError(f"{name}: found {what} {value}, expected none: its layers are as they are")
    for what, number in (("classes", classes), ("channels", channels)):
        if number < 1:
            raise ValueError(f"{name}: {what} must be at least 1, got {number}")
    import torchvision

    made = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
    if channels != 3:
        _take_channels(made.backbone, channels)
    if hasattr(made.classifier, "high_classifier"):
        # Two classifiers of one pixel, whose logits are added up, are one of both inputs.
        head: nn.Module = LowAndHigh(made.classifier.cbr, made.classifier.scale)
        inputs = made.classifier.low_classifier.in_channels + made.classifier.high_classifier.in_channels
    else:
        *layers, last = made.classifier
        head = LastOf(*(layer for layer in layers if not isinstance(layer, nn.Dropout)))
        inputs = last.in_channels
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(inputs, classes, 1))
    return CoarseSegmentationNetwork(CoarseFeatures(made.backbone, head), classifier)


def _take_channels(backbone: nn.Module, channels: int) -> None:
    """Give a backbone a first convolution for so many channels, drawn as torchvision draws its own."""
    name, first = next((name, layer) for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d))
    convolution = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    parent, _, own = name.rpartition(".")
    setattr(backbone.get_submodule(parent), own, convolution)
