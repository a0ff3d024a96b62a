"""Windows of an image, as a convolution sees them: padded, summed, or one by one."""

from collections.abc import Sequence
from math import prod

from torch import Tensor
from torch.nn import functional as F

_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def pad_as_convolution(x: Tensor, sides: Sequence[int], mode: str) -> Tensor:
    """Pad ``x`` as a convolution with this ``padding_mode`` does before it looks.

    Args:
        x: ``(B, C, *in)``.
        sides: before and after, for the last dimension first, as in `torch.nn.functional.pad`.
        mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    """
    if not any(sides):
        return x
    return F.pad(x, list(sides), mode="constant" if mode == "zeros" else mode)


def box_sum(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Sum of ``x`` ``(B, C, *in)`` over each window, channel by channel: ``(B, C, *out)``."""
    settings = list(zip(x.shape[2:], kernel, padding, dilation, strict=True))
    # avg_pool3d refuses images that reach the size of the kernel by their padding alone
    if all(d == 1 and 2 * p <= k <= size for size, k, p, d in settings):
        pooled: Tensor = _POOLS[len(kernel)](x, tuple(kernel), tuple(stride), tuple(padding))
        return pooled * prod(kernel)
    flat = x.reshape(-1, 1, *x.shape[2:])
    ones = x.new_ones(1, 1, *kernel)
    sums = _CONVOLUTIONS[len(kernel)](flat, ones, None, tuple(stride), tuple(padding), tuple(dilation))
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def spread_sum(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Sum of ``x`` ``(B, C, *in)`` over all inputs that reach each output of a transposed convolution."""
    flat = x.reshape(-1, 1, *x.shape[2:])
    ones = x.new_ones(1, 1, *kernel)
    sums = _TRANSPOSED[len(kernel)](
        flat, ones, None, tuple(stride), tuple(padding), tuple(output_padding), 1, tuple(dilation)
    )
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Every window of ``x`` ``(B, C, *in)``: ``(B, C, *out, *kernel)``, a view where nothing is padded."""
    x = F.pad(x, [p for p in reversed(padding) for _ in range(2)]) if any(padding) else x
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, d * (k - 1) + 1, s)[..., ::d]
    return x
