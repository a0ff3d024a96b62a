"""Networks of few wide convolutions with the triangle activation, whose features are read out linearly."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from fasthebb.models.network import Network, check_sizes

SIDE = 2
"""Height and width that the last maps are averaged to."""


class Triangle(nn.Module):
    """``max(0, x - mean of x over channels) ** power``: what a position has more of than its average channel.

    Coates, Lee and Ng (AISTATS 2011); with a power, Journé et al. (ICLR 2023). ``(N, C, ...)`` to the same.

    >>> Triangle(2.0)(torch.tensor([[1.0, 2.0, 6.0]]))
    tensor([[0., 0., 9.]])
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        above = torch.relu(x - x.mean(1, keepdim=True))
        return above if self.power == 1 else above.pow(self.power)

    def extra_repr(self) -> str:
        """The power."""
        return f"power={self.power}"


@dataclass(frozen=True)
class Stage:
    """Batch norm without scale and shift, a convolution that keeps the size, triangle, pool.

    Attributes:
        channels: outputs at width 1.
        kernel: height and width; borders are mirrored.
        power: of the triangle.
        pool: "max" takes the maximum of 4x4 windows in steps of 2, "average" the mean of 2x2.
    """

    channels: int
    kernel: int
    power: float = 1.0
    pool: Literal["max", "average"] = "max"


def triangle_network(
    name: str,
    stages: Sequence[Stage],
    classes: int = 10,
    channels: int = 3,
    image_size: int = 32,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 0,
    dropout: float = 0.5,
) -> Network:
    """Build the network of these stages; its features are the last maps, averaged to 2x2.

    Args:
        name: of the network, for messages.
        stages: its convolutions.
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels.
        hebbian: convolutions without bias; False adds one.
        width: factor on the convolutions' channels (rounded, at least 4).
        hidden: neurons of a dense hidden layer behind them, with ReLU and batch norm; 0 leaves it out.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range.

    >>> model = softhebb(width=0.1)
    >>> model(torch.zeros(2, 3, 32, 32)).shape, model.classifier[1].in_features
    (torch.Size([2, 10]), 616)
    """
    check_sizes(name, classes=classes, channels=channels, hidden=hidden, width=width)
    if (smallest := _smallest(stages)) > image_size:
        raise ValueError(f"{name}: images must be at least {smallest} pixels wide and high, got {image_size}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels
    for index, stage in enumerate(stages, start=1):
        outputs = max(4, round(width * stage.channels))
        layers[f"norm{index}"] = nn.BatchNorm2d(inputs, affine=False)
        layers[f"conv{index}"] = nn.Conv2d(
            inputs,
            outputs,
            stage.kernel,
            padding=stage.kernel // 2,
            padding_mode="reflect",
            bias=not hebbian,
        )
        layers[f"triangle{index}"] = Triangle(stage.power)
        layers[f"pool{index}"] = nn.MaxPool2d(4, 2, padding=1) if stage.pool == "max" else nn.AvgPool2d(2)
        inputs = outputs
    layers["average"] = nn.AdaptiveAvgPool2d(SIDE)
    layers["flatten"] = nn.Flatten()
    inputs *= SIDE * SIDE
    if hidden:
        index = len(stages) + 1
        layers[f"dense{index}"] = nn.Linear(inputs, hidden, bias=not hebbian)
        layers[f"relu{index}"] = nn.ReLU(inplace=True)
        layers[f"norm{index}"] = nn.BatchNorm1d(hidden)
        inputs = hidden
    return Network(nn.Sequential(layers), nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes)))


def _smallest(stages: Sequence[Stage]) -> int:
    """The least image size: a mirrored border must be narrower than the map, and every pool halves it."""
    needed = 1
    for stage in reversed(stages):
        needed = max(2 * needed, stage.kernel // 2 + 1)
    return needed


softhebb = partial(
    triangle_network,
    "softhebb",
    (Stage(96, 5, power=0.7), Stage(384, 3, power=1.4), Stage(1536, 3, pool="average")),
)
softhebb.__doc__ = (
    "The convolutions of Journé et al. (ICLR 2023), 5x5 96, 3x3 384, 3x3 1536; their classifier sees the last 4x4 "
    "maps, this one 2x2. See `triangle_network`."
)

triangle2 = partial(triangle_network, "triangle2", (Stage(96, 5, power=0.7), Stage(1024, 5)))
triangle2.__doc__ = "Two wide layers, 5x5 96 and 5x5 1024, meant to be learned at once. See `triangle_network`."
