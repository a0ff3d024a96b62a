"""A segmentation network taken apart into an encoder and a decoder."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb.models.segmentation_elsewhere import CoarseFeatures
from fasthebb.models.unet import UNetFeatures
from fasthebb.training.partial import layer_outputs

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def encoded(features: nn.Module, images: Tensor) -> list[Tensor]:
    """What a network's `Decoder` starts from; the decoder is not run.

    Of a U-Net the maps of its `down` levels, the bottom last; of torchvision's networks their coarse features; of
    others, of which no decoder is known, all of their features.

    >>> import torch
    >>> from fasthebb.models.unet import unet
    >>> [tuple(level.shape[1:]) for level in encoded(unet(depth=2, width=4).features, torch.zeros(1, 3, 6, 8))]
    [(4, 8, 8), (8, 4, 4), (16, 2, 2)]
    """
    if isinstance(features, UNetFeatures):
        downs = [features.get_submodule(f"down{level + 1}") for level in range(features.depth + 1)]
        return layer_outputs(features, downs, images)
    if isinstance(features, CoarseFeatures):
        return [features.coarse(images)]
    return [features(images)]


class Decoder(nn.Module):
    """The rest of a network behind `encoded`, made of the very layers that it is given; a deep copy has its own.

    Args:
        features: of the network.
        classifier: what follows them, pixel by pixel.

    >>> import torch
    >>> from fasthebb.models.unet import unet
    >>> model, images = unet(depth=2, width=4).eval(), torch.randn(1, 3, 6, 8)
    >>> logits = Decoder(model.features, model.classifier)(encoded(model.features, images), images.shape[2:])
    >>> torch.allclose(logits, model(images))
    True
    """

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.ups = nn.ModuleList(up_levels(features))
        self.classifier = classifier

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Maps of `encoded` to `(N, outputs, *size)`."""
        x, skipped = maps[-1], list(maps[:-1])
        for up in self.ups:
            x = up(x, skipped.pop())
        return fitted(self.classifier(x), size)


def up_levels(features: nn.Module) -> list[nn.Module]:
    """A U-Net's levels on the way up; of other networks there are none."""
    if not isinstance(features, UNetFeatures):
        return []
    return [features.get_submodule(f"up{level + 1}") for level in range(features.depth)]


def fitted(x: Tensor, size: Sequence[int]) -> Tensor:
    """`(N, C, *sides)` cut off after `size`, or enlarged to it where it is smaller.

    >>> import torch
    >>> fitted(torch.arange(3.0).view(1, 1, 3), [2]), fitted(torch.arange(2.0).view(1, 1, 2), [4])
    (tensor([[[0., 1.]]]), tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]]))
    """
    if any(side < wanted for side, wanted in zip(x.shape[2:], size, strict=True)):
        return F.interpolate(x, size=tuple(size), mode=LINEAR[len(size)], align_corners=False)
    for dim, wanted in enumerate(size, start=2):
        x = x.narrow(dim, 0, wanted)
    return x
