"""The 6-layer network of the FastHebb papers."""

from collections import OrderedDict

from torch import Tensor, nn

from fasthebb.models.relative_variance import RelativeVarianceBatchNorm1d, RelativeVarianceBatchNorm2d

MAX_DENSE_WEIGHTS = 100_000_000
_CHANNELS = (96, 128, 192, 256)
_KERNELS = (5, 3, 3, 3)
_POOLED = (True, False, True, False)  # whether a 2x2 max-pool follows the convolution


class CNN6(nn.Module):
    """A network in two parts: `features`, which learn without labels, and `classifier`, which needs them.

    `features` maps `(N, channels, image_size, image_size)` to `(N, hidden)`, `classifier` maps that to logits
    `(N, classes)`. Built by `cnn6`.
    """

    features: nn.Sequential
    classifier: nn.Sequential

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)`, already preprocessed, to logits `(N, classes)`."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def cnn6(
    classes: int = 10,
    channels: int = 3,
    image_size: int = 32,
    *,
    hebbian: bool = True,
    width: float = 1.0,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> CNN6:
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
        hidden: neurons of the dense hidden layer.
        dropout: probability with which the classifier drops an input while it trains.

    Raises:
        ValueError: an argument is out of range, or the dense layer would have more than 100 million weights.

    >>> import torch
    >>> model = cnn6(classes=10, channels=1, width=0.25, hidden=64)
    >>> model(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    >>> [name for name, layer in model.features.named_children() if hasattr(layer, "weight")][:4]
    ['conv1', 'norm1', 'conv2', 'norm2']
    """
    for name, value in {"classes": classes, "channels": channels, "hidden": hidden}.items():
        if value < 1:
            raise ValueError(f"cnn6: {name} must be at least 1, got {value}")
    if not width > 0:
        raise ValueError(f"cnn6: width must be above 0, got {width}")
    side = _side(image_size)
    if side < 1:
        raise ValueError(f"cnn6: images must be at least {_smallest_size()} pixels wide and high, got {image_size}")
    widths = [max(4, round(width * c)) for c in _CHANNELS]
    _check_dense(widths[-1], hidden, image_size)

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels
    for index, (outputs, kernel, pooled) in enumerate(zip(widths, _KERNELS, _POOLED, strict=True), start=1):
        layers[f"conv{index}"] = nn.Conv2d(inputs, outputs, kernel, bias=not hebbian)
        layers[f"relu{index}"] = nn.ReLU(inplace=True)
        if pooled:
            layers[f"pool{index}"] = nn.MaxPool2d(2)
        layers[f"norm{index}"] = (
            RelativeVarianceBatchNorm2d(outputs) if hebbian and index >= 3 else nn.BatchNorm2d(outputs)
        )
        inputs = outputs
    layers["flatten"] = nn.Flatten()
    layers["dense5"] = nn.Linear(inputs * side * side, hidden, bias=not hebbian)
    layers["relu5"] = nn.ReLU(inplace=True)
    layers["norm5"] = RelativeVarianceBatchNorm1d(hidden) if hebbian else nn.BatchNorm1d(hidden)
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, classes))
    return CNN6(nn.Sequential(layers), classifier)


def _side(image_size: int) -> int:
    """Height and width of the last convolution's output; below one where the image is too small."""
    side = image_size
    for kernel, pooled in zip(_KERNELS, _POOLED, strict=True):
        side = side - kernel + 1
        if pooled:
            side //= 2
    return side


def _smallest_size() -> int:
    return next(size for size in range(1, 1000) if _side(size) >= 1)


def _check_dense(channels: int, hidden: int, image_size: int) -> None:
    positions = _side(image_size) ** 2
    weights = channels * positions * hidden
    if weights <= MAX_DENSE_WEIGHTS:
        return
    fitting = [size for size in range(_smallest_size(), image_size) if _dense(channels, hidden, size)]
    alternatives = [f"an image size of at most {fitting[-1]} pixels (--image-size {fitting[-1]})"] if fitting else []
    if fewest := MAX_DENSE_WEIGHTS // (channels * positions):
        alternatives.append(f"at most {fewest} hidden neurons")
    if fewest := MAX_DENSE_WEIGHTS // (positions * hidden):
        alternatives.append(f"a width that leaves at most {fewest} channels in the last convolution")
    raise ValueError(
        f"cnn6: at an image size of {image_size} the dense layer would have {weights / 1e6:,.0f} million weights, more "
        f"than the {MAX_DENSE_WEIGHTS // 1_000_000} million allowed; choose {' or '.join(alternatives)}"
    )


def _dense(channels: int, hidden: int, image_size: int) -> bool:
    return channels * _side(image_size) ** 2 * hidden <= MAX_DENSE_WEIGHTS
