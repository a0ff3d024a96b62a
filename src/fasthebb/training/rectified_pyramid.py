"""Uncertainty-rectified pyramid consistency."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from fasthebb.models import SegmentationNetwork
from fasthebb.models.segmentation_elsewhere import CoarseFeatures
from fasthebb.training.cross_pseudo import draw_anew
from fasthebb.training.decoders import LINEAR, fitted, up_levels
from fasthebb.training.layer_groups import last_convolution
from fasthebb.training.layout import in_channels_last
from fasthebb.training.partial import layer_outputs
from fasthebb.training.segmenter import SegmenterSettings
from fasthebb.training.semi_supervised import SemiSupervised

POOLED = (8, 4, 2)


class RectifiedPyramid(SemiSupervised):
    """Predict at S scales, and learn from unlabelled images that these should agree, where they are not too unsure.

        p_c = 1/S sum_s p_s,  D_s = sum_k p_sk log(p_sk / p_ck),  w_s = exp(-D_s)

        consistency = 1/S sum_s ( sum_v w_s |p_s - p_c|^2 / sum_v w_s  +  mean_v D_s ),  v the pixels

    Luo et al., MICCAI 2021 and Medical Image Analysis 2022. p_s is the softmax of the logits at scale s, enlarged to
    the image. In a U-Net the scales are the levels on the way up: the last one has the network's classifier, the others
    have a convolution of one pixel each, of which nothing is kept. Other networks show no such levels: there the scales
    are the features averaged over windows of 8, 4 and 2 pixels, and the features themselves. The supervised loss is the
    mean over the scales.

    Args:
        model: as for a `Segmenter`, whose other keywords are understood too.
        weight: highest weight of the consistency.
        ramp: part of the steps in which this weight rises.

    Attributes:
        heads: the convolutions of the scales, the coarsest first, but for the last scale.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        *,
        weight: float = 0.1,
        ramp: float = 0.4,
        **settings: Unpack[SegmenterSettings],
    ) -> None:
        super().__init__(model, weight=weight, ramp=ramp, **settings)
        last = last_convolution(model.classifier)
        levels = [last_convolution(up) for up in up_levels(model.features)]
        channels = [layer.out_channels for layer in levels[:-1]] if levels else [last.in_channels] * len(POOLED)
        self.heads = in_channels_last(nn.ModuleList(type(last)(inputs, self.classes, 1) for inputs in channels))
        draw_anew(self.heads, self.seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the network, and the heads."""
        return [*super().parameter_groups(), {"params": [*self.heads.parameters()], "factor": 1.0}]

    def supervised(self, images: Tensor, masks: Tensor) -> Tensor:
        """Mean loss of all scales."""
        return torch.stack([self.loss(logits, masks) for logits in self.scales(images)]).mean()

    def scales(self, images: Tensor) -> list[Tensor]:
        """Logits `(N, classes, *size)` of each scale, the coarsest first; the last are those of the network."""
        levels = self._levels(images)
        heads = [*self.heads, self.model.classifier]
        logits = [head(level) for head, level in zip(heads, levels, strict=True)]
        finest = logits[-1].shape[2:]
        return [fitted(_enlarged(one, finest), images.shape[2:]) for one in logits]

    def consistency(self, images: Tensor) -> Tensor:
        """How far the scales are from their mean, rectified by how unsure they are."""
        logs = [torch.log_softmax(logits.float(), 1) for logits in self.scales(images)]
        mean = torch.stack([log.exp() for log in logs]).mean(0)
        return torch.stack([_rectified(log, mean) for log in logs]).mean()

    def _levels(self, images: Tensor) -> list[Tensor]:
        """Maps of every scale, the coarsest first."""
        features = self.model.features
        if ups := up_levels(features):
            return layer_outputs(features, ups, images)
        finest = features.coarse(images) if isinstance(features, CoarseFeatures) else features(images)
        sizes = [[max(1, side // window) for side in finest.shape[2:]] for window in POOLED]
        return [*(F.interpolate(finest, size=size, mode="area") for size in sizes), finest]


def _enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode=LINEAR[len(size)], align_corners=False) if x.shape[2:] != size else x


def _rectified(log_p: Tensor, mean: Tensor) -> Tensor:
    """The term of one scale, from its log-probabilities and the mean of all scales' probabilities."""
    p = log_p.exp()
    unsure = (p * (log_p - mean.clamp_min(torch.finfo(mean.dtype).tiny).log())).sum(1)
    sure = torch.exp(-unsure)
    return (sure * (p - mean).square().sum(1)).sum() / sure.sum() + unsure.mean()
