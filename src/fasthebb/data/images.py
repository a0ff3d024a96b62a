"""Images in memory: one set, and the sets of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fasthebb.data.errors import DataError, first_few


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with what is known of them.

    Attributes:
        images: ``(N, C, H, W)``, uint8, or float32 in [0, 1] where a source is deeper than 8 bits.
        labels: ``(N,)`` int64, -1 where unlabelled.
        names: N paths or row names, as a user would recognise them.
        groups: N group names (patient, slide, field), empty where unknown; ``None`` if the data have no groups.

    Raises:
        DataError: if these do not have one entry an image.

    Example:
        >>> few = ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, -1]), ["a", "b", "c"])
        >>> len(few), few.subset([2, 0]).names
        (3, ['c', 'a'])
    """

    images: Tensor
    labels: Tensor
    names: list[str]
    groups: list[str] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), len(self.names)}
        if self.groups is not None:
            counts.add(len(self.groups))
        if self.images.ndim != 4 or len(counts) != 1:
            raise DataError(
                f"expected images (N, C, H, W) with N labels, names and groups, found images "
                f"{tuple(self.images.shape)} and counts {sorted(counts)}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at these positions ``(M,)``, in this order, copied."""
        positions = torch.as_tensor(indices, dtype=torch.int64).reshape(-1)
        rows = positions.tolist()
        return ImageSet(
            images=self.images[positions],
            labels=self.labels[positions],
            names=[self.names[row] for row in rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
        )


@dataclass(frozen=True, eq=False)
class ImageData:
    """The image sets of an experiment.

    Attributes:
        unlabelled: every image that pre-training may see, labels all -1: the training images and the extra unlabelled
            ones, never one for validation or test.
        train: the labelled training images.
        validation: labelled images to choose by.
        test: labelled images to report on.
        classes: class names; a label is a position in this list.
        skipped: ``(path, reason)`` of each file that could not be used.
        source: where the images came from.
        notes: further lines for the summary.
    """

    unlabelled: ImageSet
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    classes: list[str]
    skipped: list[tuple[str, str]]
    source: str
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """A few lines for a user: counts, classes, size and channels, what was chosen and what was skipped."""
        _, channels, height, width = self.unlabelled.images.shape
        depth = "8 bits" if self.unlabelled.images.dtype == torch.uint8 else "float32 in [0, 1]"
        classes = f"{len(self.classes)} ({first_few(self.classes, 10)})" if self.classes else "none"
        lines = [
            f"{self.source}: {len(self.unlabelled)} images to pre-train on, labels unread",
            f"  labelled: {len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test",
            f"  classes: {classes}",
            f"  each image: {channels} channel{'s' if channels > 1 else ''}, {height} x {width} pixels, {depth}",
            *(f"  {note}" for note in self.notes),
        ]
        if self.skipped:
            listed = first_few(f"{path} ({reason})" for path, reason in self.skipped)
            lines.append(f"  skipped: {len(self.skipped)} - {listed}")
        return "\n".join(lines)
