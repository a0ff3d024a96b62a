"""What a mask says to people: a table of its objects, and its outlines over the image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import Tensor

from fasthebb.data.masked import IGNORE

COLOURS = (
    (255, 230, 0),
    (0, 220, 255),
    (255, 0, 200),
    (60, 255, 60),
    (255, 130, 0),
    (90, 90, 255),
    (255, 60, 60),
    (0, 160, 140),
    (170, 90, 20),
    (200, 170, 255),
)
"""Of the outlines of class 1, 2, ...; after the last the first again."""
_AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


def objects_table(mask: Tensor, *, names: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a mask: for each class, groups of pixels that touch each other, corners included.

    Args:
        mask: `(*size)` uint8, the class of each pixel; 0 is background, 255 nothing at all.
        names: of the classes, the background's first.

    Returns:
        A row an object, by class and then from top to bottom: `object` (counted from 1), `class` (its name), `area` (of
        a volume the volume) in pixels, `centroid_y` and `centroid_x` (pixels, the centre of the first pixel is 0),
        and the bounding box from `min_y`, `min_x` to before `max_y`, `max_x`; in volumes z as well.

    Raises:
        ValueError: the mask has a class without a name, or neither two nor three axes.

    >>> import torch
    >>> mask = torch.zeros(6, 8, dtype=torch.uint8)
    >>> mask[1:3, 2:6] = 1
    >>> [row] = objects_table(mask, names=["background", "nucleus"])
    >>> row["class"], row["area"], row["centroid_y"], row["centroid_x"], row["max_y"]
    ('nucleus', 8, 1.5, 3.5, 3)
    """
    values = mask.cpu().numpy()
    if values.ndim not in _AXES:
        raise ValueError(f"expected a mask (H, W) or (D, H, W), found {tuple(mask.shape)}")
    largest = int(values.max(where=values != IGNORE, initial=0))
    if largest >= len(names):
        raise ValueError(f"found class {largest} in a mask, and names for classes 0 to {len(names) - 1}: name them all")
    axes, touching = _AXES[values.ndim], np.ones((3,) * values.ndim)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(names[1:], start=1):
        labels, count = ndimage.label(values == index, structure=touching)
        numbers = np.arange(1, count + 1)
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        centres = ndimage.center_of_mass(labels > 0, labels, numbers)
        for area, centre, box in zip(areas, centres, ndimage.find_objects(labels), strict=True):
            rows.append(
                {
                    "object": len(rows) + 1,
                    "class": name,
                    "area": int(area),
                    **{f"centroid_{axis}": round(float(at), 2) for axis, at in zip(axes, centre, strict=True)},
                    **{f"min_{axis}": side.start for axis, side in zip(axes, box, strict=True)},
                    **{f"max_{axis}": side.stop for axis, side in zip(axes, box, strict=True)},
                }
            )
    return rows


def overlay(image: Tensor, mask: Tensor) -> Image.Image:
    """The image with the outline of each class of a mask over it, each in its own colour.

    Args:
        image: `(C, *size)` uint8, or float in [0, 1], which is brightened until its largest value is white, as few
            cameras fill 16 bits. Three channels are shown as RGB, of any other number the first; of a volume the middle
            slice.
        mask: `(*size)` uint8, the class of each pixel; 0 is background, 255 nothing at all.

    Returns:
        An RGB picture, `size` high and wide.

    Raises:
        ValueError: the sizes differ.

    >>> import torch
    >>> mask = torch.zeros(20, 30, dtype=torch.uint8)
    >>> mask[5:10, 5:20] = 1
    >>> picture = overlay(torch.zeros(1, 20, 30), mask)
    >>> picture.size, picture.getpixel((5, 5)), picture.getpixel((7, 7))
    ((30, 20), (255, 230, 0), (0, 0, 0))
    """
    if image.shape[1:] != mask.shape or mask.dim() not in _AXES:
        raise ValueError(
            f"expected an image (C, *size) and a mask (*size), found {tuple(image.shape)} and {tuple(mask.shape)}"
        )
    if mask.dim() == 3:
        image, mask = image[:, image.shape[1] // 2], mask[len(mask) // 2]
    pixels, classes = _visible(image), mask.cpu().numpy()
    width = max(1, round(max(classes.shape) / 600))  # seen when the whole picture fits a screen
    for index in range(1, int(classes.max(where=classes != IGNORE, initial=0)) + 1):
        inside = classes == index
        outline = inside & ~ndimage.binary_erosion(inside, iterations=width)
        pixels[outline] = COLOURS[(index - 1) % len(COLOURS)]
    return Image.fromarray(pixels)


def _visible(image: Tensor) -> np.ndarray:
    """`(C, H, W)` as RGB, `(H, W, 3)` uint8."""
    shown = image if len(image) == 3 else image[:1].expand(3, *image.shape[1:])
    pixels: np.ndarray = shown.cpu().numpy().transpose(1, 2, 0).copy()
    if pixels.dtype != np.uint8:
        brightest = float(pixels.max()) or 1.0
        pixels = (pixels / brightest * 255).clip(0, 255).round().astype(np.uint8)
    return pixels
