"""Batches from images in memory: shuffled, augmented and preprocessed together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fasthebb.data.errors import DataError
from fasthebb.data.images import ImageSet
from fasthebb.data.preprocessing import Preprocessing

_SHIFT_SHARE = 8  # an augmented image is shifted by at most this part of its side


class Batches:
    """An iterable of ``(images, labels)``, ready for the network.

    Images are ``(B, C, H, W)`` float32, channels_last and preprocessed; labels ``(B,)`` int64. The order and the
    augmentation are a function of seed and epoch alone; the global generators are neither read nor moved.

    Args:
        dataset: images and labels.
        preprocessing: applied to each batch.
        batch_size: images a batch; the last one is smaller unless it is dropped.
        shuffle: whether each epoch has an order of its own.
        seed: chooses orders and augmentations.
        augment: whether each image is mirrored at random and shifted by up to an eighth of its side both ways, what
            moves in being reflected.
        drop_last: whether to leave out a last batch that is not full.

    Raises:
        DataError: if the batch size is not positive.

    Example:
        >>> few = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5), list("abcde"))
        >>> batches = Batches(few, Preprocessing.fit(few), batch_size=2, shuffle=False)
        >>> [labels.tolist() for _, labels in batches]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: ImageSet,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        augment: bool = False,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"found the batch size {batch_size}, expected at least 1")
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.drop_last = drop_last
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.dataset)
        entropy = np.random.SeedSequence([self.seed % 2**64, self._epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        # Drawn for the whole epoch, so that an image's augmentation does not depend on the batch size.
        draws = _draw(self.dataset.images, generator) if self.augment else None
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]
            if draws is None:
                images = self.dataset.images[rows].contiguous(memory_format=torch.channels_last)
            else:
                images = mirror_and_shift(self.dataset.images, rows, *(draw[rows] for draw in draws))
            ready = self.preprocessing(images)
            yield ready.contiguous(memory_format=torch.channels_last), self.dataset.labels[rows]


def _draw(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """For each image whether it is mirrored, and its shifts down and to the right in pixels; each ``(N,)``."""
    count, _, height, width = images.shape
    mirrored = torch.randint(2, (count,), generator=generator).bool()
    down, right = (
        torch.randint(-(side // _SHIFT_SHARE), side // _SHIFT_SHARE + 1, (count,), generator=generator)
        for side in (height, width)
    )
    return mirrored, down, right


def mirror_and_shift(images: Tensor, rows: Tensor, mirrored: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Pick images and mirror and shift each by its own amounts, in one gather; what moves in is reflected.

    Args:
        images: ``(N, C, H, W)``.
        rows: ``(B,)`` which to pick.
        mirrored: ``(B,)`` bool.
        down: ``(B,)`` pixels, less than H either way.
        right: ``(B,)`` pixels, less than W either way.

    Returns:
        ``(B, C, H, W)`` in channels_last.

    Example:
        >>> image = torch.tensor([[[[1, 2, 3]]]])
        >>> zero = torch.tensor([0])
        >>> mirror_and_shift(image, zero, torch.tensor([False]), down=zero, right=torch.tensor([1])).tolist()
        [[[[2, 1, 2]]]]
    """
    height, width = images.shape[2:]
    y = _reflect(torch.arange(height) - down[:, None], height)  # (B, H)
    x = _reflect(torch.arange(width) - right[:, None], width)  # (B, W)
    x = torch.where(mirrored[:, None], width - 1 - x, x)
    picked = images[rows[:, None, None], :, y[:, :, None], x[:, None, :]]  # (B, H, W, C)
    return picked.permute(0, 3, 1, 2)


def _reflect(positions: Tensor, side: int) -> Tensor:
    """Positions beyond 0..side-1 mirrored at the outermost pixel."""
    positions = positions.abs()
    return (side - 1) - ((side - 1) - positions).abs()
