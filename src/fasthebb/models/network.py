"""A network in two parts, built from a table of its convolutions."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d

MAX_DENSE_WEIGHTS = 110_000_000


@dataclass(frozen=True)
class Block:
    """One convolution of stride 1 and what follows it.

    Attributes:
        channels: outputs at width 1.
        kernel: height and width.
        pool: height, width and stride of the max-pool that follows; 1 for none.
        padding: zeros on each side.
        relative_variance: whether its batch norm preserves relative variance in Hebbian networks.
    """

    channels: int
    kernel: int = 3
    pool: int = 1
    padding: int = 0
    relative_variance: bool = False


class Network(nn.Module):
    """A network in two parts: `features`, which learn without labels, and `classifier`, which needs them.

    `features` maps `(N, channels, image_size, image_size)` to `(N, features)`, `classifier` maps that to logits
    `(N, classes)`. Built by `cnn6` and its like.

    Attributes:
        mirrored: in eval mode the logits are the mean of those of an image and of its mirror image.
    """

    features: nn.Sequential
    classifier: nn.Sequential
    mirrored: bool = False

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)`, already preprocessed, to logits `(N, classes)`."""
        logits: Tensor = self.classifier(self.features(images))
        if self.mirrored and not self.training:
            logits = (logits + self.classifier(self.features(images.flip(-1)))) / 2
        return logits


def check_sizes(name: str, *, classes: int, channels: int, hidden: int, width: float) -> None:
    """Refuse what no network can be built with; `name` is that of the network, for the message.

    Raises:
        ValueError: a size is out of range.
    """
    for what, value, least in (("classes", classes, 1), ("channels", channels, 1), ("hidden", hidden, 0)):
        if value < least:
            raise ValueError(f"{name}: {what} must be at least {least}, got {value}")
    if not width > 0:
        raise ValueError(f"{name}: width must be above 0, got {width}")


def build_network(
    name: str,
    blocks: Sequence[Block],
    *,
    classes: int,
    channels: int,
    image_size: int,
    hebbian: bool,
    width: float,
    hidden: int,
    dropout: float,
    pool_last: bool = False,
    norm_first: bool = False,
) -> Network:
    """Build the network that a table describes.

    Args:
        name: of the network, for messages.
        blocks: its convolutions.
        classes: number of outputs, at least one.
        channels: channels of an image, at least one.
        image_size: height and width of an image in pixels.
        hebbian: without bias in the hidden layers, and with the batch norms that preserve relative variance.
        width: factor on the convolutions' channels (rounded, at least 4).
        hidden: neurons of the dense hidden layer; 0 leaves it out.
        dropout: probability with which the classifier drops an input while it trains.
        pool_last: pool after the batch norm instead of before it.
        norm_first: batch norm before the ReLU.

    Raises:
        ValueError: an argument is out of range, or the dense layer would have more than 110 million weights.
    """
    check_sizes(name, classes=classes, channels=channels, hidden=hidden, width=width)
    side = _side(blocks, image_size)
    if side < 1:
        smallest = next(size for size in range(1, 1000) if _side(blocks, size) >= 1)
        raise ValueError(f"{name}: images must be at least {smallest} pixels wide and high, got {image_size}")
    outputs = [max(4, round(width * block.channels)) for block in blocks]
    _check_dense(name, blocks, outputs[-1], hidden, image_size)

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels
    for index, (block, width_of_it) in enumerate(zip(blocks, outputs, strict=True), start=1):
        relative = hebbian and block.relative_variance
        norm = RelativeVarianceBatchNorm2d(width_of_it) if relative else nn.BatchNorm2d(width_of_it)
        convolution = nn.Conv2d(inputs, width_of_it, block.kernel, padding=block.padding)
        after: list[tuple[str, nn.Module]] = [("relu", nn.ReLU(inplace=True)), ("norm", norm)]
        if norm_first:
            after.reverse()
        if block.pool > 1:
            after.insert(2 if pool_last else 1, ("pool", nn.MaxPool2d(block.pool)))
        layers.update({f"{kind}{index}": layer for kind, layer in [("conv", convolution), *after]})
        inputs = width_of_it
    layers["flatten"] = nn.Flatten()
    inputs *= side * side
    if hidden:
        index = len(blocks) + 1
        layers[f"dense{index}"] = nn.Linear(inputs, hidden)
        layers[f"relu{index}"] = nn.ReLU(inplace=True)
        layers[f"norm{index}"] = RelativeVarianceBatchNorm1d(hidden) if hebbian else nn.BatchNorm1d(hidden)
        inputs = hidden
    if hebbian:  # only now, so that a seed gives Hebbian networks and those of backprop the same weights
        for layer in layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.bias = None
    return Network(nn.Sequential(layers), nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes)))


