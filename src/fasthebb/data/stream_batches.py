"""Batches of a stream: those that `Batches` would make of the same images in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data.augmentation import Augmentation, augmented, check_augmentation, draw_augmentation
from fasthebb.data.batches import Batches, epoch_generator
from fasthebb.data.errors import DataError, count_of, first_few, unreadable
from fasthebb.data.images import ImageSet
from fasthebb.data.preprocessing import Preprocessing
from fasthebb.data.stream_order import epoch_order
from fasthebb.data.stream_parquet import TOGETHER_BYTES
from fasthebb.data.stream_set import StreamSet
from fasthebb.data.stream_workers import DecodedBatch, decoded

_DRAWN_AT_ONCE = 4096
_MOST_NAMED = 1000  # unreadable images whose names are kept


class StreamBatches:
    """An iterable of ``(images, labels)``, ready for the network, of images that are read as they are needed.

    Images are ``(B, C, H, W)`` float32, channels_last and preprocessed; labels ``(B,)`` int64. The order is a function
    of seed and epoch alone, the same as that of `Batches` (of tables, whose rows come in blocks, see `epoch_order`),
    and so are the augmentations; neither the number of workers nor that of processes changes them. Each batch of
    ``batch_size x world_size`` images is shared out among the processes, so that together they see every image once an
    epoch and all make the same number of batches; of the last, smaller one some may have none.

    An image that cannot be read is left out of its batch and told of once; a batch of which nothing is left becomes one
    image that can be read. ``state_dict()`` says where an epoch stands, and Lightning keeps it in its checkpoints;
    after ``load_state_dict()`` the next pass goes on there.

    Args:
        dataset: images and labels.
        preprocessing: applied to each batch.
        batch_size: images a batch of this process.
        shuffle: whether each epoch has an order of its own.
        seed: chooses orders and augmentations.
        augment: how much each image is changed at random, as for `Batches`.
        rank: number of this process.
        world_size: how many processes share the images; with one it has all of them.

    Raises:
        DataError: if a number is out of range, or the augmentation is none; while iterating, if ``dataset.strict`` and
            an image cannot be read.
    """

    def __init__(
        self,
        dataset: StreamSet,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        augment: Augmentation = "none",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"found the batch size {batch_size}, expected at least 1")
        check_augmentation(augment)
        if not 0 <= rank < world_size:
            raise DataError(f"found the rank {rank}, expected 0 to {world_size - 1}")
        self.rank, self.world_size = rank, world_size
        self.dataset, self.preprocessing, self.batch_size = dataset, preprocessing, batch_size
        self.shuffle, self.seed, self.augment = shuffle, seed, augment
        self._epoch = 0
        self._position = (0, 0)
        self._resume: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        return (len(self.dataset) + self._together - 1) // self._together

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # What was loaded belongs to the first pass that is begun then, however late it is asked for its first batch.
        resume, self._resume = self._resume, None
        return self._batches(resume)

    def state_dict(self) -> dict[str, Any]:
        """Epoch and number of batches of the pass that has last given one, and what they are counted in."""
        epoch, batches = self._position
        return {
            "epoch": epoch,
            "batches": batches,
            "images": len(self.dataset),
            "together": self._together,
            "seed": self.seed,
            "unreadable": dict(self.dataset.unreadable),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on where ``state_dict`` was taken; at the end of an epoch that is nowhere in particular.

        Raises:
            DataError: if it was of another set, seed or size of the batches of all processes together.
        """
        found = {"images": len(self.dataset), "together": self._together, "seed": self.seed}
        other = [f"{name} {state.get(name)}, now {value}" for name, value in found.items() if state.get(name) != value]
        if other:
            raise DataError(
                f"the checkpoint is from the middle of other data ({'; '.join(other)}): give the same data, seed and "
                "batch size x processes, or another --out"
            )
        self.dataset.unreadable.update(state["unreadable"])
        self._position = (int(state["epoch"]), int(state["batches"]))
        self._resume = self._position if 0 < self._position[1] < len(self) else None

    def joined_size(self, number: int) -> int:
        """How many images all processes have together in a batch, counted from 0, if all can be read."""
        return min(self._together, len(self.dataset) - number * self._together)

    @property
    def _together(self) -> int:
        return self.batch_size * self.world_size

    def _batches(self, resume: tuple[int, int] | None) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, first = (self._epoch, 0) if resume is None else resume
        order = self._order(epoch)
        draws = _Draws(self.augment, self.dataset, self.seed, epoch)
        found = decoded(
            self.dataset.source,
            (self.dataset.rows[order[self._mine(number)]] for number in range(first, len(self))),
            image_size=self.dataset.image_size,
            channels=self.dataset.channels,
            workers=self.dataset.workers,
        )
        for number, batch in enumerate(found, start=first):
            mine = self._mine(number)
            self._note_failed(batch, order[mine])
            if len(mine) and not batch.kept and not self.shuffle:
                continue  # nobody counts the batches of images that are scored
            ready = self._ready(batch, mine, order[mine], draws)
            self._position = (epoch, number + 1)
            yield ready
        new = {name: reason for name, reason in self.dataset.unreadable.items() if name not in self.dataset.told}
        if new:
            self.dataset.told.update(new)
            listed = first_few(f"{name} ({reason})" for name, reason in new.items())
            where = self.dataset.source.description
            warnings.warn(f"skipped {count_of(len(new), 'file')} of '{where}': {listed}", UserWarning, stacklevel=2)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """``(N,)`` positions in the set, in the order of the epoch."""
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        block_bytes = self.dataset.source.block_bytes
        together = max(1, TOGETHER_BYTES // block_bytes) if block_bytes else 1
        return epoch_order(count, epoch_generator(self.seed, epoch), self.dataset.blocks(), together).numpy()

    def _mine(self, number: int) -> NDArray[np.int64]:
        """Where in the order the images of a batch stand that are this process's."""
        start = number * self._together
        return np.arange(start, min(start + self._together, len(self.dataset)))[self.rank :: self.world_size]

    def _ready(
        self, batch: DecodedBatch, mine: NDArray[np.int64], positions: NDArray[np.int64], draws: _Draws
    ) -> tuple[Tensor, Tensor]:
        """Augmented and preprocessed images, with their labels."""
        images = batch.images
        if not len(mine):
            return images.to(torch.float32), self.dataset.labels[:0]
        kept = batch.kept
        labels = self.dataset.labels[torch.from_numpy(positions[kept])]
        if not kept:
            kept, images, labels = [0], self.dataset.spare, torch.tensor([self.dataset.spare_label])
        changed = (
            images
            if self.augment == "none"
            else augmented(self.augment, images, torch.arange(len(images)), draws.of(mine[kept]))
        )
        return self.preprocessing(changed).contiguous(memory_format=torch.channels_last), labels

    def _note_failed(self, batch: DecodedBatch, positions: NDArray[np.int64]) -> None:
        """Remember images that cannot be read.

        Raises:
            DataError: if that is not allowed.
        """
        for at, reason in batch.failed:
            if len(self.dataset.unreadable) >= _MOST_NAMED:
                return
            name = self.dataset.source.name_of(int(self.dataset.rows[positions[at]]))
            if self.dataset.strict:
                raise unreadable(name, reason)
            self.dataset.unreadable[name] = reason


class _Draws:
    """What chance decides about the images of an epoch, by where they stand in its order; some thousand are held."""

    def __init__(self, level: Augmentation, dataset: StreamSet, seed: int, epoch: int) -> None:
        self._level, self._seed, self._epoch = level, seed, epoch
        size = dataset.image_size
        self._like = torch.empty(_DRAWN_AT_ONCE, dataset.channels, size, size, device="meta")
        self._held: dict[int, Tensor] = {}

    def of(self, places: NDArray[np.int64]) -> Tensor:
        """``(B, D)`` draws of the images at these places ``(B,)``."""
        needed = np.unique(places // _DRAWN_AT_ONCE).tolist()
        self._held = {block: self._held[block] if block in self._held else self._draw(block) for block in needed}
        rows = [self._held[place // _DRAWN_AT_ONCE][place % _DRAWN_AT_ONCE] for place in places.tolist()]
        return torch.stack(rows)

    def _draw(self, block: int) -> Tensor:
        entropy = np.random.SeedSequence([self._seed % 2**64, self._epoch, block]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
        return draw_augmentation(self._level, self._like, generator)


def make_batches(dataset: ImageSet | StreamSet, preprocessing: Preprocessing, **more: Any) -> Batches | StreamBatches:
    """`StreamBatches` of a stream, `Batches` of images in memory."""
    if isinstance(dataset, StreamSet):
        return StreamBatches(dataset, preprocessing, **more)
    return Batches(dataset, preprocessing, **more)
