"""Probabilities of the classes for a whole image of any size, tile by tile."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from math import ceil, prod

import torch
from torch import Tensor, nn

from fasthebb.evaluation.modes import evaluating


def predict_tiles(
    model: nn.Module,
    image: Tensor,
    preprocess: Callable[[Tensor], Tensor],
    *,
    tile: int | Sequence[int],
    overlap: int | Sequence[int],
    classes: int,
    batch_size: int = 4,
    mirror: bool = False,
) -> Tensor:
    """Run a segmentation network over `image` in overlapping tiles, blended into each other.

    The device of the model holds a batch of tiles at a time, whatever the size of the image; the result grows where the
    image is. Each tile's weight rises smoothly from its border to its middle, and the weights of a pixel add up to 1.
    An image smaller than a tile is continued by reflection, and the result cut back.

    Args:
        model: maps `(B, C, *tile)` to logits `(B, classes, *tile)`; its modes are as before afterwards.
        image: `(C, *size)`, as `preprocess` takes it, size (H, W) or (D, H, W).
        preprocess: from a batch of tiles `(B, C, *tile)`, on the model's device, to what the model takes.
        tile: sides of a tile in pixels, or one for all of them.
        overlap: pixels that a tile shares with the next, at least, on each side.
        classes: number of classes.
        batch_size: tiles at a time.
        mirror: the mean over a tile and all its mirror images: 4 times the work for images, 8 times for volumes.

    Returns:
        Probabilities `(classes, *size)` float32, on the image's device; over the classes they add up to 1.

    Raises:
        ValueError: sizes do not fit each other, or the model gives something else than one logit a class and pixel.

    >>> image, model = torch.rand(3, 70, 50), nn.Conv2d(3, 2, 1)
    >>> tiled = predict_tiles(model, image, lambda tiles: tiles, tile=32, overlap=8, classes=2)
    >>> tiled.shape, torch.allclose(tiled, model(image).softmax(0), atol=1e-6)
    (torch.Size([2, 70, 50]), True)
    """
    size = tuple(image.shape[1:])
    sides, shared = _sides("tile", tile, len(size)), _sides("overlap", overlap, len(size))
    if batch_size < 1:
        raise ValueError(f"found batch_size {batch_size}, expected at least 1")
    if min(sides) < 1 or any(not 0 <= own < side for own, side in zip(shared, sides, strict=True)):
        raise ValueError(
            f"found tiles of {sides} with an overlap of {shared}, expected overlaps from 0 to below the tile"
        )
    image = _continued(image, sides)
    starts = [tile_starts(n, side, own) for n, side, own in zip(image.shape[1:], sides, shared, strict=True)]
    device = next((p.device for p in model.parameters()), image.device)
    weights = [
        blending_weights(n, side, own).to(device) for n, side, own in zip(image.shape[1:], sides, starts, strict=True)
    ]
    blended = torch.zeros((classes, *image.shape[1:]), device=image.device)
    places = product(*(range(len(own)) for own in starts))
    with evaluating(model), torch.inference_mode():
        while numbers := list(islice(places, batch_size)):
            windows = [_window(number, starts, sides) for number in numbers]
            tiles = torch.stack([image[window] for window in windows]).to(device)
            probabilities = _probabilities(model, preprocess, tiles, classes, mirror)
            for number, window, tiled in zip(numbers, windows, probabilities, strict=True):
                for axis, index in enumerate(number):
                    tiled.mul_(weights[axis][index].reshape(-1, *(1,) * (len(size) - 1 - axis)))
                blended[window] += tiled.to(image.device)
    whole = (slice(None), *(slice(n) for n in size))
    return blended[whole]


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where the tiles of an axis begin: as few as overlap enough, at even distances, from one end to the other.

    >>> tile_starts(100, 40, 10)
    [0, 30, 60]
    >>> tile_starts(40, 40, 10)
    [0]
    """
    count = 1 + ceil((size - tile) / (tile - overlap))
    return [round(index * (size - tile) / max(count - 1, 1)) for index in range(count)]


def blending_weights(size: int, tile: int, starts: Sequence[int]) -> Tensor:
    """The weights of each tile of an axis, `(tiles, tile)` float32; over the tiles, those of each pixel add up to 1.

    Hann's window where tiles overlap, 1 where there is but one.
    """
    position = (torch.arange(tile, dtype=torch.float64) + 0.5) / tile
    window = torch.sin(torch.pi * position).square()  # nowhere zero
    total = torch.zeros(size, dtype=torch.float64)
    for start in starts:
        total[start : start + tile] += window
    return torch.stack([window / total[start : start + tile] for start in starts]).float()


def _window(number: Sequence[int], starts: Sequence[Sequence[int]], sides: Sequence[int]) -> tuple[slice, ...]:
    """The place of a tile in the image, channels first."""
    corner = [own[index] for index, own in zip(number, starts, strict=True)]
    return (slice(None), *(slice(start, start + side) for start, side in zip(corner, sides, strict=True)))


def _sides(what: str, value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    sides = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(sides) != dims:
        raise ValueError(f"found {what} {sides}, expected {dims} sides, or one number, for this image")
    return sides


def _continued(image: Tensor, least: Sequence[int]) -> Tensor:
    """The image, reflected at its end (and the reflection again) where a side is below the least.

    By index, as torch's own padding neither reflects whole numbers nor more than once.
    """
    for axis, (size, side) in enumerate(zip(image.shape[1:], least, strict=True), start=1):
        if size < side:
            period = max(1, 2 * (size - 1))
            place = torch.arange(side, device=image.device) % period
            image = image.index_select(axis, torch.minimum(place, period - place) if size > 1 else place)
    return image


def _probabilities(
    model: nn.Module, preprocess: Callable[[Tensor], Tensor], tiles: Tensor, classes: int, mirror: bool
) -> Tensor:
    """`(B, C, *tile)` to `(B, classes, *tile)` float32."""
    axes = range(2, tiles.dim())
    ways: Iterator[tuple[bool, ...]] = product(*((False, True) if mirror else (False,) for _ in axes))
    mean = tiles.new_zeros(len(tiles), classes, *tiles.shape[2:], dtype=torch.float32)
    for way in ways:
        turned = [axis for axis, flipped in zip(axes, way, strict=True) if flipped]
        logits = model(preprocess(tiles.flip(turned) if turned else tiles))
        if logits.shape != mean.shape:
            raise ValueError(f"expected logits {tuple(mean.shape)} of the network, got {tuple(logits.shape)}")
        probabilities = logits.float().softmax(dim=1)
        mean += probabilities.flip(turned) if turned else probabilities
    return mean.div_(prod(2 if mirror else 1 for _ in axes))
