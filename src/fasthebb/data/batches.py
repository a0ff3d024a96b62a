"""Batches from images in memory: shuffled, augmented and preprocessed together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fasthebb.data.augmentation import Augmentation, augmented, check_augmentation, draw_augmentation
from fasthebb.data.errors import DataError
from fasthebb.data.images import ImageSet
from fasthebb.data.preprocessing import Preprocessing


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """What an epoch draws from: a function of both numbers."""
    entropy = np.random.SeedSequence([seed % 2**64, epoch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))


class Batches:
    """An iterable of ``(images, labels)``, ready for the network.

    Images are ``(B, C, H, W)`` float32, channels_last and preprocessed; labels ``(B,)`` int64. The order and the
    augmentation are a function of seed and epoch alone; the global generators are neither read nor moved.

    Several processes share joined batches of ``batch_size x world_size`` images, so that all make the same number of
    batches, and each image is seen by one of them, with the augmentation that it would have in one process. Of the
    last, smaller joined batch some may have no image.

    Args:
        dataset: images and labels.
        preprocessing: applied to each batch.
        batch_size: images a batch of this process; the last one is smaller unless it is dropped.
        shuffle: whether each epoch has an order of its own.
        seed: chooses orders and augmentations.
        augment: how much each image is changed at random: "none", "shift" (mirrored at random, and shifted by up to an
            eighth of its side), "light" (turned and resized too) or "hard" (also in perspective, in colour, and a part
            hidden). All but "none" mirror, which is wrong for digits and letters.
        drop_last: whether to leave out a last batch that is not full.
        rank: number of this process.
        world_size: how many processes share the images; with one it has all of them.

    Raises:
        DataError: if the batch size is not positive, the rank not one of the processes, or the augmentation none of
            these.

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
        augment: Augmentation = "none",
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"found the batch size {batch_size}, expected at least 1")
        if not 0 <= rank < world_size:
            raise DataError(f"found the rank {rank}, expected 0 to {world_size - 1}")
        check_augmentation(augment)
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.drop_last = drop_last
        self.rank, self.world_size = rank, world_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self._together)
        return whole + (rest > 0 and not self.drop_last)

    def joined_size(self, number: int) -> int:
        """How many images all processes have together in a batch, counted from 0."""
        return min(self._together, len(self.dataset) - number * self._together)

    @property
    def _together(self) -> int:
        return self.batch_size * self.world_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.dataset)
        generator = epoch_generator(self.seed, self._epoch)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        # Drawn for the whole epoch, so that an image's augmentation does not depend on the batch size.
        draws = draw_augmentation(self.augment, self.dataset.images, generator)
        for start in range(0, len(self) * self._together, self._together):
            rows = order[start : start + self._together][self.rank :: self.world_size]
            images = augmented(self.augment, self.dataset.images, rows, draws[rows])
            ready = self.preprocessing(images)
            yield ready.contiguous(memory_format=torch.channels_last), self.dataset.labels[rows]
