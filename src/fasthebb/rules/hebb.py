"""Plain Hebbian learning."""

from dataclasses import dataclass

from torch import Tensor

from fasthebb.rules.hpca import Activation, activate, require_activation
from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class Hebb(Rule):
    """Plain Hebb: a weight grows with the correlation of what it joins.

    For one sample ``dw_i = y_i x``, ``y = f(x W')``, averaged over the N samples:

        ``dW = Y'X / N``

    Hebb (The Organization of Behavior, 1949). Nothing holds the weights back: they grow without bound along the first
    principal component. Good as a baseline, and beside a loss or a rule that decays.

    Args:
        activation: ``f``: ``"identity"``, ``"relu"`` or ``"tanh"``.

    Raises:
        ValueError: for an unknown activation.

    >>> import fasthebb, torch
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[1.0, 0.0]])
    >>> plasticity = fasthebb.attach(layer, Hebb())
    >>> _ = layer(torch.tensor([[2.0, 3.0]]))
    >>> plasticity.deltas()[""]
    tensor([[4., 6.]])
    """

    activation: Activation = "identity"

    def __post_init__(self) -> None:
        require_activation(self, self.activation)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """``Y = f(S)``, ``(g, N, o)``."""
        return activate(s, self.activation)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``Y'X`` and N."""
        return Sums(update=synapse.correlate(self.response(synapse, x, s), x), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return sums.update / sums.count
