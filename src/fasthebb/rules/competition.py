"""What rules have in common whose neurons compete for each sample."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb.rules.rule import Rule, Sums
from fasthebb.rules.teacher import open_neurons, require_classes
from fasthebb.synapses import Synapse


def similarity(s: Tensor, patch_norms: Tensor, weight_norms: Tensor) -> Tensor:
    """``((1 + cos(x, w)) / 2)^2`` from the products ``s``, at least in float32; 1/4 where either vector is zero."""
    scale = patch_norms * weight_norms
    cosine = s.to(scale.dtype) / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    return ((1 + cosine) / 2).square()


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

    @abstractmethod
    def scores(self, alike: Tensor) -> Tensor:
        """By what neurons compete, from their similarity to the sample, ``(g, N, o)``: the higher the better."""

    def shares(self, scores: Tensor) -> Tensor:
        """R, ``(g, N, o)``: by default the softmax over neurons."""
        return torch.softmax(scores, dim=-1)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """Each neuron's share R of each sample, ``(g, N, o)``."""
        scores = self.scores(similarity(s, synapse.window_norms(x), synapse.weight_norms()[:, None]))
        if self.classes is None:
            return self.shares(scores)
        chosen = open_neurons(synapse, self.classes)
        return self.shares(scores.masked_fill(~chosen, -torch.inf)) * chosen

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``(R*R)'X``, ``(R*R)'1`` and ``R'1``."""
        shares = self.response(synapse, x, s)
        squares = shares.square()
        return Sums(
            correlation=synapse.correlate(squares.to(s.dtype), x),
            mass=synapse.mass(squares),
            share=synapse.mass(shares),
        )

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        pulled = sums.correlation - sums.mass * synapse.weight
        return pulled / sums.share.clamp_min(torch.finfo(sums.share.dtype).tiny)
