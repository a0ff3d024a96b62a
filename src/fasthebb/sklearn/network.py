"""The hidden layers that an estimator learns."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fasthebb.models import build_model
from fasthebb.sklearn.inputs import ImageShape

ANY_SHAPE = ("triangle2", "softhebb")
"""Networks whose images may be higher than wide, as they average over positions."""


class Standardise(nn.Module):
    """Rows ``(N, D)`` less their mean, over their scale, as rows or as images.

    Images are scaled channel by channel. Other numbers are centred one by one and divided by one common scale, which
    leaves the more weight to those that vary more.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, X: NDArray[Any], image_shape: ImageShape | None) -> None:
        super().__init__()
        self.image_shape = image_shape
        channels = 1 if image_shape is None else image_shape[0]
        values = X.reshape(len(X), channels, -1)
        mean = values.mean((0, 2) if image_shape else 0, dtype=np.float64, keepdims=True)[0]  # (C, 1) or (1, D)
        square = np.square(values, dtype=np.float64).mean((0, 2)) - np.square(mean).mean(1)  # (C,)
        # What remains of a constant is round-off, which must not be blown up.
        constant = square <= 1e-12 * np.square(mean).mean(1)
        scale = np.sqrt(np.where(constant, 1.0, square))[:, None]
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, D)`` to ``(N, D)`` or ``(N, C, H, W)``."""
        standard = (x.reshape(len(x), len(self.scale), -1) - self.mean) / self.scale
        return standard.reshape(len(x), *(self.image_shape or (-1,)))


def dense_layers(inputs: int, sizes: Sequence[int]) -> nn.Sequential:
    """Dense layers with ReLU, each but the first behind a batch norm without scale and shift.

    >>> [name for name, _ in dense_layers(4, (8, 3)).named_children()]
    ['dense1', 'relu1', 'norm2', 'dense2', 'relu2']
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, outputs in enumerate(sizes, start=1):
        if index > 1:  # a ReLU's outputs are far from centred, and competing neurons would all learn their mean
            layers[f"norm{index}"] = nn.BatchNorm1d(inputs, affine=False)
        layers[f"dense{index}"] = nn.Linear(inputs, outputs, bias=False)
        layers[f"relu{index}"] = nn.ReLU()
        inputs = outputs
    return nn.Sequential(layers)


def convolutions(name: str, shape: ImageShape, width: float) -> nn.Sequential:
    """The `features` of the network called `name`, for images of this shape, without a dense layer.

    Raises:
        ValueError: there is no such network, or it takes no such images.
    """
    channels, high, wide = shape
    if high != wide and name not in ANY_SHAPE:
        raise ValueError(
            f"network: found {name!r} for images of {high} x {wide} pixels, which takes square ones alone: make them "
            f"square, or choose one of {', '.join(ANY_SHAPE)}"
        )
    return build_model(name, classes=1, channels=channels, image_size=min(high, wide), width=width, hidden=0).features


def with_input(standardise: Standardise, layers: nn.Sequential) -> nn.Sequential:
    """Layers behind the standardisation of their input."""
    return nn.Sequential(OrderedDict([("standardise", standardise), *layers.named_children()]))
