"""The memory layout in which convolutions are fastest."""

from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(images: Tensor) -> Tensor:
    """Images `(N, C, H, W)` or `(N, C, D, H, W)` with their channels innermost in memory, other tensors as they are.

    >>> channels_last(torch.zeros(1, 3, 4, 4)).stride()
    (48, 1, 12, 3)
    """
    return images.contiguous(memory_format=_FORMATS[images.dim()]) if images.dim() in _FORMATS else images


def in_channels_last(model: M) -> M:
    """The same model with the weights of its convolutions in that layout, of two dimensions and of three.

    >>> in_channels_last(nn.Conv3d(2, 1, 2)).weight.stride()
    (16, 1, 8, 4, 2)
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.dim() in _FORMATS:  # as `nn.Module.to` does, which knows one of the two at a time
            tensor.data = tensor.data.to(memory_format=_FORMATS[tensor.dim()])
    return model
