"""Batches of features that were taken once, for classifiers on a network at rest."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor

from fasthebb.data.batches import epoch_generator


class FeatureBatches:
    """An iterable of ``(features, labels)``, in the order in which `Batches` would give their images.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` int64.
        batch_size: rows a batch.
        shuffle: whether each epoch has an order of its own.
        seed: chooses orders.
        rank: number of this process.
        world_size: how many processes share the rows, as those of `Batches` do.

    Example:
        >>> batches = FeatureBatches(torch.eye(3), torch.arange(3), batch_size=2, shuffle=False)
        >>> [labels.tolist() for _, labels in batches]
        [[0, 1], [2]]
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.features, self.labels = features, labels
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        return ceil(len(self.labels) / self._together)

    def joined_size(self, number: int) -> int:
        """How many rows all processes have together in a batch, counted from 0."""
        return min(self._together, len(self.labels) - number * self._together)

    @property
    def _together(self) -> int:
        return self.batch_size * self.world_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        generator = epoch_generator(self.seed, self._epoch)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        for joined in torch.split(order, self._together):
            rows = joined[self.rank :: self.world_size]
            yield self.features[rows], self.labels[rows]
