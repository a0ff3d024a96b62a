"""The correlation of a convolution's outputs with its input patches, without unfolding the input."""

from collections.abc import Sequence

import torch
from torch import Tensor


def convolution_correlation(
    q: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """``Q'X`` of a convolution: exactly its weight gradient, with Q in the place of the output's gradient.

    Args:
        q: ``(B, O, *out)``.
        x: ``(B, C, *in)``, in the dtype of ``q``.
        weight: ``(O, C / groups, *kernel)``; only its shape, strides and dtype are read.
        stride: of the convolution, one number a dimension.
        padding: zeros on both sides of each dimension.
        dilation: of the convolution, one number a dimension.
        groups: of the convolution.

    Returns:
        Like ``weight``, in the dtype of ``q``.
    """
    if all(size == 1 for size in weight.shape[2:]) and not any(padding):
        # Kernels of one pixel see a subsampled image. Given the stride instead, oneDNN 3.12 writes out of bounds for
        # channels_last images of few channels (uxlfoundation/oneDNN#6035): wrong gradients, a corrupted heap.
        seen = (slice(None), slice(None), *(slice(None, None, step) for step in stride))
        x = x[seen]
        stride = [1] * len(stride)
    return _weight_gradient(q, x, weight, stride, padding, dilation, None, groups)


def transposed_correlation(
    q: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """``Q'X`` of a transposed convolution, in the same way: ``sum_p q_{o, sp+a} x_{c, p}``.

    Args:
        q: ``(B, O, *out)``.
        x: ``(B, C, *in)``, in the dtype of ``q``.
        weight: ``(C, O / groups, *kernel)``; only its shape, strides and dtype are read.
        stride: of the transposed convolution, one number a dimension.
        padding: what it cuts off on both sides of each dimension.
        output_padding: what it adds at the end of each dimension.
        dilation: of the transposed convolution, one number a dimension.
        groups: of the transposed convolution.

    Returns:
        Like ``weight``, in the dtype of ``q``.
    """
    if all(size == 1 for size in weight.shape[2:]) and not any(padding):  # as above, in the places of x and q
        sides = (slice(None, s * (n - 1) + 1, s) for s, n in zip(stride, x.shape[2:], strict=True))
        met = (slice(None), slice(None), *sides)
        q = q[met]
        stride, output_padding = [1] * len(stride), [0] * len(stride)
    return _weight_gradient(q, x, weight, stride, padding, dilation, output_padding, groups)


def _weight_gradient(
    q: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int] | None,
    groups: int,
) -> Tensor:
    """Of a transposed convolution if there is an ``output_padding``."""
    gradient: Tensor = torch.ops.aten.convolution_backward(
        _as_batch(q),
        _as_batch(x),
        weight.to(q.dtype),
        None,
        list(stride),
        list(padding),
        list(dilation),
        output_padding is not None,
        [0] * len(stride) if output_padding is None else list(output_padding),
        groups,
        [False, True, False],
    )[1]
    return gradient


def _as_batch(x: Tensor) -> Tensor:
    """A batch of one with the stride of larger ones.

    That of ``image[None]`` hides that an image has its channels innermost: the weight gradient then reads other numbers
    where the weight has them innermost too (pytorch/pytorch#110387).
    """
    return x.as_strided(x.shape, (x.numel(), *x.stride()[1:])) if x.shape[0] == 1 else x
