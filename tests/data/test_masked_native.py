import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from image_files import dicom, encoded, png_bomb, png_chunk, random_pixels
from mask_files import tiff
from PIL import Image

from fasthebb.data.decoding import UnreadableError, decode
from fasthebb.data.native import MaskError, decode_mask, decode_native

SIDE = 12
DEEP = (random_pixels(SIDE, SIDE).astype(np.uint16) + 3) * 100


def turned_jpeg() -> bytes:
    image = Image.fromarray(random_pixels(SIDE, SIDE, 3))
    exif = image.getexif()
    exif[274] = 6  # the camera was held upright
    stream = BytesIO()
    image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def gif() -> bytes:
    stream = BytesIO()
    Image.fromarray(random_pixels(SIDE, SIDE)).convert("P").save(stream, "GIF")
    return stream.getvalue()


def deep_colour_png() -> bytes:
    """Which Pillow does not write, and reads as 8 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack([DEEP, DEEP // 2, DEEP], 2))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded(random_pixels(SIDE, SIDE)),
        lambda: encoded(random_pixels(SIDE, SIDE, 3)),
        lambda: encoded(random_pixels(SIDE, SIDE, 4)),
        lambda: encoded(random_pixels(SIDE, SIDE, 2)),
        lambda: encoded(random_pixels(SIDE, SIDE) > 99),
        lambda: encoded(DEEP),
        lambda: encoded(random_pixels(SIDE, SIDE, 3), "JPEG"),
        turned_jpeg,
        gif,
        deep_colour_png,
        lambda: tiff(random_pixels(SIDE, SIDE)),
        lambda: tiff(DEEP),
        lambda: tiff(DEEP.astype(np.float32)),
        lambda: tiff(np.stack([DEEP, DEEP // 2, DEEP], 2), photometric="rgb"),
        lambda: tiff(random_pixels(5, SIDE, SIDE), imagej=True, metadata={"axes": "CYX"}),
        lambda: tiff(random_pixels(SIDE, SIDE), photometric="miniswhite"),
        lambda: dicom(DEEP, WindowCenter=900, WindowWidth=1000),
        lambda: random_pixels(SIDE, SIDE),
    ],
)
def test_an_image_is_what_it_is_at_its_own_size_when_asked_for(make: Callable[[], bytes]) -> None:
    content = make()
    pixels, resized = decode_native(content), decode(content, SIDE)
    assert pixels.dtype == resized.dtype
    assert np.array_equal(pixels, resized)
    if isinstance(content, bytes) and pixels.dtype == np.uint8:
        assert pixels.flags.writeable  # it becomes a tensor without a copy


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 7)])
def test_no_pixel_is_cropped(shape: tuple[int, int]) -> None:
    pixels = random_pixels(*shape, 3)
    assert np.array_equal(decode_native(encoded(pixels)), pixels)


def test_damage_is_told_without_memory_for_it() -> None:
    for content, words in ((b"", "empty"), (png_bomb(20_000, 8), "pixels"), (png_bomb(20_000, 16), "pixels")):
        with pytest.raises((UnreadableError, Image.DecompressionBombError), match=words):
            decode_native(content)


def test_colours_of_16_bits_are_no_mask() -> None:
    with pytest.raises(MaskError, match="colours of 16 bits"):
        decode_mask(deep_colour_png())
    content = tiff(np.stack([DEEP, DEEP // 2, DEEP], 2), photometric="rgb")
    with pytest.raises(MaskError, match="colours"):
        decode_mask(content)
    alike = tiff(np.stack([DEEP, DEEP, DEEP], 2), photometric="rgb")
    assert np.array_equal(decode_mask(alike), DEEP)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_masks_are_stored_numbers(kind: str) -> None:
    mask = random_pixels(4, 7)
    assert np.array_equal(decode_mask(encoded(mask, kind)), mask)
    assert decode_mask(encoded(mask > 9, kind)).max() == 1
