"""Images with masks in memory: one set, and the sets of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fasthebb.data.errors import DataError, first_few

IGNORE = 255  # value of a mask's pixels that count for nothing
MAX_CLASSES = 254

_DTYPES = (torch.uint8, torch.float32)


@dataclass(frozen=True, eq=False)
class MaskedSet:
    """Images of any sizes, flat or volumes, and what is known of each of their pixels.

    Attributes:
        images: N of ``(C, H, W)``, or all ``(C, D, H, W)``: uint8, or float32 in [0, 1] where a file is deeper than 8
            bits. Sizes differ from image to image, C does not. Strides are any.
        masks: N of ``(H, W)`` or ``(D, H, W)`` uint8, the class of each pixel or ``IGNORE``; ``None`` where unknown.
        names: N paths or row names, as a user would recognise them.
        groups: N group names (patient, slide, field), empty where unknown; ``None`` if the data have no groups.

    Raises:
        DataError: if these do not have one entry an image, or do not fit each other.

    Example:
        >>> sizes = [(8, 8), (6, 9)]
        >>> images = [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes]
        >>> few = MaskedSet(images, [torch.zeros(8, 8, dtype=torch.uint8), None], ["a", "b"])
        >>> len(few), few.channels, few.dims, few.subset([1]).names
        (2, 3, 2, ['b'])
    """

    images: list[Tensor]
    masks: list[Tensor | None]
    names: list[str]
    groups: list[str] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.masks), len(self.names)}
        if self.groups is not None:
            counts.add(len(self.groups))
        if len(counts) != 1:
            raise DataError(f"expected a mask (or None), a name and a group an image, found counts {sorted(counts)}")
        for image, mask, name in zip(self.images, self.masks, self.names, strict=True):
            like = self.images[0]
            if image.ndim not in (3, 4) or image.ndim != like.ndim or len(image) != len(like):
                raise DataError(
                    f"expected images (C, H, W), or all (C, D, H, W), of one C, found {tuple(like.shape)} "
                    f"and {tuple(image.shape)} ('{name}')"
                )
            if image.dtype not in _DTYPES:
                raise DataError(f"expected images of uint8, or float32 in [0, 1], found {image.dtype} ('{name}')")
            if mask is not None and (mask.shape != image.shape[1:] or mask.dtype != torch.uint8):
                raise DataError(
                    f"expected a mask of {tuple(image.shape[1:])} uint8, found {tuple(mask.shape)} {mask.dtype} "
                    f"('{name}')"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def channels(self) -> int:
        """C of the images.

        Raises:
            IndexError: if there are none.
        """
        return len(self.images[0])

    @property
    def dims(self) -> int:
        """2 for flat images, 3 for volumes.

        Raises:
            IndexError: if there are none.
        """
        return self.images[0].ndim - 1

    def subset(self, indices: Tensor | Sequence[int]) -> MaskedSet:
        """The images at these positions ``(M,)``, in this order, not copied."""
        rows: list[int] = torch.as_tensor(indices, dtype=torch.int64).reshape(-1).tolist()
        return MaskedSet(
            images=[self.images[row] for row in rows],
            masks=[self.masks[row] for row in rows],
            names=[self.names[row] for row in rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
        )


@dataclass(frozen=True, eq=False)
class MaskedData:
    """The sets of an experiment in segmentation.

    Attributes:
        unlabelled: every image that pre-training may see, masks all ``None``: the training images and the extra
            unlabelled ones, never one for validation or test. They are the tensors of ``train``, not copies.
        train: training images with masks.
        validation: images with masks to choose by.
        test: images with masks to report on.
        classes: class names; class 0 is "background".
        skipped: ``(path, reason)`` of each file that could not be used.
        source: where the images came from.
        notes: further lines for the summary.
    """

    unlabelled: MaskedSet
    train: MaskedSet
    validation: MaskedSet
    test: MaskedSet
    classes: list[str]
    skipped: list[tuple[str, str]]
    source: str
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """A few lines for a user: counts, classes, sizes and channels, what was chosen and what was skipped."""
        images = self.unlabelled.images
        channels = self.unlabelled.channels
        smallest, largest = (
            " x ".join(str(pick(sides)) for sides in zip(*(image.shape[1:] for image in images), strict=True))
            for pick in (min, max)
        )
        sizes = smallest if smallest == largest else f"{smallest} to {largest}"
        deep = sum(image.dtype != torch.uint8 for image in images)
        depth = "8 bits" if not deep else "float32 in [0, 1]" + ("" if deep == len(images) else f" ({deep} of them)")
        classes = f"{len(self.classes)} ({first_few(self.classes, 10)})" if self.classes else "none"
        lines = [
            f"{self.source}: {len(self.unlabelled)} images to pre-train on, masks unread",
            f"  masks: {len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test",
            f"  classes: {classes}",
            f"  each image: {channels} channel{'s' if channels > 1 else ''}, {sizes} "
            f"{'voxels' if self.unlabelled.dims == 3 else 'pixels'}, {depth}",
            *(f"  {note}" for note in self.notes),
        ]
        if self.train.groups is not None:
            lines.insert(2, f"  groups: {len(set(self.train.groups))} among the {len(self.train)} training masks")
        if self.skipped:
            listed = first_few(f"{path} ({reason})" for path, reason in self.skipped)
            lines.append(f"  skipped: {len(self.skipped)} - {listed}")
        return "\n".join(lines)
