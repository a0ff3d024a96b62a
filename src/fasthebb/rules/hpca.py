"""Hebbian principal component analysis."""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal, get_args

import torch
from torch import Tensor

from fasthebb.rules.fixed_points import principal_components
from fasthebb.rules.rule import Rule, Sums
from fasthebb.rules.teacher import open_neurons, require_classes
from fasthebb.synapses import Synapse

Activation = Literal["relu", "tanh", "identity"]
StepScale = Literal["fan_in", "none"]


def activate(s: Tensor, activation: Activation) -> Tensor:
    """``f(S)``, elementwise."""
    if activation == "relu":
        return torch.relu(s)
    return torch.tanh(s) if activation == "tanh" else s


def require_activation(rule: object, activation: str) -> None:
    """Refuse an unknown activation."""
    if activation not in get_args(Activation):
        raise ValueError(
            f"{type(rule).__name__} activation: found {activation!r}, expected one of {get_args(Activation)}"
        )


@dataclass(frozen=True)
class HPCA(Rule):
    """Nonlinear Hebbian PCA: each neuron learns what the neurons before it leave unexplained.

    For one sample ``dw_i = y_i (x - sum_{j<=i} y_j w_j)``, ``y = f(x W')``, averaged over the N samples; as products

        ``dW = (Y'X - tril(Y'Y) W) / N``

    With ``activation="identity"`` this is Sanger's rule (Neural Networks 2, 1989), whose rows converge to the principal
    components; with a nonlinearity, the HPCA of Lagani et al. (Neurocomputing 595, 2024).

    Args:
        activation: ``f``: ``"relu"``, ``"tanh"`` or ``"identity"``. It shapes learning only, never the layer's output.
        step_scale: ``"fan_in"`` divides dW by ``sqrt(K)``, K inputs a neuron, as the authors' public code does,
            so that its learning rates carry over; ``"none"`` does not.
        max_lr: keeps learning rates up to this one stable, by dividing dW by ``max(step scale, 2 max_lr lambda)``,
            where lambda is the largest eigenvalue of ``Y'Y / N``, followed by one step of power iteration an update.
            With momentum m, the learning rate that counts is ``lr / (1 - m)``.
        classes: number of classes that a teacher tells apart (see `fasthebb.rules.teacher`): neurons of other classes
            than the sample's do not respond to it. ``None`` learns without labels.

    Raises:
        ValueError: for an unknown activation or step scale, or a ``max_lr`` that is not a positive number.

    >>> import fasthebb
    >>> layer = torch.nn.Conv2d(3, 8, 5, bias=False)
    >>> plasticity = fasthebb.attach(layer, HPCA(max_lr=0.1))
    >>> _ = layer(torch.randn(2, 3, 16, 16))
    >>> plasticity.deltas()[""].shape
    torch.Size([8, 3, 5, 5])
    """

    activation: Activation = "relu"
    step_scale: StepScale = "fan_in"
    max_lr: float | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        require_activation(self, self.activation)
        require_classes(self, self.classes)
        if self.step_scale not in get_args(StepScale):
            raise ValueError(f"HPCA step_scale: found {self.step_scale!r}, expected one of {get_args(StepScale)}")
        if self.max_lr is not None and not (self.max_lr > 0 and isfinite(self.max_lr)):
            raise ValueError(f"HPCA max_lr: found {self.max_lr}, expected a positive number or None for no bound")

    def fixed_point(self, patches: Tensor, neurons: int, generator: torch.Generator) -> Tensor:
        """Principal components, see `principal_components`, if the activation is the identity."""
        if self.activation != "identity":
            return super().fixed_point(patches, neurons, generator)
        return principal_components(patches, neurons)

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """``Y = f(S)``, ``(g, N, o)``."""
        y = activate(s, self.activation)
        return y if self.classes is None else y * open_neurons(synapse, self.classes)

    @property
    def supervised(self) -> bool:  # type: ignore[override]
        """Whether labels are needed."""
        return self.classes is not None

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """``Y'X - tril(Y'Y) W`` and N; with ``max_lr`` also ``Y'Y v``."""
        y = self.response(synapse, x, s)
        sums: dict[str, Tensor | float] = {"update": synapse.correlate_residual(y, x), "count": synapse.positions(s)}
        if self.max_lr is not None:
            direction = synapse.state["direction"].to(y.dtype)[..., None]  # (g, o, 1)
            sums["power"] = (y.mT @ (y @ direction))[..., 0]  # (g, o)
        return Sums(**sums)

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return sums.update * self._factor(sums, synapse)

    def gradient(self, sums: Sums, synapse: Synapse, scale: float) -> Tensor:
        """See `Rule`: one pass, in place."""
        return sums.update.mul_(self._factor(sums, synapse) * scale)

    def _factor(self, sums: Sums, synapse: Synapse) -> Tensor | float:
        """``1 / N`` over the step scale, a number or one a neuron."""
        scale = sqrt(synapse.fan_in) if self.step_scale == "fan_in" else 1.0
        if self.max_lr is None:
            return 1 / (sums.count * scale)
        # |Y'Y v| / N is lambda to within one step of power iteration, as v has unit norm.
        steepest = torch.linalg.vector_norm(sums.power, dim=-1, keepdim=True) / sums.count  # (g, 1)
        divisor = torch.clamp(2 * self.max_lr * steepest, min=scale) * sums.count
        return synapse.per_neuron(divisor.reciprocal().expand(-1, synapse.neurons))

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """The direction v of the power iteration: uniform, which no nonnegative ``Y'Y`` is blind to."""
        if self.max_lr is None:
            return {}
        dtype = torch.promote_types(synapse.weight.dtype, torch.float32)
        shape = (synapse.groups, synapse.neurons)
        return {"direction": torch.full(shape, synapse.neurons**-0.5, dtype=dtype, device=synapse.weight.device)}

    def next_state(self, sums: Sums, synapse: Synapse) -> dict[str, Tensor]:
        """``v = Y'Y v / |Y'Y v|``; unchanged where the layer was silent."""
        if self.max_lr is None:
            return {}
        norm = torch.linalg.vector_norm(sums.power, dim=-1, keepdim=True)
        usable = (norm > 0) & norm.isfinite()
        direction = torch.where(usable, sums.power / norm, synapse.state["direction"])
        return {"direction": direction}
