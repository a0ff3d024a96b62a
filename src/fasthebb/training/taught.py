"""A classifier taught by a Hebbian rule, the labels being the teacher."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from typing_extensions import Self

from fasthebb import SWTA, Plasticity, attach
from fasthebb.training.layout import channels_last
from fasthebb.training.seeding import seed_epoch


def teach(classifier: nn.Module, classes: int) -> Plasticity:
    """Let the dense layer of a classifier learn by supervised `SWTA`; its bias becomes zero."""
    plasticity = attach(classifier, SWTA(classes=classes))
    for layer in plasticity.layers.values():
        bias = layer.bias
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
    return plasticity


class TaughtClassifier(lightning.LightningModule):
    """Let the last layer of `model.classifier` learn by supervised `SWTA` on features at rest; no gradient is needed.

    Each class has one neuron, which moves towards the features of its class's images: their mean direction in the end.
    The layer hands on `x.w / |w|`, so the class whose mean direction is nearest wins.

    Args:
        model: a network with `features` and a `classifier` that ends in an `nn.Linear`; changed in place (and put in
            channels_last layout). The last layer's bias becomes zero.
        classes: number of classes, outputs of that layer.
        epochs: epochs of the whole training.
        lr: learning rate, between 0 and 1: the part of the way to the mean that a batch moves a neuron.
        seed: with the number of the epoch it fixes everything that is drawn.

    Attributes:
        plasticity: what `fasthebb.attach` returned; `detach` it for a plain network that computes the same.
    """

    def __init__(self, model: nn.Module, *, classes: int, epochs: int = 20, lr: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features, self.classifier = model.get_submodule("features"), model.get_submodule("classifier")
        self.plasticity = teach(self.classifier, classes)
        self.total_epochs, self.lr, self.seed = epochs, lr, seed
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, from which the features are exempt."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)` to logits `(N, classes)`."""
        logits: Tensor = self.model(channels_last(images))
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD without momentum over the last layer."""
        return torch.optim.SGD(self.plasticity.parameters(), lr=self.lr)

    def on_train_epoch_start(self) -> None:
        """Set modes and random stream of this epoch."""
        self.train()
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, self.current_epoch, loader)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """One local step on a batch `(images, labels)`."""
        images, labels = batch
        optimizer = self.optimizers()
        with torch.no_grad():
            features = self.features(channels_last(images))
            with self.plasticity.teacher(labels):
                self.classifier(features)
        self.plasticity.write_grad()
        optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad()  # type: ignore[union-attr]

    def on_train_epoch_end(self) -> None:
        """A weight that is not finite ends the training."""
        self.plasticity.check()
