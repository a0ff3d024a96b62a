"""Training of a segmentation network with masks."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import lightning
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import Self

from fasthebb.data import IGNORE
from fasthebb.models import SegmentationNetwork
from fasthebb.training.averaging import move_average
from fasthebb.training.backprop import require_finite_loss
from fasthebb.training.batch_norm import batch_norms, fewest_images, fixed_batch_norms
from fasthebb.training.curves import warm_cosine
from fasthebb.training.layer_groups import freeze, last_convolution, parameter_groups
from fasthebb.training.layout import channels_last, in_channels_last
from fasthebb.training.seeding import seed_epoch
from fasthebb.training.segmentation_loss import segmentation_loss


class SegmenterSettings(TypedDict, total=False):
    """The keywords of a `Segmenter`, for those that build on it."""

    lr: float
    weight_decay: float
    warm_up: float
    features_lr: float | Mapping[str, float]
    frozen: Sequence[str]
    freeze_norms: bool
    ema: float | None
    class_weights: Tensor | None
    seed: int


class Segmenter(lightning.LightningModule):
    """Train `model` on images with masks by backprop: AdamW on cross entropy plus soft Dice.

    Batches are `(images, masks)`, as `fasthebb.data.Crops` gives them. The learning rate rises over the first steps and
    falls to 0 by half a cosine (see `warm_cosine`) until the last step of the trainer's `max_epochs`, of which a
    resumed run therefore needs the same number. Logs `train_loss` and `lr` every epoch and, when the trainer is given
    validation crops, `val_dice` of `network()`: per cent, of all pixels together, the mean over the foreground classes
    (those that are in neither masks nor predictions count as 100).

    Args:
        model: a network with `features` and a `classifier` that ends in a convolution with an output a class; changed
            in place (and put in channels_last layout).
        lr: highest learning rate.
        weight_decay: that of AdamW, which multiplies it by the learning rate.
        warm_up: part of the steps in which the learning rate rises.
        features_lr: factor on the learning rate of `model.features`, or of those of its layers whose names fit a
            pattern: `{"down*": 0.1}` leaves the others at 1.
        frozen: names or patterns of layers of `model.features` that stay exactly as they are, batch norms' running
            statistics among them, and take no gradient any more. `"down*"` is all that is in down1, down2, ...
        freeze_norms: batch norms of `model.features` use their running statistics as they are; scale and shift learn.
        ema: decay of the running average of weights and running statistics (see `move_average`) that `network()`
            gives; None for the weights of the last step.
        class_weights: `(classes,)` factors on the cross entropy of each class's pixels.
        seed: with the number of the epoch it fixes everything that is drawn, so a resumed run equals an uninterrupted
            one.

    Raises:
        ValueError: an argument is out of range, or a pattern matches no layer; during training, a value of a mask that
            is neither a class nor `fasthebb.data.IGNORE`.
        fasthebb.NonFiniteError: at the end of an epoch in which the loss was not finite, before its checkpoint.

    Attributes:
        classes: number of classes.
        fewest: how many images a batch must have for the statistics of batch norms; of fewer they are not taken.

    >>> from fasthebb.models import unet
    >>> module = Segmenter(unet(classes=3, depth=2, width=4), frozen=["down*"])
    >>> module.classes, [name for name, p in module.model.features.named_parameters() if p.requires_grad][0]
    (3, 'up1.transposed.weight')
    """

    class_weights: Tensor | None
    within_epoch = ("_sums", "_images")

    def __init__(
        self,
        model: SegmentationNetwork,
        *,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
        warm_up: float = 0.05,
        features_lr: float | Mapping[str, float] = 1.0,
        frozen: Sequence[str] = (),
        freeze_norms: bool = False,
        ema: float | None = 0.99,
        class_weights: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if lr < 0:
            raise ValueError(f"lr must not be negative, got {lr}")
        if not 0 <= warm_up < 1:
            raise ValueError(f"warm_up is a part of the steps, at least 0 and below 1, got {warm_up}")
        if ema is not None and not 0 <= ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, or None, got {ema}")
        self.model = in_channels_last(model)
        self.classes = last_convolution(model.classifier).out_channels
        if self.classes < 2:
            raise ValueError("found a network with a single class, expected background and at least one more")
        if class_weights is not None and class_weights.shape != (self.classes,):
            raise ValueError(f"expected {self.classes} class weights, one a class, found {tuple(class_weights.shape)}")
        self.register_buffer("class_weights", class_weights, persistent=False)  # on its device, but in no checkpoint
        self.lr, self.weight_decay, self.warm_up, self.seed = lr, weight_decay, warm_up, seed
        self.features_lr, self.frozen, self.freeze_norms, self.ema = features_lr, tuple(frozen), freeze_norms, ema
        self._resting: list[nn.Module] = []
        self._rest(model)
        parameter_groups(model, features_lr)  # a pattern that matches nothing is found out now
        self.average = None if ema is None else copy.deepcopy(model).requires_grad_(False)
        self.fewest = fewest_images(model)
        self._steps, self._lr = 1, 0.0
        self._sums: dict[str, Tensor] = {}
        self._images = 0
        self._labels_checked = False
        self._confusion = MulticlassConfusionMatrix(self.classes, ignore_index=IGNORE)
        self.train()

    def network(self) -> SegmentationNetwork:
        """What is kept of the training: a plain network, with the averaged weights if there are any."""
        return self.model if self.average is None else self.average

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, from which what rests and the average are exempt."""
        super().train(mode)
        for layer in self._resting:
            layer.eval()
        if self.average is not None:
            self.average.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images `(N, C, *size)` to logits `(N, classes, *size)`."""
        logits: Tensor = self.model(channels_last(images))
        return logits

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer trains: groups with the `factor` on their learning rate."""
        return parameter_groups(self.model, self.features_lr)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameter_groups(), lr=self.lr, weight_decay=self.weight_decay)

    def on_train_start(self) -> None:
        """Learn how many steps there will be."""
        self._steps = max(1, int(self.trainer.estimated_stepping_batches))

    def on_train_epoch_start(self) -> None:
        """Set modes and random stream of this epoch."""
        self.train()
        self._sums, self._images = {}, 0
        loader: Any = self.trainer.train_dataloader
        seed_epoch(self.seed, self.current_epoch, loader)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Refuse masks with values that are no class, while they are still on the host (or in the first epoch)."""
        masks = (self.labelled(batch) if self.trainer.training else batch)[1]
        if masks.device.type != "cpu" and self._labels_checked:
            return batch
        strange = masks[(masks != IGNORE) & ((masks < 0) | (masks >= self.classes))]
        if len(strange):
            raise ValueError(
                f"found the value {int(strange[0])} in a mask, expected a class from 0 to {self.classes - 1}, or "
                f"{IGNORE} for pixels to ignore: build the network with one output a class"
            )
        return batch

    def labelled(self, batch: Any) -> Sequence[Tensor]:
        """The `(images, masks)` of a batch."""
        pair: Sequence[Tensor] = batch
        return pair

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates of this step."""
        self._lr = self.lr * warm_cosine(self.done, self.warm_up)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._lr * group["factor"]

    @property
    def done(self) -> float:
        """Part of the steps that are done."""
        return self.global_step / self._steps

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        images, masks = batch
        with fixed_batch_norms(self.model, when=len(images) < self.fewest):
            loss = self.loss(self(images), masks)
        self.record(len(images), train_loss=loss)
        return loss

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """`segmentation_loss` with the class weights if there are any."""
        return segmentation_loss(logits, masks, self.class_weights)

    def record(self, images: int, **losses: Tensor) -> None:
        """Add the losses of a batch of so many images to those that the epoch logs."""
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0) + loss.detach() * images
        self._images += images

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Move the average as well: a checkpoint after the step holds both."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None and self.ema is not None:
            move_average(self.average, self.model, self.ema, self.global_step + 1)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's losses; one that is not finite ends the training."""
        self._labels_checked = True
        losses = {name: total / max(1, self._images) for name, total in self._sums.items()}
        for loss in losses.values():
            require_finite_loss(loss, "training loss", epoch=self.current_epoch, lr=self.lr)
        self.log_dict({**losses, "lr": self._lr})

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Count what the network takes the pixels of a batch `(images, masks)` for."""
        images, masks = batch
        self._confusion.update(self.network()(channels_last(images)).argmax(1), masks)

    def on_validation_epoch_end(self) -> None:
        """Score the validation crops together."""
        found = self._confusion.compute().double()
        self._confusion.reset()
        hits, pixels = found.diagonal()[1:], (found.sum(0) + found.sum(1))[1:]  # of each foreground class
        dice = torch.where(pixels > 0, 2 * hits / pixels.clamp_min(1), 1)  # nothing that could be missed
        self.log("val_dice", 100 * dice.mean(), prog_bar=True)

    def _rest(self, model: SegmentationNetwork) -> None:
        """Freeze what is to stay as it is."""
        self._resting += freeze(model.features, self.frozen)
        if self.freeze_norms:
            self._resting += batch_norms(model.features)
