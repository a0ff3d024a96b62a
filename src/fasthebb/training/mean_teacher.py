"""Mean teacher."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from fasthebb.models import SegmentationNetwork
from fasthebb.training.batch_norm import batch_norms
from fasthebb.training.segmenter import SegmenterSettings
from fasthebb.training.semi_supervised import SemiSupervised


class MeanTeacher(SemiSupervised):
    """Learn to say of noisy unlabelled images what the running average of the own weights says (the teacher).

        consistency = mean over pixels of |softmax f(x + e) - softmax f'(x + e')|^2

    Tarvainen and Valpola, NeurIPS 2017. f' is f with averaged weights (`ema` is their decay), e and e' are normal noise
    drawn for each. The teacher is without dropout, and its batch norms take the statistics of the batch where the
    student's do: a difference between these and the running ones is none that could be learned away. `network()` gives
    the teacher.

    Args:
        model: as for a `Segmenter`, whose other keywords are understood too.
        weight: highest weight of the consistency.
        ramp: part of the steps in which this weight rises.
        noise: standard deviation of the noise, in the units of the preprocessed images.

    Raises:
        ValueError: as `Segmenter`, or `ema` is None.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        *,
        weight: float = 1.0,
        ramp: float = 0.4,
        noise: float = 0.1,
        **settings: Unpack[SegmenterSettings],
    ) -> None:
        super().__init__(model, weight=weight, ramp=ramp, **settings)
        if self.average is None:
            raise ValueError("a mean teacher is a running average, found ema=None: give it a decay, such as 0.99")
        self.noise = noise

    def consistency(self, images: Tensor) -> Tensor:
        """Squared distance between student and teacher."""
        student = self.model(self._noisy(images))
        with torch.no_grad(), normalising_like(self.network(), self.model):
            teacher = self.network()(self._noisy(images))
        difference = torch.softmax(student.float(), 1) - torch.softmax(teacher.float(), 1)
        return difference.square().sum(1).mean()

    def _noisy(self, images: Tensor) -> Tensor:
        return images + self.noise * torch.randn_like(images)


@contextmanager
def normalising_like(copied: nn.Module, model: nn.Module) -> Iterator[None]:
    """Let a copy's batch norms take the batch's statistics where the model's do; it keeps its own running ones."""
    norms = [own for own, other in zip(batch_norms(copied), batch_norms(model), strict=True) if other.training]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm in norms:
            norm.training, norm.track_running_stats = False, True
