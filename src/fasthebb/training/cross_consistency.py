"""Cross-consistency training."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from fasthebb.models import SegmentationNetwork
from fasthebb.training.cross_pseudo import draw_anew
from fasthebb.training.decoders import Decoder, encoded
from fasthebb.training.segmenter import SegmenterSettings
from fasthebb.training.semi_supervised import SemiSupervised

NOISE = 0.3
DROPPED = 0.5
LEAST, MOST = 0.6, 0.9


class CrossConsistency(SemiSupervised):
    """Auxiliary decoders learn to say of perturbed maps what the decoder says of the encoder's maps as they are.

        consistency = 1/3 sum_k mean over pixels of |softmax g_k(P_k(z)) - softmax g(z)|^2,  z the encoder's maps

    Ouali, Hudelot and Tami, CVPR 2020, with the perturbations P that need no second look at the network: noise in
    proportion, dropped channels, dropped places that are the strongest. g learns from masks alone, the g_k from it,
    and the encoder from both. In a U-Net z is all that goes from encoder to decoder, the skipped connections included,
    since the image would pass unperturbed by these. Of networks of torchvision z is the coarse features, and of others,
    whose decoder is not known, all features; the g_k are then classifiers alone.

    Args:
        model: as for a `Segmenter`, whose other keywords are understood too.
        weight: highest weight of the consistency.
        ramp: part of the steps in which this weight rises.

    Attributes:
        auxiliary: the decoders g_k, copies of `model`'s own whose classifiers are drawn anew; nothing of them is kept.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        *,
        weight: float = 10.0,
        ramp: float = 0.4,
        **settings: Unpack[SegmenterSettings],
    ) -> None:
        super().__init__(model, weight=weight, ramp=ramp, **settings)
        self.auxiliary = nn.ModuleList()
        for number in range(len(PERTURBATIONS)):
            decoder = copy.deepcopy(Decoder(model.features, model.classifier))
            draw_anew(decoder.classifier, len(PERTURBATIONS) * self.seed + number)
            self.auxiliary.append(decoder.requires_grad_(True))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the network, and the auxiliary decoders."""
        return [*super().parameter_groups(), {"params": [*self.auxiliary.parameters()], "factor": 1.0}]

    def consistency(self, images: Tensor) -> Tensor:
        """Mean squared distance of the auxiliary decoders from the decoder."""
        size = images.shape[2:]
        maps = encoded(self.model.features, images)
        with torch.no_grad():
            said = torch.softmax(Decoder(self.model.features, self.model.classifier)(maps, size).float(), 1)
        distances = [
            (torch.softmax(decoder(perturbed(maps), size).float(), 1) - said).square().sum(1).mean()
            for decoder, perturbed in zip(self.auxiliary, PERTURBATIONS, strict=True)
        ]
        return torch.stack(distances).mean()


def with_noise(maps: Sequence[Tensor]) -> list[Tensor]:
    """Each value times a factor drawn evenly from 1 - `NOISE` to 1 + `NOISE`."""
    return [x * (1 + NOISE * (2 * torch.rand_like(x) - 1)) for x in maps]


def without_channels(maps: Sequence[Tensor]) -> list[Tensor]:
    """Without channels drawn for each image, a part `DROPPED` of them; the others make up for it."""
    return [(nn.functional.dropout2d if x.dim() == 4 else nn.functional.dropout3d)(x, DROPPED) for x in maps]


def without_strongest(maps: Sequence[Tensor]) -> list[Tensor]:
    """Without the places whose mean over channels is above a part, from `LEAST` to `MOST`, of the image's highest."""
    kept = []
    for x in maps:
        attention = x.mean(1, keepdim=True)
        highest = attention.amax(dim=tuple(range(1, x.dim())), keepdim=True)
        part = LEAST + (MOST - LEAST) * torch.rand_like(highest)
        kept.append(x * (attention < part * highest))
    return kept


PERTURBATIONS = (with_noise, without_channels, without_strongest)
