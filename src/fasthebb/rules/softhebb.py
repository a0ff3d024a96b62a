"""SoftHebb."""

from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from torch import Tensor

from fasthebb.rules.competition import divided_by_peak
from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class SoftHebb(Rule):
    """SoftHebb: neurons share each sample by softmax; the one with the largest share learns it, the others unlearn it.

    For one sample ``dw_i = y_i (x - s_i w_i)``, ``s = x W'``, where ``y`` is the softmax of ``b s`` over neurons, with
    the sign of all but the largest turned; summed over the samples and divided by its largest magnitude:

        ``dW = Y'X - diag(sum_n y*s) W``, ``dW / max |dW|``

    Moraitis et al. (Neuromorphic Computing and Engineering 2, 2022); Journé et al. (ICLR 2023), who use b = 1, 0.65 and
    0.25 in three layers. Good for convolutional features of several layers, in small batches.

    Args:
        inverse_temperature: b; the higher, the fewer winners a sample has.
        initial_scale: when attached, weights are drawn anew from a normal distribution of standard deviation
            ``initial_scale / sqrt(K)``, K inputs a neuron; ``None`` leaves the layer's own.

    Raises:
        ValueError: for an inverse temperature or a scale that is not a positive number.

    >>> import fasthebb
    >>> layer = torch.nn.Conv2d(3, 8, 5)
    >>> plasticity = fasthebb.attach(layer, SoftHebb())
    >>> _ = layer(torch.randn(2, 3, 16, 16))
    >>> plasticity.deltas()[""].abs().max()
    tensor(1.)
    """

    inverse_temperature: float = 1.0
    initial_scale: float | None = 25.0

    def __post_init__(self) -> None:
        for name in ("inverse_temperature", "initial_scale"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and isfinite(value)):
                raise ValueError(f"SoftHebb {name}: found {value}, expected a positive number")

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """Y, ``(g, N, o)``."""
        shares = torch.softmax(self.inverse_temperature * s, dim=-1)
        winners = s.argmax(dim=-1, keepdim=True)
        return (-shares).scatter(-1, winners, shares.gather(-1, winners))

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``Y'X`` and ``(Y*S)'1``."""
        y = self.response(synapse, x, s)
        return Sums(update=synapse.correlate(y, x), decay=synapse.mass(y * s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return divided_by_peak(sums.update - sums.decay * synapse.weight, synapse)

    def initial_weight(self, synapse: Synapse) -> Tensor | None:
        """Normal, of standard deviation ``initial_scale / sqrt(K)``."""
        if self.initial_scale is None:
            return None
        return torch.randn_like(synapse.weight) * (self.initial_scale / sqrt(synapse.fan_in))
