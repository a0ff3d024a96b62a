"""What every training with masks of a few images and many images without has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from fasthebb.models import SegmentationNetwork
from fasthebb.training.batch_norm import fixed_batch_norms
from fasthebb.training.curves import ramp_up
from fasthebb.training.layout import channels_last
from fasthebb.training.segmenter import Segmenter, SegmenterSettings


class SemiSupervised(Segmenter, ABC):
    """A `Segmenter` that has something to learn from images without masks as well, a loss called consistency.

        loss = supervised(images, masks) + weight * ramp_up(done) * consistency(unlabelled images)

    Batches are `((images, masks), (unlabelled images, ...))`, as `LabelledAndUnlabelled` gives them. Logs
    `consistency_loss`, without its weight, beside `train_loss`, the whole, and `lr`.

    Args:
        model: as for a `Segmenter`, whose other keywords are understood too.
        weight: highest weight of the consistency.
        ramp: part of the steps in which this weight rises (see `ramp_up`): predictions have to be worth something
            before one learns from them.
    """

    def __init__(
        self, model: SegmentationNetwork, *, weight: float, ramp: float = 0.4, **settings: Unpack[SegmenterSettings]
    ) -> None:
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        if not 0 <= ramp <= 1:
            raise ValueError(f"ramp is a part of the steps, from 0 to 1, got {ramp}")
        super().__init__(model, **settings)
        self.weight, self.ramp = weight, ramp

    @abstractmethod
    def consistency(self, images: Tensor) -> Tensor:
        """What disagrees about images without masks `(N, C, *size)`: a scalar, at least 0."""

    def supervised(self, images: Tensor, masks: Tensor) -> Tensor:
        """The loss of images with masks."""
        return self.loss(self(images), masks)

    def labelled(self, batch: Any) -> Sequence[Tensor]:
        """The `(images, masks)` of a batch."""
        pair: Sequence[Tensor] = batch[0]
        return pair

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a pair of batches."""
        (images, masks), (unlabelled, *_) = batch
        with fixed_batch_norms(self, when=min(len(images), len(unlabelled)) < self.fewest):
            supervised = self.supervised(channels_last(images), masks)
            consistency = self.consistency(channels_last(unlabelled))
        loss = supervised + self.weight * ramp_up(self.done, self.ramp) * consistency
        self.record(len(images), train_loss=loss, consistency_loss=consistency)
        return loss
