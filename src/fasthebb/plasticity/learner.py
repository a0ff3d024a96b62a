"""One weight, the layers that use it, and what they have seen since the last update."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fasthebb.kernels import at_least_float32
from fasthebb.plasticity.selection import Layer
from fasthebb.rules import Rule, Sums
from fasthebb.synapses import Synapse, Transposed, synapse_of

CHUNK_ELEMENTS = 2**21
"""Outputs worked on at once: a rule's own tensors stay small beside a large layer's, and near the processor's cache."""

UNIT_NORM_EPS = 1e-12
"""Norms below this count as this, where a layer hands on ``x.w / |w|``."""


class NonFiniteError(RuntimeError):
    """A layer's update has become infinite or NaN."""


class Learner:
    """A weight that learns by ``rule``, and the layers tied to it."""

    def __init__(self, layers: list[Layer], rule: Rule, transposed: Transposed = "forward") -> None:
        self.layers = layers
        self.transposed: Transposed = transposed
        self.name = layers[0].name
        self.rule = rule
        self.sums: Sums | None = None
        self.called = False
        self.version: int | None = None  # of the weight, at the first of the sums; unknown in compiled code
        self.nonfinite: Tensor | None = None  # a flag on the device
        self.reducing: Callable[[], tuple[Sums, Tensor]] | None = None
        initial = rule.initial_weight(self.synapse())
        self._drew_weight = initial is not None
        if initial is not None:
            with torch.no_grad():
                self.weight.copy_(initial)
        self.state = dict(rule.initial_state(self.synapse()))

    @property
    def weight(self) -> nn.Parameter:
        """The parameter itself, looked up anew: moving a model may replace it."""
        weight = self.layers[0].module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def synapse(self, module: nn.Module | None = None) -> Synapse:
        """The layer (the first one, if none is given) as its rule sees it."""
        synapse = synapse_of(self.layers[0].module if module is None else module, self.transposed)
        synapse.state = self.current_state()
        return synapse

    def current_state(self) -> dict[str, Tensor]:
        """The rule's state tensors, on the weight's device."""
        state: dict[str, Tensor] = getattr(self, "state", {})
        device = self.weight.device
        if any(value.device != device for value in state.values()):
            self.state = state = {name: value.to(device) for name, value in state.items()}
        return state

    def drawn(self) -> list[Tensor]:
        """What the rule has made to start from, perhaps at random: the weight, if it asked for one, and its state."""
        weights: list[Tensor] = [self.weight.detach()] if self._drew_weight else []
        return [*weights, *self.state.values()]

    def learn(self, module: nn.Module, x: Tensor, output: Tensor, labels: Tensor | None) -> None:
        """Add what ``module`` saw to the sums, at once, keeping no reference to input or output."""
        synapse = self.synapse(module)
        if x.dim() == synapse.unbatched_dims:
            x, output = x[None], output[None]
        images = output.shape[0]
        if output.numel() == 0:
            return
        if labels is not None and labels.shape[0] != images:
            raise ValueError(f"teacher: found {labels.shape[0]} labels for {images} images in layer {self.name!r}")
        if self.rule.supervised and labels is None:
            raise RuntimeError(
                f"layer {self.name!r} learns with labels: call the model inside plasticity.teacher(labels)"
            )
        # float16 overflows in sums over positions; everything else is multiplied in the dtype of the output.
        dtype = torch.float32 if output.dtype == torch.float16 else output.dtype
        # Each chunk gives an update as large as the weight, which should not be what takes the time.
        step = max(1, max(CHUNK_ELEMENTS, self.weight.numel()) // (output.numel() // images))
        for start in range(0, images, step):
            part = slice(start, start + step)
            seen, s = synapse.see(x[part].to(dtype), output[part].to(dtype))
            if labels is not None:
                synapse.labels = labels[part].repeat_interleave(s.shape[1] // labels[part].shape[0])
            self._add(self.rule.sums(synapse, seen, s))

    def _add(self, sums: Sums) -> None:
        values = {name: at_least_float32(value) if isinstance(value, Tensor) else value for name, value in sums.items()}
        self.sums = Sums(**values) if self.sums is None else self.sums + Sums(**values)

    def check_version(self) -> None:
        """Refuse sums that were taken with different weights: their products do not add up."""
        version = None if torch.compiler.is_compiling() else self.weight._version
        if self.sums is None:
            self.version = version
        elif version is not None and self.version is not None and version != self.version:
            self.clear()
            raise RuntimeError(
                f"the weight of layer {self.name!r} changed after it had learned from a batch; "
                "call plasticity.write_grad() before anything that changes weights, such as optimizer.step()"
            )

    def nothing(self) -> Sums:
        """The sums of no samples at all."""
        synapse = self.synapse()
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        x = synapse.weight.new_zeros((0, *synapse.smallest_input), dtype=dtype)
        if self.rule.supervised:
            synapse.labels = torch.zeros(0, dtype=torch.int64, device=x.device)
        return self.rule.sums(synapse, synapse.receive(x), x.new_zeros(synapse.groups, 0, synapse.neurons))

    def delta(self, sums: Sums) -> Tensor:
        """``dW`` of these sums, like the weight."""
        return self.rule.delta(sums, self._updating())

    def gradient(self, sums: Sums, scale: float) -> Tensor:
        """``scale dW``; the sums are used up."""
        return self.rule.gradient(sums, self._updating(), scale)

    def _updating(self) -> Synapse:
        synapse = self.synapse()
        if self.rule.uses_gradient:
            if self.weight.grad is None:
                raise RuntimeError(
                    f"layer {self.name!r}: {type(self.rule).__name__} uses the backprop gradient and found none; "
                    "call loss.backward() before plasticity.write_grad()"
                )
            synapse.gradient = self.weight.grad
        return synapse

    def advance(self, sums: Sums) -> dict[str, Tensor]:
        """The rule's state after these sums."""
        return dict(self.rule.next_state(sums, self.synapse()))

    def clear(self) -> None:
        """Forget what was seen since the last update."""
        self.sums = None
        self.reducing = None

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over state tensors, on the weight's device."""
        self.state = {name: state[name].detach().clone().to(self.weight.device) for name in self.state}


def unit_norm_scale(synapse: Synapse, weight: Tensor) -> Tensor:
    """``1 / max(|w|, eps)`` of each neuron, ``(g, o)``, at least in float32, with the gradient of ``weight``."""
    scale: Tensor = synapse.norms_of(weight).clamp_min(UNIT_NORM_EPS).reciprocal()
    return scale
