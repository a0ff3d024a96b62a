"""Batches of random crops from images of differing sizes, with their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from fasthebb.data.augmentation import Augmentation, check_augmentation
from fasthebb.data.batches import epoch_generator
from fasthebb.data.crop_augmentation import draw_changes, margins, mirrored, recoloured, warp_pair
from fasthebb.data.errors import DataError
from fasthebb.data.masked import IGNORE, MaskedSet
from fasthebb.data.preprocessing import Preprocessing


class Crops:
    """An iterable of ``(images, masks)``, ready for the network.

    Images are ``(B, C, *crop)`` float32, preprocessed and in channels_last (channels_last_3d for volumes); masks
    ``(B, *crop)`` int64, ``IGNORE`` where there is no mask and outside the image. Crops lie anywhere in their images,
    at the images' own resolution. Where a crop is larger than its image, the image lies anywhere in it and is continued
    by reflection, or by its outermost pixels if it is no larger than half the crop.

    Every image gives a crop before any gives another. Order, places and augmentation are a function of seed and epoch
    alone; the global generators are neither read nor moved.

    Args:
        dataset: images, and masks or ``None``.
        preprocessing: applied to each batch.
        crop: (H, W), or (D, H, W) for volumes, in pixels.
        batch_size: crops a batch; no batch has fewer.
        batches: how many there are an epoch; if left out, as many as give a crop of every image.
        seed: chooses order, places and augmentations.
        augment: how much each crop is changed at random: "none", "shift" (mirrored, and turned by 90 degrees if
            square), "light" (turned by any angle up to 15 degrees and resized too) or "hard" (also in colour, blurred
            or with noise).

    Raises:
        DataError: if there are no images, or a number, the crop or the augmentation does not do.

    Example:
        >>> images = [torch.zeros(1, side, 40, dtype=torch.uint8) for side in (20, 50, 60)]
        >>> few = MaskedSet(images, [torch.ones(20, 40, dtype=torch.uint8), None, None], list("abc"))
        >>> crops = Crops(few, Preprocessing.fit(few), crop=(32, 32), batch_size=2)
        >>> [(tuple(images.shape), tuple(masks.shape)) for images, masks in crops]
        [((2, 1, 32, 32), (2, 32, 32)), ((2, 1, 32, 32), (2, 32, 32))]
    """

    def __init__(
        self,
        dataset: MaskedSet,
        preprocessing: Preprocessing,
        *,
        crop: Sequence[int],
        batch_size: int,
        batches: int | None = None,
        seed: int = 0,
        augment: Augmentation = "none",
    ) -> None:
        if not len(dataset):
            raise DataError("found no images to take crops from, expected at least one")
        if len(crop) != dataset.dims or min(crop) < 1:
            kind = "flat images, expected (H, W)" if dataset.dims == 2 else "volumes, expected (D, H, W)"
            raise DataError(f"found the crop {tuple(crop)} for {kind} of at least 1 each")
        for what, number in (("batch size", batch_size), ("number of batches", batches)):
            if number is not None and number < 1:
                raise DataError(f"found the {what} {number}, expected at least 1")
        if preprocessing.tile and (dataset.dims == 3 or any(side % preprocessing.tile for side in crop)):
            raise DataError(
                f"found the crop {tuple(crop)}, whitening works in flat tiles of {preprocessing.tile} x "
                f"{preprocessing.tile}: choose multiples of {preprocessing.tile}, or no whitening"
            )
        check_augmentation(augment)
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.crop = tuple(crop)
        self.batch_size = batch_size
        self.batches = -(-len(dataset) // batch_size) if batches is None else batches
        self.seed = seed
        self.augment = augment
        self._margins = margins(augment, self.crop)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; without it every pass is as the first."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = self.batches * self.batch_size
        generator = epoch_generator(self.seed, self._epoch)
        rounds = -(-count // len(self.dataset))
        order = torch.cat([torch.randperm(len(self.dataset), generator=generator) for _ in range(rounds)])[:count]
        # Drawn for the whole epoch, so that crops do not depend on the batch size; but for noise, which is too much.
        places = torch.rand(count, len(self.crop), generator=generator)
        draws = draw_changes(self.augment, count, generator)
        for start in range(0, count, self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield self._batch(order[chosen].tolist(), places[chosen].tolist(), draws[chosen], generator)

    def _batch(
        self, rows: list[int], places: list[list[float]], draws: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        images, masks = self._windows(rows, places, draws.tolist())
        if self.augment in ("light", "hard"):
            images, masks = warp_pair(images, masks, draws[:, 4:6].to(images), self.crop)
        if self.augment == "hard":
            images = recoloured(images, draws[:, 6:], generator)
        layout = torch.channels_last if len(self.crop) == 2 else torch.channels_last_3d
        return self.preprocessing(images).contiguous(memory_format=layout), masks.to(torch.int64)

    def _windows(self, rows: list[int], places: list[list[float]], draws: list[list[float]]) -> tuple[Tensor, Tensor]:
        """Crops with their margins, mirrored: ``(B, C, *window)`` in channels_last, and ``(B, *window)`` uint8."""
        picked = [self.dataset.images[row] for row in rows]
        window = [side + 2 * margin for side, margin in zip(self.crop, self._margins, strict=True)]
        # Bytes stay bytes for the preprocessing to scale, unless they are to be sampled.
        exact = self.augment in ("none", "shift") and all(image.dtype == torch.uint8 for image in picked)
        dtype = torch.uint8 if exact else torch.float32
        images = picked[0].new_empty((len(rows), *window, len(picked[0])), dtype=dtype).movedim(-1, 1)
        masks = images.new_full((len(rows), *window), IGNORE, dtype=torch.uint8)
        for position, (row, image, place, draw) in enumerate(zip(rows, picked, places, draws, strict=True)):
            starts = [
                _start(side, crop, where) - margin
                for side, crop, where, margin in zip(image.shape[1:], self.crop, place, self._margins, strict=True)
            ]
            images[position] = mirrored(_cut(image, starts, window, self.crop), draw, len(window))
            if image.dtype == torch.uint8 and not exact:
                images[position].mul_(1.0 / 255)
            mask = self.dataset.masks[row]
            if mask is not None:
                masks[position] = mirrored(_cut_mask(mask, starts, window), draw, len(window))
        return images, masks


def _start(side: int, crop: int, place: float) -> int:
    """Where a crop begins in a side of an image: anywhere that holds it, or, if the image is smaller, is held by it."""
    room = abs(side - crop)
    first = min(int(place * (room + 1)), room)
    return first if side >= crop else first - room


def _cut(image: Tensor, starts: Sequence[int], window: Sequence[int], crop: Sequence[int]) -> Tensor:
    """A window of an image ``(C, *size)``, continued where it reaches beyond: ``(C, *window)``."""
    continued: list[tuple[int, list[int]]] = []
    for axis, (start, length, whole) in enumerate(zip(starts, window, crop, strict=True), 1):
        side = image.shape[axis]
        first, last = start, start + length - 1
        if start < 0 or last >= side:
            positions = [_inside(position, side, reflect=2 * side > whole) for position in range(start, last + 1)]
            first, last = min(positions), max(positions)
            continued.append((axis, [position - first for position in positions]))
        image = image.narrow(axis, first, last - first + 1)
    for axis, positions in continued:
        image = image.index_select(axis, torch.tensor(positions, device=image.device))
    return image


def _inside(position: int, side: int, *, reflect: bool) -> int:
    """The pixel of a side that stands for a position beyond it."""
    if reflect:
        position = (side - 1) - abs((side - 1) - abs(position))
    return min(max(position, 0), side - 1)


def _cut_mask(mask: Tensor, starts: Sequence[int], window: Sequence[int]) -> Tensor:
    """A window of a mask ``(*size)``, ``IGNORE`` where it reaches beyond."""
    for axis, (start, length) in enumerate(zip(starts, window, strict=True)):
        first, last = max(start, 0), min(start + length, mask.shape[axis])
        mask = mask.narrow(axis, first, last - first)
    beyond = [
        (max(-start, 0), length - max(-start, 0) - side)
        for start, length, side in zip(starts, window, mask.shape, strict=True)
    ]
    if not any(any(pair) for pair in beyond):
        return mask
    return pad(mask, [one for pair in reversed(beyond) for one in pair], value=IGNORE)
