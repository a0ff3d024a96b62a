"""A student that learns the unlabelled images' classes from a teacher first, and then from itself."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from fasthebb.training.backprop import nesterov_sgd, require_finite_loss
from fasthebb.training.batch_norm import fixed_batch_norms
from fasthebb.training.layout import channels_last
from fasthebb.training.seeding import seed_epoch

USUAL_LR, USUAL_BATCH = 0.3, 250
"""The learning rate measured to work, and for which size of a batch; it goes in proportion."""
WARM_UP = 0.15
"""Part of the steps in which the learning rate rises."""
ROUNDS = 10
FLOOR = 1e-6
"""Nothing is held to be less likely, so that a product never forgets a class."""


class SelfTraining(lightning.LightningModule):
    """Train `model` by backprop on what a teacher, and later the model itself, takes the images for.

    The target of an unlabelled image is ``teacher^h own^(1 - h)``, where h falls from 1 to `heard` over the first
    `trust` of the epochs, and ``own`` is the running mean of what the model has said of that image while it trained,
    each time changed at random (temporal ensembling: Laine and Aila, ICLR 2017), sharpened. Targets are brought to the
    classes' shares among the labelled images (distribution alignment: Berthelot et al., ReMixMatch, ICLR 2020). The
    product rather than the mean of both, as they err in different ways: where they disagree, neither is believed. The
    target of a labelled image is its class.

    Batches are `(images, rows)`: unlabelled image i is row i, labelled image j row ``N + j``. SGD with Nesterov
    momentum; the learning rate rises over the first `WARM_UP` of the steps and falls linearly to 0.

    Args:
        model: maps images `(N, C, H, W)` to logits `(N, classes)`; changed in place (and put in channels_last layout).
        teacher: `(N, classes)` what the teacher takes the unlabelled images for, as probabilities.
        labels: `(n,)` classes of the labelled images.
        lr: highest learning rate.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty.
        temperature: below 1 sharpens what the model has said.
        memory: weight of the past in its running mean.
        trust: part of the epochs after which the teacher is heard no less than by then.
        heard: weight of the teacher in the end.
        seed: with the number of the epoch it fixes everything that is drawn.

    Raises:
        ValueError: there are no labelled images, or the teacher's rows are no probabilities.
        fasthebb.NonFiniteError: at the end of an epoch in which the loss was not finite, before its checkpoint.
    """

    teacher: Tensor
    target: Tensor
    said: Tensor
    shares: Tensor
    within_epoch = ("_loss_sum", "_steps")

    def __init__(
        self,
        model: nn.Module,
        *,
        teacher: Tensor,
        labels: Tensor,
        lr: float = USUAL_LR,
        momentum: float = 0.85,
        weight_decay: float = 5e-4,
        temperature: float = 0.7,
        memory: float = 0.6,
        trust: float = 0.6,
        heard: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not len(labels):
            raise ValueError("self-training needs labelled images, found none")
        if not torch.isfinite(teacher).all() or (teacher.sum(1) - 1).abs().max() > 1e-3:
            raise ValueError("expected a row of probabilities an image from the teacher, which sum to one")
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.momentum, self.weight_decay, self.seed = lr, momentum, weight_decay, seed
        self.temperature, self.memory, self.trust, self.heard = temperature, memory, trust, heard
        classes = teacher.shape[1]
        known = nn.functional.one_hot(labels, classes).to(teacher)
        self.register_buffer("shares", known.mean(0))
        self.register_buffer("teacher", aligned(teacher, self.shares))
        self.register_buffer("target", torch.cat([self.teacher, known]))
        self.register_buffer("said", torch.zeros_like(self.target))
        self._loss_sum = torch.zeros(())
        self._steps = 0
        self._total = 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over the whole model."""
        return nesterov_sgd(self.model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def on_train_start(self) -> None:
        """Learn how many steps there will be; earlier, Lightning would make batches before it knows where to go on."""
        self._total = max(1, int(self.trainer.estimated_stepping_batches))

    def on_train_epoch_start(self) -> None:
        """Fix the random stream of this epoch."""
        self.train()
        self._loss_sum = torch.zeros((), device=self.device)
        self._steps = 0
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, self.current_epoch, loader)

    def on_train_batch_start(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Set the learning rate of this step."""
        done = self.global_step / self._total
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.lr * (done / WARM_UP if done < WARM_UP else (1 - done) / (1 - WARM_UP) + 0.01)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Mean cross entropy with the targets; what the model says is kept."""
        images, rows = batch
        with fixed_batch_norms(self.model, when=len(images) == 1):
            logits = self.model(channels_last(images))
        likely = torch.log_softmax(logits.float(), dim=1)
        loss = -(self.target[rows] * likely).sum(1).mean()
        said = likely.detach().exp()
        self.said[rows] = torch.lerp(said, self.said[rows], self.memory)
        self._loss_sum += loss.detach()
        self._steps += 1
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the loss, and set the targets of the next epoch."""
        loss = self._loss_sum / max(1, self._steps)
        require_finite_loss(loss, "training loss", epoch=self.current_epoch, lr=self.lr)
        self.log_dict({"train_loss": loss, "lr": self.trainer.optimizers[0].param_groups[0]["lr"]})
        epochs = self.trainer.max_epochs or 1
        gone = min(1.0, (self.current_epoch + 1) / (self.trust * epochs))
        count, heard = len(self.teacher), 1 - gone * (1 - self.heard)
        own = aligned(self.said[:count].clamp_min(FLOOR) ** (1 / self.temperature), self.shares)
        both = self.teacher.clamp_min(FLOOR) ** heard * own.clamp_min(FLOOR) ** (1 - heard)
        self.target[:count] = aligned(both, self.shares)


def aligned(likely: Tensor, shares: Tensor) -> Tensor:
    """Probabilities whose mean over the images is about the classes' shares: rows and columns scaled in turn.

    Args:
        likely: `(N, classes)`, not negative; rows need not sum to one.
        shares: `(classes,)`, sums to one.

    >>> aligned(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0.5, 0.5])).mean(0)
    tensor([0.5000, 0.5000])
    """
    tiny = torch.finfo(likely.dtype).tiny
    likely = likely / likely.sum(1, keepdim=True).clamp_min(tiny)
    for _ in range(ROUNDS):
        likely = likely * (shares / likely.mean(0).clamp_min(tiny))
        likely = likely / likely.sum(1, keepdim=True).clamp_min(tiny)
    return likely
