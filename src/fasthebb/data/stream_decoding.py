"""The decoding of ``fasthebb.data.decoding``, by torchvision where that is faster.

An ordinary JPEG whose shorter side is less than four times the size asked for is decoded and resized by torchvision,
where its sides differ by an even number; the same pixels are decoded, and the outermost ones may be resized a little
differently, as nothing beyond the crop is seen. A larger JPEG is decoded at a half, a quarter or an eighth of its size,
which only Pillow offers. Everything else, and whatever torchvision cannot decode, goes the way that images in memory
go.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthebb.data.decoding import MAX_PIXELS, Pixels, decode
from fasthebb.data.errors import import_optional
from fasthebb.data.items import Item
from fasthebb.data.reading import Decoded, read_item

_REDUCED = 4  # from this multiple of the size asked for on, Pillow decodes at a reduced scale


def read_quickly(item: Item, image_size: int) -> Decoded:
    """``read_item``: the pixels ``(S, S, C)`` of an image, or the reason why it has none."""
    try:
        return decode_quickly(item.read(), image_size)
    except Exception:  # whatever it is, the thorough way words it
        return read_item(item, image_size, strict=False)


def decode_quickly(content: bytes | Pixels, image_size: int) -> Pixels:
    """``decode``, as fast as there is a way to; errors are those of torchvision as well.

    Args:
        content: an encoded file, or 8-bit grey pixels ``(H, W)``.
        image_size: side of the result, in pixels.

    Returns:
        ``(image_size, image_size, C)``, uint8 or float32 in [0, 1].
    """
    size = jpeg_size(content) if isinstance(content, bytes) else None
    # Between even and odd sides the centre square begins at half a pixel, which only Pillow can.
    if size is None or min(size) >= _REDUCED * image_size or (size[0] - size[1]) % 2 or size[0] * size[1] > MAX_PIXELS:
        return decode(content, image_size)
    torch = import_optional("torch", "train")
    io: Any = import_optional("torchvision.io", "train")
    functional: Any = import_optional("torchvision.transforms.v2.functional", "train")
    image = io.decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))  # (C, H, W)
    side = min(size)
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    square = image[:, top : top + side, left : left + side]
    fitted = functional.resize(square, [image_size, image_size], antialias=True)
    return np.asarray(fitted.permute(1, 2, 0).numpy())


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of an ordinary JPEG: 8 bits, grey or three colours, without Exif data that may turn it.

    Example:
        >>> jpeg_size(b"no picture") is None
        True
    """
    if content[:3] != b"\xff\xd8\xff":
        return None
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            bits, channels = content[position + 4], content[position + 9]
            height, width = (int.from_bytes(content[position + at : position + at + 2], "big") for at in (5, 7))
            return (width, height) if bits == 8 and channels in (1, 3) and width and height else None
        if (marker == 0xE1 and content[position + 4 : position + 8] == b"Exif") or marker in (0xD8, 0xD9, 0xDA):
            return None
        position += 2 + length
    return None
