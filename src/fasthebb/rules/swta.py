"""Soft winner-takes-all."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


def similarity(s: Tensor, patch_norms: Tensor, weight_norms: Tensor) -> Tensor:
    """``((1 + cos(x, w)) / 2)^2`` from the products ``s``, at least in float32; 1/4 where either vector is zero."""
    scale = patch_norms * weight_norms
    cosine = s.to(scale.dtype) / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    return ((1 + cosine) / 2).square()


@dataclass(frozen=True)
class SWTA(Rule):
    """Soft winner-takes-all: neurons compete for each sample, the winners move towards it.

    ``R = softmax over neurons of ((1 + cos(x, w)) / 2)^2 / T``; for one sample ``dw_i = r_i (x - w_i)``, averaged over
    the samples with weights ``r_i / sum_n r_i``; as products

        ``Q = R*R / sum_n R`` (columnwise), ``dW = Q'X - diag(Q'1) W``

    Lagani et al. (Neurocomputing 595, 2024). The layer hands on ``x.w / |w|`` (plus its bias). Images should be
    whitened: without it, neighbouring pixels are so alike that all neurons learn the same.

    Args:
        temperature: T of the softmax; the lower, the fewer winners a sample has.

    Raises:
        ValueError: for a temperature that is not a positive number.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(6, 4)
    >>> plasticity = fasthebb.attach(layer, SWTA())
    >>> _ = layer(torch.randn(10, 6))
    >>> plasticity.deltas()[""].shape
    torch.Size([4, 6])
    """

    temperature: float = 0.02

    competitive: ClassVar[bool] = True
    unit_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and isfinite(self.temperature)):
            raise ValueError(f"SWTA temperature: found {self.temperature}, expected a positive number such as 0.02")

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """Each neuron's share R of each sample, ``(g, N, o)``; the shares of a sample add up to one."""
        alike = similarity(s, synapse.window_norms(x), synapse.weight_norms()[:, None])
        return torch.softmax(alike / self.temperature, dim=-1)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``(R*R)'X``, ``(R*R)'1`` and ``R'1``."""
        shares = self.response(synapse, x, s)
        squares = shares.square()
        return Sums(
            correlation=synapse.correlate(squares.to(s.dtype), x),
            mass=squares.sum(1),  # (g, o)
            share=shares.sum(1),  # (g, o)
        )

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        pulled = sums.correlation - synapse.per_neuron(sums.mass) * synapse.weight
        return pulled / synapse.per_neuron(sums.share.clamp_min(torch.finfo(sums.share.dtype).tiny))
