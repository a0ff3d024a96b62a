"""Cross pseudo supervision."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from fasthebb.models import SegmentationNetwork
from fasthebb.training.layer_groups import parameter_groups
from fasthebb.training.layout import in_channels_last
from fasthebb.training.seeding import seed_epoch
from fasthebb.training.segmenter import SegmenterSettings
from fasthebb.training.semi_supervised import SemiSupervised


class CrossPseudo(SemiSupervised):
    """Two networks, each of which learns from the masks and from what the other takes the images without masks for.

        consistency = H(argmax f2(x), f1(x)) + H(argmax f1(x), f2(x)),  H the mean cross entropy over pixels

    Chen et al., CVPR 2021, on the unlabelled images. The supervised loss is the sum of both networks' losses. The first
    network is what is kept.

    Args:
        model: as for a `Segmenter`, whose other keywords are understood too.
        second: another network with other weights, changed in place; the same keywords hold for it. If left out, a copy
            of `model` whose classifier is drawn anew, which suits pre-trained features: without these, give it one
            whose features are drawn anew too.
        weight: highest weight of the consistency.
        ramp: part of the steps in which this weight rises.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        second: SegmentationNetwork | None = None,
        *,
        weight: float = 1.0,
        ramp: float = 0.4,
        **settings: Unpack[SegmenterSettings],
    ) -> None:
        super().__init__(model, weight=weight, ramp=ramp, **settings)
        if second is None:
            second = copy.deepcopy(model)
            draw_anew(second.classifier, self.seed)
        self.second = in_channels_last(second)
        self._rest(second)
        self.train()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of both networks."""
        return super().parameter_groups() + parameter_groups(self.second, self.features_lr)

    def supervised(self, images: Tensor, masks: Tensor) -> Tensor:
        """The sum of both networks' losses."""
        return super().supervised(images, masks) + self.loss(self.second(images), masks)

    def consistency(self, images: Tensor) -> Tensor:
        """Cross entropy of each network with the other's most likely classes."""
        first, second = self.model(images).float(), self.second(images).float()
        return _cross_entropy(first, second.argmax(1)) + _cross_entropy(second, first.argmax(1))


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    # The mean by itself: torch's own has no reproducible form on every device.
    return nn.functional.cross_entropy(logits, classes, reduction="none").mean()


def draw_anew(module: nn.Module, seed: int) -> None:
    """Give layers other random weights, a function of the seed alone; the stream of random numbers goes on unmoved."""
    with torch.random.fork_rng(devices=[]):
        seed_epoch(seed, -1, [])  # a stream that neither the networks' weights nor any epoch draws from
        for layer in module.modules():
            reset: Any = getattr(layer, "reset_parameters", None)
            if reset is not None:
                reset()
