"""Which layers can learn, and why the others cannot."""

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import UninitializedParameter

_KINDS = (nn.Linear, nn.Conv2d)
_NORMS = (nn.LayerNorm, nn.RMSNorm)


def is_candidate(layer: nn.Module) -> bool:
    """Whether a user might expect ``layer`` to learn: it holds a matrix of weights of its own."""
    if isinstance(layer, _NORMS):
        return False
    if isinstance(layer, (nn.Linear, nn.Bilinear, _ConvNd, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)):
        return True
    return any(p.dim() >= 2 for p in layer.parameters(recurse=False) if not isinstance(p, UninitializedParameter))


def unsupported_reason(layer: nn.Module) -> str | None:
    """Why ``layer`` cannot learn by a Hebbian rule, or ``None`` if it can.

    >>> unsupported_reason(nn.Linear(2, 3)) is None
    True
    >>> unsupported_reason(nn.Embedding(2, 3))
    'Embedding is not a kind of layer that learns; nn.Linear and nn.Conv2d are'
    """
    kind = type(layer)
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return "its forward is never called: attention reads its weight directly"
    if not isinstance(layer, _KINDS):
        return f"{kind.__name__} is not a kind of layer that learns; nn.Linear and nn.Conv2d are"
    weight = layer._parameters.get("weight")
    if weight is None:
        return "its weight is computed from other tensors (parametrization, weight_norm or pruning)"
    if isinstance(weight, UninitializedParameter):
        return "it is lazy and has no weight yet; call the model once first"
    base = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
    overrides = kind.forward is not base.forward or "forward" in vars(layer)
    if isinstance(layer, nn.Conv2d):
        overrides |= type(layer)._conv_forward is not nn.Conv2d._conv_forward or "_conv_forward" in vars(layer)
    if overrides:
        return f"{kind.__name__} computes something else than {base.__name__}: it overrides forward"
    return None
