"""One layer seen as a matrix of neurons and a matrix of what they see."""

from torch import nn

from fasthebb.synapses.base import Synapse
from fasthebb.synapses.convolution import Conv2dSynapse
from fasthebb.synapses.dense import LinearSynapse
from fasthebb.synapses.support import is_candidate, unsupported_reason

__all__ = ["Conv2dSynapse", "LinearSynapse", "Synapse", "is_candidate", "synapse_of", "unsupported_reason"]


def synapse_of(layer: nn.Module) -> Synapse:
    """The synapse of a supported layer.

    Raises:
        TypeError: for any other module; `unsupported_reason` says why.
    """
    if isinstance(layer, nn.Linear):
        return LinearSynapse(layer)
    if isinstance(layer, nn.Conv2d):
        return Conv2dSynapse(layer)
    raise TypeError(f"found a {type(layer).__name__}, expected nn.Linear or nn.Conv2d")
