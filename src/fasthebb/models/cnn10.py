"""The 10-layer network of the FastHebb papers, for ImageNet."""

from fasthebb.models.network import Block, Network, build_network

_BLOCKS = (
    Block(96, kernel=7, pool=3),
    Block(128),
    Block(192, pool=2),
    Block(192),
    Block(256, pool=2),
    Block(256),
    Block(384, pool=2, relative_variance=True),
    Block(512, relative_variance=True),
)


def cnn10(
    classes: int = 1000,
    channels: int = 3,
    image_size: int = 210,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Network:
    """Build the 10-layer network: eight convolutions, a dense layer of `hidden` neurons, a dense classifier.

    As `cnn6` in everything else, but for its larger images. The batch norms of the last three hidden layers preserve
    relative variance.

    Args:
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels, at least 162; 210 in the papers.
        hebbian: see `cnn6`.
        width: factor on the convolutions' channels, 96 to 512 (rounded, at least 4).
        hidden: neurons of the dense hidden layer; 0 puts the classifier on the last convolution's output.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range, or the dense layer would have more than 110 million weights.

    >>> import torch
    >>> cnn10(classes=5, width=0.05, hidden=16)(torch.zeros(2, 3, 210, 210)).shape
    torch.Size([2, 5])
    """
    return build_network(
        "cnn10",
        _BLOCKS,
        classes=classes,
        channels=channels,
        image_size=image_size,
        hebbian=hebbian,
        width=width,
        hidden=hidden,
        dropout=dropout,
    )
