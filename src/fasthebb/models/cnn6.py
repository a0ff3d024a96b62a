"""The 6-layer network of the FastHebb papers."""

from fasthebb.models.network import Block, Network, build_network

_BLOCKS = (
    Block(96, kernel=5, pool=2),
    Block(128),
    Block(192, pool=2, relative_variance=True),
    Block(256, relative_variance=True),
)


def cnn6(
    classes: int = 10,
    channels: int = 3,
    image_size: int = 32,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Network:
    """Build the 6-layer network: four convolutions, a dense layer of `hidden` neurons, a dense classifier.

    Each of the five hidden layers is followed by ReLU, then (after the first and third convolution) a 2x2 max-pool,
    then batch norm; there is no padding. Weights are torch's default ones, so `torch.manual_seed` reproduces them.

    Args:
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels, at least 24.
        hebbian: hidden layers without bias, and from the third on batch norms that preserve relative variance, as
            the Hebbian rules want them; False gives the network that backprop alone is compared with: biases and
            plain batch norms.
        width: factor on the convolutions' 96, 128, 192 and 256 channels (rounded, at least 4).
        hidden: neurons of the dense hidden layer; 0 puts the classifier on the last convolution's output.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range, or the dense layer would have more than 110 million weights.

    >>> import torch
    >>> model = cnn6(classes=10, channels=1, width=0.25, hidden=64)
    >>> model(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    >>> [name for name, layer in model.features.named_children() if hasattr(layer, "weight")][:4]
    ['conv1', 'norm1', 'conv2', 'norm2']
    """
    return build_network(
        "cnn6",
        _BLOCKS,
        classes=classes,
        channels=channels,
        image_size=image_size,
        hebbian=hebbian,
        width=width,
        hidden=hidden,
        dropout=dropout,
    )
