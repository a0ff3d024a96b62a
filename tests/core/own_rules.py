"""Rules as a user would write them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fasthebb import Rule, Sums, Synapse


@dataclass(frozen=True)
class Oja(Rule):
    """``dw_i = y_i (x - y_i w_i)``."""

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        return Sums(update=synapse.correlate(s, x), energy=synapse.mass(s.square()), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        return (sums.update - sums.energy * synapse.weight) / sums.count


@dataclass(frozen=True)
class Total(Rule):
    """Plain Hebbian learning without a mean: the update is the sum itself."""

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        return Sums(update=synapse.correlate(s, x))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        return sums.update


@dataclass(frozen=True)
class Sanger(Rule):
    """Linear HPCA out of its two products."""

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        return Sums(update=synapse.correlate(s, x) - synapse.reconstruct_lower(s), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        return sums.update / sums.count


@dataclass(frozen=True)
class Taught(Rule):
    """Each neuron moves towards the mean of the samples of its class."""

    supervised: ClassVar[bool] = True

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        assert synapse.labels is not None
        mask = (synapse.labels[:, None] == torch.arange(synapse.neurons)).to(s.dtype).expand(synapse.groups, -1, -1)
        return Sums(update=synapse.correlate(mask, x), count=mask.sum(1))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        return sums.update / synapse.per_neuron(sums.count.clamp_min(1))


@dataclass(frozen=True)
class Guided(Oja):
    """The size of an Oja step, the sign of the backprop gradient."""

    uses_gradient: ClassVar[bool] = True

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        assert synapse.gradient is not None
        return -synapse.gradient.sign() * super().delta(sums, synapse).abs()


@dataclass(frozen=True)
class Counting(Oja):
    """Starts from ones, and keeps how many updates there have been and the mean response of the last batch."""

    def initial_weight(self, synapse: Synapse) -> Tensor | None:
        return torch.ones_like(synapse.weight)

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        return {"updates": torch.zeros(()), "energy": synapse.per_neuron(synapse.weight_norms() * 0)}

    def next_state(self, sums: Sums, synapse: Synapse) -> dict[str, Tensor]:
        return {"updates": synapse.state["updates"] + 1, "energy": sums.energy / sums.count}
