"""In which order an epoch takes the images of a stream."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def epoch_order(
    count: int, generator: torch.Generator, blocks: NDArray[np.int64] | None = None, together: int = 1
) -> Tensor:
    """A random order of ``count`` images, drawn from the generator alone.

    Where every image can be read by itself it is that of `Batches`, any order being equally likely. Where images come
    in blocks, blocks are put into a random order, so many neighbours at a time are joined, and the images of these are
    mixed: each block is then read once an epoch, and few are held at a time.

    Args:
        count: number of images N.
        generator: what is drawn from.
        blocks: ``(B,)`` first positions of the blocks, from 0 on; ``None`` where there are none.
        together: how many blocks are mixed.

    Returns:
        ``(N,)`` positions, each once.

    Example:
        >>> epoch_order(6, torch.Generator().manual_seed(0), np.array([0, 2, 4]), together=2).tolist()
        [5, 4, 1, 0, 3, 2]
    """
    if blocks is None:
        return torch.randperm(count, generator=generator)
    ends = np.append(blocks[1:], count)
    shuffled = torch.randperm(len(blocks), generator=generator).numpy()
    order = torch.empty(count, dtype=torch.int64)
    filled = 0
    for start in range(0, len(shuffled), together):
        mixed = [torch.arange(int(blocks[one]), int(ends[one])) for one in shuffled[start : start + together]]
        positions = torch.cat(mixed)
        size = len(positions)
        order[filled : filled + size] = positions[torch.randperm(size, generator=generator)]
        filled += size
    return order
