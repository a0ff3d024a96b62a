"""Deep PNG files that are made over before they are decoded."""

import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from image_files import encoded, png_chunk
from torchvision.io import ImageReadMode, decode_image

from fasthebb.data.decoding import UnreadableError, decode
from fasthebb.data.png import SIGNATURE, remade

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def deep_png(height: int, width: int, colour: int, *between: bytes, interlace: int = 0, seed: int = 0) -> bytes:
    """Random 16-bit values; every row has the filter "none"."""
    pixel = 2 * CHANNELS[colour]
    rng = random.Random(seed)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlace)
    if interlace:
        steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        parts = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in steps]
    else:
        parts = [(width, height)]
    rows = b"".join(b"\0" + rng.randbytes(across * pixel) for across, down in parts if across for _ in range(down))
    data = zlib.compress(rows)
    chunks = [png_chunk(b"IHDR", header), *between, png_chunk(b"IDAT", data[:50]), png_chunk(b"IDAT", data[50:])]
    return SIGNATURE + b"".join(chunks) + png_chunk(b"IEND", b"")


def values(content: bytes) -> Any:
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.UNCHANGED)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize("size", [(9, 11), (1, 1), (3, 2)])
def test_the_pixels_stay_the_same(size: tuple[int, int], colour: int, interlace: int) -> None:
    extra = png_chunk(b"tEXt", b"Comment\0of no use")
    content = deep_png(*size, colour, extra, interlace=interlace)
    assert torch.equal(values(remade(content)), values(content))


def test_a_transparent_colour_stays_one() -> None:
    content = deep_png(9, 11, 2, png_chunk(b"tRNS", bytes(6)))
    assert torch.equal(values(remade(content)), values(content))


def test_what_pillow_writes_is_read() -> None:
    pixels = np.arange(80, dtype=np.uint16).reshape(8, 10) * 500
    assert np.array_equal(values(remade(encoded(pixels)))[0].numpy(), pixels)


@pytest.mark.parametrize("place", [20, 28, 31, 60, 90, 200, -14, -20])
def test_damage_is_an_error_and_not_the_end_of_the_process(place: int) -> None:
    """torchvision's decoder ends the process at most of these."""
    content = bytearray(deep_png(9, 11, 2))
    content[place] ^= 4
    with pytest.raises(ValueError, match=r"damaged|missing|header|cut short"):
        remade(bytes(content))
    with pytest.raises(UnreadableError):
        decode(bytes(content), 8)


@pytest.mark.parametrize("rows", [b"", b"\0" * 10, b"\0" * 10_000, b"\5" + bytes(67 * 9 - 1)])
def test_rows_that_do_not_fit_the_size_or_have_no_filter_are_refused(rows: bytes) -> None:
    header = struct.pack(">IIBBBBB", 11, 9, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    with pytest.raises(ValueError, match="its data"):
        remade(SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    content = deep_png(9, 11, 0)
    for length in range(8, len(content) - 1):
        with pytest.raises(ValueError, match=r"a chunk is|missing"):
            remade(content[:length])
