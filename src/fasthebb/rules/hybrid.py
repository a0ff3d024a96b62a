"""A local rule and backprop together."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from fasthebb.rules.rule import Rule, Sums
from fasthebb.synapses import Synapse


@dataclass(frozen=True)
class Hybrid(Rule):
    """A weighted sum of a local update and the gradient of a loss.

    With ``dW`` the update of ``rule`` and G the backprop gradient, the gradient that the optimizer gets is

        ``-local dW + backprop G``

    Call ``loss.backward()`` before ``plasticity.write_grad()``. Good for features that serve a task and the images'
    own structure at once, where labels are few. (With ``backprop=1``, ``attach(..., local_scale=local)`` does the same
    and also runs where there is no gradient.)

    Args:
        rule: any rule that does not use the gradient itself.
        local: weight of the local update.
        backprop: weight of the gradient.

    Raises:
        ValueError: for weights that are not finite, or a rule that uses the gradient itself.

    >>> import fasthebb, torch
    >>> layer = torch.nn.Linear(3, 2)
    >>> plasticity = fasthebb.attach(layer, Hybrid(fasthebb.HPCA(), local=0.1))
    >>> layer(torch.randn(5, 3)).square().mean().backward()
    >>> plasticity.write_grad()
    """

    rule: Rule
    local: float = 1.0
    backprop: float = 1.0

    uses_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rule.uses_gradient:
            raise ValueError(f"Hybrid rule: found {type(self.rule).__name__}, which uses the gradient itself")
        for name in ("local", "backprop"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"Hybrid {name}: found {getattr(self, name)}, expected a finite number")

    @property
    def competitive(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.competitive

    @property
    def unit_norm(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.unit_norm

    @property
    def supervised(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.supervised

    def response(self, synapse: Synapse, x: Tensor, s: Tensor) -> Tensor:
        """As the rule."""
        return self.rule.response(synapse, x, s)

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """As the rule."""
        return self.rule.sums(synapse, x, s)

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``local dW - backprop G``."""
        assert synapse.gradient is not None
        return self.local * self.rule.delta(sums, synapse) - self.backprop * synapse.gradient

    def initial_weight(self, synapse: Synapse) -> Tensor | None:
        """As the rule."""
        return self.rule.initial_weight(synapse)

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """As the rule."""
        return self.rule.initial_state(synapse)

    def next_state(self, sums: Sums, synapse: Synapse) -> dict[str, Tensor]:
        """As the rule."""
        return self.rule.next_state(sums, synapse)
