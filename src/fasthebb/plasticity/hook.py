"""What is hooked onto a layer: it learns from each forward pass, and normalises the output where the rule says so."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fasthebb.plasticity.learner import Learner, unit_norm_scale
from fasthebb.rules import Rule
from fasthebb.synapses import ReversedTransposedSynapse, Synapse, Transposed, synapse_of

if TYPE_CHECKING:
    from fasthebb.plasticity.attached import Plasticity


class Hook:
    """A forward hook, registered with keyword arguments.

    A deep copy of the model gets hooks without a learner: they keep the layer's function and feed nobody's sums.
    """

    def __init__(
        self,
        rule: Rule,
        transposed: Transposed,
        owner: Plasticity | None = None,
        learner: Learner | None = None,
        module: nn.Module | None = None,
    ) -> None:
        self.rule = rule
        self.transposed: Transposed = transposed
        self.owner = owner
        self.learner = learner
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook(self.rule, self.transposed)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, (self.rule, self.transposed)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        """Learn from the call; give the normalised output, or ``None`` where the layer's own stands."""
        owner, learner = (self.owner, self.learner) if module is self.module else (None, None)
        if owner is not None and not owner.attached:
            return None
        x: Tensor = args[0] if args else kwargs["input"]
        synapse = synapse_of(module, self.transposed) if self.rule.unit_norm else None
        if isinstance(synapse, ReversedTransposedSynapse):
            # Inputs are responses that have been divided by |w|: neurons see what such ones write.
            output = _of_unit_norms(module, synapse, x, output)
            x = x.detach() * synapse.per_output(synapse.weight_norms().to(x.dtype))
        if owner is not None and learner is not None:
            self._attend(owner, learner, module, x, output)
        if synapse is None:
            return None
        return output if isinstance(synapse, ReversedTransposedSynapse) else _normalised(module, synapse, output)

    def _attend(self, owner: Plasticity, learner: Learner, module: nn.Module, x: Tensor, output: Tensor) -> None:
        if not learner.called:
            learner.called = True
        if _recomputing():
            return
        learning = module.training and not owner.is_paused
        if not learning and owner.observer is None:
            return
        with torch.no_grad(), _no_autocast(x.device.type):
            # Inference tensors as gradients could not be cleared in place: the sums are ordinary tensors.
            if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
                owner.attend(learner, module, x.detach(), output.detach(), learning)
            else:
                with torch.inference_mode(False):
                    owner.attend(learner, module, x, output, learning)


def _no_autocast(device: str) -> AbstractContextManager[object]:
    """Products in the dtype of their factors; not every device (``meta``, for one) has an autocast to switch off."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _recomputing() -> bool:
    """Whether backward is running: activation checkpointing then calls the layer a second time."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _of_unit_norms(module: nn.Module, synapse: ReversedTransposedSynapse, x: Tensor, output: Tensor) -> Tensor:
    """``sum_c x_c w_c / max(|w_c|, eps) + bias``, of the size of ``output``, with its gradient."""
    weight = module.get_parameter("weight")
    unit = (weight * synapse.per_neuron(unit_norm_scale(synapse, weight))).to(weight.dtype)
    return synapse.output_of(x, unit, module.bias, output.shape)  # type: ignore[arg-type]


def _normalised(module: nn.Module, synapse: Synapse, output: Tensor) -> Tensor:
    """``(x.w) / max(|w|, eps) + bias`` from ``x.w + bias``, with its gradient."""
    weight, bias = module.get_parameter("weight"), module.bias
    scale = synapse.per_output(unit_norm_scale(synapse, weight).to(output.dtype))
    if not isinstance(bias, Tensor):
        return output * scale
    bias = synapse.per_output(bias.to(output.dtype))
    linear = output - bias
    if torch.is_grad_enabled():
        return torch.addcmul(bias, linear, scale)
    return linear.mul_(scale).add_(bias)  # in place: one tensor of the output's size less at the peak
