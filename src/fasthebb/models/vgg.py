"""VGG with batch norm, for Hebbian learning and for backprop."""

from collections.abc import Callable
from functools import partial

from fasthebb.models.network import Block, Network, build_network

_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def vgg(
    depth: int,
    classes: int = 1000,
    channels: int = 3,
    image_size: int = 224,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 0,
    dropout: float = 0.5,
) -> Network:
    """Build VGG-11, 13, 16 or 19: 3x3 convolutions with padding 1 in five stages, a 2x2 max-pool after each.

    Simonyan and Zisserman (ICLR 2015), with the batch norms of the FastHebb papers: convolution, ReLU, batch norm where
    layers learn by Hebbian rules, and convolution, batch norm, ReLU for backprop.

    Args:
        depth: 11, 13, 16 or 19.
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels, at least 32; 224 in the papers.
        hebbian: that order, and no bias in the hidden layers.
        width: factor on the convolutions' channels, 64 to 512 (rounded, at least 4).
        hidden: neurons of a dense hidden layer, whose batch norm preserves relative variance (4096 in the papers'
            measurements of speed); by default the classifier sits on the last convolution's output, where the papers
            fine-tune.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range, or the dense layer would have more than 110 million weights.

    >>> import torch
    >>> vgg(11, classes=5, image_size=32, width=0.1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """
    if depth not in _STAGES:
        raise ValueError(f"vgg: depth must be one of {', '.join(map(str, _STAGES))}, got {depth}")
    blocks = [
        Block(channels_of_it, padding=1, pool=2 if index == count - 1 else 1)
        for channels_of_it, count in zip(_CHANNELS, _STAGES[depth], strict=True)
        for index in range(count)
    ]
    return build_network(
        f"vgg{depth}",
        blocks,
        classes=classes,
        channels=channels,
        image_size=image_size,
        hebbian=hebbian,
        width=width,
        hidden=hidden,
        dropout=dropout,
        pool_last=True,
        norm_first=not hebbian,
    )


VGGS: dict[str, Callable[..., Network]] = {f"vgg{depth}": partial(vgg, depth) for depth in _STAGES}
"""Builders by name."""
