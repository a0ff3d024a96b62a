"""What the plastic layers do, measured early enough to stop a run that learns nothing."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from fasthebb import Plasticity

HARDLY_MOVED = 1e-3
MOSTLY_DEAD = 0.5


class ReadoutWarning(UserWarning):
    """A plastic layer has hardly moved, or most of its neurons are dead."""


@dataclass(frozen=True)
class Readout:
    """Four numbers about one plastic layer of O neurons.

    Attributes:
        weight_norm: mean length of the neurons' weight vectors.
        relative_change: length of the weights' way since the start, divided by their length then: |W - W0| / |W0|.
        winner_entropy: how evenly the strongest responses are spread over the neurons, from 0 (one neuron always
            wins) to 1 (all win equally often): the entropy of the winners' counts divided by log O. Positions at
            which nothing responds have no winner.
        dead_neurons: fraction of the neurons that respond nowhere: never above zero or, where the rule makes neurons
            compete, never above the 1/O of an even contest.
    """

    weight_norm: float
    relative_change: float
    winner_entropy: float
    dead_neurons: float


READOUTS = tuple(field.name for field in fields(Readout))


def measure(plasticity: Plasticity, initial: Mapping[str, Tensor], forward: Callable[[], object]) -> dict[str, Readout]:
    """Read out every plastic layer that `forward` calls. Nothing learns meanwhile.

    Args:
        plasticity: the layers and their rules.
        initial: each layer's weight before learning, by layer name.
        forward: runs the probe images through the network, in eval mode.
    """
    wins: dict[str, Tensor] = {}
    alive: dict[str, Tensor] = {}

    def observe(name: str, response: Tensor) -> None:
        neurons = response.shape[1]
        strongest, winner = response.max(dim=1)
        count = torch.bincount(winner[strongest > 0], minlength=neurons)
        threshold = 1 / neurons if plasticity.rules[name].competitive else 0.0
        responded = (response > threshold).any(dim=0)
        wins[name] = wins[name] + count if name in wins else count
        alive[name] = alive[name] | responded if name in alive else responded

    with torch.no_grad(), plasticity.paused(), plasticity.observed(observe):
        forward()
    readouts = {}
    for name, layer in plasticity.layers.items():
        if name not in wins:
            continue
        weight = layer.get_parameter("weight").detach().flatten(1).float()
        start = initial[name].to(weight.device).flatten(1).float()
        readouts[name] = Readout(
            weight_norm=float(weight.norm(dim=1).mean()),
            relative_change=float((weight - start).norm() / start.norm()),
            winner_entropy=_evenness(wins[name]),
            dead_neurons=float(1 - alive[name].float().mean()),
        )
    return readouts


def _evenness(counts: Tensor) -> float:
    total = counts.sum()
    if len(counts) < 2 or total == 0:
        return 0.0
    share = counts[counts > 0].double() / total
    return float(-(share * share.log()).sum() / math.log(len(counts)))


def as_metrics(readouts: Mapping[str, Readout]) -> dict[str, float]:
    """The same numbers as metrics named `layer/<layer name>/<readout>`."""
    return {
        f"layer/{name}/{key}": value for name, readout in readouts.items() for key, value in asdict(readout).items()
    }


def warn_of_idle_layers(plasticity: Plasticity, readouts: Mapping[str, Readout]) -> None:
    """Warn, in one message with a line a problem, of layers that hardly moved or whose neurons are mostly dead."""
    lines = []
    for name, readout in readouts.items():
        if readout.relative_change < HARDLY_MOVED:
            lines.append(
                f"{name} has hardly moved: its weights changed by {100 * readout.relative_change:.2g} %; "
                "raise the learning rate, or give it more images or epochs"
            )
        if readout.dead_neurons > MOSTLY_DEAD:
            competitive = plasticity.rules[name].competitive
            remedy = (
                "whiten the images, lower the rule's temperature, or use more images"
                if competitive
                else "lower the learning rate, set the rule's max_lr, whiten the images, or use more images"
            )
            lines.append(f"{name}: {100 * readout.dead_neurons:.0f} % of its neurons are dead; {remedy}")
    if lines:
        warnings.warn("after the first epoch\n  " + "\n  ".join(lines), ReadoutWarning, stacklevel=2)
