"""VAE pre-training of a U-Net: its layers learn from images alone, by backprop."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from fasthebb.models import SegmentationNetwork
from fasthebb.training.backprop import require_finite_loss
from fasthebb.training.curves import warm_cosine
from fasthebb.training.layout import channels_last, in_channels_last
from fasthebb.training.seeding import seed_epoch
from fasthebb.training.unet_autoencoder import UNetAutoencoder

WARM_UP = 0.05


class SegmentationVAE(lightning.LightningModule):
    """Train `model.features` as the two halves of a `UNetAutoencoder`: what Hebbian pre-training is compared with.

    The loss is that of `VAEPretraining`, whose measures are logged: with E half the squared error summed over the D
    values of an image, and KL the divergence of its code from the standard normal distribution, both in nats and
    averaged over the images,

        (2 / D) (E + KL)

    AdamW; the learning rate rises over the first steps and falls to 0 by half a cosine. Masks are never read, the
    classifier is left alone. Afterwards `reestimate_batch_norm` settles the batch norms of the features, which have
    seen no skipped connections.

    Args:
        model: of `unet`; its features are changed in place (and put in channels_last layout).
        lr: highest learning rate; 0 is the control in which only batch norm adapts.
        weight_decay: that of AdamW.
        epochs: epochs of the whole training.
        seed: fixes the layers around the code, and with the number of the epoch everything that is drawn, so a resumed
            run equals an uninterrupted one.
        latent: variables of the code at each position of the bottom.

    Raises:
        ValueError: an argument is out of range, or the network is no U-Net.
        fasthebb.NonFiniteError: at the end of an epoch in which the loss was not finite, before its checkpoint.

    Attributes:
        vae: the autoencoder around `model.features`.
        total_epochs: epochs of the whole training.
    """

    within_epoch = ("_sums", "_images")

    def __init__(
        self,
        model: SegmentationNetwork,
        *,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        epochs: int,
        seed: int = 0,
        latent: int = 256,
    ) -> None:
        super().__init__()
        if lr < 0:
            raise ValueError(f"lr must not be negative, got {lr}")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        self.model = model
        with torch.random.fork_rng(devices=[]):
            seed_epoch(seed, -1, [])  # a stream that neither the network's weights nor any epoch draws from
            self.vae = in_channels_last(UNetAutoencoder(model, latent=latent))
        self.lr, self.weight_decay, self.total_epochs, self.seed = lr, weight_decay, epochs, seed
        self._steps, self._lr = 1, 0.0
        self._sums = torch.zeros(3)  # of loss, reconstruction and divergence over the images of the epoch
        self._images = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over encoder, code and decoder."""
        return torch.optim.AdamW(self.vae.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def on_train_start(self) -> None:
        """Learn how many steps there will be."""
        self._steps = max(1, self.total_epochs * int(self.trainer.num_training_batches))

    def on_train_epoch_start(self) -> None:
        """Set modes and random stream of this epoch."""
        self.train()
        self._sums, self._images = torch.zeros(3, device=self.device), 0
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, self.current_epoch, loader)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        self._lr = self.lr * warm_cosine(self.global_step / self._steps, WARM_UP)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._lr

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Loss of a batch that begins with images `(N, C, *size)`."""
        images = channels_last(batch[0])
        reconstructions, posterior = self.vae(images)
        error = (reconstructions.to(images.dtype) - images).square()
        reconstruction, kl = 0.5 * error.sum() / len(images), posterior.kl().mean()
        loss: Tensor = 2 / images[0].numel() * (reconstruction + kl)
        self._sums += torch.stack([loss, reconstruction, kl]).detach() * len(images)
        self._images += len(images)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss and its terms; a loss that is not finite ends the training."""
        loss, reconstruction, kl = self._sums / max(1, self._images)
        require_finite_loss(loss, "loss of the autoencoder", epoch=self.current_epoch, lr=self.lr)
        self.log_dict({"train_loss": loss, "reconstruction": reconstruction, "kl": kl, "lr": self._lr})
