"""Features of several layers of a network, read together."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthebb.models.network import Network


class ReadTogether(nn.Sequential):
    """Layers one after the other, of which some are read: their maps, averaged to few positions, joined.

    Those behind the last that is read do nothing; they stay, so that names and weights are those of the whole network.

    Args:
        layers: by name, in their order.
        read: names of those that are read, which hand on ``(N, D)`` or ``(N, C, H, W)``.
        side: positions along each side of a map that it is averaged to, if it has more.

    >>> layers = OrderedDict(one=nn.Conv2d(1, 3, 3), two=nn.Conv2d(3, 5, 3), three=nn.Flatten())
    >>> ReadTogether(layers, ["one", "two"], side=2)(torch.zeros(7, 1, 8, 8)).shape             # 4 x (3 + 5)
    torch.Size([7, 32])
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", read: Sequence[str], side: int) -> None:
        super().__init__(layers)
        self.read, self.side = tuple(read), side
        self._used = max(list(layers).index(name) for name in read) + 1

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        x, parts = input, []
        for name, layer in list(self.named_children())[: self._used]:
            x = layer(x)
            if name in self.read:
                parts.append(one_vector_each(x, self.side))
        return torch.cat(parts, dim=1)


def one_vector_each(x: Tensor, side: int) -> Tensor:
    """``(N, D)`` as it is, or maps ``(N, C, H, W)`` averaged to at most side x side positions and flattened.

    A copy, as the layer that follows may work in place.

    >>> one_vector_each(torch.zeros(5, 3, 8, 8), 2).shape, one_vector_each(torch.zeros(5, 3, 1, 1), 2).shape
    (torch.Size([5, 12]), torch.Size([5, 3]))
    """
    if x.dim() == 2:
        return x.clone()
    height, width = (min(side, length) for length in x.shape[2:])
    return nn.functional.adaptive_avg_pool2d(x, (height, width)).flatten(1)


def with_reading(network: Network, read: Sequence[str], side: int, *, channels: int, image_size: int) -> Network:
    """Let the classifier see these layers together, and not the end of the features.

    Args:
        network: changed in place; its last layer is made anew.
        read: names of children of its features, at least one.
        side: see `ReadTogether`.
        channels: of an image.
        image_size: height and width of an image in pixels.

    Raises:
        ValueError: there is no such layer, or the side is not positive.

    >>> from fasthebb.models import cnn6
    >>> network = with_reading(cnn6(width=0.1, hidden=16), ["norm1", "norm2"], 4, channels=3, image_size=32)
    >>> network.classifier[1].in_features                                                       # 16 x (10 + 13)
    368
    """
    layers = OrderedDict(network.features.named_children())
    if side < 1:
        raise ValueError(f"found a side of {side} positions, expected at least 1")
    if unknown := [name for name in read if name not in layers]:
        raise ValueError(f"found {unknown[0]!r} as a layer to read, expected some of {', '.join(layers)}")
    network.features = ReadTogether(layers, read, side)
    trains = network.training
    with torch.no_grad():
        inputs = network.eval().features(torch.zeros(1, channels, image_size, image_size)).shape[1]
    network.train(trains)
    *before, last = network.classifier
    assert isinstance(last, nn.Linear)
    network.classifier = nn.Sequential(*before, nn.Linear(inputs, last.out_features))
    return network
