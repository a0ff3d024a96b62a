"""A variational autoencoder made of a U-Net."""

import torch
from torch import Tensor, nn

from fasthebb.models import Posterior, SegmentationNetwork
from fasthebb.models.unet import UNetFeatures
from fasthebb.training.decoders import Decoder, encoded
from fasthebb.training.layer_groups import last_convolution


class UNetAutoencoder(nn.Module):
    """A variational autoencoder (Kingma and Welling, ICLR 2014) whose encoder and decoder are a U-Net's two halves.

    A convolution of one pixel maps the bottom to mean and log-variance of a code at each of its positions, another one
    maps the code back, and a third one what comes up to pixels. All that goes up passes the code: zeros take the place
    of the skipped connections, so that the decoder's weights for these stay as they are.

    Args:
        network: of `unet`; its `features` are that very module, its classifier takes no part.
        latent: variables of the code at each position of the bottom, at least one.

    Raises:
        ValueError: `latent` is below one, or the network is no U-Net.

    >>> from fasthebb.models.unet import unet
    >>> autoencoder = UNetAutoencoder(unet(channels=1, depth=2, width=4), latent=8)
    >>> reconstructions, posterior = autoencoder(torch.zeros(2, 1, 16, 20))
    >>> reconstructions.shape, posterior.mean.shape
    (torch.Size([2, 1, 16, 20]), torch.Size([2, 160]))
    """

    def __init__(self, network: SegmentationNetwork, *, latent: int = 256) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be at least 1, got {latent}")
        if not isinstance(network.features, UNetFeatures):
            raise ValueError(f"a VAE is built around a U-Net, found {type(network.features).__name__}: take unet")
        self.features = network.features
        first, bottom, last = (
            last_convolution(self.features.get_submodule(name))
            for name in ("down1.conv1", f"down{self.features.depth + 1}", f"up{self.features.depth}")
        )
        one = type(last)
        self.code = one(bottom.out_channels, 2 * latent, 1)
        self.back = one(latent, bottom.out_channels, 1)
        self.pixels = one(last.out_channels, first.in_channels, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Posterior]:
        """Images `(N, C, *size)` to their reconstructions, of the same shape, and the distribution of their codes.

        The code, of all positions together, is drawn in training mode and the mean in eval mode.
        """
        *skipped, bottom = encoded(self.features, images)
        codes = self.code(bottom).to(self.code.weight.dtype)  # autocast hands on fewer digits than an exponential needs
        mean, log_variance = codes.chunk(2, dim=1)
        posterior = Posterior(mean.flatten(1), log_variance.flatten(1))
        code = (posterior.sample() if self.training else posterior.mean).view_as(mean)
        maps = [*(torch.zeros_like(level) for level in skipped), self.back(code)]
        return Decoder(self.features, self.pixels)(maps, images.shape[2:]), posterior
