"""The filters of a first layer as one picture."""

from collections.abc import Iterable
from math import ceil, sqrt

import torch
from torch import Tensor
from torchvision.utils import make_grid

MOST = 256
"""Filters that are drawn; there may be more."""
_SIDE = 24  # pixels of a drawn filter, at least about
_LARGEST = 64  # pixels of a filter that can be drawn


def first_filters(weights: Iterable[tuple[str, Tensor]]) -> tuple[str, Tensor] | None:
    """Name and picture of the first convolution, if its filters are seen as grey or coloured pixels.

    Zero is grey, and the largest magnitude of each filter is black or white, so that strong and weak ones are seen
    alike.

    Args:
        weights: names and weights of the layers, in their order.

    Returns:
        The name, and a picture ``(3, height, width)`` uint8 with a square for each filter, twice as wide as high.

    >>> name, picture = first_filters([("conv1", torch.randn(20, 1, 5, 5)), ("fc", torch.zeros(3, 9))])
    >>> name, picture.shape, picture.dtype
    ('conv1', torch.Size([3, 64, 148]), torch.uint8)
    >>> first_filters([("conv1", torch.randn(20, 8, 5, 5))]) is None
    True
    """
    name, weight = next(iter(weights), ("", torch.zeros(0)))
    if weight.dim() != 4 or weight.shape[1] not in (1, 3) or max(weight.shape[2:]) > _LARGEST:
        return None
    values = torch.nan_to_num(weight[:MOST].detach().float(), nan=0.0, posinf=0.0, neginf=0.0)
    limits = values.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    shades = (127.5 + 127.5 * values / limits).round().byte()
    zoom = max(1, _SIDE // max(weight.shape[2:]))
    enlarged = shades.repeat_interleave(zoom, dim=2).repeat_interleave(zoom, dim=3)
    return name, make_grid(enlarged, nrow=ceil(sqrt(2 * len(enlarged))), padding=1, pad_value=255).cpu()
