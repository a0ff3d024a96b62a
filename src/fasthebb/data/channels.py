"""Many decoded images to one tensor with one number of channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasthebb.data.errors import DataError, count_of


def common_channels(images: Mapping[int, Sequence[str]]) -> int:
    """The number of channels for images of these numbers: 1 if all are grey, 3 if all are grey or RGB, or their own.

    Args:
        images: for each number of channels, names of the images that have it.

    Raises:
        DataError: if they have no number in common.

    Example:
        >>> common_channels({1: ["a.png"], 3: ["b.png"]}), common_channels({5: ["c.tif", "d.tif"]})
        (3, 5)
    """
    found = set(images)
    if found <= {1, 3}:
        return max(found)
    if len(found) == 1:
        return found.pop()
    listed = "; ".join(
        f"{count_of(len(names), 'image')} of {count_of(channels, 'channel')}, such as {names[0]}"
        for channels, names in sorted(images.items())
    )
    raise DataError(f"found {listed}, expected one number of channels: divide the folder or remove the few")


def convert(pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """One image ``(H, W, C)`` with another number of channels, in its own dtype.

    Grey is repeated to 3; 3 become 1 by luminance (0.299 R + 0.587 G + 0.114 B). There is no other pair.
    """
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if (have, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2)
    assert (have, channels) == (3, 1)
    if pixels.dtype == np.uint8:
        grey = (pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32) + 0x8000) >> 16
    else:
        grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(grey.astype(pixels.dtype)[:, :, None])


def stack(decoded: Sequence[NDArray[Any]], image_size: int, channels: int | None, names: Sequence[str]) -> Tensor:
    """Decoded images ``(image_size, image_size, C)`` as one tensor ``(N, channels, image_size, image_size)``.

    uint8 if all of them are, otherwise float32 in [0, 1]. ``channels=None`` chooses by ``common_channels``.

    Raises:
        DataError: if the channels cannot be converted, with one of the ``names`` concerned.
    """
    by_channels: defaultdict[int, list[str]] = defaultdict(list)
    for pixels, name in zip(decoded, names, strict=True):
        by_channels[pixels.shape[2]].append(name)
    if channels is None:
        channels = common_channels(by_channels) if decoded else 1
    for have in by_channels:
        if have != channels and {have, channels} != {1, 3}:
            raise DataError(
                f"found {count_of(have, 'channel')} in '{by_channels[have][0]}', asked for {channels}: only 1 and 3 "
                f"are converted to each other"
            )
    shallow = all(pixels.dtype == np.uint8 for pixels in decoded)
    dtype = np.uint8 if shallow else np.float32
    images = np.empty((len(decoded), channels, image_size, image_size), dtype)
    for row, pixels in enumerate(decoded):
        converted = convert(pixels, channels).transpose(2, 0, 1)
        images[row] = converted if shallow or pixels.dtype != np.uint8 else converted.astype(np.float32) / 255
    return torch.from_numpy(images)
