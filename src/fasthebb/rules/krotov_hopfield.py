"""The rule of Krotov and Hopfield."""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from fasthebb.rules.competition import divided_by_peak
from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class KrotovHopfield(Rule):
    """Krotov-Hopfield: the winner moves towards the sample, the k-th ranked neuron is pushed away.

    For one sample ``dw_i = g_i (x - s_i w_i)``, ``s = x W'``, with ``g`` 1 for the largest ``s``, ``-push`` for the
    k-th largest and 0 for the others; summed over the samples and divided by its largest magnitude:

        ``dW = G'X - diag(sum_n g*s) W``, ``dW / max |dW|``

    Krotov and Hopfield (PNAS 116, 2019), with their p = 2. Good for varied first-layer features; the division makes
    every step equally long, so lower the learning rate to zero in the end.

    Args:
        k: rank of the neuron that is pushed away, from 2 on.
        push: by how much, compared with the winner's pull.

    Raises:
        ValueError: for a rank below 2 or, when attached, above a layer's number of neurons; a negative ``push``.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(6, 4)
    >>> plasticity = fasthebb.attach(layer, KrotovHopfield())
    >>> _ = layer(torch.randn(10, 6))
    >>> plasticity.deltas()[""].abs().max()
    tensor(1.)
    """

    k: int = 2
    push: float = 0.4

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"KrotovHopfield k: found {self.k}, expected a rank from 2 on")
        if not (self.push >= 0 and isfinite(self.push)):
            raise ValueError(f"KrotovHopfield push: found {self.push}, expected a number from 0 on")

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """G, ``(g, N, o)``."""
        ranked = s.topk(self.k, dim=-1).indices
        gates = torch.zeros_like(s).scatter_(-1, ranked[..., -1:], -self.push)
        return gates.scatter_(-1, ranked[..., :1], 1)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``G'X`` and ``(G*S)'1``."""
        gates = self.response(synapse, x, s)
        return Sums(update=synapse.correlate(gates, x), decay=synapse.mass(gates * s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return divided_by_peak(sums.update - sums.decay * synapse.weight, synapse)

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """None; refuses a layer with too few neurons."""
        if self.k > synapse.neurons:
            raise ValueError(
                f"KrotovHopfield k: found rank {self.k}, but a layer (or group) has only {synapse.neurons} neurons"
            )
        return {}
