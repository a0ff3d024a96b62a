"""VAE pre-training: the hidden layers learn from images alone, by backprop."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from fasthebb.models import VAE, Network
from fasthebb.training.backprop import nesterov_sgd, require_finite_loss
from fasthebb.training.batch_norm import fixed_batch_norms
from fasthebb.training.layout import channels_last
from fasthebb.training.schedule import learning_rate
from fasthebb.training.seeding import seed_epoch


class VAEPretraining(lightning.LightningModule):
    """Train `model.features` as the encoder of a `VAE`: what Hebbian pre-training is compared with.

    SGD with Nesterov momentum; the learning rate is constant for ten epochs and then halved every epoch. Labels are
    never read, the classifier is left alone. With E half the squared error summed over the D = C H W values of an
    image, which is the negative log-likelihood of Gaussian values of unit variance but for a constant, and KL the
    divergence of the code from the standard normal distribution summed over its variables, both in nats and averaged
    over the images, the loss is

        (2 / D) (E + beta KL)

    - The default gives the autoencoder a fair chance: beta = 1, the bound on the likelihood, and a decoder that knows
      nothing but the code. The factor 2 / D, on both terms alike, makes the first one the mean squared error, so that a
      learning rate means the same for both kinds and for every size of image.
    - `paper` is the loss of the FastHebb papers' code, mean squared error + KL / 2. That is beta = D / 4, 768 for 3 x
      32 x 32 values: the divergence weighs so much that the code ends up empty, and only the indices of the maxima, by
      which this decoder unpools, carry the image.

    Every epoch logs `train_loss`, its terms `reconstruction` (E) and `kl` in nats an image, and `lr`. Afterwards
    `reestimate_batch_norm` settles the batch norms of the features.

    Args:
        model: of `cnn6` and its like, built with `hebbian=False` as in the papers; its features are changed in place
            (and put in channels_last layout).
        lr: learning rate of the first ten epochs; 0 is the control in which only batch norm adapts.
        momentum: Nesterov momentum.
        epochs: epochs of the whole training.
        seed: fixes code layer and decoder, and with the number of the epoch everything that is drawn, so a resumed run
            equals an uninterrupted one.
        latent: variables of the code.
        paper: the loss and the decoder of the papers' code.

    Raises:
        ValueError: an argument is out of range.
        fasthebb.NonFiniteError: at the end of an epoch in which the loss was not finite, before its checkpoint.

    Attributes:
        vae: the autoencoder around `model.features`.
        total_epochs: epochs of the whole training.

    >>> from fasthebb.models import cnn6
    >>> VAEPretraining(cnn6(hebbian=False, width=0.1, hidden=16), epochs=20, paper=True).beta(3 * 32 * 32)
    768.0
    """

    within_epoch = ("_sums", "_images")

    def __init__(
        self,
        model: Network,
        *,
        lr: float = 1e-3,
        momentum: float = 0.9,
        epochs: int,
        seed: int = 0,
        latent: int = 256,
        paper: bool = False,
    ) -> None:
        super().__init__()
        if lr < 0:
            raise ValueError(f"lr must not be negative, got {lr}")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        self.model = model
        with torch.random.fork_rng(devices=[]):
            seed_epoch(seed, -1, [])  # a stream that neither the encoder's weights nor any epoch draws from
            vae = VAE(model, latent=latent, indices=paper)
        self.vae = vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.momentum, self.total_epochs, self.seed, self.paper = lr, momentum, epochs, seed, paper
        self._sums = torch.zeros(3)  # of loss, reconstruction and divergence over the images of the epoch
        self._images = 0

    def beta(self, values: int) -> float:
        """Weight of the divergence, where that of the error E is one, for images of `values` = C H W values."""
        return values / 4 if self.paper else 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over encoder, code and decoder."""
        return nesterov_sgd(self.vae.parameters(), lr=self.lr, momentum=self.momentum)

    def on_train_epoch_start(self) -> None:
        """Set modes, learning rate and random stream of this epoch."""
        self.train()
        epoch = self.current_epoch
        for group in self._optimizer().param_groups:
            group["lr"] = learning_rate(self.lr, epoch)
        self._sums = torch.zeros(3, device=self.device)
        self._images = 0
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, epoch, loader)

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Loss of a batch that begins with images `(N, C, H, W)`."""
        images = channels_last(batch[0])
        with fixed_batch_norms(self.vae, when=len(images) == 1):
            reconstructions, posterior = self.vae(images)
        error = (reconstructions.to(images.dtype) - images).square()
        reconstruction, kl = 0.5 * error.sum() / len(images), posterior.kl().mean()
        values = images[0].numel()
        loss: Tensor = 2 / values * (reconstruction + self.beta(values) * kl)
        self._sums += torch.stack([loss, reconstruction, kl]).detach() * len(images)
        self._images += len(images)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss and its terms; a loss that is not finite ends the training."""
        loss, reconstruction, kl = self._sums / max(1, self._images)
        require_finite_loss(loss, "loss of the autoencoder", epoch=self.current_epoch, lr=self.lr)
        self.log_dict(
            {
                "train_loss": loss,
                "reconstruction": reconstruction,
                "kl": kl,
                "lr": self._optimizer().param_groups[0]["lr"],
            }
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]
