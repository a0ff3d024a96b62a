"""Independent component analysis, plain, hierarchical and normalised."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fasthebb.rules.hpca import Activation, activate, require_activation
from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class ICA(Rule):
    """Independent component analysis by the natural gradient: responses become independent of each other.

    For one sample ``dW = W - f(s) s' W``, ``s = W x``, averaged over the N samples:

        ``dW = W - F'S W / N``, ``F = f(S)``

    Amari, Cichocki and Yang (NIPS 1995). Its forms:

    - hierarchical: neuron i heeds only those up to it, ``dW = W - tril(F'S) W / N``, as `HPCA` orders components;
    - normalised: only what is at right angles to each neuron's weights,
      ``dw_i = -(I - w_i w_i' / |w_i|^2) (F'S W / N)_i``, so that norms stay, to first order, without any balance of
      growth and decay.

    Good for edge-like filters from whitened patches; needs about as many inputs as neurons, and a small learning rate.

    Args:
        activation: ``f``: ``"tanh"`` for sources with heavy tails, as images have; ``"relu"`` or ``"identity"``.
        hierarchical: heed only the neurons before each one.
        normalised: step at right angles to the weights.

    Raises:
        ValueError: for an unknown activation.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(6, 4)
    >>> plasticity = fasthebb.attach(layer, ICA(hierarchical=True))
    >>> _ = layer(torch.randn(10, 6))
    >>> plasticity.deltas()[""].shape
    torch.Size([4, 6])
    """

    activation: Activation = "tanh"
    hierarchical: bool = False
    normalised: bool = False

    def __post_init__(self) -> None:
        require_activation(self, self.activation)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """``F = f(S)``, ``(g, N, o)``."""
        return activate(s, self.activation)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``F'S`` and N."""
        return Sums(products=synapse.gram(self.response(synapse, x, s), s), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        products = torch.tril(sums.products) if self.hierarchical else sums.products
        explained = synapse.from_rows(products @ synapse.rows().to(products.dtype)) / sums.count
        if not self.normalised:
            return synapse.weight - explained
        norms = synapse.weight_norms().clamp_min(torch.finfo(products.dtype).tiny)
        unit = synapse.weight / synapse.per_neuron(norms)
        along = synapse.per_neuron(synapse.sum_of(unit * explained))
        return along * unit - explained
