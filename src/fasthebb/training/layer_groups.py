"""Which layers of a network there are, which of them learn, and how fast."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn


def layers_like(features: nn.Module, pattern: str, what: str) -> list[nn.Module]:
    """The layers whose names fit a pattern such as ``down*`` or ``up1.conv1``; with one comes all that it holds.

    Raises:
        ValueError: there is none; it names `what` the pattern was for.

    >>> layers_like(nn.Sequential(nn.ReLU(), nn.Tanh()), "1", "frozen")
    [Tanh()]
    """
    named = {name: module for name, module in features.named_modules() if name}
    found = [module for name, module in named.items() if fnmatchcase(name, pattern)]
    if not found:
        close = get_close_matches(pattern, named, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join([*named][:8])}, ..."
        raise ValueError(f"{what}: {pattern!r} matches no layer of the features; {hint}")
    return found


def parameter_groups(model: nn.Module, features_lr: float | Mapping[str, float]) -> list[dict[str, Any]]:
    """Groups for an optimizer, with the `factor` on its learning rate, of all parameters that take a gradient.

    Args:
        model: a network with a `features` module.
        features_lr: factor of the layers in `features`, or one for each pattern of their names; the first that fits
            counts, and 1 where none does. All that is not in `features` has the factor 1.

    Raises:
        ValueError: a factor is negative, or a pattern matches nothing.

    >>> features, classifier = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 3)), nn.Linear(3, 4)
    >>> model = nn.ModuleDict({"features": features, "classifier": classifier})
    >>> groups = parameter_groups(model, {"0": 0.1})
    >>> [(group["factor"], [len(p) for p in group["params"]]) for group in groups]
    [(0.1, [2, 2]), (1.0, [3, 3, 4, 4])]
    """
    features = model.get_submodule("features")
    factors: dict[int, float] = {}
    if isinstance(features_lr, Mapping):
        for pattern, factor in features_lr.items():
            for layer in layers_like(features, pattern, "features_lr"):
                for parameter in layer.parameters():
                    factors.setdefault(id(parameter), factor)
    else:
        factors = {id(parameter): features_lr for parameter in features.parameters()}
    if any(factor < 0 for factor in factors.values()):
        raise ValueError(f"features_lr must not be negative, got {features_lr}")
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(float(factors.get(id(parameter), 1.0)), []).append(parameter)
    return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]


def freeze(features: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Let the layers that fit take no gradient any more, and return them: in eval mode they stay exactly as they are.

    Raises:
        ValueError: a pattern matches nothing.
    """
    frozen = [layer for pattern in patterns for layer in layers_like(features, pattern, "frozen")]
    for layer in frozen:
        layer.requires_grad_(False)
    return frozen


def last_convolution(module: nn.Module) -> Any:
    """The layer of a module that comes last among its convolutions.

    Raises:
        ValueError: there is none.

    >>> last_convolution(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())).out_channels
    4
    """
    found = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d))]
    if not found:
        raise ValueError(
            f"found no convolution in {type(module).__name__}, expected one: build the network with unet()"
        )
    return found[-1]
