"""A small network that backprop trains fast."""

from collections import OrderedDict

from torch import nn

from fasthebb.models.network import Network, check_sizes

_GROUPS = (64, 128, 128)
_FIRST = 32


def cnn8(
    classes: int = 10,
    channels: int = 3,
    image_size: int = 32,
    *,
    hebbian: bool = False,
    width: float = 1.0,
    hidden: int = 0,
    dropout: float = 0.0,
) -> Network:
    """Build a network of seven 3x3 convolutions and a dense classifier, made to be trained by backprop in few epochs.

    After a first convolution come three groups of convolution, 2x2 max-pool, convolution; each convolution has batch
    norm and GELU behind it, and the classifier sees the maximum over all positions. The plan is that of fast CIFAR-10
    networks (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024), narrower.

    Args:
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels, at least 8.
        hebbian: changes nothing: no convolution has a bias.
        width: factor on the convolutions' 32, 64, 128 and 128 channels (rounded, at least 4).
        hidden: neurons of a dense hidden layer before the classifier, with GELU; 0 leaves it out.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range.

    >>> import torch
    >>> cnn8(classes=5, width=0.1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """
    check_sizes("cnn8", classes=classes, channels=channels, hidden=hidden, width=width)
    if image_size < 8:
        raise ValueError(f"cnn8: images must be at least 8 pixels wide and high, got {image_size}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels

    def convolution(outputs: int, pool: bool) -> None:
        nonlocal inputs
        index = sum(name.startswith("conv") for name in layers) + 1
        layers[f"conv{index}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        if pool:
            layers[f"pool{index}"] = nn.MaxPool2d(2)
        layers[f"norm{index}"] = nn.BatchNorm2d(outputs)
        layers[f"gelu{index}"] = nn.GELU()
        inputs = outputs

    convolution(max(4, round(width * _FIRST)), pool=False)
    for channels_of_it in _GROUPS:
        for pool in (True, False):
            convolution(max(4, round(width * channels_of_it)), pool)
    layers["maximum"] = nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    if hidden:
        layers["dense8"] = nn.Linear(inputs, hidden)
        layers["gelu8"] = nn.GELU()
        inputs = hidden
    return Network(nn.Sequential(layers), nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes)))