def with_plain_norms(network: Network) -> Network:
    """Put plain batch norms in the place of those that preserve relative variance; weights and names stay.

    For competitive rules: few neurons win nearly always, and vary much more than the others, which are then hardly
    passed on.

    >>> from fasthebb.models import cnn6
    >>> type(with_plain_norms(cnn6(width=0.1, hidden=16)).features.norm5).__name__
    'BatchNorm1d'
    """
    for name, layer in network.features.named_children():
        if isinstance(layer, RelativeVarianceBatchNorm2d | RelativeVarianceBatchNorm1d):
            plain = nn.BatchNorm2d if isinstance(layer, RelativeVarianceBatchNorm2d) else nn.BatchNorm1d
            setattr(network.features, name, plain(layer.num_features))
    return network


def with_code(network: Network, size: int) -> Network:
    """Put a dense layer of `size` neurons and a ReLU between features and classes, as ``classifier.code``.

    Once it has been trained with labels, whether each of its neurons is active is a short code by which images of a
    class are found again.

    Raises:
        ValueError: the size is not positive.

    >>> from fasthebb.models import cnn6
    >>> with_code(cnn6(width=0.1, hidden=16), 8).classifier.code
    Sequential(
      (0): Linear(in_features=16, out_features=8, bias=True)
      (1): ReLU()
    )
    """
    if size < 1:
        raise ValueError(f"found a code of {size} neurons, expected at least 1")
    *before, last = network.classifier
    assert isinstance(last, nn.Linear)
    layers = {
        **{f"before{index}": layer for index, layer in enumerate(before)},
        "code": nn.Sequential(nn.Linear(last.in_features, size), nn.ReLU()),
        "output": nn.Linear(size, last.out_features),
    }
    network.classifier = nn.Sequential(OrderedDict(layers))
    return network


def _side(blocks: Sequence[Block], image_size: int) -> int:
    """Height and width of the last convolution's output; below one where the image is too small."""
    side = image_size
    for block in blocks:
        side = (side + 2 * block.padding - block.kernel + 1) // block.pool
    return side


def _check_dense(name: str, blocks: Sequence[Block], channels: int, hidden: int, image_size: int) -> None:
    def weights(size: int) -> int:
        return channels * _side(blocks, size) ** 2 * hidden

    if weights(image_size) <= MAX_DENSE_WEIGHTS:
        return
    positions = _side(blocks, image_size) ** 2
    fitting = [size for size in range(1, image_size) if _side(blocks, size) >= 1 and weights(size) <= MAX_DENSE_WEIGHTS]
    alternatives = [f"an image size of at most {fitting[-1]} pixels (--image-size {fitting[-1]})"] if fitting else []
    if fewest := MAX_DENSE_WEIGHTS // (channels * positions):
        alternatives.append(f"at most {fewest} hidden neurons")
    if fewest := MAX_DENSE_WEIGHTS // (positions * hidden):
        alternatives.append(f"a width that leaves at most {fewest} channels in the last convolution")
    raise ValueError(
        f"{name}: at an image size of {image_size} the dense layer would have {weights(image_size) / 1e6:,.0f} million "
        f"weights, more than the {MAX_DENSE_WEIGHTS // 1_000_000} million allowed; choose {' or '.join(alternatives)}"
    )
