"""Batch norm that keeps how much the channels vary relative to each other."""

import torch
from torch import Tensor, nn


def rescaled(output: Tensor, running_var: Tensor | None, eps: float) -> Tensor:
    """``output`` ``(N, C, ...)`` times sqrt((var + eps) / (mean(var) + eps)); ValueError without running statistics."""
    if running_var is None:
        raise ValueError("a relative-variance batch norm needs running statistics: leave track_running_stats=True")
    scale = torch.sqrt((running_var + eps) / (running_var.mean() + eps))  # (C,)
    return output * scale.to(output.dtype).view(1, -1, *[1] * (output.dim() - 2))


class RelativeVarianceBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of images `(N, C, H, W)` whose output is multiplied by sqrt((var + eps) / (mean(var) + eps)).

    `var` is `running_var` `(C,)` as this very forward leaves it, and takes no part in the gradient. Plain batch norm
    gives every channel variance one; after a Hebbian PCA the channels differ on purpose (the first components carry
    the most), and this layer keeps their proportions while it fixes the overall scale. Constructor and state are those
    of `nn.BatchNorm2d`; without running statistics the forward raises ValueError.

    >>> import torch
    >>> norm = RelativeVarianceBatchNorm2d(2).eval()
    >>> norm.running_var.copy_(torch.tensor([1.0, 3.0]))
    tensor([1., 3.])
    >>> norm(torch.ones(1, 2, 1, 1)).flatten()                # x / sqrt(var) * sqrt(var / mean(var)) = x / sqrt(2)
    tensor([0.7071, 0.7071], grad_fn=<ViewBackward0>)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(N, C, H, W)` and give the channels their relative variance back: same shape and dtype."""
        return rescaled(super().forward(input), self.running_var, self.eps)


class RelativeVarianceBatchNorm1d(nn.BatchNorm1d):
    """`RelativeVarianceBatchNorm2d` for vectors `(N, C)` or sequences `(N, C, L)`."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(N, C)` or `(N, C, L)` and give the channels their relative variance back."""
        return rescaled(super().forward(input), self.running_var, self.eps)
