"""Soft winner-takes-all by projections, summed over patches."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class SummedSWTA(Rule):
    """Soft winner-takes-all in which neurons compete by their projections, and every patch counts the same.

    ``R = softmax over neurons of b x.w / |w|``; for one sample ``dw_i = r_i (x - w_i)``, summed over the samples; as
    products

        ``dW = R'X - diag(R'1) W``

    Ciampi et al. (Neural Networks 2026), for U-Nets. The layer hands on ``x.w / |w|`` (plus its bias). Beside `SWTA`, a
    strong patch decides more clearly than a weak one, and a neuron learns the faster the more it wins. The sum grows
    with the number of patches: a learning rate must stay below one over the largest ``R'1``, and the layers of small
    maps learn more slowly than those of large ones.

    Args:
        inverse_temperature: b of the softmax; the higher, the fewer winners a sample has.

    Raises:
        ValueError: for an inverse temperature that is not a positive number.

    >>> import fasthebb, torch
    >>> layer = torch.nn.Conv2d(3, 8, 3, bias=False)
    >>> plasticity = fasthebb.attach(layer, SummedSWTA())
    >>> _ = layer(torch.randn(2, 3, 16, 16))
    >>> plasticity.deltas()[""].shape
    torch.Size([8, 3, 3, 3])
    """

    inverse_temperature: float = 50.0

    competitive: ClassVar[bool] = True
    unit_norm: ClassVar[bool] = True
    summed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.inverse_temperature > 0 and isfinite(self.inverse_temperature)):
            raise ValueError(
                f"SummedSWTA inverse_temperature: found {self.inverse_temperature}, expected a positive number such "
                "as 50"
            )

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """Each neuron's share R of each sample, ``(g, N, o)``, at least in float32."""
        norms = synapse.weight_norms()[:, None]  # (g, 1, o)
        projections = s / norms.clamp_min(torch.finfo(norms.dtype).tiny)  # 0 of a silent neuron
        return torch.softmax(projections.mul_(self.inverse_temperature), dim=-1)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``R'X`` and ``R'1``."""
        shares = self.response(synapse, x, s)
        return Sums(correlation=synapse.correlate(shares.to(s.dtype), x), mass=synapse.mass(shares))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return torch.addcmul(sums.correlation, sums.mass, synapse.weight, value=-1)
