"""One layer seen as a matrix of neurons and a matrix of what they see."""

from typing import Literal

from torch import nn

from fasthebb.synapses.base import Synapse
from fasthebb.synapses.convolution import ConvolutionSynapse
from fasthebb.synapses.dense import LinearSynapse
from fasthebb.synapses.reversed import ReversedTransposedSynapse
from fasthebb.synapses.support import KINDS, is_candidate, unsupported_reason
from fasthebb.synapses.transposed import TransposedConvolutionSynapse

__all__ = [
    "KINDS",
    "ConvolutionSynapse",
    "LinearSynapse",
    "ReversedTransposedSynapse",
    "Synapse",
    "Transposed",
    "TransposedConvolutionSynapse",
    "is_candidate",
    "synapse_of",
    "unsupported_reason",
]

Transposed = Literal["forward", "reversed"]
"""Which form the rules of transposed convolutions have: `TransposedConvolutionSynapse`, `ReversedTransposedSynapse`."""


def synapse_of(layer: nn.Module, transposed: Transposed = "forward") -> Synapse:
    """The synapse of a supported layer.

    Args:
        layer: the layer.
        transposed: which form a transposed convolution has; the same for all others.

    Raises:
        TypeError: for any other module; `unsupported_reason` says why.
    """
    if isinstance(layer, nn.Linear):
        return LinearSynapse(layer)
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return ConvolutionSynapse(layer)
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return ReversedTransposedSynapse(layer) if transposed == "reversed" else TransposedConvolutionSynapse(layer)
    raise TypeError(f"found a {type(layer).__name__}, expected {KINDS}")
