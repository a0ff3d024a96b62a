"""The rules straight from METHOD.md, in float64, with a loop over samples and a loop over neurons.

Independent of the library: the test's own padding, patches and similarities, so that the naive rules are checked too.
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fasthebb

Definition = Callable[[fasthebb.Rule, Tensor, Tensor], Tensor]


def patches_of(layer: nn.Module, images: Tensor) -> Tensor:
    """Everything that each group of ``layer`` sees, ``(g, N, K)``, K in the order of ``weight.flatten(1)``."""
    if isinstance(layer, nn.Linear):
        return images.double().reshape(1, -1, layer.in_features)
    assert isinstance(layer, nn.Conv2d)
    images = images.double()[None] if images.dim() == 3 else images.double()
    sides: list[int] = []  # left, right, top, bottom
    for axis in (1, 0):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if layer.padding == "valid" else [int(layer.padding[axis])] * 2
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(images, sides, mode=mode) if any(sides) else images
    groups = []
    for channels in padded.chunk(layer.groups, dim=1):
        columns = F.unfold(channels, layer.kernel_size, layer.dilation, 0, layer.stride)  # (B, K, positions)
        groups.append(torch.cat(list(columns.mT)))
    return torch.stack(groups)


def definition_of_hpca(rule: fasthebb.Rule, patches: Tensor, weight: Tensor) -> Tensor:
    """``dw_i = y_i (x - sum_{j<=i} y_j w_j)``, averaged over the samples, for one group."""
    assert isinstance(rule, fasthebb.HPCA)
    f = {"relu": torch.relu, "tanh": torch.tanh, "identity": torch.clone}[rule.activation]
    step, responses = torch.zeros_like(weight), []
    for x in patches:
        y = f(weight @ x)
        explained = torch.zeros_like(x)
        for i in range(len(weight)):
            explained = explained + y[i] * weight[i]
            step[i] += y[i] * (x - explained)
        responses.append(y)
    divisor = sqrt(weight.shape[1]) if rule.step_scale == "fan_in" else 1.0
    if rule.max_lr is not None:  # before the first update, v is uniform
        Y, v = torch.stack(responses), torch.full((len(weight),), len(weight) ** -0.5, dtype=torch.float64)
        divisor = max(divisor, 2 * rule.max_lr * float((Y.T @ Y @ v).norm()) / len(patches))
    return step / (len(patches) * divisor)


def definition_of_swta(rule: fasthebb.Rule, patches: Tensor, weight: Tensor) -> Tensor:
    """``dw_i = r_i (x - w_i)``, averaged over the samples with weights ``r_i / sum_n r_i``, for one group."""
    assert isinstance(rule, fasthebb.SWTA)
    shares = torch.zeros(len(patches), len(weight), dtype=torch.float64)
    for n, x in enumerate(patches):
        alike = torch.zeros(len(weight), dtype=torch.float64)
        for i, w in enumerate(weight):
            lengths = float(x.norm() * w.norm())
            cosine = float(x @ w) / lengths if lengths > 0 else 0.0
            alike[i] = ((1 + cosine) / 2) ** 2
        odds = torch.exp((alike - alike.max()) / rule.temperature)
        shares[n] = odds / odds.sum()
    step = torch.zeros_like(weight)
    for n, x in enumerate(patches):
        for i, w in enumerate(weight):
            total = float(shares[:, i].sum())
            if total > 0:
                step[i] += shares[n, i] / total * shares[n, i] * (x - w)
    return step


def update_by_definition(definition: Definition, rule: fasthebb.Rule, layer: nn.Module, images: Tensor) -> Tensor:
    """``dW``, in the shape of the layer's weight, in float64."""
    weight: Tensor = layer.weight.detach().double()  # type: ignore[union-attr, operator]
    patches = patches_of(layer, images)
    groups = weight.flatten(1).chunk(len(patches))
    return torch.cat([definition(rule, x, w) for x, w in zip(patches, groups, strict=True)]).reshape(weight.shape)


def assert_near(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Equal up to ``relative`` times the largest magnitude of ``expected``."""
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    error = float((actual.double() - expected.double()).abs().max())
    size = float(expected.double().abs().max())
    assert error <= relative * size + 1e-30, f"largest error {error:.2g} beside numbers up to {size:.2g}"
