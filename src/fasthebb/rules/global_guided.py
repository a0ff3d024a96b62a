"""A local step whose direction a loss decides."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class GlobalGuided(Rule):
    """A three-factor rule: the size of a competitive Oja step, the sign of the backprop gradient.

    With R the softmax of ``s / T`` over neurons, ``s = x W'``, and G the backprop gradient,

        ``D = (R'X - diag(sum_n r*s) W) / N``, ``dW = -sign(G) |D|``

    Hua et al., "Hebbian Learning with Global Direction" (ICASSP 2026). Call ``loss.backward()`` before
    ``plasticity.write_grad()``. Good for deep networks with all labels, where purely local rules fall behind.

    Args:
        temperature: T of the softmax.

    Raises:
        ValueError: for a temperature that is not a positive number.

    >>> import fasthebb
    >>> layer = torch.nn.Linear(3, 2)
    >>> plasticity = fasthebb.attach(layer, GlobalGuided())
    >>> layer(torch.randn(5, 3)).square().mean().backward()
    >>> gradient = layer.weight.grad.clone()
    >>> plasticity.write_grad()
    >>> bool((layer.weight.grad.sign() == gradient.sign()).all())
    True
    """

    temperature: float = 1.0

    competitive: ClassVar[bool] = True
    uses_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and isfinite(self.temperature)):
            raise ValueError(f"GlobalGuided temperature: found {self.temperature}, expected a positive number")

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """R, ``(g, N, o)``."""
        return torch.softmax(s / self.temperature, dim=-1)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``R'X``, ``(R*S)'1`` and N."""
        shares = self.response(synapse, x, s)
        return Sums(update=synapse.correlate(shares, x), decay=synapse.mass(shares * s), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        assert synapse.gradient is not None
        step = (sums.update - sums.decay * synapse.weight) / sums.count
        return -synapse.gradient.sign() * step.abs()
