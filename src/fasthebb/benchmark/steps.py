"""What is timed: one training step of each kind, on a copy of the network of its own."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasthebb import Rule, attach
from fasthebb.benchmark.subjects import Subject
from fasthebb.synapses import synapse_of, unsupported_reason

Step = Callable[[], object]
LR = 1e-4


def _cast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def hebbian_step(subject: Subject, rule: Rule, dtype: torch.dtype, *, compiled: bool = False) -> Step:
    """Forward, the rule's sums, `write_grad`, SGD; perhaps with the first three compiled."""
    model, images = copy.deepcopy(subject.hidden).train(), subject.images
    plasticity = attach(model, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=LR)
    forward = torch.compile(model, fullgraph=True) if compiled else model
    write_grad = torch.compile(plasticity.write_grad, fullgraph=True) if compiled else plasticity.write_grad

    def step() -> None:
        with torch.no_grad(), _cast(images.device, dtype):
            forward(images)
        write_grad()
        optimizer.step()
        optimizer.zero_grad()

    return step


def floor_step(subject: Subject, dtype: torch.dtype) -> Step:
    """The least that any local rule does: forward, the weight gradients by the best kernels, SGD."""
    model, images = copy.deepcopy(subject.hidden).train(), subject.images
    layers = [layer for layer in model.modules() if unsupported_reason(layer) is None]
    weights = [layer.get_parameter("weight") for layer in layers]
    optimizer = torch.optim.SGD(weights, lr=LR)

    def correlate(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        synapse, weight = synapse_of(layer), layer.get_parameter("weight")
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            seen = synapse.receive(args[0].detach().to(output.dtype))
            gradient = synapse.correlate(synapse.responses(output.detach()), seen).to(weight.dtype)
        weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    for layer in layers:
        layer.register_forward_hook(correlate)

    def step() -> None:
        with torch.no_grad(), _cast(images.device, dtype):
            model(images)
        optimizer.step()
        optimizer.zero_grad()

    return step


def backprop_step(subject: Subject, dtype: torch.dtype, *, compiled: bool = False) -> Step:
    """Forward, cross-entropy, backward, SGD, of the whole network; perhaps with the network compiled."""
    model, images, labels = copy.deepcopy(subject.model).train(), subject.images, subject.labels
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        with _cast(images.device, dtype):
            loss = F.cross_entropy(forward(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def inference(subject: Subject, dtype: torch.dtype) -> Step:
    """Forward of the hidden layers alone."""
    model, images = copy.deepcopy(subject.hidden).eval(), subject.images

    def step() -> None:
        with torch.no_grad(), _cast(images.device, dtype):
            model(images)

    return step
