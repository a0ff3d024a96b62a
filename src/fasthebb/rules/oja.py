"""Oja's rule."""

from dataclasses import dataclass

from torch import Tensor

from fasthebb.rules.hebb import Hebb
from fasthebb.rules.rule import Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class Oja(Hebb):
    """Oja's rule: Hebbian growth with a decay that keeps each neuron's weights at unit norm.

    For one sample ``dw_i = y_i (x - y_i w_i)``, ``y = f(x W')``, averaged over the N samples:

        ``dW = (Y'X - diag(sum_n y*y) W) / N``

    Oja (Journal of Mathematical Biology 15, 1982). Each neuron finds the first principal component by itself, so that
    all find the same: good for single neurons and as a stable part of other rules; for several components take `HPCA`.

    Args:
        activation: ``f``: ``"identity"``, ``"relu"`` or ``"tanh"``.

    Raises:
        ValueError: for an unknown activation.

    >>> import fasthebb, torch
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[1.0, 0.0]])
    >>> plasticity = fasthebb.attach(layer, Oja())
    >>> _ = layer(torch.tensor([[2.0, 3.0]]))
    >>> plasticity.deltas()[""]
    tensor([[0., 6.]])
    """

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``Y'X``, ``(Y*Y)'1`` and N."""
        y = self.response(synapse, x, s)
        return Sums(update=synapse.correlate(y, x), energy=synapse.mass(y.square()), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return (sums.update - sums.energy * synapse.weight) / sums.count
