"""Sums over the windows that a convolution sees, as box filters."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def pad_as_convolution(x: Tensor, sides: Sequence[int], mode: str) -> Tensor:
    """Pad ``x`` as a convolution with this ``padding_mode`` does before it looks.

    Args:
        x: ``(B, C, H, W)``.
        sides: left, right, top, bottom.
        mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    """
    if not any(sides):
        return x
    return F.pad(x, list(sides), mode="constant" if mode == "zeros" else mode)


def box_sum(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Sum of ``x`` ``(B, C, H, W)`` over each window, channel by channel: ``(B, C, *out)``."""
    if all(d == 1 for d in dilation) and all(2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        return F.avg_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), divisor_override=1)
    flat = x.reshape(-1, 1, *x.shape[2:])
    ones = x.new_ones(1, 1, *kernel)
    sums = F.conv2d(flat, ones, None, tuple(stride), tuple(padding), tuple(dilation))
    return sums.reshape(*x.shape[:2], *sums.shape[2:])
