"""Training with labels: the whole network, or a linear probe on frozen features."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from typing_extensions import Self

from fasthebb import Rule, attach
from fasthebb.evaluation import classification_scores
from fasthebb.training.backprop import nesterov_sgd, require_finite_loss
from fasthebb.training.batch_norm import fixed_batch_norms
from fasthebb.training.layout import channels_last
from fasthebb.training.processes import added_up, joined_images, of_mean, process_count
from fasthebb.training.schedule import learning_rate
from fasthebb.training.seeding import seed_epoch


class Classifier(lightning.LightningModule):
    """Train `model` on labelled images by backprop: SGD with Nesterov momentum on the cross entropy.

    The learning rate is constant for ten epochs and then halved every epoch. Logs `train_loss` and `lr` every
    epoch and, when the trainer is given validation images, their `classification_scores` as `val_top1` and so on.

    Args:
        model: maps images `(N, C, H, W)` to logits `(N, classes)`; changed in place (and put in channels_last layout).
        classes: number of classes; labels run from 0 to `classes - 1`.
        epochs: epochs of the whole training.
        lr: learning rate of the first ten epochs.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty on everything that is trained.
        probe: train `model.classifier` only; `model.features` stays in eval mode, its parameters and buffers exactly
            as they are, and takes no gradient any more.
        seed: with the number of the epoch it fixes everything that is drawn, so a resumed run equals an
            uninterrupted one.
        class_weights: `(classes,)` factors on the loss of each class's images, such as `balanced_class_weights` gives.
        stretch: how much longer than that the learning rate stays as it is, before and between the halvings.
        rule: rule by which the layers of `model.features` learn as well, from each batch right before the optimizer's
            step: `Hybrid` or `GlobalGuided`, which use the gradient, or any other, whose update is added to it.

    Attributes:
        plasticity: what `fasthebb.attach` returned for `model.features`, None without a rule; `detach` it afterwards.

    Raises:
        ValueError: the number of class weights is not that of the classes; during training, a label that is no class
            (such as the -1 of unlabelled images).
        fasthebb.NonFiniteError: at the end of an epoch in which the loss was not finite, before its checkpoint.
    """

    class_weights: Tensor | None
    within_epoch = ("_loss_sum", "_images")

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: int,
        epochs: int = 20,
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 5e-2,
        probe: bool = False,
        seed: int = 0,
        class_weights: Tensor | None = None,
        stretch: float = 1.0,
        rule: Rule | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes, self.total_epochs, self.lr, self.momentum = classes, epochs, lr, momentum
        self.weight_decay, self.probe, self.seed, self.stretch = weight_decay, probe, seed, stretch
        if class_weights is not None and class_weights.shape != (classes,):
            raise ValueError(f"expected {classes} class weights, one a class, found {tuple(class_weights.shape)}")
        self.register_buffer("class_weights", class_weights, persistent=False)  # on its device, but in no checkpoint
        self._labels_checked = False
        self._loss_sum = torch.zeros(())
        self._images = 0
        self._validation: list[tuple[Tensor, Tensor]] = []
        if probe and rule is not None:
            raise ValueError("a probe leaves the features as they are: give it no rule")
        if rule is not None and rule.supervised:
            raise ValueError(f"found {type(rule).__name__} with classes, expected a rule without a teacher")
        self.plasticity = None if rule is None else attach(model.get_submodule("features"), rule)
        if probe:
            model.get_submodule("features").requires_grad_(False)
            self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, from which the features of a probe are exempt."""
        super().train(mode)
        if self.probe:
            self.model.get_submodule("features").eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)` to logits `(N, classes)`."""
        images = channels_last(images)
        if not self.probe:
            logits: Tensor = self.model(images)
            return logits
        with torch.no_grad():
            features = self.model.get_submodule("features")(images)
        logits = self.model.get_submodule("classifier")(features)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over the whole model or, for a probe, its classifier."""
        trained = self.model.get_submodule("classifier") if self.probe else self.model
        return nesterov_sgd(trained.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def on_train_epoch_start(self) -> None:
        """Set modes, learning rate and random stream of this epoch."""
        self.train()
        epoch = self.current_epoch
        for group in self._optimizer().param_groups:
            group["lr"] = learning_rate(self.lr, epoch, self.stretch)
        self._loss_sum = torch.zeros((), device=self.device)
        self._images = 0
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, epoch, loader)

    def on_before_batch_transfer(self, batch: Sequence[Tensor], dataloader_idx: int) -> Sequence[Tensor]:
        """Refuse labels that are no class, while they are still on the host (or once, in the first epoch)."""
        labels = batch[1]
        if labels.device.type != "cpu" and self._labels_checked:
            return batch
        if len(labels) and (labels.min() < 0 or labels.max() >= self.classes):
            raise ValueError(
                f"the labels of a batch run from {int(labels.min())} to {int(labels.max())}, expected 0 to "
                f"{self.classes - 1}: leave unlabelled images (-1) out, and build the network with one output a class"
            )
        return batch

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Mean cross entropy of a batch `(images, labels)`, with the class weights if there are any."""
        images, labels = batch
        batches: Any = self.trainer.train_dataloader if process_count() > 1 else None  # one alone needs no trainer
        joined = joined_images(batches, batch_idx, images)
        with fixed_batch_norms(self.model, when=joined == 1):
            loss = self._loss(self(images), labels)
        self._loss_sum += loss.detach() * len(images)
        self._images += len(images)
        return of_mean(loss, len(images), joined)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the rule add to the gradient, or take its place."""
        if self.plasticity is not None:
            self.plasticity.write_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the rule's state."""
        if self.plasticity is not None:
            checkpoint["plasticity"] = self.plasticity.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added."""
        if self.plasticity is not None:
            self.plasticity.load_state_dict(checkpoint["plasticity"])

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss; a non-finite one ends the training."""
        if self.plasticity is not None:
            self.plasticity.check()
        self._labels_checked = True
        total, images = added_up(torch.stack([self._loss_sum, torch.full_like(self._loss_sum, self._images)]))
        loss = total / images.clamp_min(1)
        require_finite_loss(loss, "training loss", epoch=self.current_epoch, lr=self.lr)
        self.log_dict({"train_loss": loss, "lr": self._optimizer().param_groups[0]["lr"]})

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep the logits of a validation batch."""
        images, labels = batch
        self._validation.append((self(images).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Score the validation images together."""
        logits, labels = (torch.cat(part) for part in zip(*self._validation, strict=True))
        self._validation.clear()
        if not torch.isfinite(logits).all():
            return  # the end of the epoch names the cause
        scores = classification_scores(logits, labels, self.classes)
        for name, score in scores.items():
            self.log(f"val_{name}", score, prog_bar=name == "top1")

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not len(labels):  # of several processes one may have no image; its gradients are zero
            return logits.sum()
        if self.class_weights is None:
            return nn.functional.cross_entropy(logits, labels)
        # Over the number of images and not, as torch does, over the sum of their weights: that would let a batch
        # without rare classes count as much as one with them, and undo the weight of an image that is alone.
        return nn.functional.cross_entropy(logits, labels, self.class_weights, reduction="sum") / len(labels)

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]
