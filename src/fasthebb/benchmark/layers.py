"""Each plastic layer by itself: its step against its floor, and the forms that its products could take."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fasthebb import Rule, attach
from fasthebb.benchmark.steps import Step, floor_step, hebbian_step
from fasthebb.benchmark.subjects import Subject
from fasthebb.benchmark.timing import in_turns
from fasthebb.kernels.triangle import FORMS, cheaper_form
from fasthebb.plasticity import Plasticity
from fasthebb.synapses import ConvolutionSynapse, Synapse, synapse_of


@dataclass(frozen=True)
class Form:
    """One way to compute a product of a layer.

    Attributes:
        product: ``"correlation"`` or ``"residual"``.
        name: of the form.
        seconds: median time.
        chosen: whether the cost model takes it.
    """

    product: str
    name: str
    seconds: float
    chosen: bool


def layer_subjects(subject: Subject, rule: Rule) -> dict[str, Subject]:
    """Each plastic layer as a network of its own, with the input that it gets in the whole."""
    model = copy.deepcopy(subject.hidden).train()
    plasticity: Plasticity = attach(model, rule)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
            seen.setdefault(name, args[0].detach().clone(memory_format=torch.preserve_format))

        return hook

    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in plasticity.layers.items()]
    with torch.no_grad():
        model(subject.images)
    for handle in handles:
        handle.remove()
    layers = dict(plasticity.layers)
    plasticity.detach()
    return {name: Subject(layers[name], layers[name], x, subject.labels) for name, x in seen.items()}


def time_layers(subject: Subject, rule: Rule, dtype: torch.dtype, repeats: int) -> list[dict[str, Any]]:
    """For each layer the milliseconds of its step, and its ratio to the layer's own floor."""
    rows = []
    for name, alone in layer_subjects(subject, rule).items():
        steps = {"floor": floor_step(alone, dtype), "step": hebbian_step(alone, rule, dtype)}
        timings = in_turns(steps, repeats, alone.images.device)
        rows.append(
            {
                "layer": name,
                "kind": str(alone.hidden).partition("(")[0],
                "weight": list(alone.hidden.get_parameter("weight").shape),
                "milliseconds": round(1e3 * timings.median("step"), 3),
                "to_floor": round(timings.ratio("step", "floor"), 3),
            }
        )
    return rows


def forms_of(alone: Subject, dtype: torch.dtype, repeats: int) -> list[Form]:
    """Every form of a layer's correlation and, where inputs come as rows, of its residual; timed in turns."""
    layer = alone.hidden
    synapse = synapse_of(layer)
    with torch.no_grad():
        output = layer(alone.images)
        x = synapse.receive(alone.images.to(dtype))
        y = torch.relu(synapse.responses(synapse.without_bias(output.to(dtype))))
    forms: list[Form] = []
    if isinstance(synapse, ConvolutionSynapse):
        ways: dict[str, Step] = {
            "kernel": lambda: synapse.correlate_by_kernel(y, x),
            "matrix": lambda: synapse.correlate_by_matrix(y, x),
        }
        forms += _timed("correlation", ways, "matrix" if synapse.prefers_matrix(x) else "kernel", repeats, x)
    if _as_rows(synapse, x):
        rows, patches = synapse.rows().to(dtype), synapse.patches(x)
        chosen = cheaper_form(patches.shape[1], synapse.neurons, patches.shape[2])
        ways = {name: lambda form=form: form(y, patches, rows) for name, form in FORMS.items()}  # type: ignore[misc]
        forms += _timed("residual", ways, chosen, repeats, x)
    return forms


def _as_rows(synapse: Synapse, x: Tensor) -> bool:
    return synapse.patches_are_rows(x) if isinstance(synapse, ConvolutionSynapse) else x.dim() == 2


@torch.no_grad()
def _timed(product: str, ways: dict[str, Step], chosen: str, repeats: int, x: Tensor) -> list[Form]:
    timings = in_turns(ways, repeats, x.device)
    return [Form(product, name, timings.median(name), name == chosen) for name in ways]
