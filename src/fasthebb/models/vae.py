"""A variational autoencoder whose encoder is the `features` of a network."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fasthebb.models.network import Network

_OTHER_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Posterior(NamedTuple):
    """What the encoder says of images: a normal distribution of codes for each, its variables independent.

    Attributes:
        mean: `(N, latent)`.
        log_variance: `(N, latent)`.
        indices: where each pool found its maxima, `(N, C, H, W)` int64 a pool; empty unless the decoder is to know.
    """

    mean: Tensor
    log_variance: Tensor
    indices: tuple[Tensor, ...] = ()

    def sample(self) -> Tensor:
        """A code drawn for each image, `(N, latent)`; its gradient reaches mean and variance."""
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from the standard normal distribution, summed over the variables: `(N,)` nats.

        >>> Posterior(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)).kl()
        tensor([2.])
        """
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(dim=1)


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling, ICLR 2014): encoder, code, and the encoder's mirror image.

    The encoder is `network.features`, that very module. A dense layer maps what it hands on to mean and log-variance
    of the code. The decoder goes the same way back with the same widths: dense layers, then for each convolution of
    the encoder a transposed one, the last first. ReLU and batch norm follow each of them but the one that gives the
    image; where the encoder pools, the decoder unpools between ReLU and batch norm.

    There are two kinds of unpooling. By default a value is repeated over its window (and over what the pool dropped
    at the lower and right margin), so that all the decoder knows of an image is its code. With `indices` it goes to
    where the maximum was, zeros around it, and a batch norm ends the decoder: what the FastHebb papers compare with.
    Most of an image then passes the code by.

    PyTorch draws the weights of a transposed convolution for the fan-in of the convolution that it mirrors. From many
    channels to the three of an image that is far too much: the first reconstruction of standardised CIFAR-10 images
    has ten times their error, and SGD diverges within steps. The default decoder draws them for their own fan-in.

    Args:
        network: of `cnn6` and its like; with `hebbian=False` its hidden layers have the biases and plain batch norms
            that the papers' autoencoder has. Its classifier takes no part.
        latent: variables of the code, at least one.
        indices: unpool by the indices of the encoder's maxima.

    Raises:
        ValueError: `latent` is below one, or the network pools in another way than by maxima that do not overlap.

    >>> from fasthebb.models import cnn6
    >>> vae = VAE(cnn6(channels=1, width=0.1, hidden=16, hebbian=False), latent=8)
    >>> reconstructions, posterior = vae(torch.zeros(2, 1, 32, 32))
    >>> reconstructions.shape, posterior.mean.shape
    (torch.Size([2, 1, 32, 32]), torch.Size([2, 8]))
    """

    features: nn.Sequential

    def __init__(self, network: Network, *, latent: int = 256, indices: bool = False) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be at least 1, got {latent}")
        for name, layer in network.features.named_children():
            if isinstance(layer, _OTHER_POOLS) or (
                isinstance(layer, nn.MaxPool2d) and layer.kernel_size != layer.stride
            ):
                raise ValueError(
                    f"a VAE is built around maximum pools that do not overlap, found {layer} as {name}: take cnn6, "
                    "cnn10 or a VGG"
                )
        self.features, self.indices = network.features, indices
        steps = _steps(self.features)
        if not steps:
            raise ValueError("a VAE is built around convolutions one behind the other: take cnn6, cnn10 or a VGG")
        # Inputs of the dense layers, the classifier's last: first the flattened images of the last convolution.
        dense = [layer.in_features for layer in network.modules() if isinstance(layer, nn.Linear)]
        self.side = math.isqrt(dense[0] // steps[-1].outputs)
        self.code = nn.Linear(dense[-1], 2 * latent)

        back: list[nn.Module] = []
        for inputs, outputs in pairwise([latent, *reversed(dense)]):
            back += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.BatchNorm1d(outputs)]
        self.dense = nn.Sequential(*back, nn.Unflatten(1, (steps[-1].outputs, self.side, self.side)))
        self.decoder = nn.ModuleList()  # for each convolution, the last first, what follows the unpooling before it
        for number, step in reversed(list(enumerate(steps))):
            layers: list[nn.Module] = []
            if number < len(steps) - 1:
                layers.append(nn.BatchNorm2d(step.outputs))
            layers.append(nn.ConvTranspose2d(step.outputs, step.inputs, step.kernel, padding=step.padding))
            if number > 0:
                layers.append(nn.ReLU(inplace=True))
            elif indices:
                layers.append(nn.BatchNorm2d(step.inputs))
            self.decoder.append(nn.Sequential(*layers))
        if not indices:
            for layer in self.decoder.modules():
                if isinstance(layer, nn.ConvTranspose2d):
                    _scale_to_inputs(layer)

    def encode(self, images: Tensor) -> Posterior:
        """Images `(N, C, S, S)`, already preprocessed, to the distribution of their codes."""
        indices: list[Tensor] = []
        x = images
        for layer in self.features:
            if self.indices and isinstance(layer, nn.MaxPool2d):
                x, found = nn.functional.max_pool2d(x, layer.kernel_size, layer.stride, return_indices=True)
                indices.append(found)
            else:
                x = layer(x)
        codes = self.code(x).to(self.code.weight.dtype)  # autocast hands on fewer digits than an exponential needs
        mean, log_variance = codes.chunk(2, dim=1)
        return Posterior(mean, log_variance, tuple(indices))

    def decode(self, codes: Tensor, image_size: int, indices: Sequence[Tensor] = ()) -> Tensor:
        """Codes `(N, latent)` to images `(N, C, image_size, image_size)`.

        Args:
            codes: drawn from a posterior, or from the standard normal distribution.
            image_size: height and width in pixels of the images that the encoder sees.
            indices: of the posterior, where the decoder unpools by them; none elsewhere.

        Raises:
            ValueError: the network has no images of that size, or indices are missing or superfluous.
        """
        steps = _steps(self.features)
        sides, last = _sides(steps, image_size)
        if last != self.side:
            raise ValueError(
                f"images of {image_size} pixels end in {last} x {last} positions, expected {self.side} x {self.side}"
            )
        pools = sum(step.pool > 1 for step in steps) if self.indices else 0
        if len(indices) != pools:
            raise ValueError(f"expected the indices of {pools} pools, got {len(indices)}")
        left = list(indices)
        x: Tensor = self.dense(codes)
        for block, step, side in zip(self.decoder, reversed(steps), reversed(sides), strict=True):
            if step.pool > 1:
                x = _unpool(x, left.pop(), side) if self.indices else _upsample(x, step.pool, side)
            x = block(x)
        return x

    def forward(self, images: Tensor) -> tuple[Tensor, Posterior]:
        """Images `(N, C, S, S)` to their reconstructions, of the same shape, and the distribution of their codes.

        The code is drawn in training mode and the mean in eval mode.
        """
        posterior = self.encode(images)
        codes = posterior.sample() if self.training else posterior.mean
        return self.decode(codes, images.shape[-1], posterior.indices), posterior


def _scale_to_inputs(layer: nn.ConvTranspose2d) -> None:
    """Draw the weight from the distribution that a convolution of the same inputs and kernel has in PyTorch."""
    bound = 1 / math.sqrt(layer.in_channels * math.prod(layer.kernel_size))
    nn.init.uniform_(layer.weight, -bound, bound)


class _Step(NamedTuple):
    """One convolution of the encoder, of stride 1, and the max-pool that follows it (1 for none)."""

    inputs: int
    outputs: int
    kernel: int
    padding: int
    pool: int = 1


def _steps(features: nn.Sequential) -> list[_Step]:
    steps: list[_Step] = []
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            kernel, padding = int(layer.kernel_size[0]), int(layer.padding[0])
            steps.append(_Step(layer.in_channels, layer.out_channels, kernel, padding))
        elif isinstance(layer, nn.MaxPool2d):
            steps[-1] = steps[-1]._replace(pool=cast(int, layer.kernel_size))
    return steps


def _sides(steps: Sequence[_Step], image_size: int) -> tuple[list[int], int]:
    """Height and width of each convolution's output before its pool, and of the last one's after it."""
    sides: list[int] = []
    side = image_size
    for step in steps:
        side += 2 * step.padding - step.kernel + 1
        sides.append(side)
        side //= step.pool
    return sides, side


def _upsample(x: Tensor, pool: int, side: int) -> Tensor:
    """Repeat `(N, C, s, s)` over the windows of a pool, and the last row and column over what it dropped."""
    x = nn.functional.interpolate(x, size=(x.shape[2] * pool, x.shape[3] * pool), mode="nearest")
    dropped = side - x.shape[-1]
    return nn.functional.pad(x, (0, dropped, 0, dropped), mode="replicate") if dropped else x


def _unpool(x: Tensor, indices: Tensor, side: int) -> Tensor:
    """Put `(N, C, s, s)` where the maxima were in `(N, C, side, side)`, zeros elsewhere.

    What `nn.MaxUnpool2d` does, which refuses to run where reproducible operations are asked for. Windows do not
    overlap, so no place is written twice.
    """
    empty = x.new_zeros(*x.shape[:2], side * side)
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).view(*x.shape[:2], side, side)
