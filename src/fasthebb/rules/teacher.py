"""A teacher signal: neurons are shared out among the classes, so that labels say who may learn from a sample.

The same number of neurons goes to each class; what is left over learns from every class, and so does every neuron from
a sample without a label (-1). Lagani et al. (Neural Networks 143, 2021) teach a classifier in this way.
"""

import torch
from torch import Tensor

from fasthebb.synapses import Synapse

EVERY_CLASS = -1


def class_of_neurons(neurons: int, classes: int, device: torch.device) -> Tensor:
    """The class of each neuron, ``(neurons,)`` int64, -1 for all of them: leftover ones first.

    >>> class_of_neurons(7, 3, torch.device("cpu")).tolist()
    [-1, 0, 0, 1, 1, 2, 2]
    """
    each = neurons // classes
    index = torch.arange(neurons, device=device) - (neurons - each * classes)
    return torch.where(index < 0, EVERY_CLASS, index // max(each, 1))


def open_neurons(synapse: Synapse, classes: int) -> Tensor:
    """Which neurons of a group may learn from each sample, ``(N, o)``."""
    labels = synapse.labels
    assert labels is not None  # the learner has asked for them
    owners = class_of_neurons(synapse.neurons, classes, labels.device)
    return (owners == EVERY_CLASS) | (labels[:, None] == owners) | (labels[:, None] < 0)


def require_classes(rule: object, classes: int | None) -> None:
    """Refuse a number of classes that is none."""
    if classes is not None and classes < 1:
        raise ValueError(f"{type(rule).__name__} classes: found {classes}, expected at least 1, or None without labels")
