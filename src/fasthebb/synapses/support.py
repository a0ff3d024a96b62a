"""Which layers can learn, and why the others cannot."""

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList

_BASES = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
KINDS = "nn.Linear, nn.Conv1d, 2d, 3d or nn.ConvTranspose1d, 2d, 3d"
"""The layers that can learn, in words."""
_NORMS = (nn.LayerNorm, nn.RMSNorm)


def is_candidate(layer: nn.Module) -> bool:
    """Whether a user might expect ``layer`` to learn: it holds a matrix of weights of its own."""
    if isinstance(layer, (*_NORMS, ParametrizationList)):
        return False
    if isinstance(layer, (nn.Linear, nn.Bilinear, _ConvNd, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)):
        return True
    if next(layer.children(), None) is not None:  # a block; what it holds itself are tokens, positions and scales
        return False
    return any(p.dim() >= 2 for p in layer.parameters(recurse=False) if not isinstance(p, UninitializedParameter))


def unsupported_reason(layer: nn.Module) -> str | None:
    """Why ``layer`` cannot learn by a Hebbian rule, or ``None`` if it can.

    >>> unsupported_reason(nn.Linear(2, 3)) is None
    True
    >>> unsupported_reason(nn.Embedding(2, 3))
    'Embedding is not a kind of layer that learns: nn.Linear, nn.Conv1d, 2d, 3d or nn.ConvTranspose1d, 2d, 3d'
    """
    kind = type(layer)
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return "its forward is never called: attention reads its weight directly"
    base = next((base for base in _BASES if isinstance(layer, base)), None)
    if base is None:
        return f"{kind.__name__} is not a kind of layer that learns: {KINDS}"
    weight = layer._parameters.get("weight")
    if weight is None:
        return "its weight is computed from other tensors (parametrization, weight_norm or pruning)"
    if isinstance(weight, UninitializedParameter):
        return "it is lazy and has no weight yet; call the model once first"
    overrides = kind.forward is not base.forward or "forward" in vars(layer)
    own = getattr(base, "_conv_forward", None)
    if own is not None:
        overrides |= getattr(kind, "_conv_forward", None) is not own or "_conv_forward" in vars(layer)
    if overrides:
        return f"{kind.__name__} computes something else than {base.__name__}: it overrides forward"
    return None
