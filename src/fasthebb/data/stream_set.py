"""Images that stay where they are: one set, and the sets of an experiment, as `ImageSet` and `ImageData` in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data.channels import stack
from fasthebb.data.errors import first_few
from fasthebb.data.images import ImageData, ImageSet
from fasthebb.data.reading import read_items
from fasthebb.data.stream_parts import StreamSource


@dataclass(frozen=True, eq=False)
class StreamSet:
    """Images of a source, none of which is held.

    Attributes:
        source: where they are.
        rows: ``(N,)`` int64, ascending.
        labels: ``(N,)`` int64, -1 where unlabelled.
        image_size: side in pixels that they are decoded to.
        channels: that they are decoded to.
        spare: ``(1, C, S, S)`` one of the images that can be read, for a batch of which no other can.
        spare_label: its class.
        strict: whether an image that cannot be read is an error.
        workers: processes that decode.
        unreadable: names of images that turned out to be so, with the reason; of the first 1,000.
        told: those that the user knows of.
        groups: always ``None``: streams know no patients.
    """

    source: StreamSource
    rows: NDArray[np.int64]
    labels: Tensor
    image_size: int
    channels: int
    spare: Tensor
    spare_label: int
    strict: bool = False
    workers: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    groups: None = None

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Tensor | Sequence[int]) -> StreamSet:
        """The images at these positions ``(M,)``, in the order of the source."""
        positions = np.sort(np.asarray(indices, dtype=np.int64).reshape(-1))
        return replace(self, rows=self.rows[positions], labels=self.labels[torch.from_numpy(positions)])

    def sample(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Positions of ``count`` images at random, ascending; all where there are no more.

        Of images that come in blocks, at most 64 blocks are taken from.
        """
        if count >= len(self):
            return np.arange(len(self))
        generator = np.random.default_rng(seed)
        blocks = self.blocks()
        if blocks is None:
            return np.sort(generator.choice(len(self), count, replace=False))
        ends = np.append(blocks[1:], len(self))
        chosen: list[NDArray[np.int64]] = []
        still = count
        for number, block in enumerate(generator.permutation(len(blocks))):
            size = int(ends[block] - blocks[block])
            share = -(-count // 64) if number < 64 else still
            taken = generator.choice(size, min(size, share, still), replace=False)
            chosen.append(blocks[block] + taken)
            still -= len(taken)
            if not still:
                break
        return np.sort(np.concatenate(chosen))

    def blocks(self) -> NDArray[np.int64] | None:
        """``(B,)`` first positions of what can only be read together; ``None`` where nothing is."""
        starts = self.source.blocks
        if starts is None:
            return None
        found = np.unique(np.searchsorted(self.rows, starts))
        return found[found < len(self)]

    def read(self, positions: NDArray[np.int64]) -> ImageSet:
        """Some of the images, in memory; those that cannot be read are missing."""
        items = [self.source.item(int(row)) for row in self.rows[positions]]
        decoded = read_items(items, self.image_size, strict=False, progress=False)
        kept = [(at, one) for at, one in zip(positions.tolist(), decoded, strict=True) if not isinstance(one, str)]
        kept = [(at, one) for at, one in kept if self.channels in ((1, 3) if one.shape[2] in (1, 3) else one.shape[2:])]
        names = [self.source.name_of(int(self.rows[at])) for at, _ in kept]
        images = stack([one for _, one in kept], self.image_size, self.channels, names)
        return ImageSet(images, self.labels[[at for at, _ in kept]], names)


AnySet = ImageSet | StreamSet


@dataclass(frozen=True, eq=False)
class StreamData:
    """The image sets of an experiment, as in `ImageData`.

    Attributes:
        unlabelled: every image that pre-training may see, labels all -1.
        train: the labelled training images.
        validation: labelled images to choose by.
        test: labelled images to report on.
        classes: class names; a label is a position in this list.
        skipped: ``(path, reason)`` of each file that is no image.
        source: where the images come from.
        notes: further lines for the summary.
    """

    unlabelled: StreamSet
    train: StreamSet
    validation: StreamSet
    test: StreamSet
    classes: list[str]
    skipped: list[tuple[str, str]]
    source: str
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """A few lines for a user: counts, classes, size and channels, and what was chosen."""
        images = self.unlabelled
        classes = f"{len(self.classes)} ({first_few(self.classes, 10)})" if self.classes else "none"
        lines = [
            f"{self.source}: {len(images)} images to pre-train on, labels unread",
            f"  labelled: {len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test",
            f"  classes: {classes}",
            f"  each image: {images.channels} channel{'s' if images.channels > 1 else ''}, "
            f"{images.image_size} x {images.image_size} pixels, read anew in every epoch by "
            f"{images.workers} process{'' if images.workers == 1 else 'es'}",
            *(f"  {note}" for note in self.notes),
        ]
        if self.skipped:
            listed = first_few(f"{path} ({reason})" for path, reason in self.skipped)
            lines.append(f"  skipped: {len(self.skipped)} - {listed}")
        return "\n".join(lines)


AnyData = ImageData | StreamData
