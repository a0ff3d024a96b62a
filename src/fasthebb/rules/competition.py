"""What rules have in common whose neurons compete for each sample."""

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb.rules.fixed_points import whitened_prototypes
from fasthebb.rules.rule import Rule, Sums
from fasthebb.rules.teacher import open_neurons, require_classes
from fasthebb.synapses import Synapse


def similarity(s: Tensor, patch_norms: Tensor, weight_norms: Tensor, scale: float) -> Tensor:
    """``scale ((1 + cos(x, w)) / 2)^2`` from the products ``s``, at least in float32.

    Zero vectors have the cosine 0. Responses are large: constants are folded into the norms, and all but the first of
    the passes are in place.
    """
    half = sqrt(scale) / 2
    tiny = torch.finfo(patch_norms.dtype).tiny
    similar = s * patch_norms.clamp_min(tiny).reciprocal()
    per_neuron = weight_norms.clamp_min(tiny).reciprocal() * half
    return similar.mul_(per_neuron).add_(half).square_()


def divided_by_peak(update: Tensor, synapse: Synapse) -> Tensor:
    """A tensor like the weight, divided by its largest magnitude; each group by its own."""
    peak = update.reshape(synapse.groups, -1).abs().amax(1, keepdim=True).clamp_min(torch.finfo(update.dtype).tiny)
    return update / synapse.per_neuron(peak.expand(-1, synapse.neurons))


class CompetitiveRule(Rule):
    """Winners move towards the sample, each by its share R of it.

    With ``alike = ((1 + cos(x, w)) / 2)^2``, what a rule makes of it is the `scores`, and of these `shares`, R. For one
    sample ``dw_i = r_i (x - w_i)``, averaged over the samples with weights ``r_i / sum_n r_i``; as products

        ``Q = R*R / sum_n R`` (columnwise), ``dW = Q'X - diag(Q'1) W``

    The layer hands on ``x.w / |w|`` (plus its bias).

    Attributes:
        classes: number of classes that a teacher tells apart (see `fasthebb.rules.teacher`): neurons of other classes
            than the sample's do not compete for it. ``None`` learns without labels. A field of each rule.
    """

    classes: int | None

    competitive: ClassVar[bool] = True
    unit_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_classes(self, self.classes)

    @property
    def supervised(self) -> bool:  # type: ignore[override]
        """Whether labels are needed."""
        return self.classes is not None

    @property
    def sharpness(self) -> float:
        """What similarities are multiplied with before they become `scores`."""
        return 1.0

    def scores(self, alike: Tensor) -> Tensor:
        """By what neurons compete, from ``sharpness`` times their similarity ``(g, N, o)``: the higher the better."""
        return alike

    def shares(self, scores: Tensor) -> Tensor:
        """R, ``(g, N, o)``: by default the softmax over neurons."""
        return torch.softmax(scores, dim=-1)

    def fixed_point(self, patches: Tensor, neurons: int, generator: torch.Generator) -> Tensor:
        """What hard competition comes to among whitened patches, see `whitened_prototypes`."""
        return whitened_prototypes(patches, neurons, generator)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """Each neuron's share R of each sample, ``(g, N, o)``."""
        alike = similarity(s, synapse.window_norms(x), synapse.weight_norms()[:, None], self.sharpness)
        scores = self.scores(alike)
        if self.classes is None:
            return self.shares(scores)
        chosen = open_neurons(synapse, self.classes)
        return self.shares(scores.masked_fill(~chosen, -torch.inf)) * chosen

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``(R*R)'X``, ``(R*R)'1`` and ``R'1``."""
        shares = self.response(synapse, x, s)
        share = synapse.mass(shares)
        squares = shares.square_()
        return Sums(correlation=synapse.correlate(squares.to(s.dtype), x), mass=synapse.mass(squares), share=share)

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        pulled = torch.addcmul(sums.correlation, sums.mass, synapse.weight, value=-1)
        return pulled.div_(sums.share.clamp_min(torch.finfo(sums.share.dtype).tiny))

    def gradient(self, sums: Sums, synapse: Synapse, scale: float) -> Tensor:
        """See `Rule`: two passes, in place."""
        factor = sums.share.clamp_min(torch.finfo(sums.share.dtype).tiny).reciprocal() * scale
        return sums.correlation.addcmul_(sums.mass, synapse.weight, value=-1).mul_(factor)
